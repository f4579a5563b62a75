"""From samples to a value, its interval, or the reason for none."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from leanboard.metrics.metric import Missing, Samples, Summary
from leanboard.metrics.registry import metric
from leanboard.metrics.summary import Estimate, point, summarise
from leanboard.metrics.trace import Provenance

MEASURED = Provenance.MEASURED
ONE_TO_TEN = Samples(tuple(float(i) for i in range(1, 11)), MEASURED)


def summed(summary: Summary, samples: Samples | Missing) -> Estimate:
    return summarise(replace(metric("ttft_s"), summary=summary), samples)


def test_what_is_missing_stays_missing_with_its_reason() -> None:
    assert summed(Summary.MEDIAN, Missing("no counter")) == Estimate(None, 0, reason="no counter")


@pytest.mark.parametrize("summary", list(Summary))
def test_every_summary_is_handled(summary: Summary) -> None:
    many = Samples((0.5,) * 500, MEASURED, weights=(2.0,) * 500)
    one = Samples((0.5,), MEASURED)
    result = summed(summary, one if summary is Summary.SINGLE else many)
    expected = {Summary.RATIO_OF_SUMS: 0.25, Summary.EXP_RATIO_OF_SUMS: math.exp(0.25)}
    assert result.value == pytest.approx(expected.get(summary, 0.5))
    assert (result.interval is None) == (summary is Summary.SINGLE)


@pytest.mark.parametrize("summary", list(Summary))
def test_a_sample_that_is_not_finite_gives_a_reason(summary: Summary) -> None:
    result = summed(summary, Samples((1.0, math.nan), MEASURED, weights=(1.0, 1.0)))
    assert result == Estimate(None, 2, reason="1 of 2 samples are not finite")


def test_the_median_of_ten_has_the_exact_interval() -> None:
    result = summed(Summary.MEDIAN, ONE_TO_TEN)
    assert (result.value, result.n) == (5.5, 10)
    assert result.interval is not None
    assert (result.interval.low, result.interval.high) == (2.0, 9.0)
    assert result.interval.method == "order statistics"


def test_five_samples_have_a_median_without_an_interval() -> None:
    result = summed(Summary.MEDIAN, Samples((1.0, 2.0, 3.0, 4.0, 5.0), MEASURED))
    assert (result.value, result.interval, result.reason) == (3.0, None, None)


def test_samples_in_groups_have_an_interval_by_group() -> None:
    groups = tuple(i // 20 for i in range(200))
    values = tuple(float(i % 20) for i in range(200))
    samples = Samples(values, MEASURED, groups=groups, grouped_by="request")
    result = summed(Summary.P50, samples)
    assert result.interval is not None
    assert result.interval.method == "Woodruff, by request"


def test_the_interval_by_launch_is_named_so() -> None:
    launches = tuple(i // 4 for i in range(40))
    samples = Samples(tuple(float(i % 4) for i in range(40)), MEASURED, groups=launches)
    result = summed(Summary.MEDIAN, samples)
    assert result.interval is not None
    assert result.interval.method == "Woodruff, by launch"


def test_a_ratio_of_sums_takes_the_launch_as_its_unit() -> None:
    # Ten batches in five launches; their sums are those of the ratio worked by hand:
    # 15 / 10, squares of residuals 2.5, error sqrt(5 / 4 x 2.5) / 10.
    halves = (3.0, 0.5, 2.0, 0.5, 1.0, 3.0, 1.0, 1.0, 1.5, 1.5)
    launches = tuple(i // 2 for i in range(10))
    samples = Samples(halves, MEASURED, weights=(1.0,) * 10, groups=launches)
    result = summed(Summary.RATIO_OF_SUMS, samples)
    assert (result.value, result.n) == (1.5, 10)
    assert result.stderr == pytest.approx(math.sqrt(3.125) / 10)
    assert result.interval is not None
    assert result.interval.high - 1.5 == pytest.approx(2.77645 * math.sqrt(3.125) / 10, rel=1e-5)
    assert result.interval.method == "t, linearised ratio, by launch"


def test_four_launches_have_a_ratio_and_no_interval_however_many_batches() -> None:
    samples = Samples((1.0, 2.0) * 20, MEASURED, weights=(1.0,) * 40, groups=(0, 1, 2, 3) * 10)
    result = summed(Summary.RATIO_OF_SUMS, samples)
    assert (result.value, result.n, result.interval) == (1.5, 40, None)


@pytest.mark.parametrize(
    ("summary", "method"),
    [
        (Summary.MEDIAN, "order statistics, one process"),
        (Summary.RATIO_OF_SUMS, "t, linearised ratio, one process"),
        (Summary.EXP_RATIO_OF_SUMS, "t, linearised ratio, exp, one process"),
    ],
)
def test_samples_of_one_process_count_singly_and_their_interval_says_so(
    summary: Summary, method: str
) -> None:
    plain = replace(ONE_TO_TEN, values=(0.1, 0.4, 0.2, 0.3, 0.5, 0.6), weights=(1.0,) * 6)
    free = summed(summary, plain)
    one = summed(summary, replace(plain, groups=(3,) * 6))
    assert free.interval is not None
    assert one.interval is not None
    assert one == replace(free, interval=replace(free.interval, method=method))


def test_one_process_without_an_interval_has_the_value_alone() -> None:
    few = Samples((1.0, 2.0, 3.0, 4.0, 5.0), MEASURED, groups=(0,) * 5)
    assert summed(Summary.MEDIAN, few) == Estimate(3.0, 5)


def test_the_gaps_of_one_request_are_no_process() -> None:
    gaps = Samples((1.0,) * 20, MEASURED, groups=(0,) * 20, grouped_by="request")
    assert summed(Summary.P50, gaps).interval is None


def test_right_or_wrong_is_a_proportion() -> None:
    result = summed(Summary.MEAN, Samples((1.0, 0.0, 1.0, 1.0, 0.0), MEASURED))
    assert result.value == pytest.approx(0.6)
    assert result.interval is not None
    assert result.interval.method == "Wilson"
    assert result.stderr == pytest.approx(math.sqrt(0.3 / 5))


def test_other_scores_have_a_t_interval() -> None:
    result = summed(Summary.MEAN, Samples((0.2, 0.4, 0.6, 0.8, 1.0), MEASURED))
    assert result.interval is not None
    assert result.interval.method == "t"


def test_an_error_from_outside_is_kept() -> None:
    for given in (0.123, 0.0):
        result = summed(Summary.MEAN, Samples((0.0, 1.0), MEASURED, stderr=given))
        assert result.stderr == given


def test_perplexity_has_the_interval_of_its_exponent() -> None:
    nats = Samples((3.5, 2.5, 4.0, 2.0, 3.0), MEASURED, weights=(2.0,) * 5)
    rate, result = (
        summed(Summary.RATIO_OF_SUMS, nats),
        summed(Summary.EXP_RATIO_OF_SUMS, nats),
    )
    assert rate.interval is not None
    assert result.interval is not None
    assert result.interval.low == pytest.approx(math.exp(rate.interval.low))
    assert result.interval.high == pytest.approx(math.exp(rate.interval.high))
    # exp(1.5) x sqrt(3.125) / 10
    assert result.stderr == pytest.approx(math.exp(1.5) * math.sqrt(3.125) / 10)


def test_a_perplexity_beyond_any_number_gives_a_reason() -> None:
    result = summed(Summary.EXP_RATIO_OF_SUMS, Samples((1e6,), MEASURED, weights=(1.0,)))
    assert result.value is None
    assert "exp(1e+06)" in (result.reason or "")


def test_nothing_to_divide_by_gives_a_reason() -> None:
    result = summed(Summary.RATIO_OF_SUMS, Samples((1.0,), MEASURED, weights=(0.0,)))
    assert result == Estimate(None, 1, reason="the denominators sum to 0")


def test_a_ratio_without_weights_is_a_mistake_of_the_metric() -> None:
    with pytest.raises(ValueError, match="needs weights"):
        summed(Summary.RATIO_OF_SUMS, Samples((1.0,), MEASURED))


def test_two_values_of_a_single_one_are_a_mistake_of_the_metric() -> None:
    with pytest.raises(ValueError, match="single value was expected, there are 2"):
        summed(Summary.SINGLE, Samples((1.0, 2.0), MEASURED))


def test_a_round_has_a_bare_statistic_however_few_its_samples() -> None:
    few = Samples((1.0, 2.0, 6.0), MEASURED, weights=(1.0, 1.0, 4.0))
    column = metric("ttft_s")
    assert point(column, few) == 2.0
    assert point(replace(column, summary=Summary.MEAN), few) == 3.0
    assert point(replace(column, summary=Summary.RATIO_OF_SUMS), few) == 1.5
    assert point(replace(column, summary=Summary.EXP_RATIO_OF_SUMS), few) == math.exp(1.5)
