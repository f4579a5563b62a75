"""Volumes of sets of points, by hand and against the counting of unit cells."""

from __future__ import annotations

import math
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leanboard.metrics.front_membership import Uncertain
from leanboard.metrics.hypervolume import (
    MOST_RANGED,
    REFERENCE,
    against_baseline,
    doublings,
    hypervolume,
)
from leanboard.metrics.metric import Direction

LOWER, HIGHER = Direction.LOWER, Direction.HIGHER
SIDE = 4
Points = list[tuple[int, ...]]


def cells(points: Points, axes: int) -> int:
    """Count the unit cells of a grid whose upper corner some point is at least as good as."""
    corners = product(range(1, SIDE + 1), repeat=axes)
    return sum(
        any(all(p >= c for p, c in zip(point, corner, strict=True)) for point in points)
        for corner in corners
    )


def on_grid(axes: int) -> st.SearchStrategy[Points]:
    return st.lists(st.tuples(*[st.integers(-1, SIDE)] * axes), max_size=9)


sets = st.integers(1, 4).flatmap(lambda axes: st.tuples(st.just(axes), on_grid(axes)))


@pytest.mark.parametrize(
    ("points", "volume"),
    [
        ([], 0.0),
        ([(0.0, 0.0)], 1.0),
        # Two boxes of 2 x 1 that share 1.
        ([(1.0, 0.0), (0.0, 1.0)], 3.0),
        # 1.5 x 1 and 0.5 x 3 share 0.5.
        ([(0.5, 0.0), (-0.5, 2.0)], 2.5),
        # A dominated point and an equal one add nothing.
        ([(1.0, 1.0), (1.0, 1.0), (0.5, 0.5)], 4.0),
        # A doubling worse on one axis is worth nothing, whatever the other.
        ([(10.0, -1.0), (-math.inf, 10.0)], 0.0),
        # Three boxes of 2 x 1 x 1 share the unit cube: 1 + 3.
        ([(1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)], 4.0),
        # Two of 2 x 2 x 1 that share 2 x 1 x 1.
        ([(1.0, 1.0, 0.0), (1.0, 0.0, 1.0)], 6.0),
        # Four of 2 x 1 x 1 x 1 share the unit cell: 1 + 4.
        ([tuple(float(i == j) for j in range(4)) for i in range(4)], 5.0),
    ],
)
def test_volumes_by_hand(points: list[tuple[float, ...]], volume: float) -> None:
    axes = len(points[0]) if points else 2
    assert hypervolume(points, [REFERENCE] * axes) == volume


@given(sets)
def test_the_volume_is_the_number_of_unit_cells_that_are_covered(drawn: tuple[int, Points]) -> None:
    axes, points = drawn
    assert hypervolume(points, [0.0] * axes) == cells(points, axes)


@given(sets, st.randoms())
def test_neither_order_nor_dominated_points_matter(drawn: tuple[int, Points], chance) -> None:
    axes, points = drawn
    volume = hypervolume(points, [0.0] * axes)
    mixed = [*points, *(tuple(v - 1 for v in point) for point in points)]
    chance.shuffle(mixed)
    assert hypervolume(mixed, [0.0] * axes) == volume


@given(sets.filter(lambda drawn: bool(drawn[1])))
def test_a_point_never_takes_volume_away(drawn: tuple[int, Points]) -> None:
    axes, points = drawn
    reference = [0.0] * axes
    assert hypervolume(points, reference) >= hypervolume(points[1:], reference)


def test_a_point_with_another_number_of_values_is_refused() -> None:
    with pytest.raises(ValueError, match="zip"):
        hypervolume([(1.0, 1.0, 1.0)], [0.0, 0.0])


def test_doublings_point_the_better_way_and_do_not_depend_on_units() -> None:
    assert doublings(0.5, LOWER) == 1.0
    assert doublings(2.0, LOWER) == -1.0
    assert doublings(8.0, HIGHER) == 3.0
    assert doublings(1.0, HIGHER) == doublings(1.0, LOWER) == 0.0
    assert doublings(0.0, HIGHER) == -math.inf
    with pytest.raises(ValueError, match="better direction"):
        doublings(2.0, Direction.NEUTRAL)


METRICS = ("tpot_s", "accuracy")


def test_a_family_by_hand() -> None:
    """Half the time at the same score: 2 x 1. The same time at 2 ** 0.5 of the score: 1 x 1.5."""
    ratios = {
        "fast": [Uncertain(0.5), Uncertain(1.0)],
        "better": [Uncertain(1.0), Uncertain(math.sqrt(2))],
    }
    found = against_baseline(ratios, METRICS, (LOWER, HIGHER))
    assert found.covered == pytest.approx(2.5)
    assert found.beyond == pytest.approx(1.5)
    assert (found.low, found.high) == (found.covered, found.covered)


def test_a_mere_trade_covers_less_than_the_baseline_and_goes_beyond_it() -> None:
    """Twice as fast at 2 ** -0.75 of the score: 2 x 0.25; half of that the baseline covers too."""
    ratios = {"a": [Uncertain(0.5), Uncertain(2**-0.75)]}
    found = against_baseline(ratios, METRICS, (LOWER, HIGHER))
    assert found.covered == pytest.approx(0.5)
    assert found.beyond == pytest.approx(0.25)


def test_what_is_worse_than_the_baseline_everywhere_goes_nowhere_beyond_it() -> None:
    found = against_baseline({"a": [Uncertain(1.5), Uncertain(0.9)]}, METRICS, (LOWER, HIGHER))
    assert 0 < found.covered < 1
    assert found.beyond == 0.0


def test_the_range_is_that_of_the_interval_where_one_value_moves() -> None:
    """One candidate, one interval: the volume is 1 + log2(1 / ratio), monotone in the ratio."""
    ratios = {"runs/a.html": [Uncertain(0.5, 0.45, 0.55), Uncertain(1.0)]}
    found = against_baseline(ratios, METRICS, (LOWER, HIGHER), draws=20_000)
    assert found.covered == pytest.approx(2.0)
    assert found.low == pytest.approx(1 - math.log2(0.55), abs=0.01)
    assert found.high == pytest.approx(1 - math.log2(0.45), abs=0.01)


def test_a_score_that_a_draw_moves_below_0_covers_nothing_in_that_draw() -> None:
    found = against_baseline({"a": [Uncertain(0.1, -0.2, 0.4)]}, ("accuracy",), (HIGHER,))
    assert found.low == 0.0


def test_a_crowd_on_three_axes_has_a_volume_and_no_range() -> None:
    crowd = {
        str(i): [Uncertain(1 + i / 500, 0.5, 2.0), Uncertain(1 - i / 500), Uncertain(1.0)]
        for i in range(MOST_RANGED + 1)
    }
    metrics, directions = ("a", "b", "c"), (LOWER, LOWER, LOWER)
    found = against_baseline(crowd, metrics, directions)
    assert found.covered > 1
    assert (found.low, found.high) == (None, None)
    some = dict(list(crowd.items())[:MOST_RANGED])
    assert against_baseline(some, metrics, directions, draws=3).low is not None


def test_an_axis_without_a_better_direction_is_refused() -> None:
    with pytest.raises(ValueError, match="better direction"):
        against_baseline({"a": [Uncertain(1.0)]}, ("a",), (Direction.NEUTRAL,))
