"""What the runs of a family of techniques cover together, against their baselines.

``static/volumes.js`` makes the same table in the browser; a browser test holds the two together.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from leanboard.leaderboard.board import Board, BoardRow
from leanboard.leaderboard.cells import BoardCell
from leanboard.leaderboard.families import family_of
from leanboard.leaderboard.format import DASH, number, plural, rounded
from leanboard.leaderboard.siblings import baselines_of, peers_of
from leanboard.leaderboard.stage import Point, Stage
from leanboard.metrics.front_membership import Uncertain
from leanboard.metrics.hypervolume import MOST_RANGED, Volume, against_baseline
from leanboard.metrics.trace import Provenance
from leanboard.results.derived_columns import ACCURACY

ACCURACY_RATIO = "accuracy_ratio"
POWERS = {1: "", 2: "\u00b2", 3: "\u00b3", 4: "\u2074"}
_PLACES = 2


@dataclass(frozen=True, slots=True)
class FamilyVolume:
    """A family of techniques and its volume.

    Args:
        family: families of the techniques that worked together.
        volume: what its runs cover.
        runs: how many runs it rests on.
        doubted: how many of them have a ratio whose verdict is in doubt.
    """

    family: str
    volume: Volume
    runs: int
    doubted: int

    @property
    def covered(self) -> str:
        """The volume; the baseline alone has 1."""
        return number(self.volume.covered, _PLACES)

    @property
    def range(self) -> str:
        """The ends of the middle 95% of draws; a dash where none were made."""
        low, high = self.volume.low, self.volume.high
        if low is None or high is None:
            return DASH
        return f"{number(low, _PLACES)} \u2013 {number(high, _PLACES)}"

    @property
    def beyond(self) -> str:
        """What is covered that the baseline does not cover."""
        return number(self.volume.beyond, _PLACES)

    @property
    def basis(self) -> str:
        """How many runs the volume rests on, and how many of them are in doubt."""
        doubted = f", {self.doubted:,} in doubt" if self.doubted else ""
        return f"{self.runs:,}{doubted}"


@dataclass(frozen=True, slots=True)
class VolumeTable:
    """The volumes of all families of a stage, the largest first.

    Args:
        families: a row each.
        unit: unit of the volumes.
        note: what is not in the table, and why; empty where nothing is.
    """

    families: tuple[FamilyVolume, ...]
    unit: str
    note: str


@dataclass(frozen=True, slots=True)
class _Ratio:
    """Candidate / baseline on one axis, and whether its verdict is in doubt."""

    ratio: Uncertain
    doubted: bool = False


def volume_table(board: Board, stage: Stage) -> VolumeTable:
    """Return the volumes of the families whose runs compete on a stage."""
    peers = peers_of(board.lines, [point.line for point in stage.points])
    places = {line.href: place for place, line in enumerate(peers)}
    baselines = baselines_of(peers)
    families: dict[str, dict[str, list[_Ratio]]] = {}
    uncounted = 0
    for point in stage.points:
        family = family_of(point.line.row.cell.techniques)
        if not family:
            continue
        place = baselines[places[point.line.href]]
        baseline = None if place is None else peers[place]
        ratios = _ratios(board, point, baseline)
        if len(ratios) == len(stage.columns):
            families.setdefault(family, {})[point.line.href] = ratios
        else:
            uncounted += 1
    found = [_family(name, runs, stage) for name, runs in families.items()]
    ordered = sorted(found, key=lambda each: (-each.volume.covered, each.family))
    unit = f"doublings{POWERS[len(stage.columns)]}"
    return VolumeTable(tuple(ordered), unit, _note(ordered, uncounted))


def _family(name: str, runs: Mapping[str, Sequence[_Ratio]], stage: Stage) -> FamilyVolume:
    volume = against_baseline(
        {href: [each.ratio for each in ratios] for href, ratios in runs.items()},
        [column.name for column in stage.columns],
        [column.direction for column in stage.columns],
    )
    doubted = sum(any(each.doubted for each in ratios) for ratios in runs.values())
    return FamilyVolume(name, volume, len(runs), doubted)


def _note(families: Sequence[FamilyVolume], uncounted: int) -> str:
    """Say which runs are not counted, and which volumes have no range, each with the reason."""
    if not families:
        return "No competing run of this choice has a ratio to its baseline on every axis."
    sentences = []
    if uncounted:
        runs = plural(uncounted, "run")
        sentences.append(f"Not counted, for want of a ratio to a baseline on every axis: {runs}.")
    unranged = ", ".join(each.family for each in families if each.volume.low is None)
    if unranged:
        sentences.append(
            f"No range for {unranged}: draws of more than {MOST_RANGED} runs on three metrics or"
            " more take too long."
        )
    return " ".join(sentences)


def _ratios(board: Board, point: Point, baseline: BoardRow | None) -> list[_Ratio]:
    """Return the ratios of a run to its baseline on those axes that have one."""
    found = (_ratio(board, point.line, cell, baseline) for cell in point.cells)
    return [ratio for ratio in found if ratio is not None]


def _ratio(
    board: Board, line: BoardRow, cell: BoardCell, baseline: BoardRow | None
) -> _Ratio | None:
    """Return what a record says, or what is exact; two values of separate runs make no ratio."""
    gain = cell.gain
    if gain is not None:
        return _Ratio(Uncertain(gain.ratio, gain.low, gain.high), bool(gain.doubts))
    if cell.column.name in (ACCURACY, ACCURACY_RATIO):
        return _ratio_of_accuracies(board, line)
    theirs = None if baseline is None else baseline.cell(cell.column)
    if theirs is None or not (_counted(cell) and _counted(theirs)):
        return None
    return _Ratio(Uncertain(rounded((cell.value or 0.0) / (theirs.value or 1.0))))


def _ratio_of_accuracies(board: Board, line: BoardRow) -> _Ratio | None:
    column = next((column for column in board.columns if column.name == ACCURACY_RATIO), None)
    kept = None if column is None else line.cell(column)
    if kept is None or kept.value is None:
        return None
    return _Ratio(Uncertain(kept.value, kept.low, kept.high))


def _counted(cell: BoardCell) -> bool:
    """Return whether a value was counted and is above 0: it is the same in every run."""
    known = cell.value is not None and cell.value > 0
    return known and cell.provenance == Provenance.COUNTED.value
