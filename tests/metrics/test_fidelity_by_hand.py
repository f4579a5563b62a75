"""KL, agreement, first divergence and output lengths: each worked by hand."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from leanboard.metrics.distributions import t_quantile
from leanboard.metrics.fidelity import OTHER, FidelityEstimate, fidelity_comparisons
from leanboard.metrics.intervals import wilson_interval
from leanboard.metrics.metric import Verdict
from leanboard.metrics.trace import AnswerObservation, AnswerTrace

Ids = tuple[int, ...]


def text(*windows: tuple[int, float | None, int | None]) -> AnswerObservation:
    return AnswerObservation(
        answers=tuple(
            AnswerTrace(str(n), {}, (-1.0,), tokens, 4 * tokens, kl_nats=kl, agreeing=agreeing)
            for n, (tokens, kl, agreeing) in enumerate(windows)
        )
    )


def outputs(*answers: Ids) -> AnswerObservation:
    return AnswerObservation(
        answers=tuple(AnswerTrace(str(n), {}, output_ids=ids) for n, ids in enumerate(answers))
    )


def found(candidate: AnswerObservation, baseline: AnswerObservation) -> dict[str, FidelityEstimate]:
    return {estimate.metric: estimate for estimate in fidelity_comparisons(candidate, baseline)}


WINDOWS = text((10, 1.0, 9), (20, 1.0, 20), (10, 0.0, 8), (30, 3.0, 27), (30, 5.0, 26))
BASELINE = text(*((tokens, None, None) for tokens in (10, 20, 10, 30, 30)))


class TestText:
    def test_kl_is_the_mean_over_tokens_not_over_windows(self) -> None:
        # 10 nats over 100 tokens.
        kl = found(WINDOWS, BASELINE)["kl_to_baseline"]
        assert (kl.statistic, kl.value, kl.n) == ("difference", pytest.approx(0.1), 5)
        assert kl.pairs == pytest.approx((0.1, 0.05, 0.0, 0.1, 5 / 30))
        assert (kl.verdict, kl.reason) == (Verdict.UNDECIDED, OTHER)

    def test_its_interval_is_the_linearised_one_over_windows(self) -> None:
        # e = y - 0.1 x: 0, -1, -1, 0, 2; sum of squares 6; se = sqrt(5/4 x 6) / 100.
        kl = found(WINDOWS, BASELINE)["kl_to_baseline"]
        error = math.sqrt(7.5) / 100
        assert kl.stderr == pytest.approx(error)
        assert kl.interval is not None
        reach = t_quantile(0.975, 4) * error
        assert (kl.interval.low, kl.interval.high) == pytest.approx((0.1 - reach, 0.1 + reach))

    def test_top1_agreement_is_the_share_of_tokens(self) -> None:
        agreement = found(WINDOWS, BASELINE)["top1_agreement"]
        assert (agreement.statistic, agreement.value) == ("agreement", pytest.approx(0.9))
        # e = y - 0.9 x: 0, 2, -1, 0, -1; sum of squares 6.
        assert agreement.stderr == pytest.approx(math.sqrt(7.5) / 100)
        assert agreement.interval is not None
        assert agreement.interval.low < 0.9 < agreement.interval.high <= 1

    def test_intervals_keep_to_what_is_possible(self) -> None:
        spread = text(*((10, kl, n) for kl, n in ((0, 10), (0, 10), (0, 10), (9, 1), (0, 10))))
        both = found(spread, text(*((10, None, None),) * 5))
        kl, agreement = both["kl_to_baseline"].interval, both["top1_agreement"].interval
        assert kl is not None
        assert agreement is not None
        assert kl.low == 0.0
        assert agreement.high == 1.0

    def test_equal_predictions_show_no_difference_and_no_width(self) -> None:
        same = text(*((tokens, 0.0, tokens) for tokens in (10, 20, 10, 30, 30)))
        both = found(same, BASELINE)
        assert (both["kl_to_baseline"].value, both["top1_agreement"].value) == (0.0, 1.0)
        for estimate in both.values():
            assert estimate.verdict is Verdict.NO_DIFFERENCE_SHOWN
            assert estimate.reason is None
            assert estimate.interval is None

    def test_few_windows_have_a_value_without_an_interval(self) -> None:
        kl = found(text((10, 1.0, 9), (30, 1.0, 29)), text((10, None, None), (30, None, None)))
        assert kl["kl_to_baseline"].value == pytest.approx(0.05)
        assert kl["kl_to_baseline"].interval is None

    def test_windows_that_were_not_compared_give_a_reason_and_no_number(self) -> None:
        half = text((10, 1.0, 9), (20, None, None))
        both = found(half, text((10, None, None), (20, None, None)))
        for estimate in both.values():
            assert (estimate.value, estimate.interval, estimate.n) == (None, None, 0)
            assert estimate.reason == "1 of 2 windows were not compared with the baseline's"

    def test_a_divergence_that_is_not_finite_gives_a_reason(self) -> None:
        kl = found(text((10, math.inf, 9)), text((10, None, None)))["kl_to_baseline"]
        assert kl.value is None
        assert kl.reason == "the KL divergence of 1 of 1 windows is not finite"

    def test_other_windows_than_the_baselines_are_not_compared(self) -> None:
        for other in (
            text((10, None, None)),
            text(*((t, None, None) for t in (10, 20, 10, 30, 9))),
        ):
            kl = found(WINDOWS, other)["kl_to_baseline"]
            assert kl.reason == "candidate and baseline did not answer the same items"

    def test_generated_answers_are_not_asked_for(self) -> None:
        assert list(found(WINDOWS, BASELINE)) == ["kl_to_baseline", "top1_agreement"]


# Equal; another third token of four; one token more; another first token of five; a token less.
THEIRS = outputs((1, 2), (1, 2, 3, 4), (5, 6), (7, 8, 9, 7, 8), (1, 1))
OURS = outputs((1, 2), (1, 2, 9, 4), (5, 6, 7), (8, 8, 9, 7, 8), (1,))


class TestGeneratedAnswers:
    def test_greedy_agreement_is_the_share_of_equal_answers(self) -> None:
        agreement = found(OURS, THEIRS)["greedy_agreement"]
        assert (agreement.statistic, agreement.value, agreement.n) == ("agreement", 0.2, 5)
        assert agreement.pairs == (1.0, 0.0, 0.0, 0.0, 0.0)
        assert agreement.interval == wilson_interval(1, 5)
        assert agreement.verdict is Verdict.UNDECIDED

    def test_first_divergence_is_the_mean_share_before_the_first_difference(self) -> None:
        first = found(OURS, THEIRS)["first_divergence"]
        assert first.pairs == (1.0, 0.5, 1.0, 0.0, 0.5)
        assert first.value == pytest.approx(0.6)
        assert first.interval is not None
        assert first.interval.high <= 1.0

    def test_an_answer_that_goes_on_is_not_equal_although_nothing_differs_before(self) -> None:
        both = found(outputs((1, 2, 3)), outputs((1, 2)))
        assert both["first_divergence"].value == 1.0
        assert both["first_divergence"].verdict is Verdict.UNDECIDED
        assert both["greedy_agreement"].value == 0.0

    def test_an_answer_of_the_baseline_without_tokens_is_left_at_once(self) -> None:
        both = found(outputs((1,), (2, 3)), outputs((), (2, 3)))
        assert both["first_divergence"].pairs == (0.0, 1.0)
        assert both["output_length_ratio"].pairs is None
        assert both["output_length_ratio"].value == pytest.approx(1.5)

    def test_output_length_ratio_is_of_mean_lengths_and_paired_by_item(self) -> None:
        # 15 tokens against 15; e = y - x: 0, 0, 1, 0, -1; se = sqrt(5/4 x 2) / 15.
        ratio = found(OURS, THEIRS)["output_length_ratio"]
        assert (ratio.statistic, ratio.value, ratio.n) == ("ratio", 1.0, 5)
        assert ratio.pairs == (1.0, 1.0, 1.5, 1.0, 0.5)
        assert ratio.stderr == pytest.approx(math.sqrt(2.5) / 15)
        assert ratio.interval is not None
        assert ratio.interval.low == pytest.approx(1 - t_quantile(0.975, 4) * math.sqrt(2.5) / 15)
        assert ratio.reason == "neither direction of this metric is better"

    def test_a_ratio_that_makes_speed_suspect_says_so(self) -> None:
        shorter = found(outputs((1,), (2, 3, 4)), outputs((1, 2), (2, 3, 4)))["output_length_ratio"]
        assert shorter.value == pytest.approx(0.8)
        assert shorter.reason == "outside 0.9 to 1.1 a gain in speed is suspect (MLPerf)"

    def test_a_fixed_length_has_no_ratio(self) -> None:
        ratio = found(outputs((1, 2), (3, 4)), outputs((5, 2), (3, 4)))["output_length_ratio"]
        assert ratio.value is None
        assert ratio.reason == "every answer has 2 tokens: the length is fixed"

    def test_a_baseline_that_never_answers_has_no_ratio(self) -> None:
        ratio = found(outputs((1, 2), (3,)), outputs((), ()))["output_length_ratio"]
        assert (ratio.value, ratio.reason) == (None, "the baseline's answers have no tokens")

    def test_equal_answers_show_no_difference(self) -> None:
        both = found(THEIRS, THEIRS)
        for name in ("greedy_agreement", "first_divergence"):
            assert both[name].value == 1.0
            assert both[name].verdict is Verdict.NO_DIFFERENCE_SHOWN

    def test_other_items_give_a_reason(self) -> None:
        for candidate in (outputs((1, 2)), replace(OURS, answers=OURS.answers[::-1])):
            for estimate in found(candidate, THEIRS).values():
                assert estimate.value is None
                assert estimate.reason == "candidate and baseline did not answer the same items"


def test_choices_have_no_fidelity_beside_their_scores() -> None:
    choices = AnswerObservation(answers=(AnswerTrace("0", {"acc": 1.0}, (-1.0, -2.0)),))
    assert fidelity_comparisons(choices, choices) == ()
