"""The page of one run: everything its record says, in an order that a reader can follow."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC
from functools import partial

from leanboard.leaderboard.board import (
    Board,
    Place,
    baseline_of,
    cell_href,
    failure_of,
    run_href,
    run_place,
    runs_of,
)
from leanboard.leaderboard.charts import Plot
from leanboard.leaderboard.compare import compare_href
from leanboard.leaderboard.describe import (
    Section,
    Term,
    configuration,
    facts,
    identity,
    surroundings,
)
from leanboard.leaderboard.doubt import unrest_of
from leanboard.leaderboard.format import moment, plural, quantity
from leanboard.leaderboard.quality import Quality, scored_quality, timed_quality
from leanboard.leaderboard.remembered import Remembered
from leanboard.leaderboard.roofline import PhaseLine, phase_lines
from leanboard.leaderboard.roofline_plot import roofline_plot
from leanboard.leaderboard.run_tables import (
    Compared,
    Group,
    Missed,
    compared,
    measured_groups,
    missed,
)
from leanboard.leaderboard.sampling import Sampled, Steadiness, sampled, steadiness
from leanboard.leaderboard.score_tables import TaskLines, task_lines
from leanboard.results.command import reproduce_command, run_command
from leanboard.results.reliability import Reliability, reliability_of
from leanboard.results.schema import PerformanceCell, Record
from leanboard.results.store import Entry
from leanboard.results.table import Row, arm_name


@dataclass(frozen=True, slots=True)
class Link:
    """A text and an address relative to the site's root; no address where there is no page."""

    text: str
    href: str


@dataclass(frozen=True, slots=True)
class RunPage:
    """What the template of a run prints."""

    title: str
    subtitle: str
    cell_href: str
    compare: tuple[Link, ...]
    origin: str
    status: str
    failure: str
    kind: str
    baseline: bool
    started: str
    took: tuple[Term, ...]
    identity: tuple[Term, ...]
    sampled: Sampled | None
    steadiness: Steadiness | None
    measured: tuple[Group, ...]
    missed: tuple[Missed, ...]
    compared: tuple[Compared, ...]
    doubts: tuple[str, ...]
    quality: Quality | None
    roofline: tuple[PhaseLine, ...]
    roofline_plot: Plot | None
    baseline_link: Link | None
    baseline_note: str
    related: tuple[Link, ...]
    plots: tuple[tuple[str, Plot], ...]
    configuration: tuple[Section, ...]
    environment: tuple[Section, ...]
    facts: tuple[Term, ...]
    warnings: tuple[str, ...]
    reproduce: str
    command: str
    needs_folder: bool
    downloads: tuple[Link, ...]


@dataclass(frozen=True, slots=True)
class Neighbours:
    """Where a run's page finds the pages of other runs.

    Args:
        hrefs: machine and run id to the address of the run's page.
        runs: machine and run id to the record.
        rows: place of a timed run to its row of the board.
        scored: place of a scoring run to the rows that it was joined to.
        scores: returns the scores of a scoring run, which the pages of several runs show.
    """

    hrefs: Mapping[Place, str]
    runs: Mapping[Place, Record]
    rows: Mapping[str, Row]
    scored: Mapping[str, tuple[Row, ...]]
    scores: Callable[[Record], TaskLines]


def run_page(
    entry: Entry,
    neighbours: Neighbours,
    plots: tuple[tuple[str, Plot], ...],
    downloads: tuple[Link, ...],
) -> RunPage:
    """Return the page of one record."""
    record = entry.record
    timed = isinstance(record.cell, PerformanceCell)
    baseline = baseline_of(record, neighbours.runs)
    comparisons = compared(record, unrest_of(record, baseline))
    return RunPage(
        title=title_of(record),
        subtitle=subtitle_of(record),
        cell_href=cell_href(record),
        compare=_compare(record, baseline),
        origin=entry.origin,
        status=record.status.value,
        failure=failure_of(record),
        kind="timed run" if timed else "scoring run",
        baseline=record.block.baseline,
        started=moment(record.times.started_at.astimezone(UTC)),
        took=took_of(record),
        identity=identity(record),
        sampled=sampled(record) if timed else None,
        steadiness=steadiness(record) if timed else None,
        measured=measured_groups(record),
        missed=missed(record),
        compared=comparisons,
        doubts=tuple(dict.fromkeys(doubt for line in comparisons for doubt in line.doubts)),
        quality=quality_of(record, neighbours),
        roofline=phase_lines(record),
        roofline_plot=roofline_plot(record),
        baseline_link=baseline_link_of(record, neighbours),
        baseline_note=unjudged(baseline) if timed else "",
        related=related_to(record, neighbours),
        plots=plots,
        configuration=configuration(record),
        environment=surroundings(record.environment),
        facts=facts(record),
        warnings=record.warnings,
        reproduce=reproduce_of(entry),
        command=run_command(record),
        needs_folder=record.cell.model.source.startswith("local"),
        downloads=downloads,
    )


