"""Who competes for a Pareto front, who is only shown, and who is left out, each with the reason.

``static/stage.js`` does the same in the browser; a browser test holds the two together.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from leanboard.leaderboard.board import Board, BoardRow
from leanboard.leaderboard.cells import BoardCell
from leanboard.leaderboard.choices import choices_of, place_of
from leanboard.leaderboard.columns import Column
from leanboard.leaderboard.competing import competing
from leanboard.leaderboard.format import plural, share
from leanboard.leaderboard.gate_marks import ANSWERS, FAILED_GATE
from leanboard.metrics.front_membership import DRAWS, MOST_DRAWN, Uncertain, membership
from leanboard.metrics.metric import Role
from leanboard.metrics.pareto import pareto_front
from leanboard.metrics.trace import Provenance
from leanboard.results.schema import Status

UNRANKED = "weights quantised a second time, or random ones: quality is shown, not ranked"
UNSTABLE = "the run is unstable by an unknown amount: shown, on no front"
ESTIMATE = "values are shown, never compared"
LEAST_CHANCE = 0.05
"""Share of draws from which a point that is beaten is listed as one that may be on the front."""
MOST_BEATEN = 2000
"""Most points that are drawn without being on the front; of those only shown, as many again."""
MOST_NAMED = 60
"""Most points in a picture that names them all; above it names the front, and Tab stops there."""
MOST_LISTED = 200
"""Most runs in a list beside a picture."""


@dataclass(frozen=True, slots=True)
class Left:
    """A run that is not on the front's stage, and why."""

    line: BoardRow
    reason: str


@dataclass(frozen=True, slots=True)
class Contender:
    """A run that is on the front, or may be, and how sure that is; empty where it is not known."""

    line: BoardRow
    chance: str

    @property
    def note(self) -> str:
        """Its model, whether it failed the gate, and how sure its place is."""
        return _where(self.line) + (f"; in {self.chance} of draws" if self.chance else "")


@dataclass(frozen=True, slots=True)
class Point:
    """A run with its cells, one an axis, all of which have a value."""

    line: BoardRow
    cells: tuple[BoardCell, ...]

    @property
    def where(self) -> str:
        """Its model, and whether it failed the gate."""
        return _where(self.line)

    @property
    def title(self) -> str:
        """Its name, model and values, and whether it failed the gate."""
        values = ", ".join(
            f"{cell.column.short} {cell.text} {cell.column.scale.suffix}".rstrip()
            for cell in self.cells
        )
        return f"{self.line.name}, {self.where}: {values}"

    @property
    def uncertain(self) -> list[Uncertain]:
        """Its values with the ends by which they compete; those that cannot are left out."""
        found = (competing(self.line, cell) for cell in self.cells)
        return [each for each in found if each is not None]


@dataclass(frozen=True, slots=True)
class Stage:
    """The runs of a choice, on the axes of a choice.

    Args:
        columns: the axes.
        points: runs that compete for the front.
        hollow: runs that are shown without competing; they are among ``left_out`` too.
        left_out: runs that do not compete, and why.
    """

    columns: tuple[Column, ...]
    points: tuple[Point, ...]
    hollow: tuple[Point, ...]
    left_out: tuple[Left, ...]


@dataclass(frozen=True, slots=True)
class Contest:
    """Who is on the front of a stage.

    Args:
        front: those that no other beats.
        maybe: those that another beats by so little that some draws put them on the front.
        beaten: all others that compete.
        chances: share of draws that put a run on the front, by the run's address; empty where too
            many runs would have to be drawn.
        undecided: how many runs may be on the front, where there are no chances for want of time;
            0 where there are.
    """

    front: tuple[Point, ...]
    maybe: tuple[Point, ...]
    beaten: tuple[Point, ...]
    chances: Mapping[str, float]
    undecided: int = 0

    @property
    def untold(self) -> str:
        """Why nothing is said of chances; empty where they are known."""
        if not self.undecided:
            return ""
        return (
            "How sure these places are, and which other runs are perhaps on the front, is not said"
            f" here: {plural(self.undecided, 'run')} may be on it, and draws of more than"
            f" {MOST_DRAWN} runs on three metrics or more take too long. Choose a model or a"
            " backend."
        )

    def contenders(self, points: Iterable[Point]) -> tuple[Contender, ...]:
        """Return points as a list says them."""
        return tuple(Contender(point.line, self._chance(point)) for point in points)

    def _chance(self, point: Point) -> str:
        found = self.chances.get(point.line.href)
        return "" if found is None else share(found)


def fullest(board: Board, columns: Sequence[Column]) -> tuple[str, str] | None:
    """Return the hardware and workload on which most runs have all values; ``None`` if none has."""
    names = [column.name for column in columns]
    places = Counter(
        (line.hardware, line.workload_choice)
        for line in board.lines
        if line.status is Status.OK and all(_measured(line, name) for name in names)
    )
    return min(places, key=lambda place: (-places[place], place)) if places else None


