"""One arm against another on the items that both scored, from what their two records hold.

Each was compared with a baseline. What makes an item hard is in both arms and cancels in their
difference; two intervals against the baseline, held side by side, leave it in. The statistics are
those of :mod:`leanboard.metrics.paired_scores`.
"""

from __future__ import annotations

from dataclasses import dataclass

from leanboard.metrics.metric import Direction, Summary
from leanboard.metrics.paired_items import PairedItems
from leanboard.metrics.paired_scores import ScoreEstimate, compare_items
from leanboard.metrics.trace import Provenance, weakest
from leanboard.results.derive import FIDELITY
from leanboard.results.derived_columns import DERIVED
from leanboard.results.schema import Record
from leanboard.results.score_comparisons import SCORES
from leanboard.results.scores import variant_of
from leanboard.results.task_scores import task_of

_SCORES = {metric.name: metric for metric in SCORES}
_OVER_TOKENS = ("kl_to_baseline", "top1_agreement")


@dataclass(frozen=True, slots=True)
class _Drawn:
    values: tuple[float, ...]
    weights: tuple[float, ...] | None
    provenance: Provenance


def arm_against_arm(candidate: Record, other: Record, metric: str) -> ScoreEstimate | None:
    """Return how a score or a fidelity of one arm differs from another's, paired over items.

    Args:
        candidate: scoring run of the arm, with its samples.
        other: scoring run of the other arm.
        metric: a score (``bits_per_byte``), or a comparison of predictions or answers with the
            baseline's (``kl_to_baseline``); both arms must have the same baseline.

    Returns:
        The difference (of perplexities the ratio); ``None`` where the records do not hold samples
        of the same items, or neither direction of the metric is better.
    """
    kind = _kind(metric)
    if kind is None or variant_of(task_of(candidate)) != variant_of(task_of(other)):
        return None
    mine, theirs = _drawn(candidate, metric), _drawn(other, metric)
    if mine is None or theirs is None:
        return None
    if mine.weights != theirs.weights or len(mine.values) != len(theirs.values):
        return None
    items = PairedItems(
        candidate=mine.values,
        baseline=theirs.values,
        weights=mine.weights,
        provenance=weakest([mine.provenance, theirs.provenance]),
        windows=_tokens(candidate) is not None,
    )
    return compare_items(items, *kind)[0]


def _kind(metric: str) -> tuple[Summary, Direction] | None:
    """Return what stands for a metric's samples, and which way of it is better."""
    if metric in _SCORES:
        return _SCORES[metric].summary, _SCORES[metric].direction
    if metric not in FIDELITY or DERIVED[metric].direction is Direction.NEUTRAL:
        return None
    summary = Summary.RATIO_OF_SUMS if metric in _OVER_TOKENS else Summary.MEAN
    return summary, DERIVED[metric].direction


def _drawn(record: Record, metric: str) -> _Drawn | None:
    if metric in _SCORES:
        found = record.measurements.get(metric)
        if found is None or found.samples is None or found.provenance is None:
            return None
        return _Drawn(found.samples, found.weights, found.provenance)
    compared = next((c for c in record.comparisons if c.metric == metric), None)
    if compared is None or compared.pairs is None or compared.provenance is None:
        return None
    if metric not in _OVER_TOKENS:
        return _Drawn(compared.pairs, None, compared.provenance)
    tokens = _tokens(record)
    if tokens is None or len(tokens) != len(compared.pairs):
        return None
    sums = tuple(pair * n for pair, n in zip(compared.pairs, tokens, strict=True))
    return _Drawn(sums, tokens, compared.provenance)


def _tokens(record: Record) -> tuple[float, ...] | None:
    """Return the tokens of each window of a text; ``None`` where items are no windows."""
    found = record.measurements.get("perplexity")
    return None if found is None else found.weights
