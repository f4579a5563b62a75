"""Runs by name, and what a repeated one says beside that before: values, ratio, intervals.

The two runs were made at different times, often by different software, and are not paired: no
verdict is given, only whether their intervals have a value in common. Both are published, or both
local.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from leanboard.leaderboard.board import run_href
from leanboard.leaderboard.columns import comparable, label_of, meaning_of, place_of
from leanboard.leaderboard.format import DASH, number, plural
from leanboard.leaderboard.run_tables import measured_line
from leanboard.leaderboard.variants import params_of
from leanboard.metrics.metric import Metric
from leanboard.results.reliability import Reliability, reliability_of
from leanboard.results.schema import (
    Component,
    Interval,
    Measurement,
    PerformanceCell,
    Record,
    Status,
)
from leanboard.results.store import Entry, Origin

MEET, APART = "intervals meet", "intervals apart"
UNKNOWN = "version not known"


@dataclass(frozen=True, slots=True)
class ChangeLine:
    """One metric before and after, with intervals where there are any."""

    label: str
    before: str
    before_interval: str
    after: str
    after_interval: str
    ratio: str
    overlap: str


@dataclass(frozen=True, slots=True)
class Named:
    """A run by the names of its cell.

    Args:
        name: the arm with its knobs, and what was asked of it.
        where: model, backend, device and machine.
        href: its page.
        origin: ``published`` or ``local``.
        note: how it ended, where it has no numbers; empty for most.
    """

    name: str
    where: str
    href: str
    origin: Origin
    note: str


@dataclass(frozen=True, slots=True)
class Change:
    """A cell that was measured again.

    Args:
        run: the later run.
        before_href: the run before it.
        versions: which leanboard made the two.
        notes: what a reader must know of either run; empty for most.
        lines: the headline metrics that both have; none where either failed.
    """

    run: Named
    before_href: str
    versions: str
    notes: tuple[str, ...]
    lines: tuple[ChangeLine, ...]


def named(entry: Entry, *, one_page: bool = False) -> Named:
    """Return a run by the names of its cell.

    Args:
        entry: the run.
        one_page: whether all runs share a page.
    """
    record, cell = entry.record, entry.record.cell
    arm = "+".join(map(_technique, cell.techniques)) or "none"
    what = cell.workload.name if isinstance(cell, PerformanceCell) else cell.task.name
    device = f"{cell.device.name}, {plural(cell.device.threads, 'thread')}"
    return Named(
        name=f"{arm} \u00b7 {what}",
        where=f"{cell.model.name} on {cell.backend.name}, {device}, {record.machine_id}",
        href=run_href(record, one_page=one_page),
        origin=entry.origin,
        note="" if record.status is Status.OK else record.status.value,
    )


def change_between(before: Entry, after: Entry, *, one_page: bool = False) -> Change:
    """Return what the later of two runs of a cell says beside the earlier one.

    Args:
        before: the earlier run.
        after: the later run.
        one_page: whether all runs share a page.
    """
    then, now = before.record, after.record
    return Change(
        run=named(after, one_page=one_page),
        before_href=run_href(then, one_page=one_page),
        versions=_versions(then, now),
        notes=tuple(_notes(then, now)),
        lines=tuple(_lines(then, now)),
    )


def _technique(part: Component) -> str:
    knobs = ", ".join(text for _, text in params_of(part))
    return f"{part.name} ({knobs})" if knobs else part.name


def _lines(before: Record, after: Record) -> Iterator[ChangeLine]:
    for name in sorted(before.measurements.keys() & after.measurements.keys(), key=place_of):
        old, new = before.measurements[name], after.measurements[name]
        if _told(name, old) and _told(name, new):
            yield _line(name, old, new)


def _told(name: str, measured: Measurement) -> bool:
    """Return whether a measurement is a headline, and no estimate."""
    meaning = meaning_of(name)
    headline = isinstance(meaning, Metric) and meaning.headline
    return meaning is not None and headline and comparable(measured, meaning.role)


def _line(name: str, old: Measurement, new: Measurement) -> ChangeLine:
    then, now = measured_line(name, old), measured_line(name, new)
    return ChangeLine(
        label=label_of(name),
        before=then.value,
        before_interval=then.interval,
        after=now.value,
        after_interval=now.interval,
        ratio=_ratio(old, new),
        overlap=_overlap(old.interval, new.interval),
    )


def _ratio(old: Measurement, new: Measurement) -> str:
    if old.value is None or new.value is None or old.value == 0:
        return DASH
    return number(new.value / old.value, 3)


def _overlap(old: Interval | None, new: Interval | None) -> str:
    if old is None or new is None:
        return DASH
    return MEET if old.low <= new.high and new.low <= old.high else APART


def _versions(before: Record, after: Record) -> str:
    then, now = _version(before), _version(after)
    return f"both {now}" if then == now else f"{then}, now {now}"


def _version(record: Record) -> str:
    """Return leanboard's version and the beginning of its commit, as far as the record says."""
    version = record.environment.packages.get("leanboard")
    commit = record.environment.git_sha
    named = UNKNOWN if version is None else f"leanboard {version}"
    return named if commit is None else f"{named} ({commit[:8]})"


def _notes(before: Record, after: Record) -> Iterator[str]:
    for when, record in (("the run before", before), ("this run", after)):
        if record.status is not Status.OK:
            yield f"{when}: {record.status.value}"
        elif reliability_of(record) is Reliability.UNSTABLE:
            yield f"{when}: unstable"
