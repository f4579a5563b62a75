"""What a worker asks of the C allocator before it starts."""

import sys
from pathlib import Path

import psutil
import pytest

from leanboard.runners.isolate import Worker
from leanboard.runners.machine.allocator import asks_for_huge_pages, with_huge_pages


def test_huge_pages_are_asked_for_beside_what_else_is_set() -> None:
    assert with_huge_pages({"A": "1"}) == {"A": "1", "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1"}
    found = with_huge_pages({"GLIBC_TUNABLES": "glibc.malloc.arena_max=1"})
    assert found["GLIBC_TUNABLES"] == "glibc.malloc.arena_max=1:glibc.malloc.hugetlb=1"


@pytest.mark.parametrize(("value", "asks"), [("0", False), ("1", True), ("2", True)])
def test_a_choice_of_the_caller_is_kept(value: str, asks: bool) -> None:
    chosen = {"GLIBC_TUNABLES": f"glibc.malloc.hugetlb={value}"}
    assert with_huge_pages(chosen) == chosen
    assert asks_for_huge_pages(chosen) is asks


def test_a_process_without_tunables_asks_for_none() -> None:
    assert not asks_for_huge_pages({})


@pytest.mark.process
@pytest.mark.skipif(sys.platform != "linux", reason="psutil shows it on Linux only")
def test_a_worker_runs_with_them(tmp_path: Path) -> None:
    with Worker("arm", tmp_path / "arm.log") as worker:
        worker.call("read_memory", 60)
        assert asks_for_huge_pages(psutil.Process(worker.pid).environ())
