"""Averages over tasks: closed forms by hand, and that they cover."""

from __future__ import annotations

import math

import numpy as np
import pytest

from leanboard.metrics.intervals import Interval
from leanboard.metrics.macro import macro_average, macro_ratio
from leanboard.metrics.summary import Estimate

METHOD = "square-and-add over tasks"


def task(
    value: float, below: float | None, above: float = 0.0, stderr: float | None = 0.0, n: int = 50
) -> Estimate:
    ends = None if below is None else Interval(value - below, value + above, "test")
    return Estimate(value, n, ends, stderr)


def test_each_side_adds_its_own_squares() -> None:
    found = macro_average([task(0.5, 0.3, 0.06, 0.03), task(0.7, 0.4, 0.08, 0.04)])
    assert found.value == pytest.approx(0.6)
    assert found.interval is not None
    assert (found.interval.low, found.interval.high) == pytest.approx((0.6 - 0.25, 0.6 + 0.05))
    assert found.interval.method == METHOD
    assert found.stderr == pytest.approx(0.025)
    assert (found.n, found.reason) == (100, None)


def test_one_task_is_its_own_average() -> None:
    only = task(0.5, 0.1, 0.2, 0.05)
    found = macro_average([only])
    assert (found.value, found.n, found.stderr) == (only.value, only.n, only.stderr)
    assert found.interval == Interval(pytest.approx(0.4), pytest.approx(0.7), METHOD)


def test_a_task_without_an_interval_leaves_the_average_without_one() -> None:
    found = macro_average([task(0.5, 0.1, 0.1), task(0.7, None, stderr=None)])
    assert found.value == pytest.approx(0.6)
    assert (found.interval, found.stderr) == (None, None)
    assert found.reason == "no interval: 1 of 2 tasks have none"


def test_no_task_and_no_value_are_errors() -> None:
    with pytest.raises(ValueError, match="nothing"):
        macro_average([])
    with pytest.raises(ValueError, match="1 of 1 tasks have no value"):
        macro_average([Estimate(None, 0)])


def test_equal_averages_leave_the_noise_of_the_difference_only() -> None:
    # R = 1: the ends are those of the difference over the baseline's average.
    found = macro_ratio(
        [task(0.4, 0.1, 0.1, 0.07)], [task(0.4, 0.1, 0.1, 0.07)], [task(0.0, 0.02, 0.04, 0.01)]
    )
    assert found.value == 1
    assert found.interval == Interval(
        pytest.approx(0.95), pytest.approx(1.1), f"{METHOD}, linearised ratio"
    )


def test_a_ratio_far_from_one_takes_the_baselines_noise_in() -> None:
    # R = 0.5. var(C) = 0.0004, var(B) = 0.0009, var(D) = 0.0005: cov(D, B) = -0.0005.
    # e / z^2 = 0.25 x 0.0009 + 2 x 0.5 x -0.0005 = -0.000275; with D's z sqrt(0.0005) either side
    # the variance is 0.0005 - 0.000275 = 0.000225, and its root over B = 0.6 is 0.025.
    z = 1.959963984540054
    reach = z * math.sqrt(0.0005)
    found = macro_ratio(
        [task(0.3, 0.1, 0.1, 0.02)],
        [task(0.6, 0.1, 0.1, 0.03)],
        [task(-0.3, reach, reach, math.sqrt(0.0005))],
    )
    assert found.interval is not None
    assert found.interval.low == pytest.approx(0.5 - z * 0.025)
    assert found.interval.high == pytest.approx(0.5 + z * 0.025)


def test_a_ratio_needs_a_baseline_and_intervals() -> None:
    one, nothing = task(0.4, 0.1, 0.1), task(0.0, 0.1, 0.1)
    assert macro_ratio([one], [nothing], [one]).value is None
    bare = macro_ratio([one], [one], [task(0.0, None)])
    assert (bare.value, bare.interval) == (1, None)
    assert bare.reason == "no interval: 1 of 1 tasks have none"
    unknown = macro_ratio([one], [task(0.4, 0.1, 0.1, None)], [one])
    assert unknown.reason == "no interval: a task has no standard error"
    with pytest.raises(ValueError, match="same tasks"):
        macro_ratio([one], [one, one], [one])


def test_the_interval_of_the_ratio_covers_the_truth() -> None:
    # Normal items of correlated arms, so that nothing but the formula is tried.
    random = np.random.RandomState(3)
    truths = ((0.50, 0.55), (0.30, 0.42), (0.70, 0.80))
    truth = sum(c for c, _ in truths) / sum(b for _, b in truths)
    hits, runs, z = 0, 1000, 1.96
    for _ in range(runs):
        parts: list[list[Estimate]] = [[], [], []]
        for c, b in truths:
            shared = random.normal(0, 0.3, 300)
            ours = c + shared + random.normal(0, 0.2, 300)
            theirs = b + shared + random.normal(0, 0.2, 300)
            for part, items in zip(parts, (ours, theirs, ours - theirs), strict=True):
                error = float(items.std(ddof=1) / math.sqrt(300))
                part.append(task(float(items.mean()), z * error, z * error, error, 300))
        interval = macro_ratio(*parts).interval
        assert interval is not None
        hits += interval.low <= truth <= interval.high
    assert 0.935 <= hits / runs <= 0.965
