"""The front of three or four metrics, as a line for each run across parallel axes.

Source of the picture: Inselberg, The plane with parallel coordinates (1985). ``static/parallel.js``
draws the same in the browser.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from leanboard.leaderboard.board import Board
from leanboard.leaderboard.charts import HEIGHT, WIDTH, Axis, bounds, name_start, polyline
from leanboard.leaderboard.columns import Choose, Column, first_axis
from leanboard.leaderboard.stage import (
    MOST_BEATEN,
    MOST_LISTED,
    MOST_NAMED,
    Contender,
    Contest,
    Left,
    Point,
    Stage,
    contested,
    fullest,
    offers,
    staged,
    taken_as_exact,
    undrawn,
)
from leanboard.leaderboard.thinning import thinned
from leanboard.leaderboard.tradeoff_plot import axis_title
from leanboard.leaderboard.volumes import VolumeTable, volume_table
from leanboard.metrics.metric import Direction, Role

if TYPE_CHECKING:
    from leanboard.leaderboard.pages import Site
    from leanboard.leaderboard.parts import Context

CONTROLS = ("m1", "m2", "m3", "m4")
"""Names of the controls that choose the axes; the last axis may be absent."""
MOST_NUMBERED = 25
"""Most lines of a front that are numbered: more numbers would not fit."""
STATES = {"front": "on the front", "beaten": "dominated", "hollow": "shown only"}
_EDGE, _TOP, _BOTTOM, _NUMBER = 64.0, 56.0, HEIGHT - 20, 13.0
_NAME = 260.0
_DEFAULTS = ("tpot_s", "ttft_s", "peak_memory_bytes")


@dataclass(frozen=True, slots=True)
class Upright:
    """One axis, its better end at the top.

    Args:
        number: its place among the axes, from 1.
        column: the metric.
        scale: from values, in the column's scale, to pixels.
        x: pixel of the axis.
        last: whether no axis follows.
    """

    number: int
    column: Column
    scale: Axis
    x: float
    last: bool

    @property
    def head(self) -> str:
        """Its number, metric and unit."""
        unit = f" ({self.column.scale.suffix})" if self.column.scale.suffix else ""
        return f"{self.number}. {self.column.short}{unit}"

    @property
    def head_y(self) -> float:
        """Pixel of the head's foot: neighbours have different heights, so that they may be long."""
        return 18.0 if self.number % 2 else 36.0

    @property
    def head_anchor(self) -> str:
        """SVG's ``text-anchor`` of the head."""
        return "start" if self.number == 1 else "end" if self.last else "middle"

    @property
    def head_x(self) -> float:
        """Pixel of the head's anchor."""
        return 4.0 if self.number == 1 else WIDTH - 4 if self.last else self.x

    @property
    def words(self) -> str:
        """What it shows, with the unit, and which way is better."""
        return axis_title(self.column)


@dataclass(frozen=True, slots=True)
class Path:
    """The line of a run.

    Args:
        css: class that says how it looks.
        point: the run and its values.
        points: text of SVG's ``points``.
        x: pixel of its last end, as ``y``.
        number: its number in the list of the front; empty for none.
        number_y: pixel of the number.
        stop: whether the Tab key stops at it.
    """

    css: str
    point: Point
    points: str
    x: float
    y: float
    number: str
    number_y: float
    stop: bool

    @property
    def name_x(self) -> float:
        """Pixel at which the name starts, above the last stretch of the line."""
        return name_start(self.point.line.name, self.x - _NAME)


@dataclass(frozen=True, slots=True)
class ValueRow:
    """A row of the table under the picture: a run, and its place."""

    point: Point
    state: str


@dataclass(frozen=True, slots=True)
class Several:
    """A picture of several axes, and the same in words and as a table.

    ``more`` counts the runs that the table has no room for. ``undrawn`` says what the picture
    leaves out, ``exact`` which axes have values without an interval, and ``untold`` why no chances
    are said; each is empty where there is nothing to say.
    """

    uprights: tuple[Upright, ...]
    hardware: str
    workload: str
    paths: tuple[Path, ...]
    description: str
    front: tuple[Contender, ...]
    maybe: tuple[Contender, ...]
    left_out: tuple[Left, ...]
    rows: tuple[ValueRow, ...]
    more: int
    volumes: VolumeTable
    undrawn: str
    exact: str
    untold: str
    width: float = WIDTH
    height: float = HEIGHT
    top: float = _TOP
    bottom: float = _BOTTOM

    @property
    def crowded(self) -> bool:
        """Whether there are too many lines for all to be reached by Tab."""
        return not all(path.stop for path in self.paths)


def parallel(site: Site) -> Context:
    """Return the default picture and what its controls offer."""
    shown = default_several(site.board)
    return {"several": shown, "controls": CONTROLS, **offers(site.board, shown)}


