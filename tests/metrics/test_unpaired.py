"""The ratio of values that were measured apart: by hand, turned round, and where truth is known."""

from __future__ import annotations

import math
import random
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leanboard.metrics.distributions import normal_quantile
from leanboard.metrics.intervals import Interval, t_interval
from leanboard.metrics.percentile import order_statistic_interval
from leanboard.metrics.unpaired import METHOD, unpaired_interval

positive = st.floats(1e-3, 1e3)
widths = st.floats(1.0, 50.0)


def around(value: float, below: float, above: float) -> Interval:
    return Interval(value / below, value * above, "example")


def test_distances_add_as_the_sides_of_a_right_triangle() -> None:
    """In powers of two: 3 and 4 below give 5, 6 and 8 above give 10."""
    candidate, reference = around(16.0, 2.0**3, 2.0**6), around(4.0, 2.0**8, 2.0**4)
    found = unpaired_interval(16.0, candidate, 4.0, reference)
    assert found is not None
    assert (found.low, found.high) == pytest.approx((4.0 / 2**5, 4.0 * 2**10))
    assert (found.method, found.level) == (METHOD, 0.95)


def test_it_is_the_interval_of_a_log_ratio_from_standard_errors() -> None:
    """With symmetric intervals of logarithms it is the textbook's d +- z sqrt(se1^2 + se2^2)."""
    z, errors = normal_quantile(0.975), (0.03, 0.08)
    one = around(2.0, math.exp(z * errors[0]), math.exp(z * errors[0]))
    other = around(5.0, math.exp(z * errors[1]), math.exp(z * errors[1]))
    found = unpaired_interval(2.0, one, 5.0, other)
    assert found is not None
    reach = z * math.hypot(*errors)
    assert math.log(found.low) == pytest.approx(math.log(0.4) - reach)
    assert math.log(found.high) == pytest.approx(math.log(0.4) + reach)


def test_against_an_exact_value_only_the_other_interval_counts() -> None:
    found = unpaired_interval(3.0, Interval(2.0, 5.0, "t"), 2.0, Interval(2.0, 2.0, "counted"))
    assert found is not None
    assert (found.low, found.high) == pytest.approx((1.0, 2.5))


@given(positive, positive, st.tuples(widths, widths), st.tuples(widths, widths))
def test_turned_round_it_is_turned_round(
    a: float, b: float, its: tuple[float, float], theirs: tuple[float, float]
) -> None:
    one, other = around(a, *its), around(b, *theirs)
    there, back = unpaired_interval(a, one, b, other), unpaired_interval(b, other, a, one)
    assert there is not None
    assert back is not None
    assert (1 / back.high, 1 / back.low) == pytest.approx((there.low, there.high))
    assert there.low <= a / b * (1 + 1e-9)
    assert a / b <= there.high * (1 + 1e-9)


@pytest.mark.parametrize(
    ("value", "interval"),
    [
        (0.0, Interval(0.0, 1.0, "t")),
        (1.0, Interval(0.0, 2.0, "t")),
        (1.0, Interval(-0.5, 2.0, "t")),
        (3.0, Interval(1.0, 2.0, "t")),
        (1.0, Interval(0.5, 2.0, "t", level=0.9)),
        (1e300, Interval(1e-300, 1e300, "t")),
    ],
)
def test_there_is_none_where_it_would_mean_nothing(value: float, interval: Interval) -> None:
    plain = Interval(0.5, 2.0, "t")
    assert unpaired_interval(value, interval, 1.0, plain) is None
    assert unpaired_interval(1.0, plain, value, interval) is None


def covered(trials: int, n: int, median: bool) -> float:
    """Share of intervals that hold the true ratio 2 of two log-normal samples of n values."""
    drawn, held = random.Random(8), 0
    for _ in range(trials):
        samples = [[drawn.lognormvariate(math.log(m), s) for _ in range(n)] for m, s in SPREADS]
        intervals = [
            order_statistic_interval(values, 50) if median else t_interval(values)
            for values in samples
        ]
        centre = statistics.median if median else statistics.fmean
        truths = [m if median else m * math.exp(s * s / 2) for m, s in SPREADS]
        (one, other), (first, second) = intervals, samples
        assert one is not None
        assert other is not None
        found = unpaired_interval(centre(first), one, centre(second), other)
        held += found is not None and found.low <= truths[0] / truths[1] <= found.high
    return held / trials


SPREADS = ((2.0, 0.04), (1.0, 0.10))


def test_it_holds_the_true_ratio_of_means_as_often_as_it_says() -> None:
    assert 0.94 <= covered(2000, 12, median=False) <= 0.975


def test_from_medians_of_few_samples_it_errs_on_the_safe_side() -> None:
    assert covered(2000, 8, median=True) >= 0.95
