"""Checking a record against itself, its path and its raw samples. Nothing is run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from leanboard.results.errors import RecordError
from leanboard.results.identity import cell_id, machine_id, software_id
from leanboard.results.schema import Record, Status
from leanboard.results.store import Problem, check_place, find_records, read_record
from leanboard.results.verify_baseline import comparison_messages
from leanboard.results.verify_numbers import method_messages, number_messages, older_numbers
from leanboard.results.verify_samples import read_observation, sample_messages


@dataclass(frozen=True, slots=True)
class Verified:
    """What checking records showed.

    Args:
        records: how many were checked.
        problems: everything that is wrong; empty if all of them hold.
        older: by method version, how many numbers of an older method were not derived again:
            only their samples, and what they are, were compared.
    """

    records: int
    problems: tuple[Problem, ...] = ()
    older: Mapping[int, int] = field(default_factory=dict)


def verify_record(path: Path) -> Verified:
    """Check one record.

    Checked: schema and content hash, the path, the ids that follow from the contents, status and
    times; that the trace file is the record's and fits its cell, arm and sampling; that the run
    compared with is the baseline of the same block; and everything that follows from the traces,
    derived again: facts, measurements, comparisons, stability. What is missing is a problem too.
    """
    try:
        record = read_record(path)
    except RecordError as error:
        return Verified(1, (Problem(path, str(error)),))
    messages = [*identity_messages(path, record), *statistics_messages(path, record)]
    problems = tuple(Problem(path, message) for message in messages)
    return Verified(1, problems, older_numbers(record))


def verify_paths(paths: Iterable[Path]) -> Verified:
    """Check files and whole folders.

    Trace files without a record are no problem: a run that was killed may leave one.
    """
    records, problems, older = 0, [], Counter[int]()
    for path in paths:
        found, unreadable = find_records(path) if path.is_dir() else ([path], [])
        problems += unreadable
        for one in map(verify_record, found):
            records += one.records
            problems += one.problems
            older.update(one.older)
    return Verified(records, tuple(problems), older)


def identity_messages(path: Path, record: Record) -> Iterator[str]:
    """Yield where a record's place, ids, status and times do not follow from what it holds."""
    yield from _place_messages(path, record)
    yield from _identity_messages(record)
    yield from _status_messages(record)


def statistics_messages(path: Path, record: Record) -> Iterator[str]:
    """Yield where a record's numbers are not those that its raw samples give."""
    yield from method_messages(record)
    yield from _traces_messages(path, record)


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
    if times.finished_at < times.started_at:
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
    try:
        observation = read_observation(path, record.traces)
    except RecordError as error:
        yield str(error)
        return
    yield from sample_messages(observation, record)
    try:
        yield from [
            *number_messages(observation, record),
            *comparison_messages(path, observation, record),
        ]
    except (ArithmeticError, ValueError) as error:
        yield f"no numbers can be derived from its raw samples: {error}"
