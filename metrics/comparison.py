"""A candidate against its baseline: one ratio a round, and what their interval says.

What differs between two processes of the same arm (where memory lies, how threads fall) stays the
same within each. So the independent unit is the launch, a pair of fresh processes: value and
interval are those of signed ranks over the mean log ratio of each launch (batch means). With one
process an arm they are the geometric mean over rounds and Student's interval, widened for
autocorrelation; its method says that it speaks for these two processes only.

Source: Kalibera and Jones, Rigorous benchmarking in reasonable time (2013).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from leanboard.metrics.autocorrelation import one_process_interval
from leanboard.metrics.intervals import Interval, geometric_mean
from leanboard.metrics.metric import Direction, Metric, Missing, Samples, Verdict
from leanboard.metrics.pairs import PairedRatios
from leanboard.metrics.signed_rank import ratio_centre, ratio_interval
from leanboard.metrics.trace import Observation, Provenance, weakest

MIN_ROUNDS = 8
"""Fewest paired rounds for which a comparison gets an interval and a verdict."""

MIN_LAUNCHES = 6
"""Fewest launches, if there is more than one: signed ranks of fewer have no interval."""


@dataclass(frozen=True, slots=True)
class RatioEstimate:
    """Candidate / baseline.

    Args:
        value: middle of the launches' geometric means, so that every launch weighs the same however
            many rounds it has; of one launch its geometric mean; ``None`` if there is no ratio.
        interval: 95% interval of it; ``None`` for fewer than ``MIN_ROUNDS`` rounds, and for
            several launches that are fewer than ``MIN_LAUNCHES``.
        n: number of paired rounds.
        verdict: what the interval and the metric's direction allow one to say.
        ratios: one a round, in the order of the rounds.
        reason: why the verdict is undecided; ``None`` if it is not.
        launches: number of launches that the rounds come from; 0 for a ratio of whole runs.
    """

    value: float | None
    interval: Interval | None
    n: int
    verdict: Verdict
    ratios: tuple[float, ...] = ()
    reason: str | None = None
    launches: int = 0


def compare(metric: Metric, pairs: PairedRatios | Missing) -> RatioEstimate:
    """Return the middle of paired ratios, its interval and the verdict.

    Raises:
        ValueError: if a ratio is not positive.
    """
    if isinstance(pairs, Missing) or not pairs.values:
        reason = pairs.reason if isinstance(pairs, Missing) else "there is no paired round"
        return RatioEstimate(None, None, 0, Verdict.UNDECIDED, reason=reason)
    units = pairs.by_launch() if pairs.launches else pairs.values
    found = RatioEstimate(
        value=geometric_mean(units) if len(units) == 1 else ratio_centre(units),
        interval=None,
        n=len(pairs.values),
        verdict=Verdict.UNDECIDED,
        ratios=pairs.values,
        reason=_too_few(pairs, len(units)),
        launches=len(units) if pairs.launches else 0,
    )
    if found.reason is not None:
        return found
    interval = _interval(pairs.values, units)
    if interval is None or metric.direction is Direction.NEUTRAL:
        reason = "neither direction of this metric is better"
        return replace(found, interval=interval, reason=reason)
    return replace(found, interval=interval, verdict=verdict_of(interval, metric.direction))


def _too_few(pairs: PairedRatios, launches: int) -> str | None:
    n = len(pairs.values)
    if not pairs.launches:
        return "one value a run: a ratio without an interval"
    if n < MIN_ROUNDS:
        return f"a verdict needs {MIN_ROUNDS} paired rounds, there are {n}"
    if 1 < launches < MIN_LAUNCHES:
        return f"a verdict needs {MIN_LAUNCHES} launches, or all in one, there are {launches}"
    return None


def _interval(ratios: tuple[float, ...], units: tuple[float, ...]) -> Interval | None:
    if len(units) == 1:
        return one_process_interval(ratios)
    interval = ratio_interval(units)
    return interval and replace(interval, method=f"{interval.method}, {len(units)} launches")


def verdict_of(interval: Interval, direction: Direction, same: float = 1.0) -> Verdict:
    """Return what the interval of a ratio says, given which way is better.

    Args:
        interval: of candidate against baseline.
        direction: which way is better.
        same: what it is where nothing differs: 1 for ratios, 0 for differences.

    Raises:
        ValueError: if neither way is better.
    """
    if direction is Direction.NEUTRAL:
        raise ValueError("a metric without a better direction has no verdict")
    if interval.low <= same <= interval.high:
        return Verdict.NO_DIFFERENCE_SHOWN
    smaller = interval.high < same
    return Verdict.BETTER if smaller == (direction is Direction.LOWER) else Verdict.WORSE


def ratio_provenance(
    metric: Metric, candidate: Observation, baseline: Observation
) -> Provenance | None:
    """Return what a ratio of the two may claim; ``None`` if an arm has no value."""
    drawn = [metric.reduce(observation) for observation in (candidate, baseline)]
    found = [samples.provenance for samples in drawn if isinstance(samples, Samples)]
    return weakest(found) if len(found) == len(drawn) else None
