"""Rounds paired: what a metric was for the candidate, over what it was for the baseline."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from leanboard.metrics.batches import launches_of_rounds
from leanboard.metrics.groups import grouped
from leanboard.metrics.intervals import geometric_mean
from leanboard.metrics.metric import Metric, Missing, Role, Samples, Summary
from leanboard.metrics.summary import point
from leanboard.metrics.trace import Observation, Phase, Provenance, RequestObservation


@dataclass(frozen=True, slots=True)
class PairedRatios:
    """Candidate / baseline, pair by pair.

    Args:
        values: one a round, in the order of the rounds; or the one of the whole runs.
        launches: for each round, the launch that it was part of; empty for the one ratio of a
            metric that rounds do not have.
    """

    values: tuple[float, ...]
    launches: tuple[int, ...] = ()

    def by_launch(self) -> tuple[float, ...]:
        """Return the geometric mean of each launch's ratios."""
        return tuple(geometric_mean(ratios) for ratios in grouped(self.values, self.launches))


def paired_ratios(
    metric: Metric, candidate: Observation, baseline: Observation
) -> PairedRatios | Missing:
    """Return candidate / baseline for each round that both arms have, in the rounds' order.

    A round's value is the median of its samples (for a ratio of sums, the ratio of that round's
    sums). A round that an arm lacks is dropped. A metric of one value a run is compared by its
    ``per_round`` values, or gives one ratio where an arm has none. Joules are compared only where
    both arms measured them: with a modelled constant power the ratio would be time in disguise.
    """
    if metric.summary is Summary.SINGLE and not _in_rounds(metric, candidate, baseline):
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
    return PairedRatios(tuple(a / b for a, b in pairs), launches_of_rounds(candidate, shared))


def at_round(observation: RequestObservation, number: int) -> RequestObservation:
    """Return what one round saw. Idle windows belong to every round."""
    return replace(
        observation,
        requests=tuple(r for r in observation.requests if r.round == number),
        rounds=tuple(seen for seen in observation.rounds if seen.round == number),
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


def _in_rounds(metric: Metric, candidate: Observation, baseline: Observation) -> bool:
    per_round = metric.per_round
    return per_round is not None and all(per_round(arm) for arm in (candidate, baseline))


def _single_ratio(
    metric: Metric, candidate: Observation, baseline: Observation
) -> PairedRatios | Missing:
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
    return PairedRatios((values[0] / values[1],))


def _by_round(metric: Metric, observation: RequestObservation) -> Mapping[int, float]:
    if metric.per_round is not None:
        return metric.per_round(observation)
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
