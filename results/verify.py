"""Checking a record against itself, its path and its raw samples. Nothing is run."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from leanboard.metrics.intervals import METHOD_VERSION
from leanboard.metrics.trace import Observation, RequestObservation
from leanboard.results.errors import RecordError
from leanboard.results.identity import cell_id, machine_id, software_id
from leanboard.results.measure import comparisons, measurements, stability
from leanboard.results.schema import Comparison, Interval, Measurement, Record, Status
from leanboard.results.store import Problem, check_place, find_records, read_record, traces_path
from leanboard.results.traces import from_parquet, trace_rows

TOLERANCE = 1e-9
"""Largest relative difference between a stored number and the same one derived again."""


def verify_record(path: Path) -> list[Problem]:
    """Return everything that is wrong with one record; an empty list means that it holds.

    Checked: schema and content hash, the path, the ids that follow from the contents, status and
    times, the trace file's hash and rows, and everything that follows from the traces, derived
    again: every measurement and comparison that the present methods made, whether the run was
    stable, and how many launches and rounds there were.
    """
    try:
        record = read_record(path)
    except RecordError as error:
        return [Problem(path, str(error))]
    messages = [
        *_place_messages(path, record),
        *_identity_messages(record),
        *_status_messages(record),
        *_traces_messages(path, record),
    ]
    return [Problem(path, message) for message in messages]


def verify_paths(paths: Iterable[Path]) -> tuple[int, list[Problem]]:
    """Check files and whole folders; return how many records were checked and what is wrong.

    Trace files without a record are no problem: a run that was killed may leave one.
    """
    checked, problems = 0, []
    for path in paths:
        records, unreadable = find_records(path) if path.is_dir() else ([path], [])
        problems += unreadable
        for record in records:
            checked += 1
            problems += verify_record(record)
    return checked, problems


def _place_messages(path: Path, record: Record) -> Iterator[str]:
    try:
        check_place(path, record)
    except RecordError as error:
        yield str(error)


def _identity_messages(record: Record) -> Iterator[str]:
    derived = {
        "cell_id": (record.cell_id, cell_id(record.cell)),
        "machine_id": (record.machine_id, machine_id(record.environment)),
        "software_id": (record.software_id, software_id(record.environment)),
    }
    for name, (stored, expected) in derived.items():
        if stored != expected:
            yield f"{name} is {stored}, but its contents give {expected}"


def _status_messages(record: Record) -> Iterator[str]:
    times = record.times
    if times.started_at.tzinfo is None or times.finished_at.tzinfo is None:
        yield "its times have no time zone"
    elif times.finished_at < times.started_at:
        yield f"finished at {times.finished_at}, before it started at {times.started_at}"
    ok = record.status is Status.OK
    if ok == (record.error is not None):
        yield f"status {record.status.value} does not fit its error"
    if ok and record.traces is None:
        yield "status ok, but no raw samples"
    if not ok and any(m.value is not None for m in record.measurements.values()):
        yield f"status {record.status.value}, but it has measurements"


def _traces_messages(path: Path, record: Record) -> Iterator[str]:
    if record.traces is None:
        return
    file = traces_path(path)
    try:
        observation = _observation(file, record.traces.sha256)
    except RecordError as error:
        yield str(error)
        return
    if trace_rows(observation) != record.traces.rows:
        yield f"{file.name} has {trace_rows(observation)} rows, not {record.traces.rows}"
    yield from _measurement_messages(observation, record.measurements)
    if isinstance(observation, RequestObservation):
        yield from _sampling_messages(observation, record)
        yield from _stability_messages(observation, record)
    for baseline_run in sorted({comparison.baseline_run for comparison in record.comparisons}):
        stored = [c for c in record.comparisons if c.baseline_run == baseline_run]
        yield from _comparison_messages(path, observation, baseline_run, stored)


def _observation(file: Path, sha256: str) -> Observation:
    try:
        data = file.read_bytes()
    except OSError as error:
        message = f"{file.name} cannot be read ({error.strerror}): its raw samples are missing"
        raise RecordError(message) from error
    if hashlib.sha256(data).hexdigest() != sha256:
        message = f"{file.name} is not the file that was written with the record"
        raise RecordError(message)
    return from_parquet(data)


def _measurement_messages(
    observation: Observation, stored: Mapping[str, Measurement]
) -> Iterator[str]:
    derived = measurements(observation)
    for name in sorted(stored):
        if name not in derived:
            yield f"{name} does not follow from the raw samples"
        elif stored[name].method_version == derived[name].method_version:
            yield from _differences(name, stored[name], derived[name])


def _sampling_messages(observation: RequestObservation, record: Record) -> Iterator[str]:
    if record.sampling is None:
        return
    timed = [request for request in observation.requests if not request.warmup]
    shown = {
        "launches": len({request.launch for request in timed}),
        "rounds": len({request.round for request in timed}),
    }
    for name, number in shown.items():
        stored = getattr(record.sampling, name)
        if stored != number:
            yield f"sampling says {stored} {name}, but the raw samples show {number}"


def _stability_messages(observation: RequestObservation, record: Record) -> Iterator[str]:
    versions = {measurement.method_version for measurement in record.measurements.values()}
    if record.stability is None or versions != {METHOD_VERSION}:
        return
    stored, derived = record.stability, stability(observation)
    if stored.stable != derived.stable:
        yield f"stable is {stored.stable}, but the raw samples give {derived.stable}"
    was, again = ([cause.kind for cause in seen.causes] for seen in (stored, derived))
    if was != again:
        yield f"its causes of instability are {was}, but the raw samples give {again}"
    for name in sorted(stored.figures):
        if name not in derived.figures:
            yield f"{name} does not follow from the raw samples"
        elif not _equal(stored.figures[name], derived.figures[name]):
            figures = (_shown(seen.figures[name]) for seen in (stored, derived))
            yield "{}: the figure is {}, but the raw samples give {}".format(name, *figures)


def _comparison_messages(
    path: Path, candidate: Observation, baseline_run: str, stored: Sequence[Comparison]
) -> Iterator[str]:
    """Derive comparisons again; the baseline lies in the same machine's folder of the store."""
    found = sorted(path.parents[1].glob(f"*/{baseline_run}.json"))
    if not found:
        yield f"its baseline, run {baseline_run}, is not in the store: comparisons stay unchecked"
        return
    try:
        traces = read_record(found[0]).traces
        baseline = None if traces is None else _observation(traces_path(found[0]), traces.sha256)
    except RecordError as error:
        yield f"its baseline, run {baseline_run}: {error}"
        return
    derived = {} if baseline is None else _by_metric(comparisons(candidate, baseline, baseline_run))
    for comparison in stored:
        name = f"{comparison.metric} against {baseline_run}"
        again = derived.get((comparison.metric, comparison.statistic))
        if again is None:
            yield f"{name} does not follow from the raw samples"
        elif again.method_version == comparison.method_version:
            yield from _differences(name, comparison, again)


