"""The marks of gates: whether an arm keeps enough of its baseline's score, in a word and a sign."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from leanboard.metrics.gate import Gate, GateVerdict, gate, near_chance
from leanboard.results.stored import estimate_of
from leanboard.results.task_scores import TaskScore

SIGNS: Mapping[GateVerdict, str] = {
    GateVerdict.PASS: "\u2713 pass",
    GateVerdict.FAIL: "\u2717 fail",
    GateVerdict.UNDECIDED: "\u25d0 undecided",
}
CLASSES: Mapping[GateVerdict, str] = {
    GateVerdict.PASS: "good",
    GateVerdict.FAIL: "bad",
    GateVerdict.UNDECIDED: "plain",
}
NO_GATE = "none"
ANSWERS = (*(verdict.value for verdict in GateVerdict), NO_GATE)
"""What a filter by gate offers."""
FAILED_GATE = "failed the gate"
NO_COMPARISON = "it was not compared with the baseline's"
NEAR_CHANCE = "the baseline's own score is not shown to be above guessing"


@dataclass(frozen=True, slots=True)
class GateMark:
    """A gate as a reader sees it.

    Args:
        verdict: the judgement; ``None`` where there is nothing to judge.
        reason: what it was judged by, or why there is no gate.
    """

    verdict: GateVerdict | None
    reason: str

    @property
    def answer(self) -> str:
        """The judgement in a word."""
        return NO_GATE if self.verdict is None else self.verdict.value

    @property
    def text(self) -> str:
        """Sign and word; empty where there is nothing to judge."""
        return "" if self.verdict is None else SIGNS[self.verdict]

    @property
    def css(self) -> str:
        """Class of the badge; empty likewise."""
        return "" if self.verdict is None else CLASSES[self.verdict]

    @property
    def title(self) -> str:
        """The mark as a sentence, for a pointer or a screen reader."""
        return f"gate: {self.text}, {self.reason}" if self.text else f"no gate: {self.reason}"


def gate_mark(found: Gate) -> GateMark:
    """Return the mark of a gate."""
    return GateMark(found.verdict, found.reason)


def task_gate(score: TaskScore, barred: str) -> Gate:
    """Return the gate of one task, from the interval of the ratio that its record holds.

    Args:
        score: the arm's primary score of the task.
        barred: why no score of the arm is judged; empty where scores are.
    """
    if barred or score.ratio is None:
        return Gate(None, barred or NO_COMPARISON)
    interval = estimate_of(score.ratio).interval
    if interval is None:
        return Gate(None, score.ratio.reason or "its ratio has no interval")
    theirs = None if score.baseline is None else estimate_of(score.baseline).interval
    if theirs is not None and score.chance is not None and near_chance(theirs, score.chance):
        return Gate(GateVerdict.UNDECIDED, NEAR_CHANCE)
    return gate(interval)
