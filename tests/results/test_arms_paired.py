"""Two arms that scored the same items are held against each other item by item."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from record_factory import answer_observation, make_run, make_task

from leanboard.metrics.metric import Verdict
from leanboard.metrics.trace import AnswerObservation, AnswerTrace
from leanboard.results.arms_paired import arm_against_arm
from leanboard.results.lean import Lean
from leanboard.results.schema import Record

TOKENS = 10
WHOLE = (0.0,) * 5
NEAR, FAR = (1.0, 2.0, 3.0, 4.0, 5.0), (2.0, 4.0, 4.0, 6.0, 6.0)


def text(kl_nats: Sequence[float]) -> AnswerObservation:
    return AnswerObservation(
        answers=tuple(
            AnswerTrace(
                str(number),
                {},
                (-20.0 - nats,),
                tokens=TOKENS,
                text_bytes=40,
                kl_nats=nats,
                agreeing=TOKENS - round(nats),
                kl_rest=0.0,
            )
            for number, nats in enumerate(kl_nats)
        )
    )


def scored(arm: str, observation: AnswerObservation, task: str = "squad-passages") -> Record:
    options = {"kind": "accuracy", "task": make_task(task)}
    baseline = make_run(observation=text(WHOLE), **options) if task != "arc_easy" else None
    return make_run(techniques=[arm], observation=observation, baseline=baseline, **options).record


def test_the_difference_of_two_divergences_by_hand() -> None:
    near, far = scored("bf16", text(NEAR)), scored("hqq", text(FAR))
    alone = [next(c for c in r.comparisons if c.metric == "kl_to_baseline") for r in (near, far)]
    assert alone[0].interval is not None
    assert alone[1].interval is not None
    assert alone[0].interval.high > alone[1].interval.low, "against the baseline they overlap"
    found = arm_against_arm(near, far, "kl_to_baseline")
    assert found is not None
    assert found.interval is not None
    # Differences a token: -0.1, -0.2, -0.1, -0.2, -0.1. Their deviation is 0.0548, t(4) = 2.776.
    assert found.value == pytest.approx(-0.14)
    assert found.interval.low == pytest.approx(-0.208, abs=1e-3)
    assert found.interval.high == pytest.approx(-0.072, abs=1e-3)
    assert found.verdict is Verdict.BETTER
    assert found.n == 5


def test_turned_round_the_verdict_is_turned_round() -> None:
    near, far = scored("bf16", text(NEAR)), scored("hqq", text(FAR))
    for metric in ("kl_to_baseline", "top1_agreement", "bits_per_byte", "perplexity"):
        forth, back = arm_against_arm(near, far, metric), arm_against_arm(far, near, metric)
        assert forth is not None
        assert back is not None
        assert (forth.verdict, back.verdict) == (Verdict.BETTER, Verdict.WORSE)


def test_right_and_wrong_items_are_paired_as_those_of_a_baseline_are() -> None:
    ours, theirs = answer_observation(accuracy=0.9), answer_observation(accuracy=0.2)
    found = arm_against_arm(
        scored("bf16", ours, "arc_easy"), scored("hqq", theirs, "arc_easy"), "acc"
    )
    assert found is not None
    assert found.interval is not None
    assert found.value == pytest.approx(0.7)
    assert found.interval.method.startswith("percentile bootstrap over items")


def test_other_items_are_not_paired() -> None:
    near, short = scored("bf16", text(NEAR)), scored("hqq", text(FAR[:4]))
    assert arm_against_arm(near, short, "bits_per_byte") is None
    other = scored("hqq", answer_observation(), "arc_easy")
    assert arm_against_arm(near, other, "bits_per_byte") is None


@pytest.mark.parametrize("metric", ["output_length_ratio", "tpot_s", "no_such_metric"])
def test_what_has_no_better_direction_or_no_items_is_not_paired(metric: str) -> None:
    near, far = scored("bf16", text(NEAR)), scored("hqq", text(FAR))
    assert arm_against_arm(near, far, metric) is None


def test_records_without_their_samples_are_not_paired() -> None:
    near, far = scored("bf16", text(NEAR)), scored("hqq", text(FAR))
    lean = Lean().record(far)
    assert arm_against_arm(near, lean, "kl_to_baseline") is None
    assert arm_against_arm(near, lean, "bits_per_byte") is None
