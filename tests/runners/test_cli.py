"""The command line as a user meets it: exit statuses, messages, never a traceback."""

import contextlib
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from click.testing import CliRunner
from record_factory import make_run

from leanboard.results.store import Store
from leanboard.runners.backends.base import ModelFiles
from leanboard.runners.cli import INTERRUPTED, cli

pytestmark = pytest.mark.process


def leanboard(*arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "leanboard.runners.cli", *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["run", "model=smollm3"], 2, "there is no model 'smollm3'"),
        (["run", "technique=int8"], 2, "there is no technique 'int8'"),
        (["run", "workload.prompt_token=3"], 2, "workload.prompt_token"),
        (["run", "suite=quickstart", "backend=llamacpp"], 2, "sets backend itself"),
        (["run", "model.id=./nowhere"], 2, "no model at './nowhere'"),
        (["plan", "suite=slow"], 2, "there is no suite 'slow'"),
        (["fetch", "smollm"], 2, "nothing to fetch called 'smollm'"),
        (["verify", "nowhere"], 1, "nowhere"),
        (["serve", "--folder", "nowhere"], 1, "leanboard site"),
        (["runs"], 2, "No such command 'runs'"),
        (["run", "-m", "technique=bf16,int8"], 2, "there is no technique 'int8'"),
        (["plan", "suite={name: x}"], 2, "suite needs a value for 'blocks'"),
        (["plan", "model.packages=3"], 2, "must be a list"),
        (["plan", "suite=quickstart", "technique=bf16"], 2, "sets technique itself"),
        (["run", "store=/dev/null/records"], 1, "/dev/null"),
    ],
)
def test_a_wrong_input_is_one_message_and_a_status(
    arguments: list[str], status: int, message: str, tmp_path: Path
) -> None:
    done = leanboard(*arguments, folder=tmp_path)
    said = done.stdout + done.stderr
    assert done.returncode == status, said
    assert message in said
    assert "Traceback" not in said


def test_a_pickle_is_refused_by_the_command_line(tmp_path: Path) -> None:
    model = tmp_path / "model"
    model.mkdir()
    (model / "config.json").write_text('{"model_type": "llama"}')
    (model / "pytorch_model.bin").write_bytes(b"\x80\x04")
    done = leanboard("run", f"model.id={model}", f"cache={tmp_path / 'cache'}", folder=tmp_path)
    assert done.returncode == 2
    assert "never loaded" in done.stderr
    assert "Traceback" not in done.stderr


def test_an_empty_store_says_how_to_fill_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("leanboard.results.published.published_root", lambda: tmp_path / "none")
    result = CliRunner().invoke(cli, ["export", "--records", str(tmp_path), "--out", str(tmp_path)])
    assert "leanboard run suite=quickstart" in str(result.exception)
    pages = CliRunner().invoke(cli, ["site", "--records", str(tmp_path), "--out", f"{tmp_path}/s"])
    assert pages.exit_code == 0
    assert "leanboard run suite=quickstart" in pages.output


def test_a_corrupt_record_is_named_and_the_rest_is_shown(tmp_path: Path) -> None:
    run = make_run()
    path = Store(tmp_path / "records", "local").write(run.record, run.traces)
    path.with_name("20260101T000000Z-00000000.json").write_text('{"half')
    out = tmp_path / "tables"
    done = leanboard("export", "--records", "records", "--out", str(out), folder=tmp_path)
    assert done.returncode == 0
    assert "skipped" in done.stderr
    assert (out / "results-long.csv").is_file()
    assert leanboard("verify", "records", folder=tmp_path).returncode == 1
    strict = leanboard("site", "--records", "records", "--strict", folder=tmp_path)
    assert strict.returncode == 1
    assert "skipped" in strict.stderr


def _tiny_run(tiny_llama: ModelFiles, folder: Path) -> list[str]:
    rows = [
        f'{{"title": "t{n}", "text": "{n} a b c d e f g h i j k l m n o p q r s t u v w x y z"}}'
        for n in range(80)
    ]
    (folder / "passages.jsonl").write_text("\n".join(rows))
    return [
        f"model.id={tiny_llama.folder}",
        "data.passages_path=passages.jsonl",
        "cache=cache",
        "hardware=cpu-1t",
        "workload.prompt_tokens=24",
        "workload.output_tokens=4",
        "workload.prompts=3",
        "accuracy=none",
        "technique=bf16",
    ]


def _descendants(process: subprocess.Popen[str]) -> list[psutil.Process]:
    found = []
    for child in psutil.Process(process.pid).children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess, psutil.ZombieProcess):
            if "leanboard.runners.worker" in child.cmdline():
                found.append(child)
    return found


@pytest.mark.parametrize(
    ("number", "status"),
    [
        (signal.SIGINT, INTERRUPTED),
        (signal.SIGTERM, INTERRUPTED),
        (signal.SIGKILL, -signal.SIGKILL),
    ],
)
def test_however_a_run_is_ended_no_worker_goes_on(
    number: signal.Signals, status: int, tiny_llama: ModelFiles, tmp_path: Path
) -> None:
    overrides = [*_tiny_run(tiny_llama, tmp_path), "procedure.rounds=100000"]
    with subprocess.Popen(
        [sys.executable, "-m", "leanboard.runners.cli", "run", *overrides],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        deadline = time.monotonic() + 90
        # A fork server and two arms.
        while len(workers := _descendants(process)) < 3 and time.monotonic() < deadline:
            assert process.poll() is None, process.stdout and process.stdout.read()
            time.sleep(0.05)
        process.send_signal(number)
        said, _ = process.communicate(timeout=30)
    assert len(workers) == 3
    assert process.returncode == status
    assert "Traceback" not in said
    if number is not signal.SIGKILL:
        assert "the same command goes on from there" in said
    for worker in workers:
        worker.wait(timeout=10)
        assert not worker.is_running()
