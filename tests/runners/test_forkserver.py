"""Arms that begin as copies of a process which has imported their libraries."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from orphans import gone_with_its_parent

from leanboard.results.errors import ArmError, OutOfMemoryError
from leanboard.runners import config
from leanboard.runners.forkserver import ForkServer
from leanboard.runners.isolate import Worker
from leanboard.runners.machine.mapped import mapped_pages
from leanboard.runners.wire import Message

BACKEND = config.compose(["backend=transformers"])["backend"]
NEAR = 0.02


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ForkServer]:
    with ForkServer(tmp_path_factory.mktemp("server") / "server.log") as started:
        started.import_libraries(BACKEND, 300)
        yield started


@pytest.fixture
def copy(server: ForkServer, tmp_path: Path) -> Iterator[Worker]:
    with Worker("copy", tmp_path / "copy.log", server) as started:
        yield started


def test_a_copy_has_the_libraries_and_the_memory_of_a_process_that_imported_them(
    copy: Worker, tmp_path: Path
) -> None:
    with Worker("alone", tmp_path / "alone.log") as alone:
        alone.call("import_libraries", 300, backend=BACKEND, techniques=[])
        expected = alone.call("read_memory", 60)["memory"]
    found = copy.call("read_memory", 60)["memory"]
    for part in ("resident", "anonymous", "file_backed"):
        assert found[part] == pytest.approx(expected[part], rel=NEAR), part


def test_copies_are_processes_of_their_own_and_print_into_logs_of_their_own(
    server: ForkServer, tmp_path: Path
) -> None:
    logs = [tmp_path / "one.log", tmp_path / "two.log"]
    with Worker("one", logs[0], server) as one, Worker("two", logs[1], server) as two:
        assert one.pid != two.pid
        for worker in (one, two):
            with pytest.raises(ArmError, match="nothing is loaded"):
                worker.call("generate", 60, requests=[])
        one.pause()
        assert two.call("read_memory", 60)["ok"]
    assert all("nothing is loaded" in log.read_text() for log in logs)


def test_a_copy_tells_how_it_ended(server: ForkServer, tmp_path: Path) -> None:
    with Worker("copy", tmp_path / "copy.log", server) as copy:
        os.kill(copy.pid, signal.SIGTERM)
        with pytest.raises(ArmError, match="signal 15"):
            copy.call("read_memory", 60)
        assert not copy.running
    with Worker("copy", tmp_path / "copy.log", server) as copy:
        assert copy.running
        os.kill(copy.pid, signal.SIGKILL)
        with pytest.raises(OutOfMemoryError, match="killed"):
            copy.call("read_memory", 60)


def test_a_copy_that_hangs_is_ended_and_reaped(copy: Worker) -> None:
    copy.pause()
    with pytest.raises(ArmError, match="no answer to 'read_memory'"):
        copy.call("read_memory", 0.1)
    assert not psutil.pid_exists(copy.pid)


def test_no_copy_outlives_its_server(tmp_path: Path) -> None:
    with ForkServer(tmp_path / "server.log") as server:
        worker = Worker("copy", tmp_path / "copy.log", server).__enter__()
        process = psutil.Process(worker.pid)
        os.kill(process.ppid(), signal.SIGKILL)
        process.wait(timeout=10)
        assert not worker.running
        with pytest.raises(OutOfMemoryError):
            worker.call("read_memory", 10)
        worker.__exit__(None, None, None)


_PARENT = """
import sys
from pathlib import Path
from leanboard.runners.forkserver import ForkServer
from leanboard.runners.isolate import Worker
folder = Path(sys.argv[1])
with ForkServer(folder / "s.log") as server, Worker("copy", folder / "c.log", server) as copy:
    copy.call("read_memory", 60)
    copy.pause()
    print(copy.pid, flush=True)
    sys.stdin.read()
"""


def test_no_copy_outlives_a_parent_that_is_killed(tmp_path: Path) -> None:
    assert gone_with_its_parent(_PARENT, tmp_path)


def test_where_the_system_hides_pages_none_are_given_back(tmp_path: Path) -> None:
    assert mapped_pages(tmp_path) == []
    pages = mapped_pages()
    assert all(length > 0 for _, length in pages)
    assert sum(length for _, length in pages) <= psutil.Process().memory_info().rss


def test_ctrl_c_before_the_server_s_answer_ends_it_and_its_copies_in_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    receive = Worker.receive

    def interrupted(worker: Worker, op: str, timeout_s: float) -> Message:
        if op == "fork":
            raise KeyboardInterrupt
        return receive(worker, op, timeout_s)

    with ForkServer(tmp_path / "server.log") as server:
        server.import_libraries(BACKEND, 300)
        with Worker("one", tmp_path / "one.log", server) as one:
            monkeypatch.setattr(Worker, "receive", interrupted)
            with pytest.raises(KeyboardInterrupt):
                Worker("two", tmp_path / "two.log", server).__enter__()
        assert not one.running
