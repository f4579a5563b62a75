"""Scoring runs that no row of the board shows: never timed, without scores, or of other items."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from leanboard.leaderboard.board import (
    MOST_ROWS,
    Board,
    Place,
    failure_of,
    run_href,
    runs_of,
)
from leanboard.leaderboard.format import plural
from leanboard.leaderboard.paging import Paged
from leanboard.leaderboard.parts import Context, Part
from leanboard.leaderboard.score_tables import ScoreLine, barred, task_lines
from leanboard.leaderboard.variants import bracketed, knobs_of
from leanboard.results.schema import Record, Status
from leanboard.results.store import Entry
from leanboard.results.table import arm_name
from leanboard.results.task_scores import PRIMARY, task_of

PAGE = "scored.html"
NO_SCORE = "it noted no score"
_FIRST = (*PRIMARY, "bits_per_byte")
"""Of a run's scores the first of these stands for it: its page has them all."""


@dataclass(frozen=True, slots=True)
class ScoredRun:
    """A scoring run as a table prints it.

    Args:
        record: its record.
        origin: ``published`` or ``local``.
        label: its techniques with all their knobs.
        task: what was scored.
        reason: why there is no score; empty where there is one.
        score: the score that stands for the run, beside the baseline's; ``None`` without one.
        unranked: why the score is shown, not ranked; empty for most.
        href: its page.
    """

    record: Record
    origin: str
    label: str
    task: str
    reason: str
    score: ScoreLine | None
    unranked: str
    href: str


@dataclass(frozen=True, slots=True)
class ScoredList:
    """The first scoring runs of a subject, and how many there are of it."""

    shown: tuple[ScoredRun, ...]
    total: int


def scored_runs(board: Board) -> tuple[ScoredRun, ...]:
    """Return the scoring runs that no row of a board shows, in their order."""
    if not board.scored:
        return ()
    runs = runs_of(board.loaded)
    return tuple(_scored(entry, runs, one_page=board.one_page) for entry in board.scored)


def first_of(runs: Sequence[ScoredRun]) -> ScoredList:
    """Return as many as a page of another table shows."""
    return ScoredList(tuple(runs[:MOST_ROWS]), len(runs))


def told_of(entries: Iterable[Entry]) -> str:
    """Say how many scoring runs no row shows, and how they ended; empty where there are none."""
    counts = Counter(entry.record.status for entry in entries)
    if not counts:
        return ""
    ended = ", ".join(f"{counts[status]:,} {status.value}" for status in Status if counts[status])
    return f"{plural(counts.total(), 'scoring run')} ({ended})"


def scored_parts(board: Board) -> Iterator[Part]:
    """Yield the pages of all scoring runs that no row shows; none where there are none."""
    runs = scored_runs(board)
    if not runs:
        return
    paged = Paged(PAGE, "scored", len(runs))
    pages: list[Context] = [
        {"runs": runs[paged.rows(n)], "leaf": paged.leaf(n), "told": told_of(board.scored)}
        for n in range(1, paged.last + 1)
    ]
    title = "Scoring runs in no row"
    yield Part(PAGE, title, "scored.html", pages[0])
    yield from paged.further(title, "scored.html", pages)


def _scored(entry: Entry, runs: dict[Place, Record], *, one_page: bool) -> ScoredRun:
    record = entry.record
    score = _first_score(task_lines(record, runs).lines)
    missing = failure_of(record) or ("" if score else NO_SCORE)
    return ScoredRun(
        record=record,
        origin=entry.origin,
        label=arm_name(record.cell) + bracketed(tuple(knobs_of(record.cell).values())),
        task=task_of(record).name,
        reason=missing,
        score=score,
        unranked=barred(record) if score else "",
        href=run_href(record, one_page=one_page),
    )


def _first_score(lines: Sequence[ScoreLine]) -> ScoreLine | None:
    named = {line.name: line for line in lines}
    first = next((named[name] for name in _FIRST if name in named), None)
    return first or next(iter(lines), None)
