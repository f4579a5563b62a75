"""The trade-off plot that the server draws: two default axes, one hardware, one workload.

The browser draws any other choice; both follow :func:`leanboard.metrics.pareto.pareto_front`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from leanboard.leaderboard.board import Board, BoardRow
from leanboard.leaderboard.cells import BoardCell
from leanboard.leaderboard.charts import Axis, Line, Mark, Plot, polyline, x_axis, y_axis
from leanboard.leaderboard.columns import Column, first_axis
from leanboard.leaderboard.format import share
from leanboard.leaderboard.labels import with_labels
from leanboard.metrics.front_membership import Uncertain, membership
from leanboard.metrics.metric import Direction, Role
from leanboard.metrics.pareto import pareto_front
from leanboard.results.derived_columns import ACCURACY
from leanboard.results.schema import Status

UNRANKED = "weights quantised a second time, or random ones: quality is shown, not ranked"
UNSTABLE = "the run is unstable: shown, on no front"
ESTIMATE = "values are shown, never compared"
LEAST_CHANCE = 0.05
"""Share of draws from which a point that is beaten is listed as one that may be on the front."""


@dataclass(frozen=True, slots=True)
class Left:
    """A run that is not on the front's stage, and why."""

    line: BoardRow
    reason: str


@dataclass(frozen=True, slots=True)
class Contender:
    """A run that is on the front, or may be, and how sure that is."""

    line: BoardRow
    chance: str


@dataclass(frozen=True, slots=True)
class Tradeoff:
    """A plot, and the same in words.

    ``front`` holds the runs that no other beats; ``maybe`` those that another beats by so little
    that their intervals put them on the front in some draws.
    """

    x: Column
    y: Column
    hardware: str
    workload: str
    plot: Plot
    front: tuple[Contender, ...]
    maybe: tuple[Contender, ...]
    left_out: tuple[Left, ...]


def default_tradeoff(board: Board) -> Tradeoff | None:
    """Return TPOT against peak memory (or accuracy) where most runs have both.

    Memory comes first because every run is ranked by it, and because the scores of a short suite
    do not separate the points. ``None`` if no two metrics can be axes.
    """
    x = first_axis(board.columns, lambda c: c.name == "tpot_s", lambda c: c.role is Role.LATENCY)
    if x is None:
        return None
    others = [column for column in board.columns if column.name != x.name]
    y = first_axis(
        others,
        lambda c: c.name == "peak_memory_bytes",
        lambda c: c.name == ACCURACY,
        lambda c: c.axis,
    )
    if y is None:
        return None
    places = Counter(
        (line.hardware, line.workload_text)
        for line in board.lines
        if line.status is Status.OK and all(line.cell(c).value is not None for c in (x, y))
    )
    if not places:
        return None
    hardware, workload = min(places, key=lambda place: (-places[place], place))
    return tradeoff(board, x, y, hardware, workload)


def tradeoff(board: Board, x: Column, y: Column, hardware: str, workload: str) -> Tradeoff:
    """Return the trade-off between two metrics on one hardware and workload.

    The workload is named by its text: the same name at another size is another plot.
    """
    lines = [
        line
        for line in board.lines
        if (line.hardware, line.workload_text, line.status) == (hardware, workload, Status.OK)
    ]
    stage: dict[str, tuple[BoardRow, BoardCell, BoardCell]] = {}
    hollow, left_out = [], []
    for line in lines:
        cells = line.cell(x), line.cell(y)
        reason = next(filter(None, map(_why_not, (x, y), cells)), None)
        if reason is not None:
            left_out.append(Left(line, reason))
            continue
        reason = _why_hollow(line, (x, y))
        if reason:
            hollow.append((line, *cells))
            left_out.append(Left(line, reason))
        else:
            stage[str(len(stage))] = (line, *cells)
    points = {name: (cx.value, cy.value) for name, (_, cx, cy) in stage.items()}
    members = pareto_front(points, (x.direction, y.direction)).members
    chances = _chances(stage, (x, y))
    rest = [name for name in stage if name not in members and chances[name] >= LEAST_CHANCE]
    front, maybe = (
        tuple(Contender(stage[name][0], share(chances[name])) for name in names)
        for names in (members, rest)
    )
    plot = with_labels(_plot(x, y, stage, members, hollow))
    return Tradeoff(x, y, hardware, workload, plot, front, maybe, tuple(left_out))


