"""Memory of the process and of the machine."""

from __future__ import annotations

import mmap
from pathlib import Path

import pytest

from leanboard.results.errors import OutOfMemoryError
from leanboard.runners.machine import memory

GIB = 2**30
STATUS = """Name:\tpython
VmHWM:\t   2048 kB
VmRSS:\t   1024 kB
RssAnon:\t    768 kB
RssFile:\t    256 kB
Threads:\t4
"""


def proc_with(tmp_path: Path, cgroup: str = "", available_kb: int = 8 * 2**20) -> Path:
    proc = tmp_path / "proc"
    (proc / "self").mkdir(parents=True)
    (proc / "self" / "status").write_text(STATUS)
    (proc / "self" / "cgroup").write_text(cgroup)
    text = f"MemTotal: {16 * 2**20} kB\nMemAvailable: {available_kb} kB\nHugePages_Total: 0\n"
    (proc / "meminfo").write_text(text)
    return proc


def test_the_kernel_s_kilobytes_become_bytes(tmp_path: Path) -> None:
    reading = memory.process_memory(proc_with(tmp_path))
    assert reading == memory.ProcessMemory(1024 * 1024, 2048 * 1024, 768 * 1024, 256 * 1024)


def test_a_system_without_proc_gives_none_and_not_zero(tmp_path: Path) -> None:
    assert memory.process_memory(tmp_path) is None
    assert memory.available_bytes(tmp_path, tmp_path) is None


def test_this_process_is_read() -> None:
    reading = memory.process_memory()
    assert reading is not None
    assert reading.peak >= reading.resident >= reading.anonymous > 0


def test_the_peak_falls_back_after_a_reset() -> None:
    # Not of the allocator's memory, of which some may be free and resident, and may stay so.
    with mmap.mmap(-1, 64 * 2**20) as block:
        block.write(b"x" * len(block))
        before = memory.process_memory()
    assert memory.reset_peak() is None
    after = memory.process_memory()
    assert before is not None
    assert after is not None
    assert before.peak - after.peak > 32 * 2**20


def test_a_refused_reset_gives_the_reason(tmp_path: Path) -> None:
    reason = memory.reset_peak(tmp_path)
    assert reason is not None
    assert "does not let the peak be reset" in reason


def test_without_a_group_limit_the_system_s_memory_counts(tmp_path: Path) -> None:
    proc = proc_with(tmp_path, "0::/\n", available_kb=3 * 2**20)
    assert memory.available_bytes(tmp_path / "cg", proc) == 3 * GIB
    assert memory.memory_limit_bytes(tmp_path / "cg", proc) is None


def test_a_v2_group_limits_what_is_available(tmp_path: Path) -> None:
    proc = proc_with(tmp_path, "0::/box\n")
    group = tmp_path / "cg" / "box"
    group.mkdir(parents=True)
    (group / "memory.max").write_text(f"{2 * GIB}\n")
    (group / "memory.current").write_text(f"{GIB}\n")
    (group / "memory.stat").write_text(f"anon 5\ninactive_file {GIB // 4}\n")
    assert memory.memory_limit_bytes(tmp_path / "cg", proc) == 2 * GIB
    assert memory.available_bytes(tmp_path / "cg", proc) == GIB + GIB // 4


def test_the_limit_of_a_group_above_counts_too(tmp_path: Path) -> None:
    proc = proc_with(tmp_path, "0::/outer/inner\n")
    inner = tmp_path / "cg" / "outer" / "inner"
    inner.mkdir(parents=True)
    (inner / "memory.max").write_text("max\n")
    (inner.parent / "memory.max").write_text(f"{4 * GIB}\n")
    assert memory.memory_limit_bytes(tmp_path / "cg", proc) == 4 * GIB


def test_a_v1_group_without_limit_is_unlimited(tmp_path: Path) -> None:
    proc = proc_with(tmp_path, "4:memory:/box\n1:cpu:/\n")
    group = tmp_path / "cg" / "memory" / "box"
    group.mkdir(parents=True)
    (group / "memory.limit_in_bytes").write_text("9223372036854771712\n")
    assert memory.memory_limit_bytes(tmp_path / "cg", proc) is None
    (group / "memory.limit_in_bytes").write_text(f"{GIB}\n")
    assert memory.memory_limit_bytes(tmp_path / "cg", proc) == GIB


def test_a_model_needs_its_weights_a_share_more_and_the_libraries() -> None:
    # 1e9 parameters x 4 B x 1.15 + 600 MiB
    assert memory.required_bytes(10**9, "float32") == 4_600_000_000 + 600 * 2**20
    assert memory.required_bytes(10**9, "bfloat16") == 2_300_000_000 + 600 * 2**20


def test_too_little_memory_is_refused_with_the_numbers() -> None:
    with pytest.raises(OutOfMemoryError, match=r"needs about 8\.0 GiB, and 2\.0 GiB are available"):
        memory.require_memory(8 * GIB, "loading x", available=lambda: 2 * GIB)


def test_a_cap_of_the_profile_is_refused_with_the_key_to_change() -> None:
    with pytest.raises(OutOfMemoryError, match=r"allows 1\.0 GiB. Raise hardware.memory_cap_bytes"):
        memory.require_memory(2 * GIB, "loading x", GIB, available=lambda: 64 * GIB)


def test_enough_memory_and_unknown_memory_pass() -> None:
    memory.require_memory(2 * GIB, "x", available=lambda: 3 * GIB)
    memory.require_memory(2 * GIB, "x", available=lambda: None)
