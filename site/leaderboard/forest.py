"""A technique's ratios to the baseline, one line a row, with intervals: a forest plot."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from leanboard.leaderboard.board import BoardRow
from leanboard.leaderboard.cells import Gain
from leanboard.leaderboard.charts import (
    BOTTOM,
    LEFT,
    TOP,
    Axis,
    Line,
    Mark,
    Plot,
    polyline,
    x_axis,
)
from leanboard.leaderboard.columns import Column
from leanboard.leaderboard.format import plural

MOST_LINES = 40
"""Rows that one picture shows; the table below it has all."""
_STEP = 36.0
_LONGEST = 90
_NAMES = ("label_text", "model", "workload_text", "backend_text", "hardware")


@dataclass(frozen=True, slots=True)
class Rows(Axis):
    """A vertical axis on which every row has a place, and none a number."""

    @property
    def ticks(self) -> tuple[()]:
        """Return no marks: each row carries its own name."""
        return ()


def forest(lines: Sequence[BoardRow], column: Column) -> Plot | None:
    """Return the ratios of these rows to their baselines on a metric; ``None`` if there are none.

    Hollow points are in doubt: a run behind them was disturbed, or each arm had one process.
    """
    found = [(line, gain) for line in lines if (gain := line.cell(column).gain) is not None]
    if not found:
        return None
    shown = found[:MOST_LINES]
    height = TOP + BOTTOM + _STEP * len(shown)
    across = x_axis(
        f"{column.label}: candidate / baseline", [1.0, *(v for _, g in shown for v in _extent(g))]
    )
    down = Rows("", 0.0, float(len(shown)), TOP, height - BOTTOM)
    fields = _telling([line for line, _ in shown])
    marks = tuple(
        _mark(line, gain, fields, across, down.at(place + 0.7))
        for place, (line, gain) in enumerate(shown)
    )
    even = across.at(1.0)
    baseline = Line(polyline([(even, TOP), (even, height - BOTTOM)]), "launch-line", "the baseline")
    left = f", the first {len(shown)} of {len(found)}" if len(found) > len(shown) else ""
    description = (
        f"{column.label}, ratio to the baseline of {plural(len(shown), 'row')}{left}, with "
        "95 % intervals; the dashed line at 1 is the baseline"
    )
    return Plot(across, down, description, marks, (baseline,), height=height)


def _mark(line: BoardRow, gain: Gain, fields: Sequence[str], across: Axis, y: float) -> Mark:
    name = " \u00b7 ".join(str(getattr(line, field)) for field in fields)
    short = name if len(name) <= _LONGEST else f"{name[: _LONGEST - 1]}\u2026"
    return Mark(
        x=across.at(gain.ratio),
        y=y,
        css="point hollow" if gain.doubts else "point front",
        title=f"{name}: {gain.title}",
        label=short,
        href=line.href,
        bar_x=_bar(gain, across),
        label_x=LEFT + 6,
        label_y=round(y - 12, 2),
    )


def _telling(lines: Sequence[BoardRow]) -> tuple[str, ...]:
    """Return the names by which these rows differ; the workload where they do not."""
    telling = (name for name in _NAMES if len({getattr(line, name) for line in lines}) > 1)
    return tuple(telling) or ("workload_text",)


def _extent(gain: Gain) -> list[float]:
    return [value for value in (gain.ratio, gain.low, gain.high) if value is not None]


def _bar(gain: Gain, across: Axis) -> tuple[float, float] | None:
    if gain.low is None or gain.high is None:
        return None
    return across.at(gain.low), across.at(gain.high)
