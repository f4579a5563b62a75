"""Items paired: what a metric drew from each, for the candidate and for the baseline."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from leanboard.metrics.metric import Metric, Missing, Samples
from leanboard.metrics.trace import AnswerObservation, AnswerTrace, Provenance, weakest


@dataclass(frozen=True, slots=True)
class PairedItems:
    """What a metric drew from the items of both arms.

    Args:
        candidate: one sample an item (or window of a text).
        baseline: those of the same items, in the same order.
        weights: tokens or bytes of each window, the same for both arms; ``None`` for scores.
        provenance: the weaker of the two arms'.
        windows: whether a sample is a window of a text, not an item.
    """

    candidate: tuple[float, ...]
    baseline: tuple[float, ...]
    weights: tuple[float, ...] | None
    provenance: Provenance
    windows: bool = False

    @property
    def differences(self) -> tuple[float, ...]:
        """Candidate - baseline, item by item."""
        return tuple(c - b for c, b in zip(self.candidate, self.baseline, strict=True))


def paired_items(
    metric: Metric, candidate: AnswerObservation, baseline: AnswerObservation
) -> PairedItems | Missing:
    """Return what a metric draws from both arms, item by item in the baseline's order.

    Items are matched by stratum and id. An item that only one arm answered refuses the whole
    comparison: what is left would be another set of items than either score is of.
    """
    ours, theirs = _by_item(candidate), _by_item(baseline)
    doubled = len(candidate.answers) + len(baseline.answers) - len(ours) - len(theirs)
    if doubled:
        return Missing(f"{doubled} items have the id of another")
    unmatched = len(ours.keys() ^ theirs.keys())
    if unmatched:
        return Missing(f"{unmatched} items were answered by one of the two arms only")
    aligned = replace(candidate, answers=tuple(ours[key] for key in theirs))
    found = _paired(metric.reduce(aligned), metric.reduce(baseline))
    windows = any(answer.tokens for answer in baseline.answers)
    return found if isinstance(found, Missing) else replace(found, windows=windows)


def _by_item(observation: AnswerObservation) -> dict[tuple[str, str], AnswerTrace]:
    return {(answer.stratum, answer.item_id): answer for answer in observation.answers}


def _paired(ours: Samples | Missing, theirs: Samples | Missing) -> PairedItems | Missing:
    if isinstance(ours, Missing):
        return Missing(f"candidate: {ours.reason}")
    if isinstance(theirs, Missing):
        return Missing(f"baseline: {theirs.reason}")
    if ours.weights != theirs.weights:
        return Missing("the two arms counted the text differently")
    if not all(map(math.isfinite, (*ours.values, *theirs.values))):
        return Missing("a score is not finite")
    provenance = weakest([ours.provenance, theirs.provenance])
    return PairedItems(ours.values, theirs.values, ours.weights, provenance)
