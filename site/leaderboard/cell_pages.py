"""The page of a cell: every run of it on a machine, the newest first, at an address that stays.

A cell that is measured again gets another run with another page; ``runs/<machine>/<cell>/`` leads
to all of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC
from itertools import groupby

from leanboard.leaderboard.board import run_href
from leanboard.leaderboard.columns import comparable, label_of, meaning_of, place_of, scale_of
from leanboard.leaderboard.compare import compare_href
from leanboard.leaderboard.describe import UNKNOWN
from leanboard.leaderboard.format import DASH, moment, number, quantity, ratio_places, span
from leanboard.leaderboard.runs import subtitle_of, title_of
from leanboard.metrics.intervals import Interval
from leanboard.metrics.metric import Role
from leanboard.metrics.trace import Provenance
from leanboard.metrics.unpaired import unpaired_interval
from leanboard.results.reliability import reliability_of
from leanboard.results.schema import Measurement, PerformanceCell, Record, Status
from leanboard.results.store import Entry
from leanboard.results.stored import estimate_of

AGAIN = "tpot_s"
"""What the newest run is held against the others by."""

_TIMED = ("ttft_s", AGAIN, "peak_memory_bytes")
_MOST_SCORES = 3


@dataclass(frozen=True, slots=True)
class Shown:
    """A value and both ends of its interval, ready to print; a dash and nothing without one.

    ``estimate`` is the provenance of a value that was not measured.
    """

    text: str
    span: str = ""
    estimate: str = ""


@dataclass(frozen=True, slots=True)
class CellRun:
    """One run of a cell.

    Args:
        again: the newest run's time per output token over this one's, measured apart.
    """

    run_id: str
    href: str
    started: str
    origin: str
    status: str
    stability: str
    version: str
    values: tuple[Shown, ...]
    again: Shown


@dataclass(frozen=True, slots=True)
class CellPage:
    """What the template of a cell prints."""

    path: str
    title: str
    subtitle: str
    cell_id: str
    timed: bool
    metrics: tuple[str, ...]
    runs: tuple[CellRun, ...]
    compare_href: str


def cell_pages(entries: Sequence[Entry]) -> Iterator[CellPage]:
    """Yield the page of every cell and machine.

    Args:
        entries: the records, those of a cell on a machine next to one another.
    """
    for _, found in groupby(entries, key=lambda e: (e.record.machine_id, e.record.cell_id)):
        ordered = sorted(found, key=lambda e: (e.record.times.started_at, e.record.run_id))
        yield _page(ordered[::-1])


def _page(newest_first: Sequence[Entry]) -> CellPage:
    newest = newest_first[0].record
    names = _metrics(newest)
    return CellPage(
        path=f"runs/{newest.machine_id}/{newest.cell_id}/index.html",
        title=title_of(newest),
        subtitle=subtitle_of(newest),
        cell_id=newest.cell_id,
        timed=isinstance(newest.cell, PerformanceCell),
        metrics=tuple(label_of(name) for name in names),
        runs=tuple(_run(entry, newest, names) for entry in newest_first),
        compare_href=compare_href(entry.record for entry in newest_first),
    )


def _metrics(record: Record) -> tuple[str, ...]:
    """Return the names of what is shown: headlines of a timed cell, scores of a scored one."""
    if isinstance(record.cell, PerformanceCell):
        return _TIMED
    measured = (n for n, m in record.measurements.items() if m.value is not None and _scores(n))
    return tuple(sorted(measured, key=place_of)[:_MOST_SCORES])


def _scores(name: str) -> bool:
    meaning = meaning_of(name)
    return meaning is not None and meaning.role is Role.QUALITY


def _run(entry: Entry, newest: Record, names: Sequence[str]) -> CellRun:
    record = entry.record
    return CellRun(
        run_id=record.run_id,
        href=run_href(record),
        started=moment(record.times.started_at.astimezone(UTC)),
        origin=entry.origin,
        status=record.status.value,
        stability=reliability_of(record).value if record.status is Status.OK else DASH,
        version=record.environment.packages.get("leanboard", UNKNOWN),
        values=tuple(_shown(name, record.measurements.get(name)) for name in names),
        again=_again(newest, record),
    )


def _shown(name: str, measurement: Measurement | None) -> Shown:
    if measurement is None or measurement.value is None:
        return Shown(DASH)
    scale = scale_of(name, measurement.unit, [measurement.value])
    interval = measurement.interval
    ends = "" if interval is None else span(interval.low, interval.high, scale)
    return Shown(quantity(measurement.value, measurement.unit, scale), ends, _estimate(measurement))


def _estimate(measurement: Measurement) -> str:
    source = measurement.provenance
    return source.value if source in (Provenance.MODELLED, Provenance.SIMULATED) else ""


def _again(newest: Record, record: Record) -> Shown:
    """Return the newest run's time over this run's; a dash for the newest itself."""
    one, other = _known(newest), _known(record)
    if record is newest or one is None or other is None:
        return Shown(DASH)
    (latest, its), (before, theirs) = one, other
    ends = None if its is None or theirs is None else unpaired_interval(latest, its, before, theirs)
    interval = () if ends is None else (ends.low, ends.high)
    places = ratio_places(3, interval, latest / before, *interval)
    text = " \u2013 ".join(number(end, places) for end in interval)
    return Shown(number(latest / before, places), text)


def _known(record: Record) -> tuple[float, Interval | None] | None:
    """Return the time and its interval; ``None`` where it is none that may be compared."""
    measured = record.measurements.get(AGAIN)
    if measured is None or measured.value is None or measured.value <= 0:
        return None
    if not comparable(measured, Role.LATENCY):
        return None
    return measured.value, estimate_of(measured).interval