def _measured(line: BoardRow, name: str) -> bool:
    found = line.row.measurements.get(name)
    return found is not None and found.value is not None


def staged(board: Board, hardware: str, workload: str, columns: Sequence[Column]) -> Stage:
    """Return the stage of one hardware and workload.

    The workload is named by the text of its choice: another size of the name is another stage.
    """
    points: list[Point] = []
    hollow: list[Point] = []
    left_out: list[Left] = []
    for line in board.lines:
        if (line.hardware, line.workload_choice, line.status) != (hardware, workload, Status.OK):
            continue
        point = Point(line, tuple(line.cell(column) for column in columns))
        missing = next(filter(None, map(_why_not, point.cells)), "")
        reason = missing or _why_hollow(point)
        if reason:
            left_out.append(Left(line, reason))
        if not missing:
            (hollow if reason else points).append(point)
    return Stage(tuple(columns), tuple(points), tuple(hollow), tuple(left_out))


def contested(stage: Stage) -> Contest:
    """Return who is on the front of a stage, and how sure that is."""
    directions = [column.direction for column in stage.columns]
    points = {point.line.href: point.uncertain for point in stage.points}
    values = {name: [each.value for each in found] for name, found in points.items()}
    members = set(pareto_front(values, directions).members)
    names = [column.name for column in stage.columns]
    most = MOST_DRAWN if len(names) > 2 else math.inf
    sure = membership(points, names, directions, most=most)
    chances: Mapping[str, float] = {} if sure.shares is None else sure.shares
    front: list[Point] = []
    maybe: list[Point] = []
    beaten: list[Point] = []
    for point in stage.points:
        if point.line.href in members:
            front.append(point)
        elif chances.get(point.line.href, 0.0) >= LEAST_CHANCE:
            maybe.append(point)
        else:
            beaten.append(point)
    undecided = sure.contenders if sure.shares is None else 0
    return Contest(tuple(front), tuple(maybe), tuple(beaten), chances, undecided)


def taken_as_exact(stage: Stage) -> str:
    """Say on which axes values that were measured have no interval; empty where all have one.

    Draws hold such a value where it is, as they do one that was counted, which is exact.
    """
    sentences = []
    runs = plural(len(stage.points), "run")
    for axis, column in enumerate(stage.columns):
        bare = sum(_bare(point.cells[axis]) for point in stage.points)
        if bare:
            sentences.append(
                f"{column.label} has no interval in {bare:,} of {runs}: it is taken as exact there,"
                " and no share of draws says how sure it is."
            )
    return " ".join(sentences)


def _bare(cell: BoardCell) -> bool:
    known = cell.low is not None and cell.high is not None
    return not known and cell.provenance != Provenance.COUNTED.value


def undrawn(counts: Mapping[str, int]) -> str:
    """Say what a picture leaves out, from nouns and how many of each; empty where nothing is."""
    parts = ", ".join(plural(count, noun) for noun, count in counts.items() if count)
    if not parts:
        return ""
    return f"Not drawn, so that the rest can be seen: {parts}. Choose a model or a backend."


def _where(line: BoardRow) -> str:
    """Return the model of a run, and whether the run failed the gate."""
    return f"{line.model}, {FAILED_GATE}" if line.failed_gate else line.model


def _why_not(cell: BoardCell) -> str:
    if cell.value is None:
        return f"{cell.column.label}: {cell.title}"
    return f"{cell.column.label}: {cell.estimate} {ESTIMATE}" if cell.estimate else ""


def _why_hollow(point: Point) -> str:
    """Return why a run is shown without competing; empty where it competes for the front.

    The gate does not judge where an axis is itself a metric of quality: what it judges is in view.
    """
    in_view = any(cell.column.role is Role.QUALITY for cell in point.cells)
    if point.line.failed_gate and not in_view:
        return f"{FAILED_GATE}: {point.line.gate.reason}"
    if len(point.uncertain) < len(point.cells):
        return f"{UNSTABLE} ({point.line.unstable})"
    quality = any(cell.column.quality for cell in point.cells)
    return UNRANKED if quality and not point.line.ranked else ""


class Placed(Protocol):
    """A picture of the rows on one hardware and workload."""

    @property
    def hardware(self) -> str:
        """Text of the hardware."""

    @property
    def workload(self) -> str:
        """Text of the workload's choice."""


def offers(board: Board, shown: Placed | None) -> Mapping[str, object]:
    """Return what the controls of a page with a stage offer, and what it begins with.

    Args:
        board: the board.
        shown: the picture that the page begins with, if there is one.
    """
    lines = [line for line in board.lines if line.status is Status.OK]
    return {
        "axes": [column for column in board.columns if column.axis],
        "choices": {**choices_of(lines), "gate": {answer: answer for answer in ANSWERS}},
        "place": {} if shown is None else place_of(lines, shown.hardware, shown.workload),
        "draws": DRAWS,
        "most_listed": MOST_LISTED,
    }
