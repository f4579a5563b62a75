"""Checking comparisons: whether they are there, with the right baseline, and derived alike."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from leanboard.metrics.trace import Observation
from leanboard.results.errors import RecordError
from leanboard.results.identity import cell_id
from leanboard.results.measure import comparisons
from leanboard.results.schema import AccuracyCell, Comparison, PerformanceCell, Record, Status
from leanboard.results.store import check_place, read_record
from leanboard.results.verify_numbers import (
    differences,
    missing,
    of_newer_method,
    of_present_method,
)
from leanboard.results.verify_samples import read_observation

NO_COMPARISON = "no comparison"
"""How the warning begins that says why a run was compared with nothing."""

SCORES_COMPARED_SINCE = 3
"""First method version whose scores are compared with the baseline's, item by item."""


def comparison_messages(path: Path, candidate: Observation, record: Record) -> Iterator[str]:
    """Yield what is wrong with a record's comparisons.

    The baseline lies in the same machine's folder of the store.

    Args:
        path: file of the record.
        candidate: its raw samples.
        record: the record itself.
    """
    runs = sorted({comparison.baseline_run for comparison in record.comparisons})
    if runs and record.block.baseline:
        yield "it is the baseline of its block, but it has comparisons"
    if not runs:
        yield from _lacking(path, record)
    for run in runs:
        yield from _against(path, candidate, record, run)


def _against(path: Path, candidate: Observation, record: Record, run: str) -> Iterator[str]:
    found = sorted(path.parents[1].glob(f"*/{run}.json"))
    if not found:
        yield f"its baseline, run {run}, is not in the store: comparisons stay unchecked"
        return
    try:
        baseline = read_record(found[0])
        check_place(found[0], baseline)
        reasons = list(_unfit(baseline, record))
        observed = None
        if not reasons and baseline.traces is not None:
            observed = read_observation(found[0], baseline.traces)
    except RecordError as error:
        reasons, observed = [str(error)], None
    yield from (f"its baseline, run {run}: {reason}" for reason in reasons)
    if not reasons and not of_newer_method(record):
        derived = () if observed is None else comparisons(candidate, observed, run)
        stored = [c for c in record.comparisons if c.baseline_run == run]
        complete = of_present_method(record)
        yield from _compared(stored, derived, run, complete=complete)


def _compared(
    stored: Sequence[Comparison], derived: Iterable[Comparison], run: str, *, complete: bool
) -> Iterator[str]:
    again = {(comparison.metric, comparison.statistic): comparison for comparison in derived}
    for comparison in stored:
        name = f"{comparison.metric} against {run}"
        expected = again.get((comparison.metric, comparison.statistic))
        if expected is None:
            yield f"{name} does not follow from the raw samples"
        else:
            yield from differences(name, comparison, expected)
    if complete:
        lacking = again.keys() - {(c.metric, c.statistic) for c in stored}
        yield from missing(f"{metric} against {run}" for metric, _ in lacking)


def _unfit(other: Record, record: Record) -> Iterator[str]:
    """Yield why a run cannot be the baseline of a record."""
    if other.block.block_id != record.block.block_id:
        yield from _elsewhere(other, record)
    if not other.block.baseline:
        yield f"it is the arm '{other.block.arm}', not the baseline of its block"
    if other.machine_id != record.machine_id:
        yield f"it ran on another machine, {other.machine_id}"
    if other.status is not Status.OK:
        yield f"it has no result: its status is {other.status.value}"
    if _asked(other) != _asked(record):
        yield "its cell differs in more than the techniques"


def _elsewhere(other: Record, record: Record) -> Iterator[str]:
    """Yield why a run of another block cannot be the baseline; scores only need the same software.

    A run that was interrupted after its baseline was scored goes on in a block of its own.
    """
    if isinstance(record.cell, PerformanceCell):
        yield "it is of another block, so the rounds were not interleaved"
    elif other.software_id != record.software_id:
        yield "it is of another block, and was scored with other software"


def _asked(record: Record) -> str:
    """Return the identity of a record's cell without its techniques."""
    return cell_id(record.cell.model_copy(update={"techniques": ()}))


def _lacking(path: Path, record: Record) -> Iterator[str]:
    told = any(warning.startswith(NO_COMPARISON) for warning in record.warnings)
    if not _is_compared(record) or told or record.block.baseline:
        return
    scored = isinstance(record.cell, AccuracyCell)
    for other in _others(path):
        together = scored or other.block.block_id == record.block.block_id
        if together and not list(_unfit(other, record)):
            yield f"it has no comparisons, but its baseline is in the store: run {other.run_id}"
            return


def _is_compared(record: Record) -> bool:
    """Whether a run like this one has comparisons; scores had none before a later method."""
    if isinstance(record.cell, PerformanceCell):
        return record.status is Status.OK
    versions = [measured.method_version for measured in record.measurements.values()]
    return record.status is Status.OK and min(versions, default=0) >= SCORES_COMPARED_SINCE


def _others(path: Path) -> Iterator[Record]:
    """Yield the readable records of the same machine; what cannot be read is told elsewhere."""
    for other in sorted(path.parents[1].glob("*/*.json")):
        try:
            yield read_record(other)
        except RecordError:
            continue
