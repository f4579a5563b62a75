"""The picture of a finding: curves of techniques over a trade-off, read from the records."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from math import isfinite

from leanboard.leaderboard.board import Board, BoardRow
from leanboard.leaderboard.charts import (
    Axis,
    Line,
    Mark,
    Plot,
    bar_between,
    logarithmic,
    polyline,
    x_axis,
    y_axis,
)
from leanboard.leaderboard.columns import Column
from leanboard.leaderboard.format import number
from leanboard.leaderboard.labels import with_labels
from leanboard.metrics.trace import Provenance
from leanboard.results.finding import Picture, PictureAxis, PictureSeries
from leanboard.results.schema import Comparison, Measurement, Status

STYLES = 8
"""Colours that there are for series; the ninth has the first one's again."""
_EVEN = 1.0
_UNREAL = frozenset({Provenance.MODELLED, Provenance.SIMULATED})


@dataclass(frozen=True, slots=True)
class Value:
    """A number on an axis and its interval, in the axis' scale; the ends are equal without one."""

    middle: float
    low: float
    high: float

    @property
    def text(self) -> str:
        """The number with its interval."""
        ends = f" [{number(self.low)}, {number(self.high)}]" if self.low < self.high else ""
        return number(self.middle) + ends


@dataclass(frozen=True, slots=True)
class _Point:
    row: BoardRow
    x: Value
    y: Value


def finding_plot(picture: Picture, board: Board) -> Plot | None:
    """Return the picture that these records give; ``None`` where no row has both values."""
    found = {series.name: _points(series, picture, board) for series in picture.series}
    points = [point for series in found.values() for point in series]
    if not points:
        return None
    x, y = (_title(axis, points, board) for axis in (picture.x, picture.y))
    across = _axis(x_axis, x, [point.x for point in points], picture.x)
    down = _axis(y_axis, y, [point.y for point in points], picture.y)
    marks: list[Mark] = []
    lines = list(_even(picture, across, down))
    for place, (name, series) in enumerate(found.items()):
        drawn = [_mark(point, name, place, (across, down)) for point in series]
        if len(drawn) > 1:
            path = polyline([(mark.x, mark.y) for mark in drawn])
            lines.append(Line(path, f"series-line series-{place % STYLES}", name))
        marks += [*drawn[:-1], *(replace(last, label=name) for last in drawn[-1:])]
    words = f"{x} against {y}: {', '.join(found)}"
    return with_labels(Plot(across, down, words, tuple(marks), tuple(lines)))


def series_without_points(picture: Picture, board: Board) -> tuple[str, ...]:
    """Return the names of the series that no row stands in."""
    return tuple(series.name for series in picture.series if not _points(series, picture, board))


def _column(axis: PictureAxis, board: Board) -> Column | None:
    return next((column for column in board.columns if column.name == axis.metric), None)


def _points(series: PictureSeries, picture: Picture, board: Board) -> list[_Point]:
    """Return what is drawn of a series, from left to right."""
    found = []
    for row in board.lines:
        if not _belongs(row, series, picture):
            continue
        x, y = (_value(row, axis, board) for axis in (picture.x, picture.y))
        if x is not None and y is not None:
            found.append(_Point(row, x, y))
    return sorted(found, key=lambda point: (point.x.middle, point.y.middle))


def _belongs(row: BoardRow, series: PictureSeries, picture: Picture) -> bool:
    wanted = (picture.machine, picture.model, picture.workload, series.backend)
    if (row.machine, row.model, row.workload, row.backend) != wanted or row.status is not Status.OK:
        return False
    if not fnmatchcase(row.label, series.technique):
        return False
    knobs = {
        f"{technique.name}.{name}": value
        for technique in row.row.cell.techniques
        for name, value in technique.params.items()
    }
    return all(_fits(knobs.get(name), asked) for name, asked in series.knobs.items())


def _fits(value: object, asked: object) -> bool:
    if isinstance(value, str) and isinstance(asked, str):
        return fnmatchcase(value, asked)
    return value == asked


def _value(row: BoardRow, axis: PictureAxis, board: Board) -> Value | None:
    if axis.fact:
        return _noted(row.row.record.facts.get(axis.fact), axis)
    column = _column(axis, board)
    return None if column is None else _measured(row, column, axis)


def _noted(fact: object, axis: PictureAxis) -> Value | None:
    """Return a fact that is a number; records may hold anything under its name."""
    value = fact.get("value") if isinstance(fact, dict) else None
    if isinstance(value, bool) or not isinstance(value, int | float) or not isfinite(value):
        return None
    if axis.log and value <= 0:
        return None
    return Value(value, value, value)


def _measured(row: BoardRow, column: Column, axis: PictureAxis) -> Value | None:
    found: Comparison | Measurement | None
    if axis.ratio:
        found, factor = row.row.comparison(axis.metric, "ratio"), 1.0
    else:
        found, factor = row.row.measurements.get(axis.metric), column.scale.factor
    if found is None or found.value is None or (column.quality and not row.ranked):
        return None
    value = found.value * factor
    if axis.log and value <= 0:
        return None
    if found.interval is None:
        return Value(value, value, value)
    return Value(value, found.interval.low * factor, found.interval.high * factor)


def _title(axis: PictureAxis, points: Sequence[_Point], board: Board) -> str:
    column = _column(axis, board)
    if column is None:
        return _title_of_fact(axis.fact, points[0].row.row.record.facts)
    if axis.ratio:
        return f"{column.label}, candidate / baseline"
    suffix = f" ({column.scale.suffix})" if column.scale.suffix else ""
    return f"{column.label}{suffix}"


def _title_of_fact(name: str, facts: Mapping[str, object]) -> str:
    """Return a fact's name with its unit, and how it was come by where it was not measured."""
    fact = facts[name]
    told = fact if isinstance(fact, dict) else {}
    unit, source = (str(told.get(key, "")) for key in ("unit", "provenance"))
    notes = [unit] if unit not in ("", "1") else []
    notes += [source] if source in _UNREAL else []
    words = name.replace("_", " ")
    return f"{words} ({', '.join(notes)})" if notes else words


def _axis(
    make: Callable[[str, Sequence[float]], Axis],
    title: str,
    values: Sequence[Value],
    asked: PictureAxis,
) -> Axis:
    ends = [end for value in values for end in (value.low, value.middle, value.high)]
    ends = [end for end in ends if end > 0 or not asked.log]
    ends += [_EVEN] if asked.ratio else []
    linear = make(title, ends)
    return logarithmic(linear, ends) if asked.log else linear


def _even(picture: Picture, across: Axis, down: Axis) -> Iterator[Line]:
    """Yield the lines on which a ratio is 1: the baseline."""
    if picture.x.ratio:
        at = across.at(_EVEN)
        yield Line(polyline([(at, down.start), (at, down.end)]), "launch-line", "the baseline")
    if picture.y.ratio:
        at = down.at(_EVEN)
        yield Line(polyline([(across.start, at), (across.end, at)]), "launch-line", "the baseline")


def _mark(point: _Point, name: str, place: int, axes: tuple[Axis, Axis]) -> Mark:
    across, down = axes
    return Mark(
        across.at(point.x.middle),
        down.at(point.y.middle),
        f"point series-{place % STYLES}",
        f"{name}: {point.row.label_text}; {across.title}: {point.x.text}; "
        f"{down.title}: {point.y.text}",
        href=point.row.href,
        bar_x=_bar(across, point.x),
        bar_y=_bar(down, point.y),
    )


def _bar(axis: Axis, value: Value) -> tuple[float, float] | None:
    return bar_between(axis, value.low, value.high) if value.low < value.high else None
