"""The changelog of results: day by day, what was added, and what a repeated run says anew."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC
from itertools import groupby
from typing import TYPE_CHECKING

from leanboard.leaderboard.change_lines import Change, change_between
from leanboard.leaderboard.format import plural
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
    """Return the newest days, and how many pages there are."""
    return _context(_pages(site), 1)


def change_parts(site: Site) -> Iterator[Part]:
    """Yield the pages of older days."""
    pages = _pages(site)
    for number in range(2, len(pages) + 1):
        title = f"Changes, page {number}"
        yield Part(changes_href(number), title, "changes.html", _context(pages, number))


def changes_href(number: int) -> str:
    """Return the file of a page of the changelog, from 1."""
    return "changes.html" if number == 1 else f"changes-{number}.html"


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
    found = tuple(change_between(*pairs[place], one_page=one_page) for place in sorted(pairs))
    return Day(date, _sentence(runs, len(first), arrived), found)


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


def _pages(site: Site) -> list[list[Day]]:
    """Return the days, cut after every ``MOST_ENTRIES`` entries; at least one page."""
    board = site.board
    flat = [
        (day, change)
        for day in days_of(board.loaded.entries, one_page=board.one_page)
        for change in (None, *day.changes)
    ]
    pieces = [flat[start : start + MOST_ENTRIES] for start in range(0, len(flat), MOST_ENTRIES)]
    return [_regrouped(piece) for piece in pieces] or [[]]


def _regrouped(piece: Sequence[tuple[Day, Change | None]]) -> list[Day]:
    days = []
    for _, group in groupby(piece, key=lambda pair: pair[0].date):
        pairs = list(group)
        found = tuple(change for _, change in pairs if change is not None)
        days.append(replace(pairs[0][0], changes=found, whole=pairs[0][1] is None))
    return days


def _context(pages: Sequence[Sequence[Day]], number: int) -> Context:
    return {
        "days": pages[number - 1],
        "number": number,
        "last": len(pages),
        "before": changes_href(number - 1) if number > 1 else "",
        "after": changes_href(number + 1) if number < len(pages) else "",
    }


def _started(record: Record) -> tuple[float, str, str, str]:
    started = record.times.started_at.timestamp()
    return started, record.machine_id, record.cell_id, record.run_id


def _date(record: Record) -> str:
    return f"{record.times.started_at.astimezone(UTC):%Y-%m-%d}"
