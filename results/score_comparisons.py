"""Scored answers against the baseline's: scores on the same items, and fidelity."""

from __future__ import annotations

from leanboard.metrics.fidelity import FidelityEstimate, fidelity_comparisons
from leanboard.metrics.intervals import METHOD_VERSION
from leanboard.metrics.metric import Direction, Kind, Metric, Missing, Role
from leanboard.metrics.paired_scores import ScoreEstimate, compare_scores
from leanboard.metrics.registry import METRICS
from leanboard.metrics.trace import AnswerObservation, Provenance
from leanboard.results.schema import Comparison
from leanboard.results.stored import fits_in_a_record, stored_interval

SCORES: tuple[Metric, ...] = tuple(
    metric
    for metric in METRICS
    if Kind.ANSWERS in metric.kinds
    and metric.role is Role.QUALITY
    and metric.direction is not Direction.NEUTRAL
)
"""The metrics that are compared with the baseline's answers."""


def score_comparisons(
    candidate: AnswerObservation, baseline: AnswerObservation, baseline_run: str
) -> tuple[Comparison, ...]:
    """Return every score that an arm has against the baseline's, then what fidelity there is.

    A score has the statistics ``difference`` (with its standard error and, where items are right or
    wrong, McNemar's exact p) and ``ratio``, which the gate reads; both with an interval over items.
    A score that neither arm has is left out.

    Args:
        candidate: scored items of an arm with techniques.
        baseline: scored items of the arm without.
        baseline_run: run id of the baseline.
    """
    scores = [
        _of_score(estimate, metric.name, baseline_run)
        for metric in SCORES
        if _has(metric, candidate) or _has(metric, baseline)
        for estimate in compare_scores(metric, candidate, baseline)
    ]
    fidelity = fidelity_comparisons(candidate, baseline)
    return (*scores, *(_of_fidelity(estimate, baseline_run) for estimate in fidelity))


def _has(metric: Metric, observation: AnswerObservation) -> bool:
    return not isinstance(metric.reduce(observation), Missing)


def _of_score(found: ScoreEstimate, name: str, baseline_run: str) -> Comparison:
    return _stored(found, name, baseline_run, found.provenance, found.p_value)


def _of_fidelity(found: FidelityEstimate, baseline_run: str) -> Comparison:
    provenance = None if found.value is None else Provenance.MEASURED
    return _stored(found, found.metric, baseline_run, provenance)


def _stored(
    found: ScoreEstimate | FidelityEstimate,
    metric: str,
    baseline_run: str,
    provenance: Provenance | None,
    p_value: float | None = None,
) -> Comparison:
    return Comparison(
        metric=metric,
        statistic=found.statistic,
        baseline_run=baseline_run,
        value=found.value,
        interval=stored_interval(found.interval),
        n=found.n,
        pairs=_inline(found.pairs),
        verdict=found.verdict,
        provenance=provenance,
        method_version=METHOD_VERSION,
        reason=found.reason,
        stderr=found.stderr,
        p_value=p_value,
    )


def _inline(pairs: tuple[float, ...] | None) -> tuple[float, ...] | None:
    return pairs if pairs is not None and fits_in_a_record(pairs) else None
