"""Distributions, percentiles and intervals against tables, exact sums and numpy."""

from __future__ import annotations

import math
import random
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from leanboard.metrics.distributions import (
    binomial_cdf,
    incomplete_beta,
    normal_quantile,
    t_cdf,
    t_quantile,
)
from leanboard.metrics.intervals import (
    geometric_mean,
    mean,
    ratio_of_sums,
    ratio_of_sums_error,
    ratio_of_sums_interval,
    standard_error,
    t_interval,
    wilson_interval,
)
from leanboard.metrics.percentile import (
    clustered_interval,
    needed,
    order_statistic_interval,
    order_statistic_ranks,
    percentile,
    too_few,
)

numbers = st.floats(-1e6, 1e6)
positive = st.floats(1e-3, 1e3)


def exact_cdf(k: int, n: int, share: Fraction) -> Fraction:
    terms = (math.comb(n, i) * share**i * (1 - share) ** (n - i) for i in range(k + 1))
    return sum(terms, Fraction(0))


class TestDistributions:
    @pytest.mark.parametrize(
        ("share", "degrees", "expected"),
        [
            (0.975, 1, 12.706),
            (0.975, 2, 4.303),
            (0.975, 4, 2.776),
            (0.975, 7, 2.365),
            (0.975, 9, 2.262),
            (0.975, 29, 2.045),
            (0.975, 120, 1.980),
            (0.995, 5, 4.032),
            (0.90, 3, 1.638),
            (0.025, 7, -2.365),
        ],
    )
    def test_t_quantiles_are_the_printed_ones(
        self, share: float, degrees: int, expected: float
    ) -> None:
        assert t_quantile(share, degrees) == pytest.approx(expected, abs=5e-4)

    def test_t_with_many_degrees_is_normal(self) -> None:
        assert t_quantile(0.975, 1e7) == pytest.approx(normal_quantile(0.975), rel=1e-6)
        assert normal_quantile(0.975) == pytest.approx(1.959964, abs=1e-6)

    def test_one_degree_of_freedom_is_the_cauchy_distribution(self) -> None:
        for t in (-3.0, -0.5, 0.0, 0.7, 12.0):
            assert t_cdf(t, 1) == pytest.approx(0.5 + math.atan(t) / math.pi, abs=1e-13)

    @given(st.floats(0.001, 0.999), st.integers(1, 300))
    def test_a_quantile_is_where_the_distribution_reaches_its_share(
        self, share: float, degrees: int
    ) -> None:
        assert t_cdf(t_quantile(share, degrees), degrees) == pytest.approx(share, abs=1e-10)

    @settings(max_examples=50)
    @given(st.integers(1, 120), st.data())
    def test_binomial_tails_equal_the_exact_sum(self, n: int, data: st.DataObject) -> None:
        k = data.draw(st.integers(-1, n))
        p = data.draw(st.integers(1, 99))
        assert binomial_cdf(k, n, p / 100) == pytest.approx(
            float(exact_cdf(k, n, Fraction(p, 100))), abs=1e-12
        )

    def test_the_incomplete_beta_function_has_its_closed_forms(self) -> None:
        assert incomplete_beta(1, 1, 0.3) == pytest.approx(0.3)
        assert incomplete_beta(2, 1, 0.3) == pytest.approx(0.09)
        assert incomplete_beta(1, 3, 0.3) == pytest.approx(1 - 0.7**3)
        assert (incomplete_beta(2, 3, 0.0), incomplete_beta(2, 3, 1.0)) == (0.0, 1.0)

    def test_arguments_out_of_range_are_refused(self) -> None:
        with pytest.raises(ValueError, match="x in"):
            incomplete_beta(1, 1, 1.5)
        with pytest.raises(ValueError, match="0 < share < 1"):
            t_quantile(1.0, 3)


class TestPercentile:
    def test_an_interpolated_percentile_worked_by_hand(self) -> None:
        # Position (4 - 1) x 0.9 = 2.7 from 0: 30 + 0.7 x (50 - 30)
        assert percentile([50.0, 10.0, 30.0, 20.0], 90) == pytest.approx(44.0)

    @given(st.lists(numbers, min_size=1, max_size=60), st.integers(0, 100))
    def test_percentiles_are_those_of_numpy(self, values: list[float], p: int) -> None:
        expected = float(np.percentile(values, p))
        assert percentile(values, p) == pytest.approx(expected, rel=1e-9, abs=1e-6)

    @given(st.lists(numbers, min_size=1, max_size=30), st.integers(0, 100))
    def test_a_percentile_does_not_depend_on_the_order(self, values: list[float], p: int) -> None:
        assert percentile(values, p) == percentile(list(reversed(values)), p)

    @pytest.mark.parametrize(("p", "least"), [(50, 5), (90, 50), (95, 100), (99, 500)])
    def test_a_percentile_needs_its_number_of_samples(self, p: int, least: int) -> None:
        assert needed(p) == least
        assert too_few(least, p) is None
        assert str(least) in (too_few(least - 1, p) or "")

    def test_nothing_has_no_percentile(self) -> None:
        with pytest.raises(ValueError, match="not defined"):
            percentile([], 50)