def reproduce_of(entry: Entry) -> str:
    """Return the command that judges a new run against a record; empty for one not published."""
    return reproduce_command(entry.record) if entry.origin == "published" else ""


def neighbours_of(board: Board) -> Neighbours:
    """Return the links between the runs of the board."""
    scored: dict[str, list[Row]] = {}
    runs = runs_of(board.loaded)
    for row in board.rows:
        for record in row.accuracy_records:
            scored.setdefault(run_place(record), []).append(row)
    return Neighbours(
        hrefs={place: run_href(record, one_page=board.one_page) for place, record in runs.items()},
        runs=runs,
        rows={run_place(row.record): row for row in board.rows},
        scored={place: tuple(joined) for place, joined in scored.items()},
        scores=Remembered(partial(task_lines, runs=runs)),
    )


def title_of(record: Record) -> str:
    """Return the name of a run: its arm, and what it was timed or scored on."""
    cell = record.cell
    what = cell.workload.name if isinstance(cell, PerformanceCell) else cell.task.name
    return f"{arm_name(cell)} \u00b7 {what}"


def subtitle_of(record: Record) -> str:
    """Return the model, engine and machine of a run."""
    cell = record.cell
    device = f"{cell.device.name}, {plural(cell.device.threads, 'thread')}"
    return f"{cell.model.name} on {cell.backend.name}, {device}, {record.machine_id}"


def _compare(record: Record, baseline: Record | None) -> tuple[Link, ...]:
    alone = Link("Compare this run", compare_href([record]))
    if baseline is None:
        return (alone,)
    return alone, Link("Compare with its baseline", compare_href([baseline, record]))


def took_of(record: Record) -> tuple[Term, ...]:
    """Return how long a run and its parts took."""
    times = record.times
    whole = (times.finished_at - times.started_at).total_seconds()
    parts = (("whole run", whole), ("load", times.load_s), ("measuring", times.measure_s))
    return tuple(Term(name, quantity(value, "s")) for name, value in parts if value is not None)


def quality_of(record: Record, neighbours: Neighbours) -> Quality | None:
    """Return what is known of the quality of a run's arm; ``None`` where nothing is."""
    if isinstance(record.cell, PerformanceCell):
        row = neighbours.rows.get(run_place(record))
        return timed_quality(record, row, neighbours.scores)
    return scored_quality(record, neighbours.scores)


def baseline_link_of(record: Record, neighbours: Neighbours) -> Link | None:
    """Return the run that a record was compared with; ``None`` where nothing was compared."""
    if not record.comparisons:
        return None
    run_id = record.comparisons[0].baseline_run
    return Link(run_id, neighbours.hrefs.get((record.machine_id, run_id), ""))


def unjudged(baseline: Record | None) -> str:
    """Say where nothing is known of the baseline's stability; empty where it was judged."""
    if baseline is None:
        return "its record is not here, nor is its stability known"
    unknown = reliability_of(baseline) is Reliability.UNKNOWN
    return "its stability was not judged" if unknown else ""


def related_to(record: Record, neighbours: Neighbours) -> tuple[Link, ...]:
    """Return the runs of the same arm: the scores of a timed run, the timed runs of scores."""
    place = run_place(record)
    if place in neighbours.rows:
        what, others = "scores", neighbours.rows[place].accuracy_records
    else:
        what, others = "timed", tuple(row.record for row in neighbours.scored.get(place, ()))
    hrefs = neighbours.hrefs
    return tuple(
        Link(f"{what}: {title_of(other)}", hrefs[other.machine_id, other.run_id])
        for other in others
    )
