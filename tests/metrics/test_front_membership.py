"""How sure a place on a front is, where the truth is known."""

from __future__ import annotations

import math
import random
import statistics

import pytest

from leanboard.metrics.front_membership import (
    Uncertain,
    _deviates,
    _mulberry32,
    contenders,
    drawn,
    in_dispute,
    membership,
)
from leanboard.metrics.metric import Direction
from leanboard.metrics.pareto import pareto_front

LOWER = Direction.LOWER
METRICS = ("tpot_s", "peak_memory_bytes")


def test_points_without_intervals_are_on_the_front_always_or_never() -> None:
    points = {
        "fast": [Uncertain(1.0), Uncertain(3.0)],
        "small": [Uncertain(3.0), Uncertain(1.0)],
        "beaten": [Uncertain(3.0), Uncertain(3.0)],
    }
    found = membership(points, METRICS, (LOWER, LOWER), draws=20).shares
    assert found == {"fast": 1.0, "small": 1.0, "beaten": 0.0}


def test_two_that_cannot_be_told_apart_share_the_front() -> None:
    points = {
        "one": [Uncertain(1.0, 0.9, 1.1), Uncertain(1.0)],
        "other": [Uncertain(1.0, 0.9, 1.1), Uncertain(1.0)],
    }
    found = membership(points, METRICS, (LOWER, LOWER), draws=4000).shares
    assert found is not None
    assert found["one"] == pytest.approx(0.5, abs=0.03)
    assert sum(found.values()) == pytest.approx(1.0)


def test_the_share_is_that_of_normal_differences() -> None:
    """One log standard deviation apart: the worse one wins with Phi(-1 / sqrt 2)."""
    spread = 1.959964 * 0.1
    points = {
        name: [Uncertain(value, value * math.exp(-spread), value * math.exp(spread))]
        for name, value in (("better", 1.0), ("worse", math.exp(0.1)))
    }
    found = membership(points, ("tpot_s",), (LOWER,), draws=20_000).shares
    assert found is not None
    assert found["worse"] == pytest.approx(statistics.NormalDist().cdf(-1 / math.sqrt(2)), abs=0.01)


def test_a_draw_depends_on_names_and_on_nothing_else() -> None:
    points = {
        name: [Uncertain(1.0 + i / 50, 0.9, 1.2), Uncertain(2.0 - i / 50, 1.7, 2.3)]
        for i, name in enumerate("abcd")
    }
    found = membership(points, METRICS, (LOWER, LOWER))
    turned = dict(reversed(points.items()))
    assert membership(turned, METRICS, (LOWER, LOWER)) == found
    assert _deviates("a/tpot_s", 3) != _deviates("b/tpot_s", 3)
    assert _deviates("a/tpot_s", 3) == _deviates("a/tpot_s", 9)[:3]


def test_uniform_numbers_are_those_of_mulberry32() -> None:
    """Of its reference implementation in C, started at 0."""
    found = _mulberry32(0, 3)
    assert found == [0.26642920868471265, 0.0003297457005828619, 0.2232720274478197]


def test_the_deviates_are_standard_normal() -> None:
    drawn = _deviates("runs/x.html/tpot_s", 20_000)
    assert statistics.fmean(drawn) == pytest.approx(0.0, abs=0.02)
    assert statistics.stdev(drawn) == pytest.approx(1.0, abs=0.02)


@pytest.mark.parametrize(
    ("claimed", "least", "greatest"),
    [
        (Uncertain(1.0, 1.0, 1e100), 1.0, math.inf),
        (Uncertain(1.0, 1e-100, 1.0), 0.0, 1.0),
        (Uncertain(1e100, 5e-324, 1e100), 0.0, 1e100),
        (Uncertain(5e-324, 5e-324, 1e100), 5e-324, math.inf),
        (Uncertain(1.0, 1.0, -1.0), pytest.approx(-5.7965, abs=1e-4), 1.0),
    ],
)
def test_an_interval_of_any_width_moves_a_value_no_farther_than_numbers_go(
    claimed: Uncertain, least: float, greatest: float
) -> None:
    assert claimed.reach == (least, greatest)


def test_each_side_of_an_interval_has_its_own_width() -> None:
    skewed = Uncertain(1.0, 0.9, 1.5)
    assert skewed.moved([-1.959964, 1.959964]) == pytest.approx([0.9, 1.5])
    signed = Uncertain(0.0, -1.0, 2.0)
    assert signed.moved([-1.959964, 1.959964]) == pytest.approx([-1.0, 2.0])


