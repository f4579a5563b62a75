"""The tables of a run's page: what was measured, what was not, and against the baseline."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

from leanboard.leaderboard.cells import CLASSES, DOUBT, DOUBTED, GLYPHS
from leanboard.leaderboard.columns import BETTER, in_order, label_of, meaning_of, scale_of
from leanboard.leaderboard.doubt import Unrest, doubts_about, launches_of
from leanboard.leaderboard.format import DASH, Scale, number, quantity, ratio_places, span
from leanboard.leaderboard.no_interval import processes_of, why_no_interval
from leanboard.metrics.metric import Metric, Role
from leanboard.metrics.registry import METRICS
from leanboard.results.schema import Comparison, Interval, Measurement, Record

_BY_NAME = {metric.name: metric for metric in METRICS}
_OTHER = "other"
_PLAIN = Scale(1.0, "")
NO_REASON = "no reason given"


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
    """One line of the table of comparisons with the baseline, and why it is in doubt."""

    name: str
    label: str
    statistic: str
    value: str
    interval: str
    n: str
    launches: str
    verdict: str
    css: str
    doubts: tuple[str, ...]
    method: str
    reason: str


@dataclass(frozen=True, slots=True)
class Group:
    """The lines of the metrics that are about the same thing, with their heading."""

    title: str
    lines: tuple[Measured, ...]


def measured_groups(record: Record) -> tuple[Group, ...]:
    """Return what was measured, by what it is about, in the registry's order."""
    groups: dict[str, list[Measured]] = {title: [] for title in (*Role, _OTHER)}
    for name in in_order(record.measurements):
        measurement, metric = record.measurements[name], _metric(name)
        if measurement.value is not None:
            about = _OTHER if metric is None else metric.role
            groups[about].append(measured_line(name, measurement, processes_of(record)))
    return tuple(Group(title, tuple(lines)) for title, lines in groups.items() if lines)


def missed(record: Record) -> tuple[Missed, ...]:
    """Return what was not measured, and why."""
    return missed_of({name: record.measurements[name] for name in in_order(record.measurements)})


def missed_of(found: Mapping[str, Measurement]) -> tuple[Missed, ...]:
    """Return the measurements without a value; of what many runs have in common, one object."""
    gaps = ((name, one.reason or NO_REASON) for name, one in found.items() if one.value is None)
    return _missed(tuple(gaps))


@lru_cache(maxsize=1024)
def _missed(gaps: tuple[tuple[str, str], ...]) -> tuple[Missed, ...]:
    return tuple(Missed(name, label_of(name), reason) for name, reason in gaps)


def compared(record: Record, unrest: Unrest) -> tuple[Compared, ...]:
    """Return the comparisons of a record.

    Args:
        record: the record.
        unrest: what disturbed its run and that of its baseline.
    """
    return tuple(_compared(comparison, unrest) for comparison in record.comparisons)


def measured_line(name: str, measurement: Measurement, processes: int = 1) -> Measured:
    """Return the line of a measurement that has a value.

    Args:
        name: of the metric.
        measurement: of the metric.
        processes: that its samples come from.
    """
    meaning = meaning_of(name)
    value = 0.0 if measurement.value is None else measurement.value
    scale = scale_of(name, measurement.unit, [value])
    interval = measurement.interval
    return Measured(
        name=name,
        label=label_of(name),
        better="" if meaning is None else BETTER[meaning.direction],
        value=quantity(measurement.value, measurement.unit, scale),
        interval=DASH if interval is None else span(interval.low, interval.high, scale),
        method=why_no_interval(measurement, processes) if interval is None else interval.method,
        n=f"{measurement.n:,}",
        summary=measurement.summary,
        provenance="" if measurement.provenance is None else measurement.provenance.value,
    )


def _compared(comparison: Comparison, unrest: Unrest) -> Compared:
    metric, interval = _metric(comparison.metric), comparison.interval
    doubts = doubts_about(comparison, None if metric is None else metric.role, unrest)
    launches = launches_of(comparison)
    value, places = comparison.value, decimals_of(comparison.statistic, comparison.value, interval)
    verdict = f"{GLYPHS[comparison.verdict]} {comparison.verdict.value}{DOUBT if doubts else ''}"
    return Compared(
        name=comparison.metric,
        label=label_of(comparison.metric),
        statistic=comparison.statistic,
        value=DASH if value is None else number(value, places),
        interval=ends_of(interval, places) or DASH,
        n=f"{comparison.n:,}",
        launches=f"{launches:,}" if launches else DASH,
        verdict=verdict.lstrip(),
        css=DOUBTED if doubts else CLASSES[comparison.verdict],
        doubts=doubts,
        method="" if interval is None else interval.method,
        reason=comparison.reason or "",
    )


def decimals_of(statistic: str, value: float | None, interval: Interval | None) -> int | None:
    """Return the decimals of a comparison and its interval; ``None`` for as many as they are small.

    Ratios have three, or as many as tell them from 1.

    Args:
        statistic: what the comparison is.
        value: its value; ``None`` where nothing could be compared.
        interval: its interval, if it has one.
    """
    if statistic != "ratio" or value is None:
        return None
    ends = () if interval is None else (interval.low, interval.high)
    return ratio_places(3, ends, value, *ends)


def ends_of(interval: Interval | None, places: int | None = None) -> str:
    """Return the ends of an interval; empty where there is none.

    Args:
        interval: the interval.
        places: decimals of both ends; ``None`` gives as many as they are small.
    """
    if interval is None:
        return ""
    if places is None:
        return span(interval.low, interval.high, _PLAIN)
    return f"{number(interval.low, places)} \u2013 {number(interval.high, places)}"


def _metric(name: str) -> Metric | None:
    return _BY_NAME.get(name.rpartition(".")[2])
