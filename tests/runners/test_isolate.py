import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from orphans import gone_with_its_parent

from leanboard.results.errors import ArmError, OutOfMemoryError
from leanboard.runners.isolate import Worker


@pytest.fixture
def worker(tmp_path: Path) -> Iterator[Worker]:
    with Worker("arm", tmp_path / "arm.log") as started:
        yield started


def test_a_worker_answers(worker: Worker) -> None:
    assert worker.call("read_memory", 60)["memory"]["resident"] > 0


def test_a_request_that_cannot_be_carried_out_is_an_error_with_its_cause(worker: Worker) -> None:
    with pytest.raises(ArmError, match="nothing is loaded"):
        worker.call("generate", 60, requests=[])


def test_a_worker_that_hangs_is_ended_when_its_time_is_up(worker: Worker) -> None:
    worker.call("read_memory", 60)
    worker.pause()
    with pytest.raises(ArmError, match=r"no answer to 'read_memory' within 0\.1 s"):
        worker.call("read_memory", 0.1)
    assert not psutil.pid_exists(worker.pid)


def test_a_killed_worker_reads_as_lack_of_memory(worker: Worker) -> None:
    worker.call("read_memory", 60)
    os.kill(worker.pid, signal.SIGKILL)
    with pytest.raises(OutOfMemoryError, match="killed"):
        worker.call("read_memory", 60)


def test_a_worker_that_ends_by_itself_says_with_what(worker: Worker) -> None:
    worker.call("read_memory", 60)
    os.kill(worker.pid, signal.SIGTERM)
    with pytest.raises(ArmError, match="signal 15"):
        worker.call("read_memory", 60)


def test_a_paused_worker_is_stopped_and_a_resumed_one_answers(worker: Worker) -> None:
    worker.call("read_memory", 60)
    worker.pause()
    assert _settles(worker.pid, psutil.STATUS_STOPPED)
    worker.resume()
    assert worker.call("read_memory", 60)["ok"]


def test_leaving_the_context_ends_the_worker(tmp_path: Path) -> None:
    with Worker("arm", tmp_path / "arm.log") as started:
        started.call("read_memory", 60)
        started.pause()
    assert not psutil.pid_exists(started.pid)


_PARENT = """
import sys
from pathlib import Path
from leanboard.runners.isolate import Worker
with Worker("arm", Path(sys.argv[1]) / "arm.log") as worker:
    worker.call("read_memory", 60)
    worker.pause()
    print(worker.pid, flush=True)
    sys.stdin.read()
"""


def test_no_worker_outlives_a_parent_that_is_killed(tmp_path: Path) -> None:
    assert gone_with_its_parent(_PARENT, tmp_path)


def test_what_libraries_print_goes_to_the_log_and_not_into_the_protocol() -> None:
    code = "import os; os.write(1, b'noise'); print('more noise')"
    script = (
        "import sys; from leanboard.runners import worker\n"
        f"worker._OPERATIONS['noise'] = lambda *_: (exec({code!r}), {{}})[1]\n"
        "worker.main(['worker', sys.argv[1]])"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script, str(os.getpid())],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        answer, noise = process.communicate(b'{"op": "noise"}\n', timeout=60)
    assert json.loads(answer) == {"ok": True}
    assert b"noise" in noise


def _settles(pid: int, status: str) -> bool:
    process = psutil.Process(pid)
    deadline = time.monotonic() + 10
    while process.status() != status and time.monotonic() < deadline:
        time.sleep(0.01)
    return process.status() == status
