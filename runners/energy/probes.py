"""Energy probes: windows of time, each with its joules and where they come from."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

from leanboard.metrics.trace import Provenance
from leanboard.runners.backends.base import Device
from leanboard.runners.energy import nvml_energy, rapl
from leanboard.runners.energy.curve import MIN_UPDATES
from leanboard.runners.energy.meters import (
    CODECARBON,
    NONE,
    Drawn,
    Meter,
    MeterError,
    MeterGoneError,
    NullMeter,
    find_codecarbon,
    open_codecarbon,
)

Clock = Callable[[], float]
Others = Callable[[], int | None]
"""Says how many processes of others use the device; ``None`` if that is not known."""

OTHERS_UNKNOWN = (
    "it is not known whether others used the GPU: its joules are of the whole device, and the "
    "driver does not say whose processes are on it (in a container: start it with the host's "
    "process numbers, --pid=host)"
)


@dataclass(frozen=True, slots=True)
class Reading:
    """What a probe says of one window.

    Args:
        reason: why ``energy_j`` is ``None``.
    """

    started_s: float
    ended_s: float
    energy_j: float | None
    source: str
    provenance: Provenance
    reason: str | None = None

    def spoilt(self, reason: str) -> Reading:
        """Return the same without joules, for a reason."""
        return replace(self, energy_j=None, reason=reason)


class Window:
    """An energy window; its reading is there once it is closed."""

    def __init__(self) -> None:
        self._reading: Reading | None = None
        self._drawn: Drawn | None = None

    @property
    def reading(self) -> Reading:
        """The reading of the closed window.

        Raises:
            RuntimeError: if the window is still open.
        """
        if self._reading is None:
            raise RuntimeError("the energy window is still open")
        return self._reading

    def part(self, started_s: float, ended_s: float) -> Reading:
        """Return the reading of a part of the closed window, on the same clock."""
        whole = replace(self.reading, started_s=started_s, ended_s=ended_s)
        if self._drawn is None or whole.energy_j is None:
            return whole
        inside = self.reading.started_s <= started_s < ended_s <= self.reading.ended_s
        if not inside:
            return whole.spoilt("the part is not inside its window")
        try:
            return replace(whole, energy_j=self._drawn.between_j(started_s, ended_s))
        except MeterError as error:
            return whole.spoilt(str(error))

    def close(self, reading: Reading, drawn: Drawn | None = None) -> None:
        """Set the reading, and what its parts can be read off."""
        self._reading = reading
        self._drawn = drawn


class Probe:
    """Opens windows on a meter, one at a time. A meter that fails gives reasons, never an error.

    Args:
        meter: what counts.
        clock: seconds, monotonic.
        refusals: why each better source was not taken, as ``source: reason``.
        others: how many processes of others use the device: its joules are then not of the arm.
            Asked when a window starts and when it ends: a process that comes and goes in between
            is not seen, and its joules are counted as the arm's. Where it cannot say, there are
            no joules.
    """

    def __init__(
        self,
        meter: Meter,
        clock: Clock = time.perf_counter,
        refusals: tuple[str, ...] = (),
        others: Others | None = None,
    ) -> None:
        self.refusals = refusals
        self.clock = clock
        self._meter = meter
        self._others = others
        self._gone = meter.reason if isinstance(meter, NullMeter) else None

    @property
    def source(self) -> str:
        """Name of what counts."""
        return self._meter.source

    @property
    def provenance(self) -> Provenance:
        """Whether it measures or models."""
        return self._meter.provenance

    @property
    def covers(self) -> str:
        """What the joules are of."""
        return self._meter.covers

    @property
    def min_window_s(self) -> float:
        """Shortest window that has joules."""
        return MIN_UPDATES * self._meter.resolution_s

    @property
    def gone(self) -> str | None:
        """Why there will be no more joules; ``None`` while the meter works."""
        return self._gone

    def nothing(self, reason: str) -> Reading:
        """Return the reading of a window that is not worth opening."""
        now_s = self.clock()
        return Reading(now_s, now_s, None, self.source, self.provenance, reason)

    @contextmanager
    def window(self) -> Iterator[Window]:
        """Count the joules of what runs inside; the reading is there also after an error."""
        window = Window()
        spoilt = self._open()
        started_s = self.clock()
        try:
            yield window
        finally:
            self._close(window, started_s, self.clock(), spoilt)

    def _open(self) -> str | None:
        """Start the meter; return why the window will not be valid, if that is known already."""
        if self._gone is not None:
            return self._gone
        try:
            self._meter.start()
        except MeterError as error:
            return self._lost(error)
        return self._company("start")

    def _close(self, window: Window, started_s: float, ended_s: float, spoilt: str | None) -> None:
        blank = Reading(started_s, ended_s, None, self.source, self.provenance)
        spoilt = spoilt or _clock_fault(started_s, ended_s)
        if self._gone is not None:
            window.close(replace(blank, reason=spoilt or self._gone))
            return
        try:
            drawn = self._meter.stop()
            energy_j = drawn.total_j(started_s, ended_s)
        except MeterError as error:
            lost = self._lost(error)
            window.close(replace(blank, reason=spoilt or lost))
            return
        spoilt = spoilt or self._company("end")
        if spoilt is not None:
            window.close(replace(blank, reason=spoilt))
        else:
            window.close(replace(blank, energy_j=energy_j), drawn)

    def _lost(self, error: MeterError) -> str:
        if isinstance(error, MeterGoneError):
            self._gone = str(error)
        return str(error)

    def _company(self, when: str) -> str | None:
        count = 0 if self._others is None else self._others()
        if count is None:
            return OTHERS_UNKNOWN
        if count == 0:
            return None
        return (
            f"{count} other process{'es' * (count > 1)} used the GPU at the window's {when}: "
            "its joules are of the whole device"
        )


def _clock_fault(started_s: float, ended_s: float) -> str | None:
    if ended_s > started_s:
        return None
    return f"the clock did not go forward: {ended_s - started_s:g} s from start to end"


@dataclass(frozen=True, slots=True)
class Source:
    """One way to joules.

    Args:
        name: of the probe.
        find: looks for it, quickly; raises MeterError with the reason.
        open: makes the meter, which may take seconds; raises MeterError with the reason.
    """

    name: str
    find: Callable[[], object]
    open: Callable[[], Meter]


def sources(device_kind: str) -> tuple[Source, ...]:
    """Return the ways to the joules of a device, best first. A GPU's are never modelled."""
    if device_kind == "cuda":
        return (
            Source(nvml_energy.COUNTER, nvml_energy.find_counter, nvml_energy.open_counter),
            Source(nvml_energy.POWER, nvml_energy.find_power, nvml_energy.open_power),
        )
    return (
        Source(rapl.RAPL, rapl.find, rapl.open_meter),
        Source(CODECARBON, find_codecarbon, open_codecarbon),
    )


def choose_probe(device: Device, others: Others | None = None) -> Probe:
    """Return the best probe that is really there for a device, and why not a better one."""
    refusals: list[str] = []
    for source in sources(device.kind):
        try:
            return Probe(source.open(), refusals=tuple(refusals), others=others)
        except MeterError as error:
            refusals.append(f"{source.name}: {error}")
    return Probe(NullMeter("; ".join(refusals)), refusals=tuple(refusals))


def look(device_kind: str) -> tuple[str, tuple[str, ...]]:
    """Return the source that ``choose_probe`` would try first to open, and the refusals before it.

    Nothing is started.
    """
    refusals: list[str] = []
    for source in sources(device_kind):
        try:
            source.find()
        except MeterError as error:
            refusals.append(f"{source.name}: {error}")
        else:
            return source.name, tuple(refusals)
    return NONE, tuple(refusals)


def expected_source(device_kind: str) -> str:
    """Return the name of the probe that ``choose_probe`` would use, without starting it."""
    return look(device_kind)[0]
