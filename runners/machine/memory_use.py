"""Memory of an arm over time, read from outside while the arm runs.

A thread of the orchestrator reads what the kernel, or the driver of a GPU, accounts to the arm's
process. Nothing is added to the process that is timed.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial

from leanboard.metrics.memory_over_time import MEMORY, MEMORY_TOTAL
from leanboard.metrics.trace import Provenance, Quantity, Series
from leanboard.runners.energy.curve import Sample
from leanboard.runners.energy.meters import MeterGoneError
from leanboard.runners.energy.sampled_meter import Sampler, Take, ThreadSampler
from leanboard.runners.machine import memory, nvml

PERIOD_S = 0.05
"""Time between two readings: short requests last a third of a second."""


@dataclass(frozen=True, slots=True)
class MemoryGauge:
    """What is read.

    Args:
        used: the bytes that a process uses now; ``None`` if it is gone or the system does not say.
        source: where these bytes come from.
        device: ``cpu`` or ``cuda``.
        total_bytes: the memory that there is; ``None`` if that is not known.
    """

    used: Callable[[int], int | None]
    source: str
    device: str
    total_bytes: int | None


@dataclass(slots=True)
class Readings:
    """The memory of a process in one window of time; without a value while the window is open."""

    series: Series


class MemoryWatch:
    """Reads the memory of one process at a time. Never raises for what the system hides.

    Args:
        gauge: what is read.
        clock: seconds, monotonic, the clock of the requests.
        sampler: makes what takes the readings inside a window.
    """

    def __init__(
        self,
        gauge: MemoryGauge,
        clock: Callable[[], float] = time.perf_counter,
        sampler: Callable[[Take, float], Sampler] = ThreadSampler,
    ) -> None:
        self._gauge = gauge
        self._clock = clock
        self._new_sampler = sampler

    @property
    def facts(self) -> Mapping[str, Quantity]:
        """The memory that there is, as far as it is known."""
        total = self._gauge.total_bytes
        return {} if total is None else {MEMORY_TOTAL: Quantity(total, "B", Provenance.MEASURED)}

    @contextmanager
    def window(self, pid: int) -> Iterator[Readings]:
        """Read while a process does what is inside; the readings are there once it is closed.

        There are none if one of them failed: the process may have ended, or not be shown.
        """
        readings = Readings(self._series(()))
        take = partial(self._take, pid)
        sampler = self._new_sampler(take, PERIOD_S)
        first = take()
        sampler.start()
        try:
            yield readings
        finally:
            with suppress(MeterGoneError):
                readings.series = self._series((first, *sampler.stop(), take()))

    def _take(self, pid: int) -> Sample:
        before_s = self._clock()
        used = self._gauge.used(pid)
        values = () if used is None else (float(used),)
        return Sample((before_s + self._clock()) / 2, values)

    def _series(self, samples: Sequence[Sample]) -> Series:
        known = samples if all(sample.values for sample in samples) else ()
        return Series(
            name=MEMORY,
            unit="B",
            source=self._gauge.source,
            provenance=Provenance.MEASURED,
            device=self._gauge.device,
            time_s=tuple(sample.time_s for sample in known),
            value=tuple(sample.values[0] for sample in known),
        )


def memory_watch_for(device_kind: str) -> MemoryWatch:
    """Return a watch for arms on ``cpu`` or ``cuda``."""
    total = memory.device_total_bytes(device_kind)
    if device_kind == "cuda":
        return MemoryWatch(MemoryGauge(_gpu_bytes(), "NVML", device_kind, total))
    return MemoryWatch(MemoryGauge(memory.resident_bytes, "/proc/PID/statm", device_kind, total))


def _gpu_bytes() -> Callable[[int], int | None]:
    library, _ = nvml.library()
    return (lambda _: None) if library is None else partial(nvml.process_memory_bytes, library)
