"""Ceilings: the best repeat of the best kernel, by an injected clock."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from itertools import islice, repeat
from pathlib import Path
from typing import Any

import pytest
import torch
from fake_machine import FakeMachine

from leanboard.runners.machine import ceilings
from leanboard.runners.machine.ceilings import (
    Kernel,
    array_counts,
    best,
    last_level_bytes,
    rates,
    watched,
)
from leanboard.runners.machine.conditions import Watch

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


def test_a_processor_is_tried_by_onednn_too_with_the_same_product() -> None:
    sizes = ceilings.SIZES["cpu"]
    names = [kernel.name for kernel in islice(ceilings.matmuls("cpu", "float32"), 2)]
    assert names == [f"mm {sizes[0]}", f"oneDNN {sizes[0]}"]
    a, b = torch.randn(64, 64), torch.randn(64, 64)
    packed = ceilings._packed(a, b)
    assert packed is not None
    assert torch.allclose(packed(), a @ b, atol=1e-4)


def test_a_product_that_onednn_has_not_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise RuntimeError("no such path on this cpu")

    monkeypatch.setattr(torch.ops.mkldnn, "_reorder_linear_weight", refuse)
    names = [kernel.name for kernel in islice(ceilings.matmuls("cpu", "bfloat16"), 2)]
    assert names == [f"mm {size}" for size in ceilings.SIZES["cpu"][:2]]


class GpuLooks(Watch):
    """A watch that sees one process of others on the GPU at the second look only."""

    def gpu_others(self, ours: object) -> int | None:
        self.looks = getattr(self, "looks", 0) + 1
        return int(self.looks == 2)


def test_what_went_on_beside_the_work_is_with_what_was_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In 10 s of two cores (2,000 ticks) others take 300 ticks, and 40 are stolen."""
    fake, said = FakeMachine(tmp_path / "proc", tmp_path / "sys"), []
    fake.clocks(2000.0, 2000.0)
    fake.machine(busy=1000, idle=5000, stolen=100)
    fake.process(41, user=300, system=100, faults=7)

    def measure(device: str, threads: int, say: Callable[[str], None]) -> dict[str, Any]:
        say("float32 products")
        say("memory bandwidth")
        fake.machine(busy=2300, idle=5660, stolen=140)
        fake.process(41, user=1300, system=100, faults=7)
        return {"torch": None}

    monkeypatch.setattr(ceilings, "measure", measure)
    monkeypatch.setattr(ceilings.os, "getpid", lambda: 41)
    watch = GpuLooks(fake.proc, fake.sys, ticks_per_s=100)
    found = watched("cuda", 2, said.append, watch, iter([5.0, 15.0]).__next__)
    assert found == {
        "torch": None,
        "disturbance": {"other_cores": 0.3, "steal_share": 0.02, "gpu_others": 1},
    }
    assert said == ["float32 products", "memory bandwidth"]


def test_what_libraries_print_is_not_taken_for_a_message() -> None:
    code = (
        "import os\n"
        "from leanboard.runners.machine import ceilings\n"
        "def noisy(device, threads, say, watch):\n"
        "    print('Using', threads)\n"
        "    os.write(1, b'from C\\n')\n"
        "    say('products')\n"
        "    return {}\n"
        "ceilings.watched = noisy\n"
        "ceilings.main(['', str(os.getppid()), 'cpu', '1'])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.splitlines() == ['{"doing":"products"}', '{"found":{}}']
    assert sorted(done.stderr.splitlines()) == ["Using 1", "from C"]


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
