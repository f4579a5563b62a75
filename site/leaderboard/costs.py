"""Cost and carbon: stored times and joules, times factors that the reader sets.

A record holds no price. Every figure here is one stored number times a constant, or a constant
divided by it, so its interval is moved exactly, its provenance stays, and so does its rank.
``static/costs.js`` makes the same figures for other factors; a browser test holds the two together.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from leanboard.leaderboard.board import Board, BoardRow
from leanboard.leaderboard.cells import BoardCell
from leanboard.leaderboard.choices import choices_of
from leanboard.leaderboard.columns import ARROWS, Column
from leanboard.leaderboard.format import Scale, number, span
from leanboard.leaderboard.groups import (
    Head,
    PeerGroup,
    PeerLine,
    RankedCell,
    gap,
    group_pages,
    groups_of,
    heading_of,
    ran,
    why_missing,
)
from leanboard.leaderboard.paging import Paged
from leanboard.leaderboard.parts import Context, Part
from leanboard.leaderboard.ranks import Rank, best_first, ranks_of
from leanboard.leaderboard.stage import UNRANKED
from leanboard.metrics.metric import Direction
from leanboard.metrics.trace import Provenance

TOKENS, ANSWERS = 1e6, 1e3
HOUR_S, KWH_J = 3600.0, 3.6e6
NOTHING_MADE = "nothing was generated, so nothing has a cost"
_PLAIN = Scale(1.0, "")


@dataclass(frozen=True, slots=True)
class Factor:
    """What the reader sets.

    Args:
        name: its key in the address.
        label: what it is.
        unit: what stands behind the number; empty for a price, whose currency is the reader's.
        default: an example.
        most: end of the slider; the field takes more.
        step: of the slider.
    """

    name: str
    label: str
    unit: str
    default: float
    most: float
    step: float

    @property
    def text(self) -> str:
        """The default as it stands in the field."""
        return f"{self.default:g}"


@dataclass(frozen=True, slots=True)
class Cost:
    """A column: factor x constant x measurement, or factor x constant / measurement.

    Args:
        name: its key in the address.
        short: title of the column.
        suffix: what it is per.
        of: the measurement that it is made of.
        factor: the factor that it is made of.
        times: the constant.
        inverse: whether the measurement divides.
        formula: the same in words.
        source: where the formula comes from.
    """

    name: str
    short: str
    suffix: str
    of: str
    factor: str
    times: float
    inverse: bool
    formula: str
    source: str

    def of_value(self, factor: float, value: float | None) -> float | None:
        """Return the cost of a measured value; ``None`` without one, or where it divides by 0."""
        if value is None or (self.inverse and value <= 0):
            return None
        return factor * self.times / value if self.inverse else factor * self.times * value

    def of_interval(
        self, factor: float, low: float | None, high: float | None
    ) -> tuple[float, float] | None:
        """Return the cost of both ends of an interval, in order.

        ``None`` without an interval, and where a divisor might be 0: there is no upper end then.
        """
        first, second = self.of_value(factor, low), self.of_value(factor, high)
        if first is None or second is None:
            return None
        return min(first, second), max(first, second)


_SITE = "leanboard, METRICS: derived on the site from stored numbers, with the factor shown"
_A_MILLION, _A_THOUSAND = "per 1M output tokens", "per 1,000 right answers"

FACTORS: tuple[Factor, ...] = (
    Factor("hour", "Price of an hour of the machine", "", 0.1, 10.0, 0.01),
    Factor("kwh", "Price of a kWh", "", 0.25, 1.0, 0.01),
    Factor("grid", "Grid factor", "g CO\u2082e a kWh", 400.0, 1000.0, 5.0),
)
COSTS: tuple[Cost, ...] = (
    Cost(
        "time",
        "Machine time",
        _A_MILLION,
        "output_tokens_per_s",
        "hour",
        TOKENS / HOUR_S,
        inverse=True,
        formula="price of an hour x 1,000,000 tokens / (output tokens a second x 3,600 s). The "
        "time of the prompts is in it.",
        source=_SITE,
    ),
    Cost(
        "energy",
        "Energy",
        _A_MILLION,
        "energy_per_output_token_j",
        "kwh",
        TOKENS / KWH_J,
        inverse=False,
        formula="price of a kWh x 1,000,000 tokens x joules an output token / 3,600,000 J. Gross "
        "joules of the timed windows, prompts included.",
        source=_SITE,
    ),
    Cost(
        "carbon",
        "Carbon",
        f"g CO\u2082e {_A_MILLION}",
        "energy_per_output_token_j",
        "grid",
        TOKENS / KWH_J,
        inverse=False,
        formula="grid factor x 1,000,000 tokens x joules an output token / 3,600,000 J. Of the "
        "electricity alone: making the machine is not in it.",
        source=_SITE,
    ),
    Cost(
        "right-time",
        "Machine time",
        _A_THOUSAND,
        "time_per_correct_s",
        "hour",
        ANSWERS / HOUR_S,
        inverse=False,
        formula="price of an hour x 1,000 answers x seconds of a request / (batch size x accuracy "
        "x 3,600 s): the cost of pass, cost per attempt / success rate. A request of the workload "
        "is taken for an attempt; those of a batch share the machine.",
        source="Cost-of-Pass, arXiv:2504.13359",
    ),
    Cost(
        "right-energy",
        "Energy",
        _A_THOUSAND,
        "energy_per_correct_j",
        "kwh",
        ANSWERS / KWH_J,
        inverse=False,
        formula="price of a kWh x 1,000 answers x joules of a request / (accuracy x 3,600,000 J). "
        "Only of measured joules.",
        source="Cost-of-Pass, arXiv:2504.13359",
    ),
)


def costs(board: Board) -> Context:
    """Return the table of costs at the example factors, and what its controls offer."""
    return next(_pages(board))


def cost_parts(board: Board) -> Iterator[Part]:
    """Yield the further pages of the table."""
    return _paged(ran(board.lines)).further("Cost and carbon", "costs.html", _pages(board))


def _paged(lines: Sequence[BoardRow]) -> Paged:
    return Paged("costs.html", "costs", len(lines))


def _pages(board: Board) -> Iterator[Context]:
    lines = ran(board.lines)
    columns = {column.name: column for column in board.columns}
    heads = tuple(_head(cost, columns, lines) for cost in COSTS)
    factors = {factor.name: factor.default for factor in FACTORS}
    common = {
        "heads": heads,
        "costs": COSTS,
        "factors": FACTORS,
        "choices": choices_of(lines),
        "unranked": UNRANKED,
        "modelled": any(line.joules == Provenance.MODELLED.value for line in lines),
    }

    def describe(members: Sequence[BoardRow]) -> PeerGroup:
        return cost_group(members, columns, heads, factors)

    for page in group_pages(_paged(lines), groups_of(lines, by_model=False), describe):
        yield {**common, **page}


def cost_group(
    lines: Sequence[BoardRow],
    columns: Mapping[str, Column],
    heads: Sequence[Head],
    factors: Mapping[str, float],
    order: int = 0,
) -> PeerGroup:
    """Return the costs of rows on one hardware and workload, the cheapest first.

    Args:
        lines: the rows.
        columns: the board's columns by name.
        heads: one a cost; it says why a cost has no value in any row.
        factors: by name.
        order: place of the cost that the rows are ordered by.
    """
    cells = [
        _cells(cost, lines, columns.get(cost.of), head, factors[cost.factor])
        for cost, head in zip(COSTS, heads, strict=True)
    ]
    column = columns.get(COSTS[order].of)
    places = list(range(len(lines)))
    if column is not None:
        places = best_first([line.cell(column) for line in lines], column.direction)
    return PeerGroup(
        heading=heading_of(lines[0], by_model=False),
        note="",
        lines=tuple(PeerLine(lines[p], tuple(cell[p] for cell in cells)) for p in places),
    )


def _cells(
    cost: Cost, lines: Sequence[BoardRow], column: Column | None, head: Head, factor: float
) -> list[RankedCell]:
    if column is None:
        return [gap(head.missing)] * len(lines)
    peers = [(line, line.cell(column)) for line in lines]
    # What costs nothing has no ranks; else the order of costs is that of what they are made of.
    direction = column.direction if factor > 0 else Direction.NEUTRAL
    ranks = ranks_of(peers, direction)
    return [_cell(cost, factor, cell, rank) for (_, cell), rank in zip(peers, ranks, strict=True)]


def _cell(cost: Cost, factor: float, cell: BoardCell, rank: Rank | None) -> RankedCell:
    value = cost.of_value(factor, cell.value)
    if value is None:
        return RankedCell(cell.title) if cell.value is None else gap(NOTHING_MADE)
    ends = cost.of_interval(factor, cell.low, cell.high)
    return RankedCell(
        title=cell.title,
        text=number(value),
        span="" if ends is None else span(*ends, _PLAIN),
        estimate=cell.estimate,
        unranked=cell.unranked,
        rank=rank,
    )


def _head(cost: Cost, columns: Mapping[str, Column], lines: Sequence[BoardRow]) -> Head:
    return Head(
        of=cost.of,
        short=cost.short,
        title=cost.formula,
        arrow=ARROWS[Direction.LOWER],
        suffix=cost.suffix,
        missing="" if cost.of in columns else why_missing(lines, cost.of),
        data={
            "cost": cost.name,
            "factor": cost.factor,
            "times": repr(cost.times),
            "inverse": "1" if cost.inverse else "",
        },
    )
