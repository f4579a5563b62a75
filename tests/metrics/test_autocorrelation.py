"""Rounds of one process resemble one another, and count for less."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from leanboard.metrics.autocorrelation import effective_n, lag_one, one_process_interval
from leanboard.metrics.intervals import Interval, logarithms, t_interval


def independent(ratios: Sequence[float]) -> Interval | None:
    """Student's interval of a geometric mean, as if the ratios were independent."""
    inner = t_interval(logarithms(ratios))
    return inner and replace(inner, low=math.exp(inner.low), high=math.exp(inner.high))


def test_lag_one_worked_by_hand() -> None:
    # Off the mean 2: -1, -1, 1, 1; products 1, -1, 1; squares 4: 1/4, and 1/4 for the bias.
    assert lag_one([1.0, 1.0, 3.0, 3.0]) == pytest.approx(0.5)


def test_effective_n_worked_by_hand() -> None:
    # Eight values, four low and four high: products 6 x 1 - 1 = 5 over 8, + 1/8 = 3/4:
    # 8 x (1/4) / (7/4) = 8/7, never less than 2.
    assert effective_n([0.0] * 4 + [1.0] * 4) == 2.0
    # 16 values in runs of two: 8 products of 1, 7 of -1 over 16, + 1/16 = 1/8: 16 x 7/9.
    assert effective_n([0.0, 0.0, 1.0, 1.0] * 4) == pytest.approx(16 * 7 / 9)


@pytest.mark.parametrize("values", [[], [2.0], [1.0, 2.0], [3.0] * 9, [0.0, 1.0] * 5])
def test_values_without_a_positive_correlation_all_count(values: list[float]) -> None:
    assert effective_n(values) == len(values)


def test_an_interval_of_a_swinging_series_is_the_plain_one() -> None:
    ratios = (1.1, 0.9) * 4
    plain, found = independent(ratios), one_process_interval(ratios)
    assert plain is not None
    assert found is not None
    assert (found.low, found.high) == pytest.approx((plain.low, plain.high))
    assert found.method == "t on log ratios, one process"


def test_the_interval_of_a_slow_wave_worked_by_hand() -> None:
    # Logs 0, 0, d, d ... with d = log 1.1: n' = 16 x 7/9 = 12.444; s = d / 2 sqrt(16 / 15)
    # = 0.049218; t(11.444) = 2.19070; reach = 2.19070 x 0.049218 / sqrt(12.444) = 0.030565.
    found = one_process_interval([1.0, 1.0, 1.1, 1.1] * 4)
    assert found is not None
    centre = math.log(1.1) / 2
    assert math.log(found.high) - centre == pytest.approx(0.030565, rel=1e-4)
    assert centre - math.log(found.low) == pytest.approx(0.030565, rel=1e-4)
    assert found.method == "t on log ratios, one process, effective n 12.4"


@given(st.lists(st.floats(0.5, 2.0), min_size=5, max_size=30))
def test_it_is_never_narrower_than_for_independent_rounds(ratios: list[float]) -> None:
    plain, found = independent(ratios), one_process_interval(ratios)
    assert plain is not None
    assert found is not None
    assert found.high - found.low >= (plain.high - plain.low) * (1 - 1e-9)


def test_four_rounds_have_no_interval() -> None:
    assert one_process_interval([1.0] * 4) is None


def test_a_correlated_series_is_covered_far_more_often_than_by_the_plain_interval() -> None:
    chance = np.random.default_rng(3)
    trials, n, share = 400, 32, 0.5
    held = {"plain": 0, "widened": 0}
    for _ in range(trials):
        noise = chance.normal(size=n)
        for i in range(1, n):
            noise[i] = share * noise[i - 1] + math.sqrt(1 - share**2) * noise[i]
        ratios = np.exp(0.03 * noise).tolist()
        for name, make in (("plain", independent), ("widened", one_process_interval)):
            found = make(ratios)
            held[name] += found is not None and found.low <= 1 <= found.high
    assert held["plain"] / trials < 0.82
    assert held["widened"] / trials > 0.89
