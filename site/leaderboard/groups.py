"""Tables whose rows are ranked only beside their peers: those on the same hardware and workload.

``static/groups.js`` draws the same tables in the browser; browser tests hold the two together.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from leanboard.leaderboard.board import BoardRow
from leanboard.leaderboard.cells import NOTHING, BoardCell
from leanboard.leaderboard.format import DASH
from leanboard.leaderboard.paging import Paged
from leanboard.leaderboard.parts import Context
from leanboard.leaderboard.ranks import Rank
from leanboard.results.schema import Status


@dataclass(frozen=True, slots=True)
class Head:
    """The head of a metric's column.

    Args:
        of: name of the metric; empty where no record holds what the column is about.
        short: title of the column.
        title: what it is, in words.
        arrow: which way is better; empty where neither is.
        suffix: unit of the values.
        missing: why no row has a value; empty where one has.
        data: what the browser needs to make the values, by the name of the attribute.
    """

    of: str
    short: str
    title: str
    arrow: str = ""
    suffix: str = ""
    missing: str = ""
    data: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RankedCell:
    """One value with its rank, ready to print.

    Args:
        title: how the value came about, or why there is none.
        text: the value; a dash where there is none.
        span: both ends of its interval; empty without one.
        estimate: the provenance of a value that may not be compared; empty for all others.
        unranked: whether it is, or holds, a quality that is shown, not ranked.
        rank: its rank among its peers; ``None`` where it has none.
    """

    title: str
    text: str = DASH
    span: str = ""
    estimate: str = ""
    unranked: bool = False
    rank: Rank | None = None

    @property
    def missing(self) -> bool:
        """Whether there is no value."""
        return self.text == DASH


@dataclass(frozen=True, slots=True)
class PeerLine:
    """A row with its cells."""

    line: BoardRow
    cells: tuple[RankedCell, ...]


@dataclass(frozen=True, slots=True)
class PeerGroup:
    """Rows that are ranked beside one another.

    Args:
        heading: what they have in common.
        note: what their ranks say; empty for nothing.
        lines: the rows, in the order of the table.
    """

    heading: str
    note: str
    lines: tuple[PeerLine, ...]


def ran(lines: Iterable[BoardRow]) -> list[BoardRow]:
    """Return the rows that have measurements, in their order."""
    return [line for line in lines if line.status is Status.OK]


def groups_of(lines: Iterable[BoardRow], *, by_model: bool) -> list[tuple[BoardRow, ...]]:
    """Return rows by hardware and workload, in the order of these texts.

    Args:
        lines: the rows; within a group they keep their order.
        by_model: whether only rows of the same model are peers.
    """
    found: dict[tuple[str, ...], list[BoardRow]] = {}
    for line in lines:
        model = (line.model,) if by_model else ()
        found.setdefault((line.hardware, line.workload_choice, *model), []).append(line)
    return [tuple(found[key]) for key in sorted(found)]


def heading_of(line: BoardRow, *, by_model: bool) -> str:
    """Return what the peers of a row have in common, in words."""
    parts = (line.workload_choice, line.hardware, *((line.model,) if by_model else ()))
    return " \u00b7 ".join(parts)


def most_rows(lines: Iterable[BoardRow]) -> tuple[str, str]:
    """Return the hardware and the workload that most rows have, the first in order of equals.

    Raises:
        ValueError: if there is no row.
    """
    places = Counter((line.hardware, line.workload_choice) for line in lines)
    return min(places, key=lambda place: (-places[place], place))


def why_missing(lines: Iterable[BoardRow], name: str) -> str:
    """Return the reason that most rows give for having no value of a measurement."""
    found = (line.row.measurements.get(name) for line in lines)
    reasons = Counter((measured and measured.reason) or NOTHING for measured in found)
    if not reasons:
        return NOTHING
    return min(reasons, key=lambda reason: (-reasons[reason], reason))


def ranked_cell(cell: BoardCell, rank: Rank | None) -> RankedCell:
    """Return a value of the board with its rank."""
    return RankedCell(cell.title, cell.text, cell.span, cell.estimate, cell.unranked, rank)


def gap(reason: str) -> RankedCell:
    """Return the dash of a measurement that no row has, with the reason."""
    return RankedCell(f"not measured: {reason}")


def group_pages(
    paged: Paged,
    groups: Sequence[Sequence[BoardRow]],
    describe: Callable[[Sequence[BoardRow]], PeerGroup],
) -> Iterator[Context]:
    """Yield the groups of every page with its place among the pages; of one page at least.

    Ranks are of whole groups: one that a page has no room for goes on on the next.

    Args:
        paged: the pages of all rows.
        groups: rows that are ranked beside one another, group by group.
        describe: makes a group of its rows.
    """
    pages = _cut(map(describe, groups), paged.most)
    for number in range(1, paged.last + 1):
        yield {"groups": next(pages, []), "leaf": paged.leaf(number)}


def _cut(groups: Iterable[PeerGroup], most: int) -> Iterator[list[PeerGroup]]:
    """Yield the groups of each page; all pages but the last are full."""
    page: list[PeerGroup] = []
    room = most
    for group in groups:
        start = 0
        while start < len(group.lines):
            piece = _piece(group, start, start + room)
            page.append(piece)
            start += len(piece.lines)
            room -= len(piece.lines)
            if room == 0:
                yield page
                page, room = [], most
    if page:
        yield page


def _piece(group: PeerGroup, start: int, end: int) -> PeerGroup:
    heading = f"{group.heading}, continued" if start else group.heading
    return replace(group, heading=heading, lines=group.lines[start:end])
