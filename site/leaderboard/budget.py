"""Finding by budget: which limits a reader can set, and who is best where none is set.

Limits are the browser's (``static/budget.js``). Without JavaScript the page answers for no limits:
the best run by each headline metric on every hardware and workload.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from leanboard.leaderboard.board import MOST_ROWS, Board, BoardRow
from leanboard.leaderboard.choices import choices_of, place_of
from leanboard.leaderboard.columns import ARROWS, Column, first_axis
from leanboard.leaderboard.format import plural
from leanboard.leaderboard.groups import groups_of, heading_of, most_rows, ran
from leanboard.leaderboard.paging import Paged
from leanboard.leaderboard.parts import Context, Part
from leanboard.leaderboard.ranks import NOT_SHOWN, SURE_BEST, Winner, winner_of
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
NOBODY = "no run that did not fail the gate has a value that can be compared"
NO_RIVAL = "none"
OUTSIDE = "with a better value cannot be ranked: unstable by an unknown amount, or failed the gate"
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
        names = [line.name for line in found[:_NAMED]]
        if len(found) > _NAMED:
            names.append(f"{len(found) - _NAMED:,} more")
        return ", ".join(names) or NO_RIVAL

    @property
    def outside(self) -> str:
        """How many rows with a better value cannot be ranked, and why; empty for none."""
        count = 0 if self.winner is None else self.winner.outside
        return f"{plural(count, 'row')} {OUTSIDE}" if count else ""


@dataclass(frozen=True, slots=True)
class BestGroup:
    """The best by each metric on one hardware and workload."""

    heading: str
    bests: tuple[Best, ...]


def budget(board: Board) -> Context:
    """Return the limits to choose from, and the best by each metric without limits."""
    lines, axes = ran(board.lines), _axes(board)
    if not lines or not axes:
        return {"axes": ()}
    limits = tuple(offered(axes))
    best = first_axis(axes, lambda c: c.name == "tpot_s", lambda c: c.role is Role.LATENCY)
    measured = any(limit.kind == ENERGY for limit in limits)
    return {
        "limits": limits,
        "best": axes[0] if best is None else best,
        "place": place_of(lines, *most_rows(lines)),
        "choices": choices_of(lines),
        "modelled": not measured and any(_modelled(line) for line in lines),
        **next(best_pages(lines, axes)),
    }


def budget_parts(board: Board) -> Iterator[Part]:
    """Yield the further pages of the best without limits."""
    lines, axes = ran(board.lines), _axes(board)
    if lines and axes:
        table = _paged(_places(lines), _headlines(axes))
        yield from table.further("Budget", "budget.html", best_pages(lines, axes))


def offered(axes: Sequence[Column]) -> Iterator[Limit]:
    """Yield the limits on metrics that some row has a value of that can be compared."""
    columns = {column.name: column for column in axes}
    for kind, names in LIMITS.items():
        yield from (Limit(kind, columns[name]) for name in names if name in columns)


def best_pages(lines: Sequence[BoardRow], axes: Sequence[Column]) -> Iterator[Context]:
    """Yield the best by each headline metric of every place, page by page.

    A place is one hardware and workload; a page has no more rows than any other table.

    Args:
        lines: the rows that ran.
        axes: the metrics that can be compared.
    """
    columns, places = _headlines(axes), _places(lines)
    paged = _paged(places, columns)
    for number in range(1, paged.last + 1):
        yield {
            "axes": axes,
            "arrows": ARROWS,
            "nobody": NOBODY,
            "not_shown": NOT_SHOWN,
            "sure_best": SURE_BEST,
            "bests": tuple(_best_group(place, columns) for place in places[paged.rows(number)]),
            "leaf": paged.leaf(number),
        }


def _axes(board: Board) -> list[Column]:
    return [column for column in board.columns if column.axis]


def _headlines(axes: Sequence[Column]) -> list[Column]:
    return [column for column in axes if column.shown]


def _places(lines: Sequence[BoardRow]) -> list[tuple[BoardRow, ...]]:
    return groups_of(lines, by_model=False)


def _paged(places: Sequence[object], columns: Sequence[Column]) -> Paged:
    most = max(1, MOST_ROWS // max(1, len(columns)))
    return Paged("budget.html", "budget", len(places), most)


def _best_group(members: Sequence[BoardRow], columns: Sequence[Column]) -> BestGroup:
    bests = tuple(
        Best(column, winner_of([(m, m.cell(column)) for m in members], column.direction))
        for column in columns
    )
    return BestGroup(heading_of(members[0], by_model=False), bests)


def _modelled(line: BoardRow) -> bool:
    return line.joules == Provenance.MODELLED.value
