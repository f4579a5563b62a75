"""Memory read from outside while a process runs: by a replayed clock, and of real processes."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from replay_meter import World

from leanboard.metrics.trace import Provenance, Quantity, Series
from leanboard.results.errors import ArmError
from leanboard.runners.machine import memory, memory_use
from leanboard.runners.machine.memory_use import MemoryGauge, MemoryWatch, memory_watch_for

PID = 7


def grown(world: World, used: Callable[[float], int | None]) -> MemoryWatch:
    """Return a watch of a process whose memory depends on the time."""

    def read(pid: int) -> int | None:
        assert pid == PID
        return used(world.now_s)

    gauge = MemoryGauge(read, "a test", "cpu", 4000)
    return MemoryWatch(gauge, world.clock, world.sampler)


def statm(proc: Path, text: str) -> Path:
    folder = proc / str(PID)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "statm").write_text(text)
    return proc


def test_a_window_is_read_at_both_ends_and_every_period_between() -> None:
    world = World((0.0, 0.0), now_s=10.0)
    with grown(world, lambda now_s: round(100 * now_s)).window(PID) as readings:
        assert readings.series.time_s == ()
        world.wait(0.12)
    assert readings.series == Series(
        name="memory_bytes",
        unit="B",
        source="a test",
        provenance=Provenance.MEASURED,
        device="cpu",
        time_s=pytest.approx((10.0, 10.05, 10.1, 10.12)),
        value=(1000.0, 1005.0, 1010.0, 1012.0),
    )


def test_nothing_is_read_outside_of_a_window() -> None:
    world = World((0.0, 0.0))
    watch = grown(world, lambda _: 1)
    with watch.window(PID) as first:
        world.wait(0.06)
    world.wait(1.0)
    with watch.window(PID) as second:
        world.wait(0.01)
    assert first.series.time_s == pytest.approx((0.0, 0.05, 0.06))
    assert second.series.time_s == pytest.approx((1.06, 1.07))


@pytest.mark.parametrize("gone_s", [0.0, 0.07, 0.2])
def test_a_process_that_ends_in_the_middle_leaves_no_readings(gone_s: float) -> None:
    world = World((0.0, 0.0))
    watch = grown(world, lambda now_s: None if now_s >= gone_s else 100)
    with watch.window(PID) as readings:
        world.wait(0.2)
    assert (readings.series.time_s, readings.series.value) == ((), ())
    assert readings.series.name == "memory_bytes"


def test_an_error_inside_passes_through_and_ends_the_readings() -> None:
    world = World((0.0, 0.0))
    asked: list[float] = []

    def used(now_s: float) -> int:
        asked.append(now_s)
        return 1

    with pytest.raises(ArmError, match="died"), grown(world, used).window(PID):
        raise ArmError("died")
    asked.clear()
    world.wait(1.0)
    assert asked == []


def test_zero_bytes_are_a_measured_zero() -> None:
    world = World((0.0, 0.0))
    with grown(world, lambda _: 0).window(PID) as readings:
        world.wait(0.01)
    assert readings.series.value == (0.0, 0.0)


def test_the_total_is_a_fact_where_it_is_known() -> None:
    world = World((0.0, 0.0))
    assert grown(world, lambda _: 1).facts == {
        "memory_total_bytes": Quantity(4000, "B", Provenance.MEASURED)
    }
    assert MemoryWatch(MemoryGauge(lambda _: 1, "a test", "cpu", None)).facts == {}


def test_pages_of_the_kernel_become_bytes(tmp_path: Path) -> None:
    proc = statm(tmp_path, "900 300 200 1 0 500 0\n")
    assert memory.resident_bytes(PID, proc) == 300 * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.parametrize("text", ["", "0 0 0 0 0 0 0\n", "900\n", "900 many 200\n", "900 -3 1\n"])
def test_what_is_no_size_is_none_and_not_zero(tmp_path: Path, text: str) -> None:
    assert memory.resident_bytes(PID, statm(tmp_path, text)) is None


def test_a_process_that_is_not_shown_has_none(tmp_path: Path) -> None:
    assert memory.resident_bytes(PID, tmp_path) is None


def test_this_process_is_as_large_by_either_file() -> None:
    said, read = memory.process_memory(), memory.resident_bytes(os.getpid())
    assert said is not None
    assert read == pytest.approx(said.resident, rel=0.1)


def test_a_process_that_has_ended_and_is_not_reaped_has_none() -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        assert (Path("/proc") / str(process.pid) / "statm").exists()
        assert memory.resident_bytes(process.pid) is None


def test_on_a_cpu_the_machine_or_its_container_is_the_total(tmp_path: Path) -> None:
    proc = tmp_path / "proc"
    (proc / "self").mkdir(parents=True)
    (proc / "self" / "cgroup").write_text("0::/\n")
    (proc / "meminfo").write_text("MemTotal: 8 kB\n")
    group = tmp_path / "cg"
    assert memory.device_total_bytes("cpu", group, proc) == 8192
    group.mkdir()
    (group / "memory.max").write_text("5000\n")
    assert memory.device_total_bytes("cpu", group, proc) == 5000


class NVMLError(Exception):
    pass


def driver(used: int | None) -> Any:
    return SimpleNamespace(
        NVMLError=NVMLError,
        nvmlDeviceGetHandleByIndex=lambda index: f"gpu{index}",
        nvmlDeviceGetMemoryInfo=lambda gpu: SimpleNamespace(total=900, free=400),
        nvmlDeviceGetComputeRunningProcesses=lambda gpu: [
            SimpleNamespace(pid=PID, usedGpuMemory=used)
        ],
    )


@pytest.mark.parametrize(("used", "values"), [(300, (300.0, 300.0)), (None, ())])
def test_on_a_gpu_the_driver_is_asked(
    used: int | None, values: tuple[float, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(memory_use.nvml, "library", lambda: (driver(used), None))
    watch = memory_watch_for("cuda")
    assert watch.facts["memory_total_bytes"].value == 900
    assert memory.device_available_bytes("cuda") == 400
    with watch.window(PID) as readings:
        pass
    assert readings.series.value == values
    assert (readings.series.source, readings.series.device) == ("NVML", "cuda")


def test_without_a_driver_nothing_is_known_of_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory_use.nvml, "library", lambda: (None, "no NVIDIA driver"))
    watch = memory_watch_for("cuda")
    with watch.window(PID) as readings:
        pass
    assert (watch.facts, readings.series.value) == ({}, ())


def test_on_a_cpu_the_kernel_is_asked() -> None:
    watch = memory_watch_for("cpu")
    with watch.window(os.getpid()) as readings:
        pass
    assert min(readings.series.value) > 2**20
    assert (readings.series.source, readings.series.device) == ("/proc/PID/statm", "cpu")
    assert watch.facts["memory_total_bytes"].value > max(readings.series.value)
