"""From observations to the numbers of a record: measurements, and comparisons with a baseline.

The runner calls this once, when the record is written; ``verify`` calls it again.
"""

from __future__ import annotations

from collections.abc import Mapping

from leanboard.metrics.comparison import compare, ratio_provenance
from leanboard.metrics.intervals import METHOD_VERSION
from leanboard.metrics.metric import Kind, Metric, Samples
from leanboard.metrics.pairs import paired_ratios
from leanboard.metrics.registry import METRICS
from leanboard.metrics.roofline import Bound, bound_of
from leanboard.metrics.stability import judge
from leanboard.metrics.summary import summarise
from leanboard.metrics.trace import (
    AnswerObservation,
    Observation,
    RequestObservation,
)
from leanboard.results.output_comparisons import output_comparisons
from leanboard.results.schema import Cause, Comparison, Measurement, RunPhase, Stability
from leanboard.results.score_comparisons import score_comparisons
from leanboard.results.stored import fits_in_a_record, stored_interval
from leanboard.results.traces import kind_of


def measurements(observation: Observation) -> dict[str, Measurement]:
    """Return every metric that applies to the observation, with a reason where it has no value."""
    return {metric.name: _measurement(metric, observation) for metric in _metrics_of(observation)}


def comparisons(
    candidate: Observation, baseline: Observation, baseline_run: str
) -> tuple[Comparison, ...]:
    """Return every paired metric of a candidate against its baseline, and whether it is lossless.

    What timed outputs give says :func:`leanboard.results.output_comparisons.output_comparisons`,
    what scored answers give :func:`leanboard.results.score_comparisons.score_comparisons`.

    Args:
        candidate: observation of an arm with techniques.
        baseline: observation of the arm without, from the same block.
        baseline_run: run id of the baseline.
    """
    if isinstance(candidate, AnswerObservation) and isinstance(baseline, AnswerObservation):
        return score_comparisons(candidate, baseline, baseline_run)
    ratios = [
        _ratio(metric, candidate, baseline, baseline_run)
        for metric in _metrics_of(candidate)
        if metric.paired
    ]
    if isinstance(candidate, RequestObservation) and isinstance(baseline, RequestObservation):
        ratios.extend(output_comparisons(candidate, baseline, baseline_run))
    return tuple(ratios)


def stability(observation: RequestObservation) -> Stability:
    """Return whether a run's samples and surroundings allow one to trust its numbers."""
    judgement = judge(observation)
    return Stability(
        stable=judgement.stable,
        causes=tuple(Cause(kind=c.kind, message=c.message) for c in judgement.causes),
        figures=dict(judgement.figures),
    )


def bounds(measured: Mapping[str, Measurement]) -> dict[RunPhase, Bound]:
    """Return what bounds each phase, where both of its utilisations are known."""
    found: dict[RunPhase, Bound] = {}
    for phase in RunPhase:
        mfu, mbu = (measured.get(f"{name}_{phase.value}") for name in ("mfu", "mbu"))
        if mfu is None or mbu is None or mfu.value is None or mbu.value is None:
            continue
        found[phase] = bound_of(mfu.value, mbu.value)
    return found


def _metrics_of(observation: Observation) -> list[Metric]:
    kind = Kind(kind_of(observation))
    recorded = {None, *(series.name for series in observation.series)}
    return [m for m in METRICS if kind in m.kinds and m.series in recorded]


def _measurement(metric: Metric, observation: Observation) -> Measurement:
    drawn = metric.reduce(observation)
    estimate = summarise(metric, drawn)
    samples = drawn if isinstance(drawn, Samples) else None
    fits = samples is not None and fits_in_a_record(samples.values, samples.weights or ())
    inline = samples if fits else None
    return Measurement(
        value=estimate.value,
        unit=metric.unit,
        n=estimate.n,
        summary=metric.summary.value,
        provenance=None if samples is None else samples.provenance,
        method_version=METHOD_VERSION,
        interval=stored_interval(estimate.interval),
        stderr=estimate.stderr,
        samples=None if inline is None else inline.values,
        weights=None if inline is None else inline.weights,
        reason=estimate.reason,
    )


def _ratio(
    metric: Metric, candidate: Observation, baseline: Observation, baseline_run: str
) -> Comparison:
    estimate = compare(metric, paired_ratios(metric, candidate, baseline))
    known = estimate.value is not None
    return Comparison(
        metric=metric.name,
        statistic="ratio",
        baseline_run=baseline_run,
        value=estimate.value,
        interval=stored_interval(estimate.interval),
        n=estimate.n,
        launches=estimate.launches,
        pairs=estimate.ratios if known else None,
        verdict=estimate.verdict,
        provenance=ratio_provenance(metric, candidate, baseline) if known else None,
        method_version=METHOD_VERSION,
        reason=estimate.reason,
    )
