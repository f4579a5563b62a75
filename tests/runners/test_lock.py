import os
from pathlib import Path

import pytest
from scripts import running

from leanboard.results.errors import LeanboardError
from leanboard.runners.lock import lock_path, measuring

_HOLD = """
import sys
from pathlib import Path
from leanboard.runners.lock import measuring
with measuring("cpu", print, Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_the_lock_names_its_owner(tmp_path: Path) -> None:
    with measuring("cpu", print, tmp_path):
        assert lock_path("cpu", tmp_path).read_text() == str(os.getpid())


def test_a_second_run_says_that_it_waits_and_goes_on_when_the_first_is_killed(
    tmp_path: Path,
) -> None:
    with running(_HOLD, tmp_path) as (holder, line):
        assert line == "held\n"
        said: list[str] = []

        def say(text: str) -> None:
            said.append(text)
            holder.kill()

        with measuring("cpu", say, tmp_path):
            holder.wait()
    assert said == [
        f"another leanboard run is measuring on this machine (process {holder.pid}); waiting"
    ]


def test_a_gpu_run_keeps_cpu_runs_out_as_well(tmp_path: Path) -> None:
    with measuring("cuda", print, tmp_path):
        assert sorted(path.name for path in tmp_path.iterdir()) == [
            "leanboard-cpu.lock",
            "leanboard-cuda.lock",
        ]


def test_a_lock_that_cannot_be_opened_is_a_clear_error(tmp_path: Path) -> None:
    lock_path("cpu", tmp_path).mkdir()
    lock = measuring("cpu", print, tmp_path)
    with pytest.raises(LeanboardError, match="cannot open the measuring lock"):
        lock.__enter__()
