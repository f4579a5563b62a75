"""Finding by budget: which limits a reader can set, and who is best where none is set.

Limits are the browser's (``static/budget.js``). Without JavaScript the page answers for no limits:
the best run by each headline metric on every hardware and workload.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from leanboard.leaderboard.board import MOST_ROWS, Board, BoardRow
from leanboard.leaderboard.columns import ARROWS, Column, first_axis
from leanboard.leaderboard.groups import groups_of, heading_of, most_rows, peer_choices, ran
from leanboard.leaderboard.ranks import Winner, winner_of
from leanboard.metrics.metric import Direction, Role
from leanboard.metrics.trace import Provenance
from leanboard.results.derived_columns import ACCURACY

ENERGY = "energy"
LIMITS: Mapping[str, tuple[str, ...]] = {
    "tpot": ("tpot_p95_s", "itl_p95_s", "tpot_s"),
    "ttft": ("ttft_p95_s", "ttft_s"),
    "memory": ("peak_memory_bytes",),
    ENERGY: ("energy_per_output_token_j",),
    "accuracy": (ACCURACY,),
}
"""What can be limited, with the metrics of each kind: the first that rows have is offered.

Request-level p95 needs 100 requests, which few runs have; the gaps' p95 and the median stand in.
"""
NOBODY = "no stable run that did not fail the gate has a value that can be compared"
NO_RIVAL = "none"
_NAMED = 4


@dataclass(frozen=True, slots=True)
class Limit:
    """A limit that a reader can set: the kind of what is limited, and the metric."""

    kind: str
    column: Column

    @property
    def side(self) -> str:
        """Where the values are that keep it."""
        return "at most" if self.column.direction is Direction.LOWER else "at least"


@dataclass(frozen=True, slots=True)
class Best:
    """The best of a group by one metric, or nobody."""

    column: Column
    winner: Winner | None

    @property
    def rivals(self) -> str:
        """Names of those that it cannot be told from, four at most, and how many more there are."""
        found = () if self.winner is None else self.winner.rivals
        names = [f"{line.label_text} \u00b7 {line.backend_text}" for line in found[:_NAMED]]
        if len(found) > _NAMED:
            names.append(f"{len(found) - _NAMED:,} more")
        return ", ".join(names) or NO_RIVAL


@dataclass(frozen=True, slots=True)
class BestGroup:
    """The best by each metric on one hardware and workload."""

    heading: str
    bests: tuple[Best, ...]


def budget(board: Board) -> Mapping[str, object]:
    """Return the limits to choose from, and the best by each metric without limits."""
    lines = ran(board.lines)
    axes = [column for column in board.columns if column.axis]
    if not lines or not axes:
        return {"axes": ()}
    limits = tuple(offered(axes))
    bests = tuple(best_groups(lines, [column for column in axes if column.shown]))
    best = first_axis(axes, lambda c: c.name == "tpot_s", lambda c: c.role is Role.LATENCY)
    hardware, workload = most_rows(lines)
    measured = any(limit.kind == ENERGY for limit in limits)
    return {
        "limits": limits,
        "axes": axes,
        "arrows": ARROWS,
        "best": axes[0] if best is None else best,
        "hardware": hardware,
        "workload": workload,
        "choices": peer_choices(lines),
        "bests": bests,
        "nobody": NOBODY,
        "more": len(groups_of(lines, by_model=False)) - len(bests),
        "modelled": not measured and any(_modelled(line) for line in lines),
    }


def offered(axes: Sequence[Column]) -> Iterator[Limit]:
    """Yield the limits on metrics that some row has a value of that can be compared."""
    columns = {column.name: column for column in axes}
    for kind, names in LIMITS.items():
        yield from (Limit(kind, columns[name]) for name in names if name in columns)


def best_groups(lines: Sequence[BoardRow], columns: Sequence[Column]) -> Iterator[BestGroup]:
    """Yield the best by each metric, group by group, as many as a page has room for."""
    room = MOST_ROWS
    for members in groups_of(lines, by_model=False):
        if room < len(columns):
            return
        room -= len(columns)
        bests = tuple(
            Best(column, winner_of([(m, m.cell(column)) for m in members], column.direction))
            for column in columns
        )
        yield BestGroup(heading_of(members[0], by_model=False), bests)


def _modelled(line: BoardRow) -> bool:
    return line.joules == Provenance.MODELLED.value
