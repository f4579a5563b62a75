"""The changelog of results: day by day, what was added, and what a repeated run says anew."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC
from itertools import groupby
from typing import TYPE_CHECKING

from leanboard.leaderboard.change_lines import Change, change_between
from leanboard.leaderboard.format import plural
from leanboard.leaderboard.paging import Paged
from leanboard.leaderboard.parts import Context, Part
from leanboard.results.schema import Record, Status
from leanboard.results.store import Entry

if TYPE_CHECKING:
    from leanboard.leaderboard.pages import Site

MOST_ENTRIES = 200
"""Entries of a page: days, and cells that were measured again."""

Place = tuple[str, str]
"""A machine and a cell."""


@dataclass(frozen=True, slots=True)
class Day:
    """What came on one day (UTC).

    Args:
        date: the day.
        sentence: what was added.
        changes: the cells that were measured again, each against its run before.
        whole: whether this is the beginning of the day, not what a page before left of it.
    """

    date: str
    sentence: str
    changes: tuple[Change, ...]
    whole: bool = True


@dataclass(slots=True)
class _Known:
    """What the days before have seen: the last run of each cell, and the machines."""

    last: dict[Place, Record] = field(default_factory=dict)
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
    records = sorted((entry.record for entry in entries), key=_started)
    days = [
        _day(date, list(runs), known, one_page=one_page)
        for date, runs in groupby(records, key=_date)
    ]
    return tuple(reversed(days))


def _day(date: str, runs: Sequence[Record], known: _Known, *, one_page: bool) -> Day:
    """Return one day beside what was known before it, and add its runs to that."""
    arrived = sorted({run.machine_id for run in runs} - known.machines)
    first = {(run.machine_id, run.cell_id) for run in runs} - known.last.keys()
    pairs: dict[Place, tuple[Record, Record]] = {}
    for run in runs:
        place = run.machine_id, run.cell_id
        if place in known.last:
            pairs[place] = known.last[place], run
        known.last[place] = run
        known.machines.add(run.machine_id)
    found = [change_between(*pair, one_page=one_page) for pair in pairs.values()]
    found.sort(key=lambda change: (change.where, change.name, change.href))
    return Day(date, _sentence(runs, len(first), arrived), tuple(found))


def _sentence(runs: Sequence[Record], first: int, arrived: Sequence[str]) -> str:
    cells = len({(run.machine_id, run.cell_id) for run in runs})
    failed = sum(run.status is not Status.OK for run in runs)
    parts = [f"{plural(len(runs), 'run')} of {plural(cells, 'cell')}"]
    if first:
        parts.append(f"{plural(first, 'cell')} for the first time")
    if failed:
        parts.append(f"{plural(failed, 'run')} failed or unsupported")
    if arrived:
        parts.append(f"new: {', '.join(arrived)}")
    return "; ".join(parts)


def _entries(site: Site) -> list[tuple[Day, Change | None]]:
    """Return the days, each by itself and then with every one of its changes."""
    board = site.board
    return [
        (day, change)
        for day in days_of(board.loaded.entries, one_page=board.one_page)
        for change in (None, *day.changes)
    ]


def _paged(entries: Sequence[object]) -> Paged:
    return Paged("changes.html", "changes", len(entries), MOST_ENTRIES)


def _pages(entries: Sequence[tuple[Day, Change | None]]) -> Iterator[Context]:
    paged = _paged(entries)
    for number in range(1, paged.last + 1):
        yield {"days": _regrouped(entries[paged.rows(number)]), "leaf": paged.leaf(number)}


def _regrouped(piece: Sequence[tuple[Day, Change | None]]) -> list[Day]:
    days = []
    for _, group in groupby(piece, key=lambda pair: pair[0].date):
        pairs = list(group)
        found = tuple(change for _, change in pairs if change is not None)
        days.append(replace(pairs[0][0], changes=found, whole=pairs[0][1] is None))
    return days


def _started(record: Record) -> tuple[float, str, str, str]:
    started = record.times.started_at.timestamp()
    return started, record.machine_id, record.cell_id, record.run_id


def _date(record: Record) -> str:
    return f"{record.times.started_at.astimezone(UTC):%Y-%m-%d}"
