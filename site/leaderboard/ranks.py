"""Ranks by intervals: the places that a row can have among all on its hardware and workload.

A row is shown to be better than another where its interval lies wholly on the better side. The
first of its places is one more than the number of rows that are shown to be better (the
"rank (UB)" of LMArena); the last is further by the number of those that it cannot be told from.
So a row with one place is told from every other, and only such a row takes a medal.

What was measured and has no interval has no rank. It is taken as known to a factor of two: no row
that it is not clearly worse than has a medal. A row that failed the gate is out of the competition:
it has no rank, is never the best, and takes no medal from another. ``static/ranks.js`` gives the
same ranks in the browser; browser tests hold the two together.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

from leanboard.leaderboard.board import BoardRow
from leanboard.leaderboard.cells import BoardCell
from leanboard.leaderboard.competing import competing
from leanboard.metrics.front_membership import Uncertain
from leanboard.metrics.metric import Direction
from leanboard.metrics.trace import Provenance

MEDALS = ("gold", "silver", "bronze")
APART = 2.0
"""How often larger a value without an interval has to be than another to be told from it."""
NOT_SHOWN = "no interval: not shown to be the best"
SURE_BEST = "The best of those with an interval"

Peer = tuple[BoardRow, BoardCell]
"""A row and its value on the metric that it is compared by."""

Costs = tuple[float, float]
"""The ends of an interval, the better one first, so that less is better."""


@dataclass(frozen=True, slots=True)
class Standing:
    """A value that competes, with the interval that it is judged by.

    Args:
        value: what was measured.
        low: lower end of its interval; half of the value where it has none.
        high: upper end; twice the value where it has none.
        barred: whether its run is unstable by an unknown amount or it has no interval: it then
            has no rank, but keeps a medal from all that it is not wholly worse than.
    """

    value: float
    low: float
    high: float
    barred: bool = False


@dataclass(frozen=True, slots=True)
class Rank:
    """The places that a row can have in the order of a metric.

    Args:
        first: one more than the number of rows that are shown to be better.
        last: ``first``, and the number of rows that it cannot be told from or that may be better.
        medal: ``gold``, ``silver`` or ``bronze`` of a row that has one place, or empty.
    """

    first: int
    last: int
    medal: str = ""

    @property
    def text(self) -> str:
        """The place, or both ends of the band of places."""
        return f"{self.first}" if self.first == self.last else f"{self.first}\u2013{self.last}"

    @property
    def title(self) -> str:
        """The rank in words, for a pointer and a screen reader."""
        places = f"{self.first}" if self.first == self.last else f"{self.first} to {self.last}"
        return f"rank {places}{', ' if self.medal else ''}{self.medal}"


@dataclass(frozen=True, slots=True)
class Winner:
    """The best of some rows on a metric.

    Args:
        line: its row.
        cell: its value.
        rivals: the rows that it cannot be told from: the intervals meet, or one has none.
        shown: whether it is shown to be the best or one of them; false where it has rivals and no
            interval to compare it with theirs.
        sure: the best of the rows with an interval, where it is not shown; ``None`` without any.
        outside: how many rows with a better value cannot be ranked: those that are unstable by an
            unknown amount, and those that failed the gate.
    """

    line: BoardRow
    cell: BoardCell
    rivals: tuple[BoardRow, ...]
    shown: bool
    sure: Peer | None
    outside: int


def standing_of(line: BoardRow, cell: BoardCell) -> Standing | None:
    """Return the interval of a row that ran; ``None`` where its value does not compete.

    What was counted is exact; what was measured and has no interval is known to a factor of two,
    and not at all where it is not above 0.
    """
    if cell.value is None or not _competes(line, cell):
        return None
    found = competing(line, cell)
    known = Uncertain(cell.value, cell.low, cell.high) if found is None else found
    if known.low is not None and known.high is not None:
        return Standing(cell.value, known.low, known.high, barred=found is None)
    if cell.provenance == Provenance.COUNTED.value:
        return Standing(cell.value, cell.value, cell.value, barred=found is None)
    if cell.value > 0:
        return Standing(cell.value, cell.value / APART, cell.value * APART, barred=True)
    return Standing(cell.value, -math.inf, math.inf, barred=True)


def meets(one: Standing, other: Standing) -> bool:
    """Return whether two intervals have a point in common."""
    return one.low <= other.high and other.low <= one.high


def ranks_among(
    standings: Sequence[Standing | None], direction: Direction
) -> tuple[Rank | None, ...]:
    """Return the rank of each row, ``None`` for one that has none.

    The first place is one more than the number of ranked rows whose interval lies wholly on the
    better side; the last counts the ranked rows whose interval meets its own too, and the barred
    ones that are not wholly worse. Without a better direction nobody has a rank, and one ranked row
    alone has no medal.

    Args:
        standings: one a row; ``None`` for a value that does not compete.
        direction: which way is better.
    """
    if direction is Direction.NEUTRAL:
        return (None,) * len(standings)
    known = [found for found in standings if found is not None]
    ranked = [_costs(found, direction) for found in known if not found.barred]
    bests, worsts = (sorted(ends) for ends in zip(*ranked, strict=True)) if ranked else ([], [])
    barred = sorted(_costs(found, direction)[0] for found in known if found.barred)
    medals = dict(enumerate(MEDALS, start=1)) if len(ranked) > 1 else {}

    def rank(best: float, worst: float) -> Rank:
        ahead = bisect_left(worsts, best)
        met = bisect_right(bests, worst) - ahead - 1 + bisect_right(barred, worst)
        return Rank(1 + ahead, 1 + ahead + met, "" if met else medals.get(1 + ahead, ""))

    return tuple(
        None if found is None or found.barred else rank(*_costs(found, direction))
        for found in standings
    )


def _costs(found: Standing, direction: Direction) -> Costs:
    lower = direction is Direction.LOWER
    return (found.low, found.high) if lower else (-found.high, -found.low)


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
    qualities that are not ranked are never the best. One without an interval is where its value is
    the best, but is not shown to be; then the best of those with an interval stands beside it.
    """
    solid = [peer for peer in peers if _competes(*peer)]
    held = [peer for peer in solid if competing(*peer) is not None]
    best = _best(held, direction)
    if best is None:
        return None
    sure = _best([peer for peer in held if not _barred(peer)], direction)
    if sure is not None and not _better_value(best, sure, direction):
        best = sure
    rivals = tuple(peer[0] for peer in solid if peer[0] is not best[0] and not _apart(best, peer))
    shown = best is sure or not rivals
    outside = sum(_comparable(peer[1]) and _better_value(peer, best, direction) for peer in peers)
    return Winner(*best, rivals, shown, None if shown else sure, outside)


def _best(peers: Sequence[Peer], direction: Direction) -> Peer | None:
    order = best_first([cell for _, cell in peers], direction)
    return peers[order[0]] if order else None


def _better_value(one: Peer, other: Peer, direction: Direction) -> bool:
    """Return whether the value of one is better than that of another, by however little."""
    sign = -1 if direction is Direction.HIGHER else 1
    return sign * (one[1].value or 0.0) < sign * (other[1].value or 0.0)


def _competes(line: BoardRow, cell: BoardCell) -> bool:
    """Return whether a value may be compared and its row did not fail the gate."""
    return _comparable(cell) and not line.failed_gate


def _comparable(cell: BoardCell) -> bool:
    return cell.value is not None and not cell.estimate and not cell.unranked


def _barred(peer: Peer) -> bool:
    found = standing_of(*peer)
    return found is None or found.barred


def _apart(one: Peer, other: Peer) -> bool:
    """Return whether two rows can be told apart: their intervals do not meet."""
    first, second = standing_of(*one), standing_of(*other)
    return first is not None and second is not None and not meets(first, second)
