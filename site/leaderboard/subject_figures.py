"""The pictures on the pages of models, hardware and techniques, drawn by the server."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from urllib.parse import urlencode

from leanboard.leaderboard.board import Board, BoardRow
from leanboard.leaderboard.charts import Plot
from leanboard.leaderboard.choices import place_of
from leanboard.leaderboard.forest import forest
from leanboard.leaderboard.format import plural
from leanboard.leaderboard.fronts import Front, fronts_of, several_models, shapes_note
from leanboard.leaderboard.stage import Contest, Stage, staged
from leanboard.leaderboard.subjects import TPOT, Kind, Subject, column_named
from leanboard.leaderboard.tradeoff_plot import drawing_of
from leanboard.metrics.pareto import pareto_front
from leanboard.results.schema import Status

PEAK_MEMORY = "peak_memory_bytes"
MOST_PLOTS = 4
MOST_POINTS = 100
"""Rows beyond which a picture of this size could not be read; the Pareto page has them."""
_RATIOS = (TPOT, "ttft_s", PEAK_MEMORY)

Choice = tuple[str, str]
"""A hardware and the choice of a workload: only their rows can be compared."""


@dataclass(frozen=True, slots=True)
class Figure:
    """A picture, what it shows, and where the reader can choose something else.

    Args:
        heading: what it shows, in a few words.
        plot: the picture.
        href: the Pareto page with the same choice; empty for none.
        fronts: the fronts in it by model, where there are several.
    """

    heading: str
    plot: Plot
    href: str = ""
    fronts: tuple[Front, ...] = ()

    @property
    def shapes_note(self) -> str:
        """What to say of the shapes of fronts; empty for nothing."""
        return shapes_note(self.fronts)


@dataclass(frozen=True, slots=True)
class Figures:
    """The pictures of a page, and what was left out of them; empty where nothing was."""

    shown: tuple[Figure, ...]
    note: str = ""


def figures_of(subject: Subject, board: Board) -> Figures:
    """Return ratios to the baseline for a technique, and for all others time against memory."""
    if subject.kind is Kind.TECHNIQUE:
        return Figures(tuple(_forests(subject, board)))
    return _tradeoffs(subject, board)


def _forests(subject: Subject, board: Board) -> Iterator[Figure]:
    for name in _RATIOS:
        column = column_named(board.columns, name)
        plot = None if column is None else forest(subject.lines, column)
        if column is not None and plot is not None:
            yield Figure(f"{column.label} against the baseline", plot)


def _tradeoffs(subject: Subject, board: Board) -> Figures:
    x, y = (column_named(board.columns, name) for name in (TPOT, PEAK_MEMORY))
    if x is None or y is None or not (x.axis and y.axis):
        return Figures(())
    groups = _groups(subject.lines)
    several = [choice for choice, lines in groups.items() if len(lines) > 1]
    fit = [choice for choice in several if len(groups[choice]) <= MOST_POINTS]
    fit.sort(key=lambda choice: (-len(groups[choice]), choice))
    shown = []
    for hardware, workload in fit[:MOST_PLOTS]:
        part = replace(board, lines=tuple(groups[hardware, workload]))
        stage = staged(part, hardware, workload, (x, y))
        apart = several_models(stage)
        fronts = fronts_of(stage, per_model=apart, contest=_contest)
        plot = drawing_of(part, stage, fronts).plot
        if plot.marks:
            heading = workload if hardware == subject.name else f"{workload} on {hardware}"
            place = place_of(part.lines, hardware, workload)
            href = _address(subject, place, per="model" if apart else "all")
            shown.append(Figure(heading, plot, href, fronts if apart else ()))
    left = plural(len(several) - len(shown), "choice")
    note = f"Not drawn here: {left} of hardware and workload; the Pareto page draws any."
    return Figures(tuple(shown), note if len(several) > len(shown) else "")


def _contest(stage: Stage) -> Contest:
    """Return who is on the front of a stage; how sure that is, the Pareto page says."""
    points = {point.line.href: [cell.value for cell in point.cells] for point in stage.points}
    members = set(pareto_front(points, [c.direction for c in stage.columns]).members)
    front = tuple(point for point in stage.points if point.line.href in members)
    beaten = tuple(point for point in stage.points if point.line.href not in members)
    return Contest(front, (), beaten, {})


def _groups(lines: Sequence[BoardRow]) -> dict[Choice, list[BoardRow]]:
    groups: dict[Choice, list[BoardRow]] = {}
    for line in lines:
        if line.status is Status.OK:
            groups.setdefault((line.hardware, line.workload_choice), []).append(line)
    return groups


def _address(subject: Subject, place: Mapping[str, str], per: str) -> str:
    """Return the Pareto page with the rows of a picture; one of hardware shows all models."""
    chosen = {"x": TPOT, "y": PEAK_MEMORY, **place, "per": per}
    if subject.kind is Kind.MODEL:
        chosen["model"] = subject.name
    return f"pareto.html#{urlencode(chosen)}"