def _by_metric(found: Iterable[Comparison]) -> dict[tuple[str, str], Comparison]:
    return {(comparison.metric, comparison.statistic): comparison for comparison in found}


_Derived = TypeVar("_Derived", Measurement, Comparison)


def _differences(name: str, stored: _Derived, derived: _Derived) -> Iterator[str]:
    # A field that came after the record was written is not in its JSON and says nothing.
    for part in sorted(stored.model_fields_set):
        was, again = getattr(stored, part), getattr(derived, part)
        if part == "reason":  # its wording may improve; whether there is one may not change
            was, again = was is None, again is None
        if not _equal(was, again):
            yield f"{name}: its {part} is {_shown(was)}, but the raw samples give {_shown(again)}"


def _equal(a: object, b: object) -> bool:
    if isinstance(a, Interval) and isinstance(b, Interval):
        return all(_equal(getattr(a, part), getattr(b, part)) for part in a.model_fields_set)
    if isinstance(a, tuple) and isinstance(b, tuple):
        return len(a) == len(b) and all(map(_equal, a, b))
    if isinstance(a, float) and isinstance(b, float):
        return math.isclose(a, b, rel_tol=TOLERANCE)
    return a == b


def _shown(value: object) -> str:
    if isinstance(value, Interval):
        return f"[{value.low}, {value.high}]"
    return f"{len(value)} values" if isinstance(value, tuple) else str(value)
