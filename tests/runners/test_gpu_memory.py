"""GPU memory: torch's peaks and the driver's count stand for an arm, never the host's."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from leanboard.metrics.trace import Provenance, Quantity
from leanboard.runners import wire
from leanboard.runners.arms import Seen
from leanboard.runners.backends import torch_cuda_memory
from leanboard.runners.backends.base import Device, ModelFiles, Request
from leanboard.runners.backends.torch_cuda_memory import CudaMemory, cuda_memory
from leanboard.runners.backends.torch_engine import TransformersEngine
from leanboard.runners.backends.transformers import TransformersBackend
from leanboard.runners.batch_facts import batch_facts
from leanboard.runners.machine import nvml

GPU = torch.device("cuda", 0)
HOST = {"resident": 90, "peak": 100, "anonymous": 60, "file_backed": 30}


class NVMLError(Exception):
    pass


def driver(processes: list[tuple[int, int | None]] | None) -> Any:
    """Return an NVML that shows these processes (pid, bytes) on GPU 0; ``None``: it fails."""

    def running(gpu: str) -> list[SimpleNamespace]:
        if processes is None or gpu != "gpu0":
            raise NVMLError("Not Supported")
        return [SimpleNamespace(pid=pid, usedGpuMemory=used) for pid, used in processes]

    return SimpleNamespace(
        NVMLError=NVMLError,
        nvmlDeviceGetHandleByIndex=lambda index: f"gpu{index}",
        nvmlDeviceGetComputeRunningProcesses=running,
    )


@pytest.fixture(autouse=True)
def _every_gpu_is_visible(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """Stand in for ``torch.cuda``'s statistics; return the calls as they come."""
    made: list[tuple[Any, ...]] = []

    def stand_in(name: str, answer: int | None) -> None:
        monkeypatch.setattr(
            torch.cuda, name, lambda *given: (made.append((name, *given)), answer)[1]
        )

    stand_in("empty_cache", None)
    stand_in("reset_peak_memory_stats", None)
    stand_in("max_memory_allocated", 300)
    stand_in("max_memory_reserved", 400)
    return made


def test_torch_s_peaks_and_the_driver_s_count_of_this_process_are_measured_bytes(calls) -> None:
    memory = CudaMemory(GPU, driver([(6, 999), (7, 500)]), pid=7)
    memory.reset()
    assert memory.facts() == {
        "peak_allocated_bytes": Quantity(300, "B", Provenance.MEASURED),
        "peak_reserved_bytes": Quantity(400, "B", Provenance.MEASURED),
        "process_memory_bytes": Quantity(500, "B", Provenance.MEASURED),
    }
    assert calls == [
        ("empty_cache",),
        ("reset_peak_memory_stats", GPU),
        ("max_memory_allocated", GPU),
        ("max_memory_reserved", GPU),
    ]


@pytest.mark.usefixtures("calls")
@pytest.mark.parametrize("processes", [None, [], [(6, 999)], [(7, None)]])
def test_what_the_driver_does_not_say_is_left_out(processes) -> None:
    assert nvml.process_memory_bytes(driver(processes), 7) is None
    facts = CudaMemory(GPU, driver(processes), pid=7).facts()
    assert sorted(facts) == ["peak_allocated_bytes", "peak_reserved_bytes"]


def test_a_process_that_holds_nothing_is_a_measured_zero() -> None:
    assert nvml.process_memory_bytes(driver([(7, 0)]), 7) == 0


@pytest.mark.usefixtures("calls")
def test_without_nvml_torch_s_peaks_remain(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch_cuda_memory.nvml, "library", lambda: (None, "no NVIDIA driver"))
    memory = cuda_memory(GPU)
    assert memory is not None
    assert sorted(memory.facts()) == ["peak_allocated_bytes", "peak_reserved_bytes"]


def test_only_a_gpu_is_watched(calls) -> None:
    assert cuda_memory(torch.device("cpu")) is None
    assert calls == []


