"""Counters of energy: joules from their differences, with wraps, and how often they move."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from leanboard.metrics.trace import Provenance
from leanboard.runners.energy.curve import MIN_UPDATES, Curve, Sample, steps
from leanboard.runners.energy.meters import MeterError

MAX_POWER_W = 1000.0
"""More than any one domain of a processor draws; what implies more is a fault of its counter."""

STALL_S = 5.0
"""Longest time without a reading: a counter needs none in between, a clock that steps shows so."""

_POLL_S = 0.001
_PATIENCE_S = 2.0
_CHANGES = 6


@dataclass(frozen=True, slots=True)
class Counter:
    """One counter that only grows, until it wraps.

    Args:
        name: what its joules are of.
        read: returns its counts.
        joules_per_count: unit of the counts.
        wraps_at: counts after which it starts again at 0; ``None`` if it never does.
    """

    name: str
    read: Callable[[], int]
    joules_per_count: float
    wraps_at: int | None = None

    def used_j(self, before: float, after: float, span_s: float) -> float:
        """Return the joules between two readings, of which one wrap may lie in between.

        Args:
            before: counts of the first reading.
            after: counts of the second.
            span_s: seconds that the difference may stand for.

        Raises:
            MeterError: if it went backwards, or may have wrapped unseen.
        """
        counts = after - before
        if self.wraps_at is None:
            if counts < 0:
                raise MeterError(
                    f"the counter of {self.name} went back by {-counts * self.joules_per_count:g} J"
                )
            return counts * self.joules_per_count
        wrap_s = self.wraps_at * self.joules_per_count / MAX_POWER_W
        if span_s > wrap_s:
            raise MeterError(
                f"the counter of {self.name} may have wrapped unseen: no reading for "
                f"{span_s:.3g} s, and it can wrap in {wrap_s:.3g} s"
            )
        used_j = (counts if counts >= 0 else counts + self.wraps_at) * self.joules_per_count
        if not 0 <= used_j <= MAX_POWER_W * span_s:
            moved = "went back" if counts < 0 else "jumped"
            raise MeterError(
                f"the counter of {self.name} {moved}: {used_j:.3g} J in {span_s:.2g} s"
            )
        return used_j


@dataclass(frozen=True, slots=True)
class CounterGauge:
    """Counters that are read together; their joules are added up.

    Args:
        source: name of the probe.
        counters: at least one, none of which is part of another.
        resolution_s: time between two updates.
        period_s: time between two readings.
    """

    source: str
    counters: tuple[Counter, ...]
    resolution_s: float
    period_s: float
    provenance: Provenance = Provenance.MEASURED

    @property
    def covers(self) -> str:
        """What the joules are of."""
        return ", ".join(counter.name for counter in self.counters)

    def read(self) -> tuple[float, ...]:
        """Return the counts of each counter."""
        return tuple(counter.read() for counter in self.counters)

    def curve(self, samples: Sequence[Sample]) -> Curve:
        """Return the joules over time.

        Raises:
            MeterError: if a counter went back, stood still or may have wrapped unseen, or the
                clock stepped.
        """
        still_s = MIN_UPDATES * max(self.resolution_s, self.period_s)
        moved_s = samples[0].time_s
        joules = [0.0]
        for before, after in steps(samples, STALL_S):
            used_j = self._used_j(before, after)
            joules.append(joules[-1] + used_j)
            if used_j > 0:
                moved_s = after.time_s
            elif after.time_s - moved_s > still_s:
                raise MeterError(
                    f"the counter stood still for {after.time_s - moved_s:.3g} s; "
                    f"it moves every {self.resolution_s:.2g} s"
                )
        return Curve(tuple(s.time_s for s in samples), tuple(joules), self.resolution_s)

    def _used_j(self, before: Sample, after: Sample) -> float:
        # A counter that is read just after an update shows one update more than the time tells.
        span_s = after.time_s - before.time_s + self.resolution_s
        return sum(
            counter.used_j(first, second, span_s)
            for counter, first, second in zip(
                self.counters, before.values, after.values, strict=True
            )
        )


def update_s(
    counter: Counter,
    clock: Callable[[], float] = time.perf_counter,
    sleep: Callable[[float], None] = time.sleep,
) -> float:
    """Measure the time between two updates of a counter: the median of a few.

    Raises:
        MeterError: if it does not move.
    """
    started_s = clock()
    latest, changes_s = counter.read(), list[float]()
    while len(changes_s) < _CHANGES and clock() - started_s < _PATIENCE_S:
        sleep(_POLL_S)
        counts = counter.read()
        if counts != latest:
            latest = counts
            changes_s.append(clock())
    if len(changes_s) < _CHANGES:
        raise MeterError(
            f"the counter of {counter.name} moved {len(changes_s)} times in {_PATIENCE_S:g} s"
        )
    return statistics.median(after - before for before, after in pairwise(changes_s))
