"""Long tables cut into pages that are files of their own: all rows read without JavaScript."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from leanboard.leaderboard.board import MOST_ROWS
from leanboard.leaderboard.parts import Context, Part


@dataclass(frozen=True, slots=True)
class Leaf:
    """One page of a long table.

    Args:
        number: its place, from 1.
        last: how many pages there are.
        start: rows on the pages before it.
        end: rows up to its own last one.
        total: rows on all pages.
        before: address of the page before; empty on the first.
        after: address of the page after; empty on the last.
    """

    number: int
    last: int
    start: int
    end: int
    total: int
    before: str
    after: str


@dataclass(frozen=True, slots=True)
class Paged:
    """A table that may be too long for one page.

    Args:
        first: address of its first page.
        stem: what the names of its further pages begin with: ``stem-2.html``.
        total: how many rows it has.
        most: rows of a page.
    """

    first: str
    stem: str
    total: int
    most: int = MOST_ROWS

    @property
    def last(self) -> int:
        """How many pages there are: one at least."""
        return max(1, -(-self.total // self.most))

    def href(self, number: int) -> str:
        """Return the address of a page, from 1."""
        return self.first if number == 1 else f"{self.stem}-{number}.html"

    def rows(self, number: int) -> slice:
        """Return which rows stand on a page."""
        return slice((number - 1) * self.most, min(number * self.most, self.total))

    def leaf(self, number: int) -> Leaf:
        """Return a page as its template prints it."""
        rows = self.rows(number)
        return Leaf(
            number=number,
            last=self.last,
            start=rows.start,
            end=rows.stop,
            total=self.total,
            before=self.href(number - 1) if number > 1 else "",
            after=self.href(number + 1) if number < self.last else "",
        )

    def further(self, title: str, template: str, pages: Iterable[Context]) -> Iterator[Part]:
        """Yield the files of all pages but the first.

        Args:
            title: heading of the table.
            template: file in ``templates/``.
            pages: what the template prints on every page, in order, the first one included.
        """
        for number, context in enumerate(pages, start=1):
            if number > 1:
                yield Part(self.href(number), f"{title}, page {number}", template, context)
