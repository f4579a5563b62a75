"""The trade-off plot that the server draws: two default axes, one hardware, one workload.

The browser draws any other choice; both follow :func:`leanboard.metrics.pareto.pareto_front`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from leanboard.leaderboard.board import Board
from leanboard.leaderboard.charts import Plot
from leanboard.leaderboard.columns import Column, first_axis
from leanboard.leaderboard.fronts import Front, fronts_of, several_models, shapes_note, together
from leanboard.leaderboard.stage import (
    Contender,
    Left,
    Stage,
    fullest,
    staged,
    taken_as_exact,
)
from leanboard.leaderboard.tradeoff_plot import drawing_of
from leanboard.leaderboard.volumes import VolumeTable, volume_table
from leanboard.metrics.metric import Role
from leanboard.results.derived_columns import ACCURACY


@dataclass(frozen=True, slots=True)
class Tradeoff:
    """A plot, and the same in words.

    ``fronts`` has a front for each model, or one for all runs. ``front`` holds the runs that no
    other beats there; ``maybe`` those that another beats by so little that their intervals put them
    on it in some draws. ``undrawn`` says what the plot leaves out, ``exact`` which axes have values
    without an interval, and ``untold`` why no chances are said; each is empty where there is
    nothing to say.
    """

    x: Column
    y: Column
    hardware: str
    workload: str
    plot: Plot
    fronts: tuple[Front, ...]
    front: tuple[Contender, ...]
    maybe: tuple[Contender, ...]
    left_out: tuple[Left, ...]
    volumes: VolumeTable
    undrawn: str
    exact: str
    untold: str

    @property
    def apart(self) -> bool:
        """Whether each model has a front of its own."""
        return any(front.name for front in self.fronts)

    @property
    def per(self) -> str:
        """The same, as the page's control says it."""
        return "model" if self.apart else "all"

    @property
    def shapes_note(self) -> str:
        """What to say of the shapes of fronts; empty for nothing."""
        return shapes_note(self.fronts)

    @property
    def keys(self) -> Mapping[str, Front]:
        """The front of each run that is on one, or may be, by its address; empty for one front."""
        if not self.apart:
            return {}
        return {
            point.line.href: front
            for front in self.fronts
            for point in (*front.contest.front, *front.contest.maybe)
        }


def default_tradeoff(board: Board) -> Tradeoff | None:
    """Return TPOT against peak memory (or accuracy) where most runs have both.

    Memory comes first because its peak is what must fit, and because every timed run has it: an
    accuracy is not scored by all of them, nor compared where weights were quantised twice. That one
    peak a run has no interval, the page says. Where several models compete there, each has a front
    of its own.
    ``None`` if no two metrics can be axes.
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
    place = fullest(board, (x, y))
    if place is None:
        return None
    stage = staged(board, *place, (x, y))
    return _tradeoff(board, stage, *place, per_model=several_models(stage))


def tradeoff(board: Board, x: Column, y: Column, hardware: str, workload: str) -> Tradeoff:
    """Return the trade-off between two metrics on one hardware and workload, with one front.

    The workload is named by the text of its choice: another size of the name is another plot.
    """
    stage = staged(board, hardware, workload, (x, y))
    return _tradeoff(board, stage, hardware, workload, per_model=False)


def _tradeoff(
    board: Board, stage: Stage, hardware: str, workload: str, *, per_model: bool
) -> Tradeoff:
    x, y = stage.columns
    fronts = fronts_of(stage, per_model=per_model)
    contest = together(fronts)
    drawing = drawing_of(board, stage, fronts)
    return Tradeoff(
        x,
        y,
        hardware,
        workload,
        drawing.plot,
        fronts,
        contest.contenders(contest.front),
        contest.contenders(contest.maybe),
        stage.left_out,
        volume_table(board, stage),
        drawing.undrawn,
        taken_as_exact(stage),
        contest.untold,
    )