def default_several(board: Board) -> Several | None:
    """Return TPOT, TTFT and peak memory, or what else can be an axis, where most runs have them.

    ``None`` if no three metrics can be axes.
    """
    columns: list[Column] = []
    for name in _DEFAULTS:
        rest = [column for column in board.columns if column not in columns]
        found = first_axis(
            rest,
            _named(name),
            lambda c: c.role is not Role.SETUP,
            lambda c: c.axis,
        )
        if found is None:
            return None
        columns.append(found)
    place = fullest(board, columns)
    return None if place is None else several(board, columns, *place)


def _named(name: str) -> Choose:
    return lambda column: column.name == name


def several(board: Board, columns: Sequence[Column], hardware: str, workload: str) -> Several:
    """Return the front of these metrics on one hardware and workload, named by its text."""
    stage = staged(board, hardware, workload, columns)
    contest = contested(stage)
    shown = _shown(stage, contest)
    uprights = _uprights(columns, [point for _, point in shown])
    order = list(STATES)
    rows = sorted(shown, key=lambda each: order.index(each[0]))
    front = len(contest.front)
    labels = ", ".join(column.label for column in columns)
    return Several(
        uprights,
        hardware,
        workload,
        tuple(_paths(shown, contest, uprights)),
        f"{labels}: {len(shown)} runs, {front} of them on the front",
        contest.contenders(contest.front),
        contest.contenders(contest.maybe),
        stage.left_out,
        tuple(ValueRow(point, STATES[css]) for css, point in rows[:MOST_LISTED]),
        max(0, len(stage.points) + len(stage.hollow) - MOST_LISTED),
        volume_table(board, stage),
        _undrawn(stage, contest, shown),
        taken_as_exact(stage),
        contest.untold,
    )


_Shown = tuple[str, Point]


def _shown(stage: Stage, contest: Contest) -> list[_Shown]:
    """Return the runs to draw and how, those on the front last and so on top."""
    beaten = thinned([*contest.maybe, *contest.beaten], MOST_BEATEN)
    return [
        *(("beaten", point) for point in beaten),
        *(("hollow", point) for point in thinned(stage.hollow, MOST_BEATEN)),
        *(("front", point) for point in contest.front),
    ]


def _undrawn(stage: Stage, contest: Contest, shown: Sequence[_Shown]) -> str:
    styles = [css for css, _ in shown]
    beaten = len(contest.maybe) + len(contest.beaten)
    return undrawn(
        {
            "dominated run": beaten - styles.count("beaten"),
            "hollow run": len(stage.hollow) - styles.count("hollow"),
        }
    )


def _uprights(columns: Sequence[Column], points: Sequence[Point]) -> tuple[Upright, ...]:
    step = (WIDTH - 2 * _EDGE) / (len(columns) - 1)
    found = []
    for place, column in enumerate(columns):
        values = (point.cells[place].value for point in points)
        low, high = bounds(v * column.scale.factor for v in values if v is not None)
        ends = (_TOP, _BOTTOM) if column.direction is Direction.LOWER else (_BOTTOM, _TOP)
        scale = Axis(axis_title(column), low, high, *ends)
        x = round(_EDGE + place * step, 2)
        found.append(Upright(place + 1, column, scale, x, place == len(columns) - 1))
    return tuple(found)


def _paths(shown: Sequence[_Shown], contest: Contest, uprights: Sequence[Upright]) -> list[Path]:
    numbers = {point.line.href: str(i) for i, point in enumerate(contest.front, start=1)}
    numbered = len(numbers) <= MOST_NUMBERED
    places = [_places(point, uprights) for _, point in shown]
    ends = [corners[-1][1] for corners in places]
    on_front = [i for i, (css, _) in enumerate(shown) if css == "front"]
    spread = dict(zip(on_front, apart([ends[i] for i in on_front]), strict=True))
    crowded = len(shown) > MOST_NAMED
    return [
        Path(
            css=f"path {css}",
            point=point,
            points=polyline(corners),
            x=corners[-1][0],
            y=end,
            number=numbers.get(point.line.href, "") if numbered else "",
            number_y=spread.get(i, end),
            stop=css == "front" or not crowded,
        )
        for i, ((css, point), corners, end) in enumerate(zip(shown, places, ends, strict=True))
    ]


def _places(point: Point, uprights: Sequence[Upright]) -> list[tuple[float, float]]:
    return [
        (upright.x, upright.scale.at((cell.value or 0.0) * cell.column.scale.factor))
        for upright, cell in zip(uprights, point.cells, strict=True)
    ]


def apart(places: Sequence[float], gap: float = _NUMBER, end: float = _BOTTOM) -> list[float]:
    """Return places moved down, then up, until they are ``gap`` apart and none is below ``end``."""
    order = sorted(range(len(places)), key=lambda i: places[i])
    moved = list(places)
    least = -math.inf
    for i in order:
        moved[i] = max(moved[i], least)
        least = moved[i] + gap
    most = end
    for i in reversed(order):
        moved[i] = round(min(moved[i], most), 2)
        most = moved[i] - gap
    return moved
