"""A candidate against its baseline: one ratio a round, and what their interval says."""

from __future__ import annotations

from dataclasses import dataclass, replace

from leanboard.metrics.intervals import Interval, geometric_mean, log_ratio_interval
from leanboard.metrics.metric import (
    Direction,
    Metric,
    Missing,
    Role,
    Samples,
    Summary,
    Verdict,
)
from leanboard.metrics.summary import point
from leanboard.metrics.trace import (
    Observation,
    Phase,
    Provenance,
    RequestObservation,
    weakest,
)

MIN_ROUNDS = 8
"""Fewest paired rounds for which a comparison gets an interval and a verdict."""


@dataclass(frozen=True, slots=True)
class RatioEstimate:
    """Candidate / baseline.

    Args:
        value: geometric mean of the rounds' ratios; ``None`` if there is none.
        interval: 95% interval of it; ``None`` for fewer than ``MIN_ROUNDS`` rounds.
        n: number of paired rounds.
        verdict: what the interval and the metric's direction allow one to say.
        ratios: one a round, in the order of the rounds.
        reason: why the verdict is undecided; ``None`` if it is not.
    """

    value: float | None
    interval: Interval | None
    n: int
    verdict: Verdict
    ratios: tuple[float, ...] = ()
    reason: str | None = None


def paired_ratios(
    metric: Metric, candidate: Observation, baseline: Observation
) -> tuple[float, ...] | Missing:
    """Return candidate / baseline for each round that both arms have, in the rounds' order.

    A round's value is the median of its samples (for a ratio of sums, the ratio of that round's
    sums). A round that an arm lacks is dropped. A metric of one value a run gives one ratio.
    Joules are compared only where both arms measured them: with a modelled constant power the
    ratio would be time in disguise.
    """
    if metric.summary is Summary.SINGLE:
        return _single_ratio(metric, candidate, baseline)
    if not isinstance(candidate, RequestObservation) or not isinstance(
        baseline, RequestObservation
    ):
        return Missing("only generation requests are measured in rounds")
    refusal = _refusal(metric, candidate, baseline)
    if refusal is not None:
        return refusal
    ours, theirs = _by_round(metric, candidate), _by_round(metric, baseline)
    shared = sorted(ours.keys() & theirs.keys())
    if not shared:
        return Missing("candidate and baseline share no round")
    pairs = [(ours[number], theirs[number]) for number in shared]
    if any(value <= 0 for pair in pairs for value in pair):
        return Missing("a ratio needs values above 0 in every round")
    return tuple(a / b for a, b in pairs)


def compare(metric: Metric, ratios: tuple[float, ...] | Missing) -> RatioEstimate:
    """Return the geometric mean of paired ratios, its interval (t on log ratios) and the verdict.

    Raises:
        ValueError: if a ratio is not positive.
    """
    if isinstance(ratios, Missing) or not ratios:
        reason = ratios.reason if isinstance(ratios, Missing) else "there is no paired round"
        return RatioEstimate(None, None, 0, Verdict.UNDECIDED, reason=reason)
    n, value = len(ratios), geometric_mean(ratios)
    if metric.summary is Summary.SINGLE:
        reason = "one value a run: a ratio without an interval"
        return RatioEstimate(value, None, n, Verdict.UNDECIDED, ratios, reason)
    if n < MIN_ROUNDS:
        reason = f"a verdict needs {MIN_ROUNDS} paired rounds, there are {n}"
        return RatioEstimate(value, None, n, Verdict.UNDECIDED, ratios, reason)
    interval = log_ratio_interval(ratios)
    if interval is None or metric.direction is Direction.NEUTRAL:
        reason = "neither direction of this metric is better"
        return RatioEstimate(value, interval, n, Verdict.UNDECIDED, ratios, reason)
    return RatioEstimate(value, interval, n, verdict_of(interval, metric.direction), ratios)


def verdict_of(interval: Interval, direction: Direction) -> Verdict:
    """Return what the interval of a ratio says, given which way is better.

    Raises:
        ValueError: if neither way is better.
    """
    if direction is Direction.NEUTRAL:
        raise ValueError("a metric without a better direction has no verdict")
    if interval.low <= 1 <= interval.high:
        return Verdict.NO_DIFFERENCE_SHOWN
    smaller = interval.high < 1
    return Verdict.BETTER if smaller == (direction is Direction.LOWER) else Verdict.WORSE


def ratio_provenance(
    metric: Metric, candidate: Observation, baseline: Observation
) -> Provenance | None:
    """Return what a ratio of the two may claim; ``None`` if an arm has no value."""
    drawn = [metric.reduce(observation) for observation in (candidate, baseline)]
    found = [samples.provenance for samples in drawn if isinstance(samples, Samples)]
    return weakest(found) if len(found) == len(drawn) else None


def at_round(observation: RequestObservation, number: int) -> RequestObservation:
    """Return what one round saw. Idle windows belong to every round."""
    return replace(
        observation,
        requests=tuple(r for r in observation.requests if r.round == number),
        windows=tuple(w for w in observation.windows if w.round == number or w.phase is Phase.IDLE),
    )


def _refusal(metric: Metric, candidate: Observation, baseline: Observation) -> Missing | None:
    for arm, observation in (("candidate", candidate), ("baseline", baseline)):
        drawn = metric.reduce(observation)
        if isinstance(drawn, Missing):
            return Missing(f"{arm}: {drawn.reason}")
        if metric.role is Role.ENERGY and drawn.provenance is not Provenance.MEASURED:
            return Missing(f"{drawn.provenance.value} joules are shown, never compared")
    return None


def _single_ratio(
    metric: Metric, candidate: Observation, baseline: Observation
) -> tuple[float, ...] | Missing:
    refusal = _refusal(metric, candidate, baseline)
    if refusal is not None:
        return refusal
    values = [
        point(metric, drawn)
        for observation in (candidate, baseline)
        if isinstance(drawn := metric.reduce(observation), Samples)
    ]
    if any(value <= 0 for value in values):
        return Missing("a ratio needs values above 0")
    return (values[0] / values[1],)


def _by_round(metric: Metric, observation: RequestObservation) -> dict[int, float]:
    whole = metric.reduce(observation)
    provenance = whole.provenance if isinstance(whole, Samples) else None
    numbers = {r.round for r in observation.requests if not r.warmup}
    numbers |= {w.round for w in observation.windows if w.phase is not Phase.IDLE}
    drawn = {number: metric.reduce(at_round(observation, number)) for number in sorted(numbers)}
    found = {number: s for number, s in drawn.items() if isinstance(s, Samples)}
    # A round that only a weaker source has read must not slip in among measured ones.
    return {
        number: point(metric, samples)
        for number, samples in found.items()
        if samples.provenance is provenance
    }