def test_the_sweep_over_two_axes_finds_what_the_comparison_of_all_pairs_finds() -> None:
    drawn = random.Random(0)
    for _ in range(200):
        points = {str(i): (drawn.randint(0, 4), drawn.randint(0, 4)) for i in range(12)}
        swept = pareto_front(points, (LOWER, Direction.HIGHER)).members
        padded = {name: (*point, 0) for name, point in points.items()}
        assert swept == pareto_front(padded, (LOWER, Direction.HIGHER, LOWER)).members


@pytest.mark.parametrize("axes", [1, 3, 4])
def test_the_front_of_many_axes_is_what_the_comparison_of_all_pairs_leaves(axes: int) -> None:
    chance = random.Random(axes)
    for _ in range(100):
        points = {str(i): tuple(chance.randint(0, 3) for _ in range(axes)) for i in range(14)}
        expected = tuple(
            name
            for name, point in points.items()
            if not any(
                other != point and all(a <= b for a, b in zip(other, point, strict=True))
                for other in points.values()
            )
        )
        assert pareto_front(points, [LOWER] * axes).members == expected


@pytest.mark.parametrize("axes", [2, 3])
def test_who_is_no_contender_is_on_no_drawn_front_and_moves_no_other_share(axes: int) -> None:
    chance = random.Random(axes)
    directions = [LOWER, Direction.HIGHER, LOWER][:axes]
    metrics = ["a", "b", "c"][:axes]
    points = {
        str(i): [Uncertain(v, v * 0.95, v * 1.1) for v in _anywhere(chance, axes)]
        for i in range(60)
    }
    able = contenders(points, directions)
    assert 1 < len(able) < len(points)
    counts = dict.fromkeys(points, 0)
    for moved in drawn(points, metrics, 100):
        for name in pareto_front(moved, directions).members:
            counts[name] += 1
    found = membership(points, metrics, directions, 100)
    assert found.contenders == len(able)
    assert found.shares == {name: count / 100 for name, count in counts.items()}
    assert not [name for name, count in counts.items() if count and name not in able]


def test_a_contender_is_in_dispute_with_those_that_may_beat_it_and_with_no_other() -> None:
    points = {
        "alone": [Uncertain(1.0), Uncertain(9.0, 8.9, 9.1), Uncertain(5.0)],
        "one": [Uncertain(5.0, 4.5, 5.5), Uncertain(5.0), Uncertain(5.0)],
        "other": [Uncertain(5.1, 4.6, 5.6), Uncertain(5.0), Uncertain(5.0)],
        "small": [Uncertain(9.0), Uncertain(1.0), Uncertain(5.0)],
        "equal": [Uncertain(9.0), Uncertain(1.0), Uncertain(5.0)],
    }
    directions = [LOWER] * 3
    assert contenders(points, directions) == list(points)
    assert in_dispute(points, directions) == ["one", "other"]
    shares = membership(points, "abc", directions, draws=200).shares
    assert shares is not None
    assert [shares[name] for name in ("alone", "small", "equal")] == [1.0, 1.0, 1.0]
    assert 0 < shares["other"] < shares["one"] < 1
    assert shares["one"] + shares["other"] == pytest.approx(1.0)


def test_more_in_dispute_than_may_be_drawn_have_no_shares_and_are_counted() -> None:
    crowd = {
        str(i): [Uncertain(1 + i / 500, 0.5, 2.0), Uncertain(1 - i / 500), Uncertain(1.0)]
        for i in range(12)
    }
    directions = [LOWER] * 3
    crowded = membership(crowd, "abc", directions, draws=10, most=11)
    assert (crowded.contenders, crowded.shares) == (12, None)
    assert membership(crowd, "abc", directions, draws=10, most=12).shares is not None


def _anywhere(chance: random.Random, axes: int) -> list[float]:
    return [math.exp(chance.uniform(0, 3)) for _ in range(axes)]


def test_the_reach_of_a_value_holds_every_draw() -> None:
    for value in (Uncertain(1.0), Uncertain(1.0, 0.9, 1.5), Uncertain(0.1, -1.0, 2.0)):
        low, high = value.reach
        moved = value.moved(_deviates("any/tpot_s", 5000))
        assert low <= min(moved)
        assert max(moved) <= high
