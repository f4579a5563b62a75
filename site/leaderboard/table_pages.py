"""The static pages of the leaderboard: which rows stand on which, and links to them for others."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

from leanboard.leaderboard.board import MOST_ROWS, Board, BoardRow
from leanboard.leaderboard.paging import Paged


@dataclass(frozen=True, slots=True)
class Stretch:
    """Pages that follow one another: the address of the first, and which they are in words."""

    href: str
    words: str


@dataclass(frozen=True, slots=True)
class Listing:
    """A list of rows of the board that shows only its first.

    Args:
        shown: its first rows.
        total: how many rows there are.
        pages: the pages of the leaderboard that have all of them; empty where all are shown.
    """

    shown: tuple[BoardRow, ...]
    total: int
    pages: tuple[Stretch, ...]


@dataclass(frozen=True, slots=True)
class TablePages:
    """The rows of the leaderboard's pages, in their order.

    Args:
        shown: the rows of the table.
        others: the rows that show on demand: failed, unsupported, or failed the gate.
        numbers: the number of the page of each row, by the row's address.
    """

    shown: tuple[BoardRow, ...]
    others: tuple[BoardRow, ...]
    numbers: Mapping[str, int]

    @property
    def table(self) -> Paged:
        """The pages of the table."""
        return Paged("index.html", "leaderboard", len(self.shown))

    @property
    def others_table(self) -> Paged:
        """The pages of what shows on demand; the first one is part of the leaderboard."""
        return Paged("index.html#others", "others", len(self.others))

    def listing(self, lines: Sequence[BoardRow]) -> Listing:
        """Return the first of some rows of the board, and where all of them are."""
        pages = tuple(self._stretches(lines)) if len(lines) > MOST_ROWS else ()
        return Listing(tuple(lines[:MOST_ROWS]), len(lines), pages)

    def _stretches(self, lines: Sequence[BoardRow]) -> Iterator[Stretch]:
        shown = {self.numbers[line.href] for line in lines if not line.on_demand}
        others = {self.numbers[line.href] for line in lines if line.on_demand}
        yield from _stretches(self.table, shown, "")
        yield from _stretches(self.others_table, others, "not in its table, ")


def table_pages(board: Board) -> TablePages:
    """Return the pages of a board's rows."""
    shown = tuple(line for line in board.lines if not line.on_demand)
    others = tuple(line for line in board.lines if line.on_demand)
    return TablePages(shown, others, {**_numbers(shown), **_numbers(others)})


def _numbers(lines: Sequence[BoardRow]) -> dict[str, int]:
    return {line.href: place // MOST_ROWS + 1 for place, line in enumerate(lines)}


def _stretches(paged: Paged, numbers: Iterable[int], prefix: str) -> Iterator[Stretch]:
    # Numbers that follow one another are as far from their places as one another.
    for _, group in groupby(enumerate(sorted(numbers)), key=lambda pair: pair[1] - pair[0]):
        found = [number for _, number in group]
        first, last = found[0], found[-1]
        words = f"page {first}" if first == last else f"pages {first} to {last}"
        yield Stretch(paged.href(first), prefix + words)