class TestOrderStatistics:
    # Printed in tables of distribution-free intervals of the median, at 95%.
    @pytest.mark.parametrize(
        ("n", "ranks"),
        [
            (5, None),
            (6, (1, 6)),
            (8, (1, 8)),
            (9, (2, 8)),
            (10, (2, 9)),
            (12, (3, 10)),
            (15, (4, 12)),
            (20, (6, 15)),
            (25, (8, 18)),
            (30, (10, 21)),
        ],
    )
    def test_the_median_has_the_printed_ranks(self, n: int, ranks: tuple[int, int] | None) -> None:
        assert order_statistic_ranks(n, 50) == ranks

    @settings(max_examples=60)
    @given(st.integers(1, 150), st.sampled_from([10, 50, 90, 95, 99]))
    def test_the_exact_coverage_reaches_the_level_and_cannot_be_narrower(
        self, n: int, p: int
    ) -> None:
        share, tail = Fraction(p, 100), Fraction(25, 1000)
        ranks = order_statistic_ranks(n, p)
        if ranks is None:
            assert exact_cdf(0, n, share) > tail or 1 - exact_cdf(n - 1, n, share) > tail
            return
        low, high = ranks
        assert exact_cdf(low - 1, n, share) <= tail < exact_cdf(low, n, share)
        assert 1 - exact_cdf(high - 1, n, share) <= tail
        assert 1 - exact_cdf(high - 2, n, share) > tail

    def test_the_interval_is_made_of_samples(self) -> None:
        interval = order_statistic_interval([6.0, 1.0, 5.0, 2.0, 4.0, 3.0], 50)
        assert interval is not None
        assert (interval.low, interval.high, interval.level) == (1.0, 6.0, 0.95)


