"""What the page that all runs of a very large board share shows, beyond what comparing needs."""

from __future__ import annotations

from collections.abc import Sequence

from leanboard.leaderboard.board import failure_of
from leanboard.leaderboard.data import Json
from leanboard.leaderboard.describe import facts, identity
from leanboard.leaderboard.quality import Quality
from leanboard.leaderboard.roofline import phase_lines
from leanboard.leaderboard.runs import Link, Neighbours, quality_of, reproduce_of
from leanboard.leaderboard.sampling import sampled, steadiness
from leanboard.leaderboard.score_tables import Against, ScoreLine
from leanboard.results.command import run_command
from leanboard.results.schema import PerformanceCell, Record
from leanboard.results.store import Entry


def told_alone(entry: Entry, downloads: Sequence[Link], neighbours: Neighbours) -> Json:
    """Return what a run's data hold only where there is no page of its own.

    Args:
        entry: the run's record.
        downloads: its files.
        neighbours: where other runs are, which hold its scores.
    """
    record = entry.record
    return {
        "failure": failure_of(record),
        "warnings": list(record.warnings),
        "reproduce": reproduce_of(entry),
        "command": run_command(record),
        "needsFolder": int(record.cell.model.source.startswith("local")),
        "quality": _quality(quality_of(record, neighbours)),
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


def _quality(found: Quality | None) -> Json | None:
    """Return the scores with their gates, and whether outputs are the baseline's."""
    if found is None:
        return None
    same, average = found.sameness, found.average
    tasks = [(task.task, line) for task in found.tasks for line in task.lines]
    scores = tasks if average is None else [("", average), *tasks]
    return {
        "same": "" if same is None else f"{same.answer}: {same.detail}",
        "gate": "" if average is None or average.gate is None else average.gate.title,
        "scores": [_score(task, line) for task, line in scores],
        "scoring": [
            [section.title, [[term.name, term.text] for term in section.terms]]
            for section in found.scoring
        ],
    }


def _score(task: str, line: ScoreLine) -> list[str]:
    return [
        f"{line.label} \u00b7 {task}" if task else line.label,
        f"{line.score} {line.interval}".rstrip(),
        line.n,
        line.chance,
        _against(line.difference),
        line.p_value,
        _against(line.ratio),
        "" if line.gate is None else line.gate.title,
    ]


def _against(found: Against) -> str:
    return " ".join(filter(None, (found.verdict, found.value, found.interval)))
