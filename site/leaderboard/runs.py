"""The page of one run: everything its record says, in an order that a reader can follow."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC

from leanboard.leaderboard.board import (
    CLASSES,
    GLYPHS,
    Gain,
    gain_of,
    run_href,
    run_place,
)
from leanboard.leaderboard.charts import Plot
from leanboard.leaderboard.columns import BETTER, label_of, place_of, scale_of
from leanboard.leaderboard.describe import (
    Section,
    Term,
    configuration,
    facts,
    identity,
    surroundings,
)
from leanboard.leaderboard.format import DASH, moment, number, plural, quantity, span
from leanboard.metrics.metric import Direction, Metric
from leanboard.metrics.registry import METRICS
from leanboard.results.command import run_command
from leanboard.results.schema import Comparison, Measurement, PerformanceCell, Record
from leanboard.results.store import Entry
from leanboard.results.table import Row

_BY_NAME = {metric.name: metric for metric in METRICS}


@dataclass(frozen=True, slots=True)
class Link:
    """A text and an address relative to the site's root; no address where there is no page."""

    text: str
    href: str


@dataclass(frozen=True, slots=True)
class Measured:
    """One line of the table of measurements."""

    name: str
    label: str
    better: str
    value: str
    interval: str
    method: str
    n: str
    summary: str
    provenance: str


@dataclass(frozen=True, slots=True)
class Missed:
    """A metric without a value, and why."""

    name: str
    label: str
    reason: str


@dataclass(frozen=True, slots=True)
class Compared:
    """One line of the table of comparisons with the baseline."""

    name: str
    label: str
    statistic: str
    value: str
    interval: str
    n: str
    verdict: str
    css: str
    gain: Gain | None
    reason: str


@dataclass(frozen=True, slots=True)
class RunPage:
    """What the template of a run prints."""

    title: str
    subtitle: str
    origin: str
    status: str
    failure: str
    kind: str
    baseline: bool
    started: str
    took: tuple[Term, ...]
    identity: tuple[Term, ...]
    measured: tuple[Measured, ...]
    missed: tuple[Missed, ...]
    compared: tuple[Compared, ...]
    baseline_link: Link | None
    related: tuple[Link, ...]
    plots: tuple[tuple[str, Plot], ...]
    configuration: tuple[Section, ...]
    environment: tuple[Section, ...]
    facts: tuple[Term, ...]
    warnings: tuple[str, ...]
    command: str
    needs_folder: bool
    downloads: tuple[Link, ...]


@dataclass(frozen=True, slots=True)
class Neighbours:
    """Where a run's page finds the pages of other runs.

    Args:
        hrefs: machine and run id to the address of the run's page.
        rows: place of a timed run to its row of the board.
        scored: place of a scoring run to the rows that it was joined to.
    """

    hrefs: Mapping[tuple[str, str], str]
    rows: Mapping[str, Row]
    scored: Mapping[str, tuple[Row, ...]]


def run_page(
    entry: Entry,
    neighbours: Neighbours,
    plots: tuple[tuple[str, Plot], ...],
    downloads: tuple[Link, ...],
) -> RunPage:
    """Return the page of one record."""
    record = entry.record
    names = sorted(record.measurements, key=place_of)
    known = [name for name in names if record.measurements[name].value is not None]
    missed = [name for name in names if name not in known]
    timed = isinstance(record.cell, PerformanceCell)
    return RunPage(
        title=_title(record),
        subtitle=_subtitle(record),
        origin=entry.origin,
        status=record.status.value,
        failure="" if record.error is None else f"{record.error.kind}: {record.error.message}",
        kind="timed run" if timed else "scoring run",
        baseline=record.block.baseline,
        started=moment(record.times.started_at.astimezone(UTC)),
        took=_took(record),
        identity=identity(record),
        measured=tuple(_measured(name, record.measurements[name]) for name in known),
        missed=tuple(
            Missed(name, label_of(name), record.measurements[name].reason or "no reason given")
            for name in missed
        ),
        compared=tuple(_compared(comparison) for comparison in record.comparisons),
        baseline_link=_baseline(record, neighbours),
        related=_related(record, neighbours),
        plots=plots,
        configuration=configuration(record),
        environment=surroundings(record.environment),
        facts=facts(record),
        warnings=record.warnings,
        command=run_command(record),
        needs_folder=record.cell.model.source.startswith("local"),
        downloads=downloads,
    )