class FakeMemory:
    """A GPU's memory that notes when it was looked at, on the engine's own clock."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.reset_at: list[float] = []
        self.read_at: list[float] = []

    def clock(self) -> float:
        self.now_s += 1.0
        return self.now_s

    def reset(self) -> None:
        self.reset_at.append(self.now_s)

    def facts(self) -> dict[str, Quantity]:
        self.read_at.append(self.now_s)
        value = 10.0 * len(self.read_at)
        return {"peak_allocated_bytes": Quantity(value, "B", Provenance.MEASURED)}


def test_the_engine_resets_the_peak_before_the_first_mark_and_reads_it_after_the_last(
    tiny_llama: ModelFiles,
) -> None:
    memory = FakeMemory()
    with TransformersBackend().load(tiny_llama, [], Device("cpu", 1, "float32")) as loaded:
        engine = TransformersEngine(
            loaded._target, loaded._tokenizer, clock=memory.clock, watch=lambda _: memory
        )
        assert "peak_allocated_bytes" not in engine.facts(), "nothing ran yet"
        (first,) = engine.generate([Request("a", "the rain", 3)])
        assert engine.facts()["peak_allocated_bytes"].value == 10.0
        (second,) = engine.generate([Request("a", "the rain", 3)])
        assert engine.facts()["peak_allocated_bytes"].value == 20.0
        assert "kv_bytes" in engine.facts()
    assert memory.reset_at == [first.sent_s - 1, second.sent_s - 1]
    # The streamer looks at the clock once more, for its own time.
    assert memory.read_at == [first.token_s[-1] + 1, second.token_s[-1] + 1]


def test_on_a_cpu_the_engine_tells_of_no_gpu(tiny_llama: ModelFiles, calls) -> None:
    with TransformersBackend().load(tiny_llama, [], Device("cpu", 1, "float32")) as engine:
        engine.generate([Request("a", "the rain", 2)])
        assert sorted(engine.facts()) == ["kv_bytes", "kv_tokens", "weight_bytes"]
    assert calls == []


def reply(memory: dict[str, int] | None, unknown: str | None = None, **facts: float) -> Any:
    plain = {name: Quantity(value, "B", Provenance.MEASURED) for name, value in facts.items()}
    return {"facts": wire.facts_to_wire(plain), "memory": memory, "peak_unknown": unknown}


def noted(*replies: Any) -> dict[str, float]:
    seen = Seen()
    for each in replies:
        seen.facts |= batch_facts(seen.facts, each)
    assert all(quantity.unit == "B" for quantity in seen.facts.values())
    return {name: quantity.value for name, quantity in seen.facts.items()}


def test_on_a_gpu_the_peak_is_the_process_s_use_there_and_not_the_host_s() -> None:
    gpu = {"peak_allocated_bytes": 3, "peak_reserved_bytes": 4, "process_memory_bytes": 5}
    assert noted(reply(HOST, **gpu)) == {**gpu, "peak_memory_bytes": 5}


def test_on_a_gpu_without_the_driver_s_word_there_is_no_peak() -> None:
    gpu = {"peak_allocated_bytes": 3, "peak_reserved_bytes": 4}
    assert noted(reply(HOST, **gpu)) == gpu


def test_each_gpu_peak_is_the_highest_of_all_batches_and_other_facts_are_the_latest() -> None:
    first = {"peak_allocated_bytes": 3, "peak_reserved_bytes": 9, "process_memory_bytes": 11}
    second = {"peak_allocated_bytes": 6, "peak_reserved_bytes": 8, "process_memory_bytes": 10}
    assert noted(reply(None, kv_bytes=2, **first), reply(None, kv_bytes=1, **second)) == {
        "peak_allocated_bytes": 6,
        "peak_reserved_bytes": 9,
        "process_memory_bytes": 11,
        "peak_memory_bytes": 11,
        "kv_bytes": 1,
    }


def test_on_a_cpu_the_highest_resident_set_counts_with_its_parts() -> None:
    higher = {"resident": 95, "peak": 120, "anonymous": 70, "file_backed": 25}
    lower = {"resident": 99, "peak": 110, "anonymous": 80, "file_backed": 19}
    facts = noted(reply(HOST, kv_bytes=1), reply(higher, kv_bytes=2), reply(lower, kv_bytes=3))
    assert facts["peak_memory_bytes"] == 120
    assert facts["kv_bytes"] == 3
    # The parts are those of the reading that set the peak.
    assert sorted(facts.values()) == [3, 25, 70, 120]


@pytest.mark.parametrize("each", [reply(None), reply(HOST, unknown="the kernel does not let it")])
def test_an_unknown_resident_peak_is_left_out(each) -> None:
    assert noted(each) == {}