Point = tuple[BoardRow, BoardCell, BoardCell]


def _chances(stage: Mapping[str, Point], columns: tuple[Column, Column]) -> Mapping[str, float]:
    """Return how often each point is on the front when all move within their intervals."""
    names = [column.name for column in columns]
    found = membership(
        {
            line.href: [
                Uncertain(cell.value, cell.low, cell.high)
                for cell in cells
                if cell.value is not None
            ]
            for line, *cells in stage.values()
        },
        names,
        [column.direction for column in columns],
    )
    return {name: found[point[0].href] for name, point in stage.items()}


def _why_not(column: Column, cell: BoardCell) -> str | None:
    if cell.value is None:
        return f"{column.label}: {cell.title}"
    if cell.estimate:
        return f"{column.label}: {cell.estimate} {ESTIMATE}"
    return None


def _why_hollow(line: BoardRow, columns: tuple[Column, Column]) -> str:
    """Return why a run is drawn without a rank; empty where it competes for the front."""
    if line.unstable:
        return f"{UNSTABLE} ({line.unstable})"
    quality = any(column.quality for column in columns)
    return UNRANKED if quality and not line.ranked else ""


def _plot(
    x: Column,
    y: Column,
    stage: Mapping[str, Point],
    members: Sequence[str],
    hollow: Sequence[Point],
) -> Plot:
    drawn = [*stage.values(), *hollow]
    horizontal = x_axis(_title(x), [v for _, cell, _ in drawn for v in _extent(cell, x)])
    vertical = y_axis(_title(y), [v for _, _, cell in drawn for v in _extent(cell, y)])
    marks = [
        _mark(point, (x, y), (horizontal, vertical), "front" if name in members else "beaten")
        for name, point in stage.items()
    ]
    marks += [_mark(point, (x, y), (horizontal, vertical), "hollow") for point in hollow]
    on_front = sorted((m for m in marks if m.css.endswith("front")), key=lambda m: (m.x, m.y))
    lines = (Line(_stairs(on_front, x.direction), "front-line"),) if len(on_front) > 1 else ()
    description = (
        f"{x.label} against {y.label}: {len(drawn)} points, {len(members)} of them on the front"
    )
    return Plot(horizontal, vertical, description, tuple(marks), lines)


def _title(column: Column) -> str:
    unit = f" ({column.scale.suffix})" if column.scale.suffix else ""
    better = "lower" if column.direction is Direction.LOWER else "higher"
    return f"{column.label}{unit}, {better} is better"


def _extent(cell: BoardCell, column: Column) -> list[float]:
    values = (cell.value, cell.low, cell.high)
    return [value * column.scale.factor for value in values if value is not None]


def _mark(point: Point, columns: tuple[Column, Column], axes: tuple[Axis, Axis], css: str) -> Mark:
    line, *cells = point
    where = [
        axis.at((cell.value or 0.0) * column.scale.factor)
        for axis, cell, column in zip(axes, cells, columns, strict=True)
    ]
    values = ", ".join(
        f"{column.short} {cell.text} {column.scale.suffix}".rstrip()
        for cell, column in zip(cells, columns, strict=True)
    )
    unstable = ", unstable" if line.unstable else ""
    name = f"{line.label_text} \u00b7 {line.backend_text}{unstable}"
    bars = [_bar(*each) for each in zip(axes, cells, columns, strict=True)]
    title = f"{name}, {line.model}: {values}"
    return Mark(where[0], where[1], f"point {css}", title, name, line.href, bars[0], bars[1])


def _bar(axis: Axis, cell: BoardCell, column: Column) -> tuple[float, float] | None:
    if cell.low is None or cell.high is None:
        return None
    return axis.at(cell.low * column.scale.factor), axis.at(cell.high * column.scale.factor)


def _stairs(marks: Sequence[Mark], direction: Direction) -> str:
    """Return the edge of the dominated region: steps through the front's points."""
    lower = direction is Direction.LOWER
    points = [(marks[0].x, marks[0].y)]
    for before, after in pairwise(marks):
        corner = (after.x, before.y) if lower else (before.x, after.y)
        points += [corner, (after.x, after.y)]
    return polyline(points)
