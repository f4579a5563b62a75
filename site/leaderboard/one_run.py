"""What the page that all runs of a very large board share shows, beyond what comparing needs."""

from __future__ import annotations

from collections.abc import Sequence

from leanboard.leaderboard.board import baseline_of, failure_of, run_place
from leanboard.leaderboard.data import Json
from leanboard.leaderboard.describe import Term, block_of, facts, identity
from leanboard.leaderboard.doubt import unrest_of
from leanboard.leaderboard.plot_data import plot_data
from leanboard.leaderboard.quality import Quality
from leanboard.leaderboard.roofline import phase_lines
from leanboard.leaderboard.roofline_plot import roofline_plot
from leanboard.leaderboard.run_tables import Compared, compared
from leanboard.leaderboard.runs import (
    Link,
    Neighbours,
    baseline_link_of,
    quality_of,
    related_to,
    reproduce_of,
    took_of,
    unjudged,
)
from leanboard.leaderboard.samples import Plots
from leanboard.leaderboard.sampling import sampled, steadiness
from leanboard.leaderboard.score_tables import Against, NearLine, ScoreLine
from leanboard.results.command import run_command
from leanboard.results.schema import PerformanceCell, Record
from leanboard.results.store import Entry

Lines = list[list[str]]
"""The texts of a table: a list a line, with one text a column."""


def told_alone(
    entry: Entry, downloads: Sequence[Link], neighbours: Neighbours, plots: Plots
) -> Json:
    """Return what a run's data hold only where there is no page of its own.

    Args:
        entry: the run's record.
        downloads: its files.
        neighbours: where other runs are, which hold its scores.
        plots: pictures of its raw samples.
    """
    record = entry.record
    roof = roofline_plot(record)
    return {
        "failure": failure_of(record),
        "warnings": list(record.warnings),
        "reproduce": reproduce_of(entry),
        "command": run_command(record),
        "needsFolder": int(record.cell.model.source.startswith("local")),
        "joined": _joined(record, neighbours),
        "compared": _comparisons(record, neighbours),
        "quality": _quality(quality_of(record, neighbours)),
        **_steadiness(record),
        "roofline": [
            [line.phase.capitalize(), line.mfu, line.mbu, line.floor, line.beside, line.bound]
            for line in phase_lines(record)
        ],
        "roof": None if roof is None else plot_data("", roof),
        "plots": [plot_data(heading, plot) for heading, plot in plots],
        "block": _terms(block_of(record).terms),
        "related": _links(related_to(record, neighbours)),
        "record": _terms((*identity(record), *took_of(record))),
        "facts": _terms(facts(record)),
        "files": _links(downloads),
    }


def _joined(record: Record, neighbours: Neighbours) -> list[str]:
    """Return the names of the measurements that stand on its row and not in its record."""
    row = neighbours.rows.get(run_place(record))
    return [] if row is None else sorted(row.measurements.keys() - record.measurements.keys())


def _comparisons(record: Record, neighbours: Neighbours) -> Json | None:
    """Return the comparisons with the baseline; ``None`` where there is none."""
    link = baseline_link_of(record, neighbours)
    if link is None:
        return None
    baseline = baseline_of(record, neighbours.runs)
    timed = isinstance(record.cell, PerformanceCell)
    lines = compared(record, unrest_of(record, baseline))
    doubts = list(dict.fromkeys(doubt for line in lines for doubt in line.doubts))
    return {
        "baseline": [link.text, link.href],
        "note": unjudged(baseline) if timed else "",
        "doubts": doubts,
        "lines": [_compared(line, doubts) for line in lines],
    }


def _compared(line: Compared, doubts: Sequence[str]) -> list[object]:
    """Return the texts of a line; its doubts are places among those of all lines."""
    number = [line.value, line.interval, line.n, line.launches]
    verdict = [line.verdict, line.css, [doubts.index(doubt) for doubt in line.doubts]]
    return [line.label, line.name, line.statistic, *number, *verdict, line.method, line.reason]


def _steadiness(record: Record) -> Json:
    """Return how it was sampled and whether it was stable; nothing for a scoring run."""
    if not isinstance(record.cell, PerformanceCell):
        return {"sampled": None, "stability": None}
    taken, found = sampled(record), steadiness(record)
    return {
        "sampled": {"note": taken.note, "terms": _terms(taken.terms)},
        "stability": {
            "verdict": found.verdict.value,
            "sentence": found.sentence,
            "causes": [[cause.kind, cause.message] for cause in found.causes],
            "figures": _terms(found.figures),
        },
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
        "near": [_near(line) for line in found.nearness],
        "derived": [
            [line.label, line.value, line.interval, line.summary, line.provenance, line.method]
            for line in found.derived
        ],
        "missed": [[gap.label, gap.reason] for gap in found.missed],
        "scoring": [[section.title, _terms(section.terms)] for section in found.scoring],
    }


def _near(line: NearLine) -> list[str]:
    return [line.label, line.task, line.value, line.interval, line.n, line.note]


def _terms(terms: Sequence[Term]) -> Lines:
    return [[term.name, term.text] for term in terms]


def _links(links: Sequence[Link]) -> Lines:
    return [[link.text, link.href] for link in links]


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