class TestClusteredPercentile:
    def test_too_few_requests_give_no_interval_however_many_gaps(self) -> None:
        assert clustered_interval([1.0] * 400, [i % 4 for i in range(400)], 50) is None

    def test_worked_by_hand(self) -> None:
        # 10 requests of 40 gaps 1..40 each: in each the share at or below p50 = 20.5 is 1/2, so
        # the error is the binomial sqrt(0.25 / 400) = 0.025; t(9) = 2.262: shares 0.5 -+ 0.05655.
        # Ranks floor(177.38) = 177 and ceil(222.62) = 223 of 400; each value ten times over.
        values = [float(v) for _ in range(10) for v in range(1, 41)]
        interval = clustered_interval(values, [g for g in range(10) for _ in range(40)], 50)
        assert interval is not None
        assert (interval.low, interval.high) == (18.0, 23.0)

    def test_an_end_beyond_the_data_is_no_interval(self) -> None:
        values = [float(v) for v in range(100)]
        assert clustered_interval(values, [v % 10 for v in range(100)], 99) is None

    def test_it_is_wider_than_the_independent_one_where_requests_differ(self) -> None:
        # Each request has its own level: 400 gaps carry the news of 10 requests.
        values = [float(level) + i / 1000 for level in range(10) for i in range(40)]
        groups = [level for level in range(10) for _ in range(40)]
        honest = clustered_interval(values, groups, 50)
        naive = order_statistic_interval(values, 50)
        assert honest is not None
        assert naive is not None
        assert honest.high - honest.low > 2 * (naive.high - naive.low)

    def test_it_covers_the_true_percentile_about_as_often_as_it_says(self) -> None:
        # Gap = request's own level (normal) + its own noise (normal): the true median is 0.
        chance = random.Random(7)
        covered = 0
        for _ in range(300):
            levels = [chance.gauss(0, 1) for _ in range(12)]
            values = [level + chance.gauss(0, 1) for level in levels for _ in range(20)]
            interval = clustered_interval(values, [i // 20 for i in range(240)], 50)
            covered += interval is not None and interval.low <= 0 <= interval.high
        assert 0.90 <= covered / 300 <= 0.99


class TestMeans:
    def test_a_t_interval_worked_by_hand(self) -> None:
        # Mean 3, s^2 = 10 / 4, se = sqrt(2.5 / 5) = 0.70711; t(4) = 2.77645: +- 1.96324
        interval = t_interval([1.0, 2.0, 3.0, 4.0, 5.0])
        assert interval is not None
        assert (interval.low, interval.high) == pytest.approx((1.03676, 4.96324), abs=1e-5)

    def test_four_values_have_no_interval_but_an_error(self) -> None:
        assert t_interval([1.0, 2.0, 3.0, 4.0]) is None
        assert standard_error([1.0, 2.0, 3.0, 4.0]) == pytest.approx(math.sqrt(5 / 3 / 4))

    def test_one_value_has_no_error(self) -> None:
        assert standard_error([1.0]) is None

    @given(st.lists(numbers, min_size=2, max_size=40))
    def test_the_standard_error_is_that_of_numpy(self, values: list[float]) -> None:
        expected = float(np.std(values, ddof=1)) / math.sqrt(len(values))
        assert standard_error(values) == pytest.approx(expected, rel=1e-6, abs=1e-6)

    def test_the_mean_of_nothing_is_refused(self) -> None:
        with pytest.raises(ValueError, match="mean of nothing"):
            mean([])

    def test_a_geometric_mean_worked_by_hand(self) -> None:
        assert geometric_mean([0.5, 2.0, 4.0, 4.0]) == pytest.approx(2.0)

    def test_a_ratio_of_zero_has_no_logarithm(self) -> None:
        with pytest.raises(ValueError, match="must be positive"):
            geometric_mean([1.0, 0.0])


class TestRatiosOfSums:
    def test_worked_by_hand(self) -> None:
        # R = 15 / 10; residuals 0.5, -0.5, 1, -1, 0: squares 2.5; sqrt(5/4 x 2.5) / 10
        numerators, denominators = [3.5, 2.5, 4.0, 2.0, 3.0], [2.0] * 5
        assert ratio_of_sums(numerators, denominators) == 1.5
        error = ratio_of_sums_error(numerators, denominators)
        assert error == pytest.approx(math.sqrt(3.125) / 10)
        interval = ratio_of_sums_interval(numerators, denominators)
        assert interval is not None
        assert interval.high - 1.5 == pytest.approx(2.77645 * math.sqrt(3.125) / 10, rel=1e-5)

    @given(st.lists(numbers, min_size=5, max_size=20), positive)
    def test_equal_denominators_give_the_t_interval_of_the_ratios(
        self, values: list[float], weight: float
    ) -> None:
        ratio = ratio_of_sums_interval(values, [weight] * len(values))
        plain = t_interval([v / weight for v in values])
        assert ratio is not None
        assert plain is not None
        scale = max(abs(plain.low), abs(plain.high), 1.0)
        assert ratio.low == pytest.approx(plain.low, abs=1e-6 * scale)
        assert ratio.high == pytest.approx(plain.high, abs=1e-6 * scale)

    def test_a_sum_of_zero_is_not_divided_by(self) -> None:
        with pytest.raises(ValueError, match="more than 0"):
            ratio_of_sums([1.0], [0.0])

    def test_lengths_must_agree(self) -> None:
        with pytest.raises(ValueError, match="2 numerators but 1"):
            ratio_of_sums([1.0, 2.0], [1.0])


class TestWilson:
    # Newcombe (1998), table I: 81 of 263, 15 of 148, 0 of 20, 1 of 29.
    @pytest.mark.parametrize(
        ("successes", "n", "low", "high"),
        [
            (81, 263, 0.2553, 0.3662),
            (15, 148, 0.0624, 0.1605),
            (0, 20, 0.0, 0.1611),
            (1, 29, 0.0061, 0.1718),
        ],
    )
    def test_intervals_are_the_printed_ones(
        self, successes: int, n: int, low: float, high: float
    ) -> None:
        interval = wilson_interval(successes, n)
        assert interval is not None
        assert (interval.low, interval.high) == pytest.approx((low, high), abs=5e-5)

    @given(st.integers(5, 500), st.data())
    def test_it_holds_the_share_and_stays_within_bounds(self, n: int, data: st.DataObject) -> None:
        successes = data.draw(st.integers(0, n))
        interval = wilson_interval(successes, n)
        assert interval is not None
        assert 0 <= interval.low <= successes / n <= interval.high <= 1

    def test_more_successes_than_trials_are_refused(self) -> None:
        with pytest.raises(ValueError, match="6 successes of 5"):
            wilson_interval(6, 5)
