"""The changelog of results: day by day, what was added, and what a repeated run says anew.

A day is that on which runs were started: records do not hold when they were published. A local and
a published run of one cell are kept apart, as they are on the board.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC
from itertools import groupby
from typing import TYPE_CHECKING

from leanboard.leaderboard.change_lines import Change, Named, change_between, named
from leanboard.leaderboard.format import plural
from leanboard.leaderboard.paging import Paged
from leanboard.leaderboard.parts import Context, Part
from leanboard.results.schema import Record, Status
from leanboard.results.store import Entry, Origin

if TYPE_CHECKING:
    from leanboard.leaderboard.pages import Site

MOST_ENTRIES = 200
"""Entries of a page: days, cells of a first time, and cells that were measured again."""
MOST_OPEN = 10
"""Cells of a first time that are listed unfolded."""

Place = tuple[Origin, str, str]
"""An origin, a machine and a cell."""
_Item = Named | Change | None


@dataclass(frozen=True, slots=True)
class Day:
    """What came on one day (UTC).

    Args:
        date: the day.
        sentence: what was added.
        first: the cells that were measured for the first time, by their last run of the day.
        changes: the cells that were measured again, each against its run before.
        whole: whether this is the beginning of the day, not what a page before left of it.
    """

    date: str
    sentence: str
    first: tuple[Named, ...]
    changes: tuple[Change, ...]
    whole: bool = True

    @property
    def many(self) -> bool:
        """Whether the cells of a first time are folded away."""
        return len(self.first) > MOST_OPEN


@dataclass(slots=True)
class _Known:
    """What the days before have seen: the last run of each cell, and the machines."""

    last: dict[Place, Entry] = field(default_factory=dict)
    machines: set[str] = field(default_factory=set)


def changes(site: Site) -> Context:
    """Return the newest days."""
    return next(_pages(_entries(site)))


def change_parts(site: Site) -> Iterator[Part]:
    """Yield the pages of older days."""
    entries = _entries(site)
    return _paged(entries).further("Changes", "changes.html", _pages(entries))


def days_of(entries: Sequence[Entry], *, one_page: bool = False) -> tuple[Day, ...]:
    """Return the days on which runs were started, the newest first.

    Args:
        entries: the records.
        one_page: whether all runs share a page.
    """
    known = _Known()
    days = [
        _day(date, list(runs), known, one_page=one_page)
        for date, runs in groupby(sorted(entries, key=_started), key=_date)
    ]
    return tuple(reversed(days))


def _day(date: str, runs: Sequence[Entry], known: _Known, *, one_page: bool) -> Day:
    """Return one day beside what was known before it, and add its runs to that."""
    arrived = sorted({run.record.machine_id for run in runs} - known.machines)
    new = {_place(run) for run in runs} - known.last.keys()
    pairs: dict[Place, tuple[Entry, Entry]] = {}
    for run in runs:
        place = _place(run)
        if place in known.last:
            pairs[place] = known.last[place], run
        known.last[place] = run
        known.machines.add(run.record.machine_id)
    first = [named(known.last[place], one_page=one_page) for place in new]
    found = [change_between(*pair, one_page=one_page) for pair in pairs.values()]
    return Day(
        date,
        _sentence([run.record for run in runs], len({*map(_place, runs)}), len(new), arrived),
        tuple(sorted(first, key=_order)),
        tuple(sorted(found, key=lambda change: _order(change.run))),
    )


def _sentence(runs: Sequence[Record], cells: int, first: int, arrived: Sequence[str]) -> str:
    failed = sum(run.status is not Status.OK for run in runs)
    parts = [f"{plural(len(runs), 'run')} of {plural(cells, 'cell')}"]
    if first:
        parts.append(f"{plural(first, 'cell')} for the first time")
    if failed:
        parts.append(f"{plural(failed, 'run')} failed or unsupported")
    if arrived:
        parts.append(f"new: {', '.join(arrived)}")
    return "; ".join(parts)


def _entries(site: Site) -> list[tuple[Day, _Item]]:
    """Return the days, each by itself and then with every one of its cells."""
    board = site.board
    return [
        (day, item)
        for day in days_of(board.loaded.entries, one_page=board.one_page)
        for item in (None, *day.first, *day.changes)
    ]


def _paged(entries: Sequence[object]) -> Paged:
    return Paged("changes.html", "changes", len(entries), MOST_ENTRIES)


def _pages(entries: Sequence[tuple[Day, _Item]]) -> Iterator[Context]:
    paged = _paged(entries)
    for number in range(1, paged.last + 1):
        yield {"days": _regrouped(entries[paged.rows(number)]), "leaf": paged.leaf(number)}


def _regrouped(piece: Sequence[tuple[Day, _Item]]) -> list[Day]:
    days = []
    for _, group in groupby(piece, key=lambda pair: pair[0].date):
        pairs = list(group)
        day, items = pairs[0][0], [item for _, item in pairs]
        first = tuple(item for item in items if isinstance(item, Named))
        found = tuple(item for item in items if isinstance(item, Change))
        days.append(replace(day, first=first, changes=found, whole=items[0] is None))
    return days


def _place(run: Entry) -> Place:
    return run.origin, run.record.machine_id, run.record.cell_id


def _order(run: Named) -> tuple[str, str, str]:
    return run.where, run.name, run.href


def _started(run: Entry) -> tuple[float, str, str, str]:
    record = run.record
    started = record.times.started_at.timestamp()
    return started, record.machine_id, record.cell_id, record.run_id


def _date(run: Entry) -> str:
    return f"{run.record.times.started_at.astimezone(UTC):%Y-%m-%d}"
