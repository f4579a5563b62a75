"""Following instructions: whole prompts, and instructions one by one.

Source: Zhou et al., Instruction-Following Evaluation for Large Language Models (IFEval),
arXiv:2311.07911.
"""

from __future__ import annotations

from leanboard.metrics.metric import (
    Direction,
    Kind,
    Metric,
    Missing,
    Reduce,
    Role,
    Samples,
    Summary,
)
from leanboard.metrics.quality import score
from leanboard.metrics.trace import AnswerObservation, Observation, Provenance

# How many instructions an item has stands beside the scores that are shares of them.
_INSTRUCTIONS = "instructions"
_MOST = 1000
_LOOSE = "first and last lines and asterisks of the answer aside"


def share_of_instructions(name: str) -> Reduce:
    """Make the reduction to how many instructions each item follows, of how many it has.

    Items have one to three instructions; the harness counts instructions, not items.

    Args:
        name: score that holds the share of an item's instructions; how many there are stands
            beside it as ``instructions``.
    """

    def reduce(observation: Observation) -> Samples | Missing:
        if not isinstance(observation, AnswerObservation):
            return Missing("the observation holds no scored answers")
        answers = observation.answers
        if not answers or any(not {name, _INSTRUCTIONS} <= set(a.scores) for a in answers):
            return Missing(f"the task gives no {name}")
        shares = tuple(a.scores[name] for a in answers)
        weights = tuple(a.scores[_INSTRUCTIONS] for a in answers)
        shares_hold = all(0 <= share <= 1 for share in shares)
        if not shares_hold or not all(1 <= weight <= _MOST for weight in weights):
            return Missing("an item's instructions, or the share of them, are no possible number")
        # A share of so many is a whole number; rounding takes the division's error away.
        followed = tuple(float(round(s * w)) for s, w in zip(shares, weights, strict=True))
        return Samples(followed, Provenance.MEASURED, weights=weights)

    return reduce


def _metric(name: str, label: str, doc: str, summary: Summary, reduce: Reduce) -> Metric:
    return Metric(
        name=name,
        unit="1",
        direction=Direction.HIGHER,
        role=Role.QUALITY,
        label=label,
        doc=doc,
        source="lm-evaluation-harness; IFEval, arXiv:2311.07911",
        kinds=frozenset({Kind.ANSWERS}),
        summary=summary,
        reduce=reduce,
    )


def _prompts(name: str, label: str, doc: str) -> Metric:
    text = f"{doc} Mean over items; standard error s / sqrt(n)."
    return _metric(name, label, text, Summary.MEAN, score(name))


def _instructions(name: str, label: str, doc: str) -> Metric:
    text = f"{doc} Instructions followed / instructions, over all items."
    return _metric(name, label, text, Summary.RATIO_OF_SUMS, share_of_instructions(name))


METRICS: tuple[Metric, ...] = (
    _prompts(
        "prompt_level_strict_acc",
        "Prompts followed, strict",
        "Share of prompts of which every instruction is followed.",
    ),
    _prompts(
        "prompt_level_loose_acc",
        "Prompts followed, loose",
        f"Share of prompts of which every instruction is followed, {_LOOSE}.",
    ),
    _instructions(
        "inst_level_strict_acc",
        "Instructions followed, strict",
        "Share of instructions that are followed.",
    ),
    _instructions(
        "inst_level_loose_acc",
        "Instructions followed, loose",
        f"Share of instructions that are followed, {_LOOSE}.",
    ),
)
