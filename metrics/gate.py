"""Whether a candidate keeps enough of its baseline's score, as far as the items can tell.

MLPerf Inference asks for 99% (or 99.9%) of the reference's score on a whole data set. Here a score
is of a sample, so a third answer is needed: undecided.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from leanboard.metrics.intervals import Interval

THRESHOLD = 0.99
"""Share of the baseline's score that passes (MLPerf Inference, closed division)."""


class GateVerdict(StrEnum):
    """What the interval of the ratio to the baseline's score allows one to say."""

    PASS = "pass"  # noqa: S105
    FAIL = "fail"
    UNDECIDED = "undecided"


@dataclass(frozen=True, slots=True)
class Gate:
    """A judgement, and why it is that.

    Args:
        verdict: ``None`` where there is nothing to judge.
        reason: what it was judged by, or why it was not.
        threshold: share of the baseline's score that passes.
    """

    verdict: GateVerdict | None
    reason: str
    threshold: float = THRESHOLD


def gate(ratio: Interval | None, threshold: float = THRESHOLD) -> Gate:
    """Return pass, fail or undecided.

    Pass if the whole interval reaches the threshold, fail if all of it lies below.

    Args:
        ratio: interval of candidate / baseline, paired over items; higher scores are better.
        threshold: share of the baseline's score that passes.

    Raises:
        ValueError: if the threshold is not within 0 and 1.
    """
    if not 0 < threshold <= 1:
        raise ValueError(f"a gate's threshold is a share of the baseline's score, not {threshold}")
    if ratio is None:
        return Gate(None, "the ratio to the baseline's score has no interval", threshold)
    shown = f"[{ratio.low:.3f}, {ratio.high:.3f}] of the baseline's score"
    if ratio.low >= threshold:
        return Gate(GateVerdict.PASS, f"{shown}, all of it at {threshold:g} or more", threshold)
    if ratio.high < threshold:
        return Gate(GateVerdict.FAIL, f"{shown}, all of it below {threshold:g}", threshold)
    reason = f"{shown}, which holds {threshold:g}: more items would decide"
    return Gate(GateVerdict.UNDECIDED, reason, threshold)


def above_chance(score: float, chance: float) -> float:
    """Return (score - chance) / (1 - chance): 0 for guessing, 1 for all right.

    Source: Cohen's kappa (1960) with a fixed chance; the Open LLM Leaderboard's normalisation.

    Raises:
        ValueError: if chance is not within 0 and 1.
    """
    if not 0 <= chance < 1:
        raise ValueError(f"a score of guessing lies within 0 and 1, not at {chance}")
    return (score - chance) / (1 - chance)


def near_chance(score: Interval, chance: float) -> bool:
    """Whether a score is not shown to be above guessing: a ratio to it says little."""
    return score.low <= chance
