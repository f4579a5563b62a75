"""How sure a place on a front is, where the truth is known."""

from __future__ import annotations

import math
import random
import statistics
from itertools import islice

import pytest

from leanboard.metrics.front_membership import Uncertain, _deviates, membership
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
    found = membership(points, METRICS, (LOWER, LOWER), draws=20)
    assert found == {"fast": 1.0, "small": 1.0, "beaten": 0.0}


def test_two_that_cannot_be_told_apart_share_the_front() -> None:
    points = {
        "one": [Uncertain(1.0, 0.9, 1.1), Uncertain(1.0)],
        "other": [Uncertain(1.0, 0.9, 1.1), Uncertain(1.0)],
    }
    found = membership(points, METRICS, (LOWER, LOWER), draws=4000)
    assert found["one"] == pytest.approx(0.5, abs=0.03)
    assert sum(found.values()) == pytest.approx(1.0)


def test_the_share_is_that_of_normal_differences() -> None:
    """One log standard deviation apart: the worse one wins with Phi(-1 / sqrt 2)."""
    spread = 1.959964 * 0.1
    points = {
        name: [Uncertain(value, value * math.exp(-spread), value * math.exp(spread))]
        for name, value in (("better", 1.0), ("worse", math.exp(0.1)))
    }
    found = membership(points, ("tpot_s",), (LOWER,), draws=20_000)
    assert found["worse"] == pytest.approx(statistics.NormalDist().cdf(-1 / math.sqrt(2)), abs=0.01)


def test_a_draw_depends_on_names_and_on_nothing_else() -> None:
    points = {
        name: [Uncertain(1.0 + i / 50, 0.9, 1.2), Uncertain(2.0 - i / 50, 1.7, 2.3)]
        for i, name in enumerate("abcd")
    }
    found = membership(points, METRICS, (LOWER, LOWER))
    turned = dict(reversed(points.items()))
    assert membership(turned, METRICS, (LOWER, LOWER)) == found
    assert list(islice(_deviates("a/tpot_s"), 3)) != list(islice(_deviates("b/tpot_s"), 3))


def test_the_deviates_are_standard_normal() -> None:
    drawn = list(islice(_deviates("runs/x.html/tpot_s"), 20_000))
    assert statistics.fmean(drawn) == pytest.approx(0.0, abs=0.02)
    assert statistics.stdev(drawn) == pytest.approx(1.0, abs=0.02)


def test_each_side_of_an_interval_has_its_own_width() -> None:
    skewed = Uncertain(1.0, 0.9, 1.5)
    assert skewed.moved(-1.959964) == pytest.approx(0.9)
    assert skewed.moved(1.959964) == pytest.approx(1.5)
    signed = Uncertain(0.0, -1.0, 2.0)
    assert signed.moved(-1.959964) == pytest.approx(-1.0)
    assert signed.moved(1.959964) == pytest.approx(2.0)


def test_the_sweep_over_two_axes_finds_what_the_comparison_of_all_pairs_finds() -> None:
    drawn = random.Random(0)
    for _ in range(200):
        points = {str(i): (drawn.randint(0, 4), drawn.randint(0, 4)) for i in range(12)}
        swept = pareto_front(points, (LOWER, Direction.HIGHER)).members
        padded = {name: (*point, 0) for name, point in points.items()}
        assert swept == pareto_front(padded, (LOWER, Direction.HIGHER, LOWER)).members
