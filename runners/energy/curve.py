"""Joules over time, from readings of a counter or of power, and what may be read off them."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise

from leanboard.runners.energy.meters import MeterError

MIN_UPDATES = 10
"""Fewest updates of what is read that a window must hold: one more or less is then 10%."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One reading: counts of each counter, or watts."""

    time_s: float
    values: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Curve:
    """Joules since the first reading, at each reading.

    Args:
        times_s: times of the readings, not falling, two or more.
        joules: what had been used by then.
        resolution_s: time between two updates of what was read.
    """

    times_s: tuple[float, ...]
    joules: tuple[float, ...]
    resolution_s: float

    def total_j(self, started_s: float, ended_s: float) -> float:
        """Return the joules of the window that the readings were taken for.

        Raises:
            MeterError: if the window is too short for what was read, or a boundary lacks readings.
        """
        return self.between_j(started_s, ended_s)

    def between_j(self, started_s: float, ended_s: float) -> float:
        """Return the joules between two times, linearly interpolated between readings.

        Raises:
            MeterError: if the span is too short for what was read, or a boundary lacks readings.
        """
        length_s = ended_s - started_s
        if length_s < MIN_UPDATES * self.resolution_s:
            raise MeterError(
                f"{length_s:.3g} s window, what is read moves every {self.resolution_s:.2g} s: "
                f"{MIN_UPDATES} updates are needed"
            )
        reach_s = length_s / MIN_UPDATES
        used_j = self._at(ended_s, reach_s, "end") - self._at(started_s, reach_s, "start")
        if used_j <= 0:
            raise MeterError(f"no joules were counted in {length_s:.3g} s: the counter stood still")
        return used_j

    def _at(self, time_s: float, reach_s: float, which: str) -> float:
        if not self.times_s[0] <= time_s <= self.times_s[-1]:
            raise MeterError(f"there is no reading beyond the window's {which}")
        after = max(1, bisect_left(self.times_s, time_s))
        left_s, right_s = self.times_s[after - 1], self.times_s[after]
        far_s = min(time_s - left_s, right_s - time_s)
        if far_s > reach_s:
            raise MeterError(
                f"the nearest reading is {far_s:.3g} s from the window's {which}, "
                f"more than a tenth of the window"
            )
        if right_s == left_s:
            return self.joules[after]
        share = (time_s - left_s) / (right_s - left_s)
        return self.joules[after - 1] + share * (self.joules[after] - self.joules[after - 1])


def steps(samples: Sequence[Sample], longest_s: float) -> Iterator[tuple[Sample, Sample]]:
    """Give each reading with the next one.

    Raises:
        MeterError: if the clock went back, or two readings are further apart than ``longest_s``.
    """
    for before, after in pairwise(samples):
        step_s = after.time_s - before.time_s
        if step_s < 0:
            raise MeterError(f"the clock went back by {-step_s:.3g} s")
        if step_s > longest_s:
            raise MeterError(
                f"no reading for {step_s:.3g} s, at most {longest_s:.2g} s are allowed"
            )
        yield before, after


def integrated(samples: Sequence[Sample], longest_s: float, resolution_s: float) -> Curve:
    """Return the curve of power readings (watts), by the trapezoid rule.

    Raises:
        MeterError: if the clock went back or readings are missing.
    """
    parts = [
        (before.values[0] + after.values[0]) / 2 * (after.time_s - before.time_s)
        for before, after in steps(samples, longest_s)
    ]
    times_s = tuple(sample.time_s for sample in samples)
    return Curve(times_s, tuple(accumulate(parts, initial=0.0)), resolution_s)
