"""The middle of ratios and its interval, by signed ranks."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import wilcoxon

from leanboard.metrics.signed_rank import averages_left_out, ratio_centre, ratio_interval

POSITIVE = st.floats(0.5, 2.0)


def test_the_middle_worked_by_hand() -> None:
    # Logs 0, 1, 5; averages of two, each with itself: 0, 0.5, 1, 2.5, 3, 5: the middle is 1.75.
    assert ratio_centre([math.exp(v) for v in (5.0, 0.0, 1.0)]) == pytest.approx(math.exp(1.75))


def test_an_outlier_hardly_moves_the_middle() -> None:
    calm = [1.01, 0.99, 1.0, 1.02, 0.98, 1.0, 1.01, 0.99]
    assert ratio_centre([*calm[:-1], 40.0]) == pytest.approx(ratio_centre(calm), rel=0.02)


def test_the_interval_of_six_is_the_whole_range() -> None:
    # Of 64 signs one has no positive rank: 1 / 64 = 0.0156 is below 0.025, 2 / 64 is not.
    ratios = [1.1, 0.9, 1.05, 1.0, 0.95, 1.2]
    interval = ratio_interval(ratios)
    assert interval is not None
    assert (interval.low, interval.high) == pytest.approx((0.9, 1.2))


def test_five_have_no_interval() -> None:
    # 1 / 32 = 0.031 is above 0.025.
    assert ratio_interval([1.0, 1.1, 0.9, 1.05, 0.95]) is None


@pytest.mark.parametrize(("n", "place"), [(6, 1), (7, 3), (8, 4), (10, 9), (12, 14), (20, 53)])
def test_places_are_those_of_the_published_tables(n: int, place: int) -> None:
    # Wilcoxon's critical values at 0.05, two-sided, are 0, 2, 3, 8, 13 and 52.
    assert averages_left_out(n) == place


@given(st.lists(POSITIVE, min_size=6, max_size=20))
def test_the_inverse_ratio_has_the_inverse_interval(ratios: list[float]) -> None:
    interval, inverse = ratio_interval(ratios), ratio_interval([1 / r for r in ratios])
    assert interval is not None
    assert inverse is not None
    assert inverse.low == pytest.approx(1 / interval.high, rel=1e-9)
    assert interval.low <= ratio_centre(ratios) <= interval.high


def test_the_interval_holds_what_the_test_does_not_reject() -> None:
    random = np.random.default_rng(5)
    for _ in range(50):
        logs = random.normal(0.01, 0.05, 12)
        interval = ratio_interval(np.exp(logs).tolist())
        assert interval is not None
        for guess in (-0.02, 0.0, 0.03):
            rejected = wilcoxon(logs - guess, method="exact").pvalue <= 0.05
            assert rejected != (interval.low <= math.exp(guess) <= interval.high)


@pytest.mark.parametrize("spikes", [0.0, 0.25])
def test_it_covers_also_where_one_launch_in_four_is_disturbed(spikes: float) -> None:
    random, trials, held, widths = np.random.default_rng(7), 1500, 0, []
    for _ in range(trials):
        arms = random.normal(0, 0.01, (2, 12)) + (random.random((2, 12)) < spikes) * 0.3
        interval = ratio_interval(np.exp(arms[0] - arms[1]).tolist())
        assert interval is not None
        held += interval.low <= 1 <= interval.high
        widths.append(interval.high - interval.low)
    assert 0.94 < held / trials < 0.97


def test_a_ratio_of_zero_has_no_logarithm() -> None:
    with pytest.raises(ValueError, match="must be positive"):
        ratio_interval([1.0] * 5 + [0.0])
    with pytest.raises(ValueError, match="nothing"):
        ratio_centre([])
