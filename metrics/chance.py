"""What guessing would score: a task of four choices gives a quarter for nothing."""

from __future__ import annotations

from leanboard.metrics.metric import (
    Direction,
    Kind,
    Metric,
    Missing,
    Role,
    Samples,
    Summary,
)
from leanboard.metrics.trace import AnswerObservation, Observation, Provenance

CHANCE = "chance"
_COUNTED = ("acc", "acc_norm")


def chance(observation: Observation) -> Samples | Missing:
    """Return 1 / choices of each item, where one choice is right and the item is right or wrong.

    An item with one continuation only (lambada) has no choices; a score that is a share of
    probability (truthfulqa_mc2) is not one that guessing gets right.
    """
    if not isinstance(observation, AnswerObservation):
        return Missing("the observation holds no scored answers")
    answers = observation.answers
    if not answers or any(len(a.loglikelihoods) < 2 or a.tokens > 0 for a in answers):
        return Missing("the task gives no choices to guess among")
    scores = [{name: a.scores[name] for name in _COUNTED if name in a.scores} for a in answers]
    if not all(scores) or any(s not in {0.0, 1.0} for found in scores for s in found.values()):
        return Missing("an item is not simply right or wrong")
    return Samples(tuple(1 / len(a.loglikelihoods) for a in answers), Provenance.COUNTED)


METRICS: tuple[Metric, ...] = (
    Metric(
        name=CHANCE,
        unit="1",
        direction=Direction.NEUTRAL,
        role=Role.QUALITY,
        label="Score of guessing",
        doc="Mean over items of 1 / number of choices: accuracy of a model that knows nothing.",
        source="leanboard",
        kinds=frozenset({Kind.ANSWERS}),
        summary=Summary.MEAN,
        reduce=chance,
    ),
)
