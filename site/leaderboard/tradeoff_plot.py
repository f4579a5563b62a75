"""The picture of a trade-off: points with intervals, the front's edge, and curves along knobs.

``static/marks.js`` and ``static/pareto.js`` draw the same in the browser.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from leanboard.leaderboard.board import Board, BoardRow
from leanboard.leaderboard.cells import BoardCell
from leanboard.leaderboard.charts import (
    Axis,
    Line,
    Mark,
    Plot,
    bar_between,
    polyline,
    x_axis,
    y_axis,
)
from leanboard.leaderboard.columns import Column
from leanboard.leaderboard.fronts import Front, together
from leanboard.leaderboard.labels import with_labels
from leanboard.leaderboard.shapes import corners_at, group_class
from leanboard.leaderboard.siblings import curves_of, peers_of
from leanboard.leaderboard.stage import (
    MOST_BEATEN,
    MOST_NAMED,
    Point,
    Stage,
    undrawn,
)
from leanboard.leaderboard.thinning import thinned
from leanboard.metrics.metric import Direction

MOST_CURVES = 200
"""Most curves along knobs in a picture."""
Axes = tuple[Axis, Axis]


@dataclass(frozen=True, slots=True)
class Drawing:
    """A plot, and what it leaves out; empty where that is nothing."""

    plot: Plot
    undrawn: str


@dataclass(frozen=True, slots=True)
class _Shown:
    """A point and how it is drawn; ``group`` is the number of its front, among several."""

    point: Point
    css: str
    group: int | None


def drawing_of(board: Board, stage: Stage, fronts: Sequence[Front]) -> Drawing:
    """Return the picture of a stage with two axes.

    Args:
        board: all rows.
        stage: those to draw.
        fronts: the fronts that they compete for; one of several has its own shape and edge.
    """
    shown = _shown(fronts)
    x, y = stage.columns
    horizontal = x_axis(axis_title(x), [v for s in shown for v in _extent(s.point.cells[0])])
    vertical = y_axis(axis_title(y), [v for s in shown for v in _extent(s.point.cells[1])])
    crowded = len(shown) > MOST_NAMED
    looks = {"front"} if crowded else {each.css for each in shown}
    backends = len({each.point.line.backend_text for each in shown if each.css in looks})
    axes = horizontal, vertical
    marks = tuple(_mark(each, axes, backends, named=each.css in looks) for each in shown)
    curves = _curves(board, [each.point.line for each in shown], marks)
    kept = thinned(curves, MOST_CURVES)
    edges = _edges(fronts, marks, x.direction)
    styles = Counter(each.css for each in shown)
    front = styles["front"]
    words = f"{x.label} against {y.label}: {len(shown)} points, {front} of them on the front"
    missing = undrawn(
        {
            "dominated run": len(stage.points) - front - styles["beaten"],
            "hollow run": len(stage.hollow) - styles["hollow"],
            "curve": len(curves) - len(kept),
        }
    )
    plot = Plot(horizontal, vertical, words, marks, (*kept, *edges))
    return Drawing(with_labels(plot), missing)


def axis_title(column: Column) -> str:
    """Return what an axis shows, its unit, and which way is better."""
    unit = f" ({column.scale.suffix})" if column.scale.suffix else ""
    better = "lower" if column.direction is Direction.LOWER else "higher"
    return f"{column.label}{unit}, {better} is better"


def _shown(fronts: Sequence[Front]) -> list[_Shown]:
    """Return the points to draw, those on a front last and so on top."""
    contest = together(fronts)
    room = max(0, MOST_BEATEN - len(contest.maybe))
    hollow = [point for front in fronts for point in front.stage.hollow]
    looks: dict[str, Sequence[Point]] = {
        "beaten": [*contest.maybe, *thinned(contest.beaten, room)],
        "hollow": thinned(hollow, MOST_BEATEN),
        "front": contest.front,
    }
    groups = {front.name: front.number for front in fronts}
    only = groups.get("")
    return [
        _Shown(point, css, groups.get(point.line.model, only))
        for css, points in looks.items()
        for point in points
    ]


def _extent(cell: BoardCell) -> list[float]:
    values = (cell.value, cell.low, cell.high)
    return [value * cell.column.scale.factor for value in values if value is not None]


def _mark(shown: _Shown, axes: Axes, backends: int, *, named: bool) -> Mark:
    point = shown.point
    at_x, at_y = map(_at, axes, point.cells)
    bar_x, bar_y = map(_bar, axes, point.cells)
    return Mark(
        at_x,
        at_y,
        f"point {shown.css}{group_class(shown.group)}",
        point.title,
        label=_label(point.line, backends) if named else "",
        href=point.line.href,
        bar_x=bar_x,
        bar_y=bar_y,
        name=point.line.name,
        stop=named,
        shape=corners_at(shown.group, at_x, at_y),
    )


def _label(line: BoardRow, backends: int) -> str:
    """Return the techniques with their knobs, and the backend where named points have several.

    More would fit beside few points; titles and lists have the whole name.
    """
    return f"{line.label_text} \u00b7 {line.backend_text}" if backends > 1 else line.label_text


def _at(axis: Axis, cell: BoardCell) -> float:
    return axis.at((cell.value or 0.0) * cell.column.scale.factor)


def _bar(axis: Axis, cell: BoardCell) -> tuple[float, float] | None:
    if cell.low is None or cell.high is None:
        return None
    factor = cell.column.scale.factor
    return bar_between(axis, cell.low * factor, cell.high * factor)


def _curves(board: Board, shown: Sequence[BoardRow], marks: Sequence[Mark]) -> list[Line]:
    """Return the curves of which two points or more are drawn."""
    places = {mark.href: (mark.x, mark.y) for mark in marks}
    found = []
    peers = peers_of(board.lines, shown)
    for curve in curves_of(peers):
        hrefs = [peers[row].href for row in curve.rows]
        points = [places[href] for href in hrefs if href in places]
        if len(points) > 1:
            found.append(Line(polyline(points), "curve", curve.title))
    return found


def _edges(fronts: Sequence[Front], marks: Sequence[Mark], direction: Direction) -> Iterator[Line]:
    """Yield the edge of every front, with its name where there are several."""
    places = {mark.href: mark for mark in marks}
    for front in fronts:
        points = _edge([places[point.line.href] for point in front.contest.front], direction)
        if points:
            title = f"front of {front.name}" if front.name else ""
            yield Line(polyline(points), f"front-line{front.css}", title)


def _edge(marks: Sequence[Mark], direction: Direction) -> list[tuple[float, float]]:
    """Return the edge of the dominated region, steps through a front's points; none of one."""
    if len(marks) < 2:
        return []
    ordered = sorted(marks, key=lambda mark: (mark.x, mark.y))
    lower = direction is Direction.LOWER
    points = [(ordered[0].x, ordered[0].y)]
    for before, after in pairwise(ordered):
        corner = (after.x, before.y) if lower else (before.x, after.y)
        points += [corner, (after.x, after.y)]
    return points
