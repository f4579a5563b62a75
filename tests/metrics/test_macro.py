"""Averages over tasks: closed forms by hand, and that they cover."""

from __future__ import annotations

import math

import numpy as np
import pytest

from leanboard.metrics import item_bootstrap
from leanboard.metrics.gate import GateVerdict, gate
from leanboard.metrics.intervals import Interval, mean, standard_error
from leanboard.metrics.item_bootstrap import difference_interval
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


def test_a_sure_baseline_leaves_the_noise_of_the_difference_only() -> None:
    # var(B) = cov(D, B) = 0: the ends are those of the difference over the baseline's average.
    found = macro_ratio(
        [task(0.4, 0.1, 0.1, 0.01)], [task(0.4, 0.1, 0.1, 0.0)], [task(0.0, 0.02, 0.04, 0.01)]
    )
    assert found.value == 1
    assert found.interval == Interval(pytest.approx(0.95), pytest.approx(1.1), f"{METHOD}, Fieller")


def test_a_ratio_far_from_one_takes_the_baselines_noise_in() -> None:
    # R = 0.5. var(C) = 0.0004, var(B) = 0.0009, var(D) = 0.0005: cov(D, B) = -0.0005.
    # An end u = 1 - R solves (-0.3 + 0.6 u)^2 = z^2 (0.0005 - 0.001 u + 0.0009 u^2), so
    # (0.36 - 0.0009 z^2) u^2 - (0.36 - 0.001 z^2) u + 0.09 - 0.0005 z^2 = 0.
    z = 1.959963984540054
    a, b, c = 0.36 - 0.0009 * z**2, -(0.36 - 0.001 * z**2), 0.09 - 0.0005 * z**2
    roots = [(-b + sign * math.sqrt(b * b - 4 * a * c)) / (2 * a) for sign in (1, -1)]
    reach = z * math.sqrt(0.0005)
    found = macro_ratio(
        [task(0.3, 0.1, 0.1, 0.02)],
        [task(0.6, 0.1, 0.1, 0.03)],
        [task(-0.3, reach, reach, math.sqrt(0.0005))],
    )
    assert found.interval is not None
    assert (found.interval.low, found.interval.high) == pytest.approx([1 - u for u in roots])


def test_a_ratio_needs_a_baseline_and_intervals() -> None:
    one, nothing = task(0.4, 0.1, 0.1), task(0.0, 0.1, 0.1)
    assert macro_ratio([one], [nothing], [one]).value is None
    bare = macro_ratio([one], [one], [task(0.0, None)])
    assert (bare.value, bare.interval) == (1, None)
    assert bare.reason == "no interval: 1 of 1 tasks have none"
    unknown = macro_ratio([one], [task(0.4, 0.1, 0.1, None)], [one])
    assert unknown.reason == "no interval: a task has no standard error"
    faint = macro_ratio([one], [task(0.02, 0.01, 0.03, 0.011)], [task(0.38, 0.1, 0.1)])
    assert (faint.value, faint.interval) == (pytest.approx(20), None)
    assert faint.reason == "no interval: the baseline's average is too near 0"
    with pytest.raises(ValueError, match="same tasks"):
        macro_ratio([one], [one, one], [one])


Cells = tuple[int, int, int, int]


def scored(cells: Cells) -> tuple[Estimate, Estimate, Estimate]:
    """Return candidate, baseline, difference: both right, only one, only the other, neither."""
    both, gained, lost, neither = cells
    ours = [1.0] * (both + gained) + [0.0] * (lost + neither)
    theirs = [1.0] * both + [0.0] * gained + [1.0] * lost + [0.0] * neither
    differences = [c - b for c, b in zip(ours, theirs, strict=True)]
    intervals = (None, None, difference_interval(ours, theirs))
    ours_, theirs_, paired = (
        Estimate(mean(items), len(items), interval, standard_error(items))
        for items, interval in zip((ours, theirs, differences), intervals, strict=True)
    )
    return ours_, theirs_, paired


def ratio_of(*tasks: Cells) -> Interval | None:
    parts = [scored(cells) for cells in tasks]
    ours, theirs, paired = ([part[side] for part in parts] for side in range(3))
    return macro_ratio(ours, theirs, paired).interval


@pytest.mark.parametrize("cells", [(0, 0, 3, 197), (0, 0, 4, 196), (0, 1, 5, 194), (1, 0, 3, 196)])
def test_a_few_lost_items_show_nothing_even_if_no_right_answer_is_left(cells: Cells) -> None:
    interval = ratio_of(cells)
    assert interval is None or (interval.low, interval.high > 1) == (0, True)
    assert gate(interval).verdict in (None, GateVerdict.UNDECIDED)


def test_many_lost_items_fail_even_if_no_right_answer_is_left() -> None:
    assert gate(ratio_of((0, 0, 30, 170))).verdict is GateVerdict.FAIL


@pytest.mark.parametrize("both", [0.0, 0.01, 0.02])
@pytest.mark.parametrize("tasks", [1, 3])
def test_arms_that_are_equally_poor_hardly_ever_fail(
    monkeypatch: pytest.MonkeyPatch, both: float, tasks: int
) -> None:
    monkeypatch.setattr(item_bootstrap, "DRAWS", 200)
    random, differing, runs = np.random.RandomState(4), 0.015, 200
    shares = (both, differing, differing, 1 - both - 2 * differing)
    sampled = [random.multinomial(200, shares, size=tasks).tolist() for _ in range(runs)]
    scored_ = [cells for cells in sampled if all(b + lost for b, _, lost, _ in cells)]
    verdicts = [gate(ratio_of(*map(tuple, cells))).verdict for cells in scored_]
    assert len(verdicts) > runs / 2
    # 2.5% is what the interval allows; linearised at what was seen it was 9% and more.
    assert verdicts.count(GateVerdict.FAIL) / len(verdicts) <= 0.025


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
