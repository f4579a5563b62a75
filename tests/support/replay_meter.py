"""Meters that need no hardware: told energies, and a world whose clock and power are replayed."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from leanboard.metrics.trace import Provenance
from leanboard.runners.energy.counters import Counter
from leanboard.runners.energy.curve import Sample
from leanboard.runners.energy.meters import Drawn, Lump, MeterError, MeterGoneError


class ReplayMeter:
    """Gives the joules it was told, one a window; ``None`` and the end of the list give none."""

    covers = "a replay"
    resolution_s = 0.0

    def __init__(
        self, energies_j: Sequence[float | None], source: str, provenance: Provenance
    ) -> None:
        self.source = source
        self.provenance = provenance
        self._energies_j = iter(energies_j)

    def start(self) -> None:
        """Do nothing."""

    def stop(self) -> Drawn:
        """Return the next energy."""
        energy_j = next(self._energies_j, None)
        if energy_j is None:
            raise MeterError("the replay is over")
        return Lump(energy_j)


class World:
    """A clock that moves when told, and a device that draws power meanwhile.

    Args:
        trace: (from second, watts), in order; the first starts at 0.
    """

    def __init__(self, *trace: tuple[float, float], now_s: float = 0.0) -> None:
        self.trace = trace
        self.now_s = now_s
        self._samplers: list[WorldSampler] = []

    def clock(self) -> float:
        """Return the time."""
        return self.now_s

    def watts(self) -> float:
        """Return the power now."""
        return [power for start, power in self.trace if start <= self.now_s][-1]

    def joules(self, time_s: float | None = None) -> float:
        """Return the energy drawn from 0 until a time, or until now."""
        end_s = self.now_s if time_s is None else time_s
        stops = [start for start, _ in self.trace[1:]] + [math.inf]
        spans = zip(self.trace, stops, strict=True)
        return math.fsum(w * max(0.0, min(end_s, stop) - a) for (a, w), stop in spans)

    def wait(self, seconds: float) -> None:
        """Let time pass; what samples does so when it is due."""
        end_s = self.now_s + seconds
        while due := [s for s in self._samplers if s.due_s <= end_s]:
            sampler = min(due, key=lambda one: one.due_s)
            self.now_s = max(self.now_s, sampler.due_s)
            sampler.tick()
        self.now_s = end_s

    def sampler(self, take: Callable[[], Sample], period_s: float) -> WorldSampler:
        """Return a sampler that this clock drives."""
        made = WorldSampler(take, period_s, self)
        self._samplers.append(made)
        return made

    def counter(
        self,
        name: str = "GPU",
        *,
        joules_per_count: float = 1e-3,
        update_s: float = 0.1,
        wraps_at: int | None = None,
        offset: int = 0,
        share: float = 1.0,
    ) -> Counter:
        """Return a counter of a share of the energy that is updated now and then."""

        def read() -> int:
            updated_s = math.floor(self.now_s / update_s + 1e-9) * update_s
            counts = offset + math.floor(share * self.joules(updated_s) / joules_per_count)
            return counts if wraps_at is None else counts % wraps_at

        return Counter(name, read, joules_per_count, wraps_at)


class WorldSampler:
    """Takes samples when the world's clock says so."""

    def __init__(self, take: Callable[[], Sample], period_s: float, world: World) -> None:
        self.due_s = math.inf
        self._take = take
        self._period_s = period_s
        self._world = world
        self._samples: list[Sample] = []
        self._error: MeterError | None = None

    def start(self) -> None:
        """Begin."""
        self.due_s = self._world.now_s + self._period_s

    def tick(self) -> None:
        """Take one sample, if taking them has not failed yet."""
        self.due_s += self._period_s
        try:
            self._samples.append(self._take())
        except MeterError as error:
            self._error = error
            self.due_s = math.inf

    def stop(self) -> Sequence[Sample]:
        """End."""
        self.due_s = math.inf
        if self._error is not None:
            raise MeterGoneError(str(self._error))
        return self._samples
