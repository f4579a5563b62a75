"""From observations to the numbers of a record: measurements, and comparisons with a baseline.

The runner calls this once, when the record is written; ``verify`` calls it again.
"""

from __future__ import annotations

from leanboard.metrics.intervals import METHOD_VERSION
from leanboard.metrics.metric import Kind, Metric, Missing
from leanboard.metrics.registry import METRICS
from leanboard.metrics.summary import summarise
from leanboard.metrics.trace import Observation
from leanboard.results.schema import Measurement
from leanboard.results.traces import kind_of

INLINE_SAMPLES = 512
"""Longest list of samples that a record holds itself; longer ones stay in the traces."""


def measurements(observation: Observation) -> dict[str, Measurement]:
    """Return every metric that applies to the observation, with a reason where it has no value."""
    kind = Kind(kind_of(observation))
    return {m.name: _measurement(m, observation) for m in METRICS if kind in m.kinds}


def _measurement(metric: Metric, observation: Observation) -> Measurement:
    drawn = metric.reduce(observation)
    if isinstance(drawn, Missing):
        return Measurement(
            value=None,
            unit=metric.unit,
            n=0,
            summary=metric.summary.value,
            provenance=None,
            method_version=METHOD_VERSION,
            reason=drawn.reason,
        )
    estimate = summarise(metric, drawn)
    short = len(drawn.values) <= INLINE_SAMPLES
    return Measurement(
        value=estimate.value,
        unit=metric.unit,
        n=estimate.n,
        summary=metric.summary.value,
        provenance=drawn.provenance,
        method_version=METHOD_VERSION,
        interval=_interval(estimate.interval),
        stderr=estimate.stderr,
        samples=drawn.values if short else None,
        weights=drawn.weights if short else None,
        reason=estimate.reason,
    )
