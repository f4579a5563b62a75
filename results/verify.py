"""Checking a record against itself, its path and its raw samples. Nothing is run."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from leanboard.metrics.trace import Observation
from leanboard.results.errors import RecordError
from leanboard.results.identity import cell_id, machine_id, software_id
from leanboard.results.measure import measurements
from leanboard.results.schema import Measurement, Record, Status
from leanboard.results.store import Problem, check_place, find_records, read_record, traces_path
from leanboard.results.traces import from_parquet, trace_rows

TOLERANCE = 1e-9
"""Largest relative difference between a stored number and the same one derived again."""


def verify_record(path: Path) -> list[Problem]:
    """Return everything that is wrong with one record; an empty list means that it holds.

    Checked: schema and content hash, the path, the ids that follow from the contents, status and
    times, the trace file's hash and rows, and every measurement derived again from the traces.
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
        data = file.read_bytes()
        if hashlib.sha256(data).hexdigest() != record.traces.sha256:
            yield f"{file.name} is not the file that was written with the record"
            return
        observation = from_parquet(data)
    except (OSError, RecordError) as error:
        yield f"{file.name} cannot be read: {error}"
        return
    if trace_rows(observation) != record.traces.rows:
        yield f"{file.name} has {trace_rows(observation)} rows, not {record.traces.rows}"
    yield from _measurement_messages(observation, record.measurements)


def _measurement_messages(
    observation: Observation, stored: Mapping[str, Measurement]
) -> Iterator[str]:
    derived = measurements(observation)
    for name in sorted(stored):
        if name not in derived:
            yield f"{name} does not follow from the raw samples"
        elif stored[name].method_version == derived[name].method_version:
            yield from _differences(name, stored[name], derived[name])


def _differences(name: str, stored: Measurement, derived: Measurement) -> Iterator[str]:
    for part, was, again in _numbers(stored, derived):
        if not _equal(was, again):
            yield f"{name}: its {part} is {was}, but the raw samples give {again}"
    for part in ("unit", "n", "summary", "provenance"):
        was, again = getattr(stored, part), getattr(derived, part)
        if was != again:
            yield f"{name}: its {part} is {was}, but the raw samples give {again}"


def _numbers(
    stored: Measurement, derived: Measurement
) -> Iterator[tuple[str, float | None, float | None]]:
    yield "value", stored.value, derived.value
    yield "standard error", stored.stderr, derived.stderr
    a, b = stored.interval, derived.interval
    yield "lower bound", a and a.low, b and b.low
    yield "upper bound", a and a.high, b and b.high


def _equal(a: float | None, b: float | None) -> bool:
    if a is None or b is None:
        return a is b
    return math.isclose(a, b, rel_tol=TOLERANCE, abs_tol=1e-300)
