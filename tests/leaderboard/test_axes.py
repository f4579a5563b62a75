"""Axes over any values that a record may hold: the same here and in the browser."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import pytest
from demo_store import Demo
from hypothesis import given
from hypothesis import strategies as st

from leanboard.leaderboard.charts import Axis, LogAxis, logarithmic, x_axis
from leanboard.results.frozen import LARGEST

if TYPE_CHECKING:
    from playwright.sync_api import Page

TINIEST = 5e-324
HUGE = 1.7e308

RANGES: list[list[float]] = [
    [0.0, 10.0],
    [0.98, 1.13],
    [-1.0, 1.0],
    [-3.0, -2.0],
    [0.1, 0.7],
    [1e-5, 3e-5],
    # No width, or less than can be told.
    [0.0, 0.0],
    [5.0, 5.0],
    [-5.0, -5.0],
    [1.0, math.nextafter(1.0, 2.0)],
    [1e9, 1e9 + 1e-3],
    [1e15, 1e15 + 1.0],
    [7.0, 7.000001],
    # The smallest numbers.
    [TINIEST, TINIEST],
    [0.0, TINIEST],
    [TINIEST, 1e-310],
    [2e-98, 7e-98],
    [1e-300, 1.0],
    # The largest, and those that a unit's factor made too large.
    [2.0**53, 2.0**53 + 2],
    [1e20, 1e22],
    [-LARGEST, LARGEST],
    [LARGEST, LARGEST],
    [1.0, HUGE],
    [-HUGE, HUGE],
    [TINIEST, HUGE],
]

AXES = """([ranges, log, count]) => ranges.map((values) => {
  const { low, high, ticks, at } = makeAxis("", values, log, 72, 696, count);
  const pixels = [...values, ...ticks.map(([value]) => value)].map(at);
  return { ends: [low, high], texts: ticks.map(([, text]) => text), pixels };
})"""

positive = st.floats(min_value=0, exclude_min=True, allow_infinity=False)


def axis_of(values: Sequence[float], *, log: bool) -> Axis:
    linear = x_axis("", values)
    return logarithmic(linear, values) if log else linear


def above_zero(ranges: Sequence[Sequence[float]]) -> list[list[float]]:
    return [[value for value in values if value > 0] or [1.0] for values in ranges]


def check(axis: Axis, values: Sequence[float]) -> None:
    assert math.isfinite(axis.low)
    assert math.isfinite(axis.high)
    assert axis.low < axis.high
    assert all(axis.start <= axis.at(value) <= axis.end for value in values)
    marks = [tick.at for tick in axis.ticks]
    assert 1 <= len(marks) <= 14
    assert marks == sorted(marks)
    assert all(axis.start <= mark <= axis.end for mark in marks)


@given(st.lists(st.floats(allow_nan=False), min_size=1, max_size=4))
def test_an_axis_holds_any_values(values: list[float]) -> None:
    check(axis_of(values, log=False), values)


@given(st.lists(positive, min_size=1, max_size=4))
def test_a_logarithmic_axis_holds_any_values_above_0(values: list[float]) -> None:
    check(axis_of(values, log=True), values)


@pytest.mark.parametrize("values", RANGES)
def test_marks_that_differ_read_differently(values: list[float]) -> None:
    texts = [tick.text for tick in axis_of(values, log=False).ticks]
    assert len(set(texts)) == len(texts)


def test_values_that_lie_too_close_are_drawn_as_one() -> None:
    alone, close = x_axis("", [1e9]), x_axis("", [1e9, 1e9 + 1e-3])
    assert [tick.text for tick in close.ticks] == [tick.text for tick in alone.ticks]
    assert close.at(1e9) == close.at(1e9 + 1e-3)
    apart = x_axis("", [1e9, 1e9 + 10])
    assert apart.at(1e9 + 10) - apart.at(1e9) > 500


def test_many_powers_of_ten_have_a_mark_now_and_then_and_no_long_texts() -> None:
    axis = logarithmic(x_axis("", []), [1e-60, 1e60])
    assert isinstance(axis, LogAxis)
    texts = [tick.text for tick in axis.ticks]
    assert len(texts) <= 14
    assert "e\u2212" in texts[0]
    assert texts[-1].startswith("1e")
    assert max(map(len, texts)) <= 6


@pytest.mark.browser
@pytest.mark.parametrize("log", [False, True])
def test_the_browser_has_the_same_limits_marks_and_pixels(
    demo: Demo, page: Page, *, log: bool
) -> None:
    ranges = above_zero(RANGES) if log else RANGES
    page.goto(demo.address("pareto.html"))
    found = page.evaluate(AXES, [ranges, log, 6])
    for values, drawn in zip(ranges, found, strict=True):
        axis = axis_of(values, log=log)
        assert drawn["ends"] == pytest.approx([axis.low, axis.high], rel=1e-12, abs=0), values
        assert drawn["texts"] == [tick.text for tick in axis.ticks], values
        pixels = [*map(axis.at, values), *(tick.at for tick in axis.ticks)]
        assert drawn["pixels"] == pytest.approx(pixels, abs=0.006), values
