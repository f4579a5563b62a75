"""Scores against the baseline's on the same items, by hand."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import pytest

from leanboard.metrics.chance import chance
from leanboard.metrics.metric import Missing, Samples, Verdict
from leanboard.metrics.paired_items import PairedItems, paired_items
from leanboard.metrics.paired_scores import ScoreEstimate, compare_scores
from leanboard.metrics.registry import metric
from leanboard.metrics.trace import AnswerObservation, AnswerTrace, Provenance

ACC = metric("acc")


def answered(scores: Mapping[str, float], stratum: str = "") -> AnswerObservation:
    return AnswerObservation(
        answers=tuple(AnswerTrace(i, {"acc": s}, stratum=stratum) for i, s in scores.items())
    )


def scored(scores: Sequence[float]) -> AnswerObservation:
    return answered({str(i): score for i, score in enumerate(scores)})


def text(nats: Sequence[float], tokens: Sequence[int]) -> AnswerObservation:
    windows = zip(nats, tokens, strict=True)
    return AnswerObservation(
        answers=tuple(
            AnswerTrace(str(i), {}, (-n,), tokens=t, text_bytes=4 * t)
            for i, (n, t) in enumerate(windows)
        )
    )


def compared(
    name: str, candidate: AnswerObservation, baseline: AnswerObservation
) -> dict[str, ScoreEstimate]:
    return {e.statistic: e for e in compare_scores(metric(name), candidate, baseline)}


def test_items_are_paired_by_id_in_the_baselines_order() -> None:
    found = paired_items(ACC, answered({"b": 1, "a": 0}), answered({"a": 1, "b": 1}))
    assert found == PairedItems((0, 1), (1, 1), None, Provenance.MEASURED)
    assert found.differences == (-1, 0)


@pytest.mark.parametrize(
    ("candidate", "baseline", "reason"),
    [
        (answered({"a": 1}), answered({"a": 1, "b": 1}), "1 items were answered by one of the"),
        (answered({"a": 1, "c": 1}), answered({"a": 1, "b": 1}), "2 items were answered by one"),
        (answered({"a": 1}, "law"), answered({"a": 1}, "art"), "2 items were answered by one"),
        (AnswerObservation(answers=(AnswerTrace("a", {"acc": 1.0}),) * 2), answered({"a": 1}), "1"),
        (text([1], [1]), scored([1]), "candidate: the task gives no acc"),
        (scored([1]), text([1], [1]), "baseline: the task gives no acc"),
        (scored([math.nan]), scored([1]), "a score is not finite"),
    ],
)
def test_what_is_not_the_same_items_is_not_compared(
    candidate: AnswerObservation, baseline: AnswerObservation, reason: str
) -> None:
    found = paired_items(ACC, candidate, baseline)
    assert isinstance(found, Missing)
    assert found.reason.startswith(reason)
    for estimate in compare_scores(ACC, candidate, baseline):
        assert (estimate.value, estimate.verdict, estimate.n) == (None, Verdict.UNDECIDED, 0)
        assert estimate.reason == found.reason


def test_windows_with_other_token_counts_are_not_compared() -> None:
    found = paired_items(metric("perplexity"), text([9, 9], [3, 3]), text([9, 9], [3, 4]))
    assert found == Missing("the two arms counted the text differently")


def test_a_difference_of_scores_by_hand() -> None:
    # 40 items: 12 right before, of which 10 are lost, and 1 gained.
    baseline, candidate = [1.0] * 12 + [0.0] * 28, [0.0] * 10 + [1.0] * 3 + [0.0] * 27
    found = compared("acc", scored(candidate), scored(baseline))["difference"]
    assert found.value == pytest.approx(-9 / 40)
    # Eleven differences of 1: s^2 = (11 - 40 (9/40)^2) / 39, and its error s / sqrt(40).
    assert found.stderr == pytest.approx(math.sqrt((11 - 81 / 40) / 39 / 40))
    assert found.p_value == pytest.approx(2 * (1 + 11) / 2**11)
    assert found.pairs == (-1.0,) * 10 + (0.0,) * 2 + (1.0,) + (0.0,) * 27
    assert found.interval is not None
    assert found.interval.low < -9 / 40 < found.interval.high < 0
    assert (found.n, found.verdict, found.reason) == (40, Verdict.WORSE, None)
    assert found.provenance is Provenance.MEASURED


def test_a_ratio_of_scores_by_hand() -> None:
    baseline, candidate = [1.0] * 20 + [0.0] * 20, [1.0] * 19 + [0.0] * 21
    found = compared("acc", scored(candidate), scored(baseline))["ratio"]
    assert found.value == pytest.approx(0.95)
    # e = c - 0.95 b: 0.05 on 19 items, -0.95 on one, 0 else; error sqrt(40/39 sum e^2) / 20.
    assert found.stderr == pytest.approx(math.sqrt(40 / 39 * (19 * 0.05**2 + 0.95**2)) / 20)
    assert found.interval is not None
    assert found.interval.low < 0.95
    assert found.interval.high > 1
    assert (found.verdict, found.pairs, found.p_value) == (Verdict.NO_DIFFERENCE_SHOWN, None, None)


def test_scores_that_are_shares_have_no_exact_test() -> None:
    found = compared("acc", scored([i / 40 for i in range(40)]), scored([0.5] * 40))
    assert found["difference"].p_value is None
    assert found["difference"].interval is not None


def test_few_items_have_values_but_no_verdict() -> None:
    found = compared("acc", scored([1, 1, 1, 0]), scored([1, 0, 0, 0]))
    assert found["difference"].value == 0.5
    assert found["ratio"].value == 3
    for estimate in found.values():
        assert (estimate.interval, estimate.verdict) == (None, Verdict.UNDECIDED)
        assert estimate.reason == "a verdict needs 20 items, there are 4"


def test_a_baseline_that_is_never_right_has_no_ratio() -> None:
    found = compared("acc", scored([1.0] * 30), scored([0.0] * 30))
    assert found["difference"].value == 1
    assert (found["ratio"].value, found["ratio"].provenance) == (None, None)


def test_windows_that_are_all_equal_show_no_difference_and_have_no_interval() -> None:
    same = text([6, 8, 7, 9, 10], [3, 4, 3, 4, 5])
    found = compared("bits_per_byte", same, same)
    assert (found["difference"].value, found["ratio"].value) == (0, 1)
    for estimate in found.values():
        assert (estimate.interval, estimate.reason) == (None, None)
        assert estimate.verdict is Verdict.NO_DIFFERENCE_SHOWN


def test_few_windows_have_no_verdict() -> None:
    found = compared("bits_per_byte", text([6, 8], [3, 4]), text([6, 8], [3, 4]))
    assert found["ratio"].verdict is Verdict.UNDECIDED
    assert found["ratio"].reason == "a verdict needs 5 windows, there are 2"


def test_shares_that_all_differ_alike_have_no_verdict() -> None:
    found = compared("acc", scored([0.75] * 30), scored([0.5] * 30))
    assert found["difference"].verdict is Verdict.UNDECIDED
    assert "all items differ alike" in (found["difference"].reason or "")


def test_bits_per_byte_differ_by_the_sums_of_the_windows() -> None:
    baseline = text([6, 8, 7, 9, 10], [3, 4, 3, 4, 5])
    candidate = text([7, 9, 8, 11, 12], [3, 4, 3, 4, 5])
    found = compared("bits_per_byte", candidate, baseline)
    # 47 - 40 nats more over 4 x 19 bytes.
    assert found["difference"].value == pytest.approx(7 / math.log(2) / 76)
    assert found["ratio"].value == pytest.approx(47 / 40)
    assert found["difference"].verdict is found["ratio"].verdict is Verdict.WORSE
    assert found["difference"].pairs is not None
    assert found["difference"].pairs[0] == pytest.approx(1 / math.log(2) / 12)


def test_a_ratio_of_perplexities_is_exp_of_the_nats_more_a_token() -> None:
    baseline = text([6, 8, 7, 9, 10], [3, 4, 3, 4, 5])
    candidate = text([7, 9, 8, 11, 12], [3, 4, 3, 4, 5])
    found = compared("perplexity", candidate, baseline)
    assert set(found) == {"ratio"}
    ratio = found["ratio"]
    assert ratio.value == pytest.approx(math.exp(7 / 19))
    assert ratio.interval is not None
    assert ratio.interval.method.endswith(", exp")
    assert 1 < ratio.interval.low < ratio.value < ratio.interval.high
    assert (ratio.verdict, ratio.pairs) == (Verdict.WORSE, None)


def test_a_ruined_model_has_no_ratio_of_perplexities_instead_of_an_overflow() -> None:
    found = compared("perplexity", text([9e4] * 5, [3] * 5), text([9] * 5, [3] * 5))
    assert found["ratio"].value is None
    assert found["ratio"].reason == "the ratio is beyond any useful number"


def choices(*counts: int, score: float = 1.0) -> AnswerObservation:
    return AnswerObservation(
        answers=tuple(
            AnswerTrace(str(i), {"acc": score}, (-1.0,) * n) for i, n in enumerate(counts)
        )
    )


def test_guessing_scores_one_over_the_choices_of_each_item() -> None:
    assert chance(choices(4, 4, 5)) == Samples((0.25, 0.25, 0.2), Provenance.COUNTED)


@pytest.mark.parametrize(
    "observation",
    [choices(), choices(4, 1), choices(4, 4, score=0.3), text([1], [1]), scored([1, 0])],
)
def test_what_cannot_be_guessed_has_no_chance(observation: AnswerObservation) -> None:
    assert isinstance(chance(observation), Missing)


def instructed(followed: Sequence[float]) -> AnswerObservation:
    return AnswerObservation(
        answers=tuple(
            AnswerTrace(
                str(i),
                {
                    "prompt_level_strict_acc": float(share == 1),
                    "inst_level_strict_acc": share,
                    "instructions": 2.0,
                },
            )
            for i, share in enumerate(followed)
        )
    )


@pytest.mark.parametrize("name", ["prompt_level_strict_acc", "inst_level_strict_acc"])
def test_prompts_and_their_instructions_need_the_same_number_of_items(name: str) -> None:
    before, after = [1.0, 1.0, 0.0], [0.0, 1.0, 0.0]
    few, enough = (compared(name, instructed(after * n), instructed(before * n)) for n in (6, 7))
    for statistic in ("difference", "ratio"):
        assert few[statistic].reason == "a verdict needs 20 items, there are 18"
        assert (few[statistic].interval, few[statistic].verdict) == (None, Verdict.UNDECIDED)
        assert enough[statistic].verdict is Verdict.WORSE
