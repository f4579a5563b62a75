"""Ceilings: the best repeat of the best kernel, by an injected clock."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from itertools import repeat
from pathlib import Path

import pytest

from leanboard.runners import ceilings
from leanboard.runners.ceilings import (
    Kernel,
    array_counts,
    best,
    crowded_cores,
    last_level_bytes,
    rates,
)

TICK_S = 2.0**-7


class Work:
    """A machine whose calls take the seconds that they are told to."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.calls: list[str] = []

    def clock(self) -> float:
        return self.now_s

    def kernel(self, name: str, work: float, seconds: Iterator[float]) -> Kernel:
        def call() -> None:
            self.calls.append(name)
            self.now_s += next(seconds)

        return Kernel(name, work, call)


@pytest.fixture
def machine() -> Work:
    return Work()


def test_the_first_call_only_warms_up(machine: Work) -> None:
    kernel = machine.kernel("mm", 10.0, iter([100.0, 2.0, 1.0, 2.0, 2.0, 2.0]))
    assert rates(kernel, machine.clock, seconds=5.0) == [5.0, 10.0, 5.0, 5.0, 5.0]


def test_a_slow_kernel_ends_after_four_times_its_share(machine: Work) -> None:
    kernel = machine.kernel("mm", 10.0, repeat(10.0))
    assert rates(kernel, machine.clock, seconds=5.0) == [1.0, 1.0]


def test_a_clock_that_stands_still_gives_no_rate_and_ends(machine: Work) -> None:
    assert best([machine.kernel("mm", 10.0, repeat(0.0))], machine.clock) is None


def test_the_ceiling_is_the_best_repeat_of_any_kernel_with_that_kernel_s_spread(
    machine: Work,
) -> None:
    slow = machine.kernel("slow", 1.0, repeat(1.0))
    fast = machine.kernel("fast", 4.0, iter([1.0, 1.0, 0.5, 1.0, 1.0, 1.0]))
    found = best([slow, fast], machine.clock)
    assert found is not None
    assert (found["kernel"], found["per_s"], found["median_per_s"]) == ("fast", 8.0, 4.0)
    assert found["spread"] >= 0


def test_sizes_grow_until_a_call_would_take_too_long(machine: Work) -> None:
    # At 10 a second a work of 5 takes half a second, one of 10 a whole one.
    def sized(work: float) -> Kernel:
        return machine.kernel(f"mm {work:g}", work, repeat(work / 10))

    best((sized(w) for w in (1.0, 5.0, 10.0, 1.0)), machine.clock, grows=True)
    assert set(machine.calls) == {"mm 1", "mm 5"}


def test_arrays_are_beyond_the_cache_and_within_memory() -> None:
    mib = 2**20
    assert [4 * n // mib for n in array_counts(32 * mib, 64 * 1024 * mib)] == [512, 1024]
    assert [4 * n // mib for n in array_counts(1 * mib, None)] == [256]
    assert [4 * n // mib for n in array_counts(None, 1024 * mib)] == [128]
    assert [4 * n // mib for n in array_counts(512 * mib, None)] == [1024]


def test_the_last_level_is_the_largest_cache(tmp_path: Path) -> None:
    folder = tmp_path / "devices" / "system" / "cpu" / "cpu0" / "cache"
    for index, size in enumerate(["48K", "1024K", "32M", ""]):
        (folder / f"index{index}").mkdir(parents=True)
        (folder / f"index{index}" / "size").write_text(f"{size}\n")
    assert last_level_bytes(tmp_path) == 32 * 2**20
    assert last_level_bytes(tmp_path / "nowhere") is None


@pytest.mark.parametrize(
    ("threads", "other_cpu_s", "crowded"),
    # Two cores for 10 s: others that take 8 s leave a core for one thread, not for two.
    [(2, 8.0, 0.8), (1, 8.0, 0.0), (2, 0.0, 0.0), (2, None, None)],
)
def test_threads_are_crowded_where_others_take_their_cores(
    threads: int, other_cpu_s: float | None, crowded: float | None
) -> None:
    found = crowded_cores(threads, 2, other_cpu_s, seconds=10.0)
    assert found == (None if crowded is None else pytest.approx(crowded))


def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ceilings, "SIZES", {"cpu": (16, 32)})
    monkeypatch.setattr(ceilings, "_KERNEL_S", 0.0)
    monkeypatch.setattr(ceilings, "array_counts", lambda *_: [1024])
    monkeypatch.setattr(ceilings, "rates", lambda kernel, clock: rates(kernel, clock, 0.0))


def ticking() -> Callable[[], float]:
    ticks = iter(range(10**6))
    return lambda: next(ticks) * TICK_S


@pytest.fixture
def threads_restored() -> Iterator[None]:
    import torch

    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("threads_restored")
def test_torch_gives_a_peak_of_every_dtype_and_a_bandwidth(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    small(monkeypatch)
    said: list[str] = []
    found = ceilings.measure("cpu", 1, said.append, ticking())
    assert set(found["flops_per_s"]) | set(found["missing"]) == set(ceilings.DTYPES["cpu"])
    # One tick a call: 2 x 32^3 FLOPs; the triad moves 3 arrays of 4 x 1024 bytes.
    assert found["flops_per_s"]["float32"]["per_s"] == 2.0 * 32**3 / TICK_S
    assert found["bytes_per_s"]["per_s"] == 3 * 4.0 * 1024 / TICK_S
    assert said[-1] == "memory bandwidth"


def test_without_torch_numpy_gives_the_bandwidth_and_peaks_have_a_reason(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    small(monkeypatch)
    monkeypatch.setitem(sys.modules, "torch", None)
    found = ceilings.measure("cpu", 2, lambda _: None, ticking())
    assert found["torch"] is None
    assert found["flops_per_s"] == {}
    assert "torch is not installed" in found["missing"]["float32"]
    assert found["bytes_per_s"]["per_s"] == 2 * 4.0 * 1024 / TICK_S