def neighbours_of(entries: tuple[Entry, ...], rows: tuple[Row, ...]) -> Neighbours:
    """Return the links between the runs of the board."""
    scored: dict[str, list[Row]] = {}
    for row in rows:
        for record in row.accuracy_records:
            scored.setdefault(run_place(record), []).append(row)
    return Neighbours(
        hrefs={
            (entry.record.machine_id, entry.record.run_id): run_href(entry.record)
            for entry in entries
        },
        rows={run_place(row.record): row for row in rows},
        scored={place: tuple(joined) for place, joined in scored.items()},
    )


def _title(record: Record) -> str:
    label = "+".join(t.name for t in record.cell.techniques) or "none"
    cell = record.cell
    what = cell.workload.name if isinstance(cell, PerformanceCell) else cell.task.name
    return f"{label} \u00b7 {what}"


def _subtitle(record: Record) -> str:
    cell = record.cell
    device = f"{cell.device.name}, {plural(cell.device.threads, 'thread')}"
    return f"{cell.model.name} on {cell.backend.name}, {device}, {record.machine_id}"


def _took(record: Record) -> tuple[Term, ...]:
    times = record.times
    whole = (times.finished_at - times.started_at).total_seconds()
    parts = (("whole run", whole), ("load", times.load_s), ("measuring", times.measure_s))
    return tuple(Term(name, quantity(value, "s")) for name, value in parts if value is not None)


def _measured(name: str, measurement: Measurement) -> Measured:
    value = 0.0 if measurement.value is None else measurement.value
    scale = scale_of(name, measurement.unit, [value])
    interval, metric = measurement.interval, _metric(name)
    return Measured(
        name=name,
        label=label_of(name),
        better="" if metric is None else BETTER[metric.direction],
        value=quantity(measurement.value, measurement.unit, scale),
        interval=DASH if interval is None else span(interval.low, interval.high, scale),
        method=measurement.reason or "one value" if interval is None else interval.method,
        n=f"{measurement.n:,}",
        summary=measurement.summary,
        provenance="" if measurement.provenance is None else measurement.provenance.value,
    )


def _compared(comparison: Comparison) -> Compared:
    metric, interval = _metric(comparison.metric), comparison.interval
    direction = Direction.NEUTRAL if metric is None else metric.direction
    ends = "" if interval is None else f"{interval.low:.3f} \u2013 {interval.high:.3f}"
    return Compared(
        name=comparison.metric,
        label=label_of(comparison.metric),
        statistic=comparison.statistic,
        value=DASH if comparison.value is None else number(comparison.value, 3),
        interval=ends or DASH,
        n=f"{comparison.n:,}",
        verdict=f"{GLYPHS[comparison.verdict]} {comparison.verdict.value}".lstrip(),
        css=CLASSES[comparison.verdict],
        gain=gain_of(comparison, direction),
        reason=comparison.reason or "",
    )


def _metric(name: str) -> Metric | None:
    return _BY_NAME.get(name.rpartition(".")[2])


def _baseline(record: Record, neighbours: Neighbours) -> Link | None:
    if not record.comparisons:
        return None
    run_id = record.comparisons[0].baseline_run
    return Link(run_id, neighbours.hrefs.get((record.machine_id, run_id), ""))


def _related(record: Record, neighbours: Neighbours) -> tuple[Link, ...]:
    place = run_place(record)
    if place in neighbours.rows:
        scored = neighbours.rows[place].accuracy_records
        return tuple(Link(f"scores: {_title(other)}", run_href(other)) for other in scored)
    timed = neighbours.scored.get(place, ())
    return tuple(Link(f"timed: {_title(row.record)}", run_href(row.record)) for row in timed)
