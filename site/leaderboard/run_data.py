"""The data of one run for the browser: all that the page that compares runs needs of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import UTC

from leanboard.leaderboard.board import NO_CAUSE, baseline_of, run_place
from leanboard.leaderboard.cells import made_of
from leanboard.leaderboard.columns import comparable, in_order, meaning_of, of_quality
from leanboard.leaderboard.data import Json, Written, literal
from leanboard.leaderboard.describe import Section, Term, settings, surroundings
from leanboard.leaderboard.distribution import Distribution
from leanboard.leaderboard.doubt import Unrest, doubts_about, launches_of, unrest_of
from leanboard.leaderboard.format import moment, plural, rounded, rounded_ratio
from leanboard.leaderboard.no_interval import processes_of, why_no_interval
from leanboard.leaderboard.remembered import Remembered
from leanboard.leaderboard.run_tables import NO_REASON
from leanboard.leaderboard.runs import Neighbours, subtitle_of, title_of
from leanboard.leaderboard.stage import ESTIMATE
from leanboard.metrics.metric import Direction
from leanboard.results.gates import REQUANTISED
from leanboard.results.reliability import Reliability, causes, reliability_of
from leanboard.results.schema import (
    Comparison,
    Interval,
    Measurement,
    PerformanceCell,
    Record,
    Status,
)
from leanboard.results.store import Entry
from leanboard.results.table import Row

A_SCORE = "scores are compared item by item, and only with the baseline of the same block"
NO_METRIC = "this version does not know the metric"
_STATISTICS = ("difference", "ratio")


def run_data(entry: Entry, neighbours: Neighbours, latencies: Sequence[Distribution]) -> Json:
    """Return what the browser is told of a run.

    Args:
        entry: the run's record.
        neighbours: where other runs are; a run that is a row of the board has its scores too.
        latencies: how its latencies are spread; empty where no traces are there.
    """
    record = entry.record
    row = neighbours.rows.get(run_place(record))
    baseline = baseline_of(record, neighbours.runs)
    scored = () if row is None else row.accuracy_records
    return {
        "title": title_of(record),
        "subtitle": subtitle_of(record),
        "href": neighbours.hrefs[record.machine_id, record.run_id],
        "origin": entry.origin,
        "status": record.status.value,
        "started": moment(record.times.started_at.astimezone(UTC)),
        "baseline": int(record.block.baseline),
        "baselinePlace": "" if baseline is None else run_place(baseline),
        "runs": [record.run_id, *(score.run_id for score in scored)],
        "unstable": _unstable(record),
        "ranked": int(_ranked(record, row)),
        "alike": _alike(record),
        "measurements": _measurements(record, row, unrest_of(record, baseline)),
        "configuration": _sections(settings(record)),
        "environment": _environment(surroundings(record.environment)),
        "samples": {latency.name: _latency(latency) for latency in latencies},
    }


def _unstable(record: Record) -> str:
    unstable = reliability_of(record) is Reliability.UNSTABLE
    return (causes(record) or NO_CAUSE) if unstable else ""


def _ranked(record: Record, row: Row | None) -> bool:
    """Return whether the qualities of a run may be ranked; a row knows of its scores too."""
    if row is not None:
        return row.quality_ranked
    random = record.cell.model.weights_origin == "random"
    return not random and not any(w.startswith(REQUANTISED) for w in record.warnings)


def _alike(record: Record) -> Json:
    """Return in words what two runs must share before only a technique differs."""
    cell, device = record.cell, record.cell.device
    return {
        "hardware": f"{device.name}, {plural(device.threads, 'thread')}, {record.machine_id}",
        "workload": _asked(record),
        "model": f"{cell.model.name} ({cell.model.content_hash[:8]})",
        "engine": cell.backend.name,
    }


def _asked(record: Record) -> str:
    cell = record.cell
    if isinstance(cell, PerformanceCell):
        work = cell.workload
        sizes = f"{work.prompt_tokens} in, {work.output_tokens} out, batch {work.batch_size}"
        return f"{work.name} ({sizes}, prompts {work.prompts_hash[:8]})"
    limit = "all items" if cell.task.limit is None else plural(cell.task.limit, "item")
    return f"{cell.task.name} ({limit}, data {cell.task.data_hash[:8]})"


def _measurements(record: Record, row: Row | None, unrest: Unrest) -> list[Json]:
    measured = record.measurements if row is None else row.measurements
    if record.status is not Status.OK:
        return []
    found: list[Json] = []
    for name in in_order(measured):
        one = measured[name]
        if one.value is None:
            found.append({"name": name, "unit": one.unit, "reason": one.reason or NO_REASON})
        else:
            against = _against(name, _comparison(record, row, name), unrest)
            found.append(_measurement(name, one, processes_of(record), against))
    return found


def _measurement(name: str, measurement: Measurement, processes: int, against: Json | None) -> Json:
    """Return one measurement that has a value; what it does not have else is left out."""
    meaning, interval = meaning_of(name), measurement.interval
    bare = None if interval is not None else why_no_interval(measurement, processes)
    direction = Direction.NEUTRAL if meaning is None else meaning.direction
    alone = interval is not None and interval.method.endswith("one process")
    found: Json = {
        "name": name,
        "unit": measurement.unit,
        "direction": None if direction is Direction.NEUTRAL else direction.value,
        "value": None if measurement.value is None else rounded(measurement.value),
        **_ends(interval),
        "n": measurement.n,
        "summary": measurement.summary,
        "provenance": None if measurement.provenance is None else measurement.provenance.value,
        "oneProcess": 1 if alone else None,
        "reason": measurement.reason or bare,
        "barred": _barred(name, measurement),
        "against": against,
    }
    return {key: value for key, value in found.items() if value is not None}


def _ends(interval: Interval | None, shortened: Callable[[float], float] = rounded) -> Json:
    if interval is None:
        return {}
    low, high = shortened(interval.low), shortened(interval.high)
    return {"low": low, "high": high, "made": made_of(interval)}


def _barred(name: str, measurement: Measurement) -> str | None:
    """Return why no ratio is made of a value; ``None`` where one may be."""
    meaning = meaning_of(name)
    if meaning is None:
        return NO_METRIC
    if of_quality(meaning):
        return A_SCORE
    if comparable(measurement, meaning.role):
        return None
    source = measurement.provenance
    return f"{'unknown' if source is None else source.value} {ESTIMATE}"


def _comparison(record: Record, row: Row | None, name: str) -> Comparison | None:
    if row is not None:
        return row.comparison(name)
    found = {c.statistic: c for c in record.comparisons if c.metric == name}
    return next((found[kind] for kind in _STATISTICS if kind in found), None)


def _against(name: str, comparison: Comparison | None, unrest: Unrest) -> Json | None:
    """Return what the record itself says of a metric beside its baseline's."""
    if comparison is None or comparison.value is None or comparison.statistic not in _STATISTICS:
        return None
    if comparison.statistic == "ratio" and not _is_ratio(comparison.value, comparison.interval):
        return None
    meaning = meaning_of(name)
    role = None if meaning is None else meaning.role
    return {
        "baseline": comparison.baseline_run,
        "statistic": comparison.statistic,
        "value": rounded_ratio(comparison.value),
        **_ends(comparison.interval, rounded_ratio),
        "n": comparison.n,
        "launches": launches_of(comparison),
        "verdict": comparison.verdict.value,
        "doubts": list(doubts_about(comparison, role, unrest)),
    }


def _is_ratio(value: float, interval: Interval | None) -> bool:
    """Return whether a value and its interval can be those of a ratio of what is above 0."""
    return value > 0 and (interval is None or 0 <= interval.low <= interval.high > 0)


def _sections(sections: Iterable[Section]) -> Written:
    """Return the pairs of a title and the terms below it."""
    pairs = (f"[{literal(section.title)},{_terms(section.terms)}]" for section in sections)
    return Written(f"[{','.join(pairs)}]")


def _pairs(terms: tuple[Term, ...]) -> str:
    return literal([[term.name, term.text] for term in terms])


# Of what many runs have in common the terms are one object, and so are equal environments.
_terms = Remembered(_pairs)
_environment = Remembered[tuple[Section, ...], Written](_sections)


def _latency(latency: Distribution) -> Json:
    return {
        "title": latency.title,
        "n": latency.n,
        "points": list(latency.points),
        "percentiles": list(latency.percentiles),
        "reasons": list(latency.reasons),
    }
