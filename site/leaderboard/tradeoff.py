"""The trade-off plot that the server draws: two default axes, one hardware, one workload.

The browser draws any other choice; both follow :func:`leanboard.metrics.pareto.pareto_front`.
"""

from __future__ import annotations

from dataclasses import dataclass

from leanboard.leaderboard.board import Board
from leanboard.leaderboard.charts import Plot
from leanboard.leaderboard.columns import Column, first_axis
from leanboard.leaderboard.stage import Contender, Left, contested, fullest, staged
from leanboard.leaderboard.tradeoff_plot import drawing_of
from leanboard.leaderboard.volumes import VolumeTable, volume_table
from leanboard.metrics.metric import Role
from leanboard.results.derived_columns import ACCURACY


@dataclass(frozen=True, slots=True)
class Tradeoff:
    """A plot, and the same in words.

    ``front`` holds the runs that no other beats; ``maybe`` those that another beats by so little
    that their intervals put them on the front in some draws. ``undrawn`` says what the plot leaves
    out, and ``untold`` why no chances are said; each is empty where there is nothing to say.
    """

    x: Column
    y: Column
    hardware: str
    workload: str
    plot: Plot
    front: tuple[Contender, ...]
    maybe: tuple[Contender, ...]
    left_out: tuple[Left, ...]
    volumes: VolumeTable
    undrawn: str
    untold: str


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
    place = fullest(board, (x, y))
    return None if place is None else tradeoff(board, x, y, *place)


def tradeoff(board: Board, x: Column, y: Column, hardware: str, workload: str) -> Tradeoff:
    """Return the trade-off between two metrics on one hardware and workload.

    The workload is named by its text: the same name at another size is another plot.
    """
    stage = staged(board, hardware, workload, (x, y))
    contest = contested(stage)
    drawing = drawing_of(board, stage, contest)
    return Tradeoff(
        x,
        y,
        hardware,
        workload,
        drawing.plot,
        contest.contenders(contest.front),
        contest.contenders(contest.maybe),
        stage.left_out,
        volume_table(board, stage),
        drawing.undrawn,
        contest.untold,
    )
