"""Ranks by intervals: one more than the number of rows that are shown to be better.

A row is shown to be better than another where its interval lies wholly on the better side (the
"rank (UB)" of LMArena). So the rows of rank 1 are the best and those that neither it nor any other
is shown to beat, and no rank depends on where a band of others happens to begin.

A row that failed the gate is out of the competition: it has no rank, is never the best, and takes
no medal from another. ``static/ranks.js`` gives the same ranks in the browser; a browser test holds
the two together.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from leanboard.leaderboard.board import BoardRow
from leanboard.leaderboard.cells import BoardCell
from leanboard.leaderboard.competing import competing
from leanboard.metrics.front_membership import Uncertain
from leanboard.metrics.metric import Direction
from leanboard.metrics.trace import Provenance

MEDALS = ("gold", "silver", "bronze")

Peer = tuple[BoardRow, BoardCell]
"""A row and its value on the metric that it is compared by."""

Costs = tuple[float, float]
"""The ends of an interval, the better one first, so that less is better."""


@dataclass(frozen=True, slots=True)
class Standing:
    """A value that can be ranked, with the interval that it is judged by.

    Args:
        value: what was measured.
        low: lower end of its interval.
        high: upper end.
        barred: whether its run is unstable by an unknown amount: it then has no rank, but
            keeps a medal from others.
    """

    value: float
    low: float
    high: float
    barred: bool = False


@dataclass(frozen=True, slots=True)
class Rank:
    """A place in the order of a metric.

    Args:
        number: one more than the number of rows that are shown to be better.
        shared: whether another row has the same one; their intervals meet then.
        medal: ``gold``, ``silver`` or ``bronze`` of a row whose interval meets no other, or empty.
    """

    number: int
    shared: bool = False
    medal: str = ""

    @property
    def text(self) -> str:
        """The number, with ``=`` where it is shared."""
        return f"{self.number}{'=' if self.shared else ''}"

    @property
    def title(self) -> str:
        """The rank in words, for a pointer or a screen reader."""
        shared = ", shared: the intervals meet" if self.shared else ""
        medal = f", {self.medal}" if self.medal else ""
        return f"rank {self.number}{shared}{medal}"


@dataclass(frozen=True, slots=True)
class Winner:
    """The best of some rows on a metric.

    Args:
        line: its row.
        cell: its value.
        rivals: the rows that it cannot be told from: the intervals meet, or one has none.
    """

    line: BoardRow
    cell: BoardCell
    rivals: tuple[BoardRow, ...]


def standing_of(line: BoardRow, cell: BoardCell) -> Standing | None:
    """Return the interval of a row that ran; ``None`` where its value cannot be ranked.

    What was counted is exact; what was measured and has no interval cannot be told from anything.
    """
    if cell.value is None or not _competes(line, cell):
        return None
    found = competing(line, cell)
    known = Uncertain(cell.value, cell.low, cell.high) if found is None else found
    if known.low is not None and known.high is not None:
        return Standing(cell.value, known.low, known.high, barred=found is None)
    if cell.provenance == Provenance.COUNTED.value:
        return Standing(cell.value, cell.value, cell.value, barred=found is None)
    return None


def meets(one: Standing, other: Standing) -> bool:
    """Return whether two intervals have a point in common."""
    return one.low <= other.high and other.low <= one.high


def ranks_among(
    standings: Sequence[Standing | None], direction: Direction
) -> tuple[Rank | None, ...]:
    """Return the rank of each row, ``None`` for one that has none.

    A rank is one more than the number of ranked rows whose interval lies wholly on the better side.
    A medal goes only to a row whose interval meets no other, not that of a barred one either.
    Without a better direction nobody has a rank.

    Args:
        standings: one a row; ``None`` for a value that cannot be ranked.
        direction: which way is better.
    """
    if direction is Direction.NEUTRAL:
        return (None,) * len(standings)
    known = {place: found for place, found in enumerate(standings) if found is not None}
    costs = {place: _costs(found, direction) for place, found in known.items()}
    ranked = [place for place, found in known.items() if not found.barred]
    worst = sorted(costs[place][1] for place in ranked)
    numbers = {place: 1 + bisect_left(worst, costs[place][0]) for place in ranked}
    holders = Counter(numbers.values())
    medals = dict(enumerate(MEDALS, start=1)) if len(ranked) > 1 else {}
    apart = _met_by_none(costs)
    ranks = {
        place: Rank(number, holders[number] > 1, medals.get(number, "") if place in apart else "")
        for place, number in numbers.items()
    }
    return tuple(ranks.get(place) for place in range(len(standings)))


def _costs(found: Standing, direction: Direction) -> Costs:
    lower = direction is Direction.LOWER
    return (found.low, found.high) if lower else (-found.high, -found.low)


def _met_by_none(costs: Mapping[int, Costs]) -> set[int]:
    """Return the places of the rows whose interval meets no other."""
    best = sorted(low for low, _ in costs.values())
    worst = sorted(high for _, high in costs.values())
    return {
        place
        for place, (low, high) in costs.items()
        if bisect_right(best, high) - bisect_left(worst, low) == 1
    }


def ranks_of(peers: Sequence[Peer], direction: Direction) -> tuple[Rank | None, ...]:
    """Return the rank of each row beside the others."""
    return ranks_among([standing_of(line, cell) for line, cell in peers], direction)


def best_first(cells: Sequence[BoardCell], direction: Direction) -> list[int]:
    """Return the places of the cells, the best value first.

    Estimates come after what was measured and are never mixed with it; what was not measured comes
    last. Equal ones keep their order.
    """
    sign = -1 if direction is Direction.HIGHER else 1

    def key(place: int) -> tuple[int, float]:
        cell = cells[place]
        if cell.value is None:
            return 2, 0.0
        return int(bool(cell.estimate)), sign * cell.value

    return sorted(range(len(cells)), key=key)


def winner_of(peers: Sequence[Peer], direction: Direction) -> Winner | None:
    """Return the best of the rows and those that it cannot be told from; ``None`` if none can be.

    Runs that are unstable by an unknown amount, those that failed the gate, estimates and
    qualities that are not ranked are never the best. One that has an interval goes before one that
    has none, however good its value: nobody knows how good it is.
    """
    solid = [peer for peer in peers if _competes(*peer)]
    held = [peer for peer in solid if competing(*peer) is not None]
    ranked = [peer for peer in held if standing_of(*peer) is not None] or held
    if not ranked:
        return None
    best = ranked[best_first([cell for _, cell in ranked], direction)[0]]
    others = (peer for peer in solid if peer[0] is not best[0])
    return Winner(*best, rivals=tuple(peer[0] for peer in others if not _apart(best, peer)))


def _competes(line: BoardRow, cell: BoardCell) -> bool:
    """Return whether a value may be compared and its row did not fail the gate."""
    known = cell.value is not None and not cell.estimate
    return known and not cell.unranked and not line.failed_gate


def _apart(one: Peer, other: Peer) -> bool:
    """Return whether two rows can be told apart: both have an interval, and these do not meet."""
    first, second = standing_of(*one), standing_of(*other)
    return first is not None and second is not None and not meets(first, second)
