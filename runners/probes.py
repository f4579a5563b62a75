"""Energy probes: windows of time, each with its joules and where they come from."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import util

from leanboard.metrics.trace import Provenance
from leanboard.runners.backends.base import Device
from leanboard.runners.meters import CODECARBON, NONE, Meter, cpu_meter, gpu_meter

Clock = Callable[[], float]


@dataclass(frozen=True, slots=True)
class Reading:
    """What a probe says of one window; ``reason`` says why where ``energy_j`` is ``None``."""

    started_s: float
    ended_s: float
    energy_j: float | None
    source: str
    provenance: Provenance
    reason: str | None = None


class Window:
    """An energy window; its reading is there once it is closed."""

    def __init__(self) -> None:
        self._reading: Reading | None = None

    @property
    def reading(self) -> Reading:
        """The reading of the closed window.

        Raises:
            RuntimeError: if the window is still open.
        """
        if self._reading is None:
            raise RuntimeError("the energy window is still open")
        return self._reading

    def close(self, reading: Reading) -> None:
        """Set the reading."""
        self._reading = reading


class Probe:
    """Opens windows on a meter.

    Args:
        meter: what counts.
        clock: seconds, monotonic.
    """

    def __init__(self, meter: Meter, clock: Clock = time.perf_counter) -> None:
        self._meter = meter
        self._clock = clock

    @property
    def source(self) -> str:
        """Name of what counts."""
        return self._meter.source

    @contextmanager
    def window(self) -> Iterator[Window]:
        """Count the joules of what runs inside; the reading is there also after an error."""
        window = Window()
        self._meter.start()
        started_s = self._clock()
        try:
            yield window
        finally:
            ended_s = self._clock()
            energy_j = self._meter.stop()
            reason = self._meter.reason if energy_j is None else None
            meter = self._meter
            window.close(
                Reading(started_s, ended_s, energy_j, meter.source, meter.provenance, reason)
            )


def choose_probe(device: Device) -> Probe:
    """Return the best probe that is really there for a device.

    A GPU has NVML's counter. A CPU has codecarbon's model; a RAPL meter would come before it.
    """
    return Probe(gpu_meter() if device.kind == "cuda" else cpu_meter())


def expected_source(device_kind: str) -> str:
    """Return the name of the probe that ``choose_probe`` would use, without starting it."""
    if device_kind == "cuda":
        return gpu_meter().source
    return CODECARBON if util.find_spec("codecarbon") is not None else NONE
