"""What the page that all runs of a very large board share shows, beyond what comparing needs."""

from __future__ import annotations

from collections.abc import Sequence

from leanboard.leaderboard.data import Json
from leanboard.leaderboard.describe import facts, identity
from leanboard.leaderboard.roofline import phase_lines
from leanboard.leaderboard.runs import Link, failure_of, reproduce_of
from leanboard.leaderboard.sampling import sampled, steadiness
from leanboard.results.command import run_command
from leanboard.results.schema import PerformanceCell, Record
from leanboard.results.store import Entry


def told_alone(entry: Entry, downloads: Sequence[Link]) -> Json:
    """Return what a run's data hold only where there is no page of its own.

    Args:
        entry: the run's record.
        downloads: its files.
    """
    record = entry.record
    return {
        "failure": failure_of(record),
        "warnings": list(record.warnings),
        "reproduce": reproduce_of(entry),
        "command": run_command(record),
        "stability": _stability(record),
        "roofline": [
            [line.phase, line.mfu, line.mbu, line.floor, line.beside, line.bound]
            for line in phase_lines(record)
        ],
        "record": [[term.name, term.text] for term in (*identity(record), *facts(record))],
        "files": [[link.text, link.href] for link in downloads],
    }


def _stability(record: Record) -> Json | None:
    """Return how it was sampled and whether it was stable; ``None`` for a scoring run."""
    if not isinstance(record.cell, PerformanceCell):
        return None
    taken, found = sampled(record), steadiness(record)
    return {
        "verdict": found.verdict.value,
        "sentence": found.sentence,
        "causes": [f"{cause.kind}: {cause.message}" for cause in found.causes],
        "terms": [[term.name, term.text] for term in (*taken.terms, *found.figures)],
    }
