"""The rows of the board: each timed cell's latest run, joined with the scores of the same arm."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass

from leanboard.metrics.trace import weakest
from leanboard.results.identity import digest
from leanboard.results.schema import (
    AccuracyCell,
    Comparison,
    Measurement,
    PerformanceCell,
    Record,
    Status,
)
from leanboard.results.store import Entry, Origin

ACCURACY = "accuracy"
REQUANTISED = "requantised"
ELSEWHERE = "scored on another machine"
_PRIMARY = ("acc_norm", "acc")


@dataclass(frozen=True, slots=True)
class Row:
    """One row: a timed run and the scoring runs of the same model, techniques, backend, device.

    Args:
        record: the latest run of its cell on its machine, whatever its status.
        cell: the record's cell.
        origin: ``published`` or ``local``; the accuracy records have the same origin.
        accuracy_records: the latest usable scoring run a task, ordered by the task's name.
        measurements: metrics of the record by name, scores as ``<task>.<metric>``, and
            ``accuracy``, the unweighted mean of the tasks' primary metrics.
        warnings: those of all these records, and ``scored on another machine``.
    """

    record: Record
    cell: PerformanceCell
    origin: Origin
    accuracy_records: tuple[Record, ...]
    measurements: Mapping[str, Measurement]
    warnings: tuple[str, ...]

    @property
    def label(self) -> str:
        """Name of the arm: ``none``, or the techniques joined by ``+``."""
        return "+".join(technique.name for technique in self.cell.techniques) or "none"

    @property
    def machine_id(self) -> str:
        """The machine that timed it."""
        return self.record.machine_id

    @property
    def model(self) -> str:
        """Name of the model."""
        return self.cell.model.name

    @property
    def backend(self) -> str:
        """Name of the backend."""
        return self.cell.backend.name

    @property
    def device(self) -> str:
        """Name of the device profile."""
        return self.cell.device.name

    @property
    def workload(self) -> str:
        """Name of the workload."""
        return self.cell.workload.name

    @property
    def status(self) -> Status:
        """How the timed run ended."""
        return self.record.status

    @property
    def quality_ranked(self) -> bool:
        """Whether its quality may enter ranks, fronts, gates and findings."""
        random = self.cell.model.weights_origin == "random"
        return not random and not any(w.startswith(REQUANTISED) for w in self.warnings)

    def comparison(self, metric: str) -> Comparison | None:
        """Return the comparison with the baseline of the same block, if there is one."""
        records = (self.record, *self.accuracy_records)
        found = (c for record in records for c in record.comparisons if c.metric == metric)
        return next(found, None)


def table(entries: Iterable[Entry]) -> tuple[Row, ...]:
    """Return the latest run of every timed cell, a machine and an origin, joined with its scores.

    Scores come from the same origin, from the same machine where there are any, and then from
    the latest run. The order follows from the contents, never from that of the entries.
    """
    ordered = sorted(entries, key=_recency)
    scores: dict[Hashable, list[Record]] = {}
    latest: dict[Hashable, tuple[Entry, PerformanceCell]] = {}
    for entry in ordered:
        record = entry.record
        if isinstance(record.cell, AccuracyCell):
            scores.setdefault((entry.origin, arm_key(record.cell)), []).append(record)
        else:
            key = (record.machine_id, record.cell_id, entry.origin)
            latest[key] = (entry, record.cell)
    rows = [
        _row(entry, cell, scores.get((entry.origin, arm_key(cell)), []))
        for entry, cell in latest.values()
    ]
    return tuple(sorted(rows, key=_row_order))


def arm_key(cell: PerformanceCell | AccuracyCell) -> str:
    """Return the identity of what loads and runs: model, techniques, backend and device."""
    device = cell.device.model_dump(mode="json", exclude={"name"})
    techniques = [technique.model_dump(mode="json") for technique in cell.techniques]
    backend = cell.backend.model_dump(mode="json")
    return digest([cell.model.content_hash, techniques, backend, device])


def _recency(entry: Entry) -> tuple[float, str]:
    return entry.record.times.started_at.timestamp(), entry.record.run_id


def _row_order(row: Row) -> tuple[str | bool, ...]:
    return (
        row.model,
        row.machine_id,
        row.device,
        row.workload,
        row.backend,
        row.label != "none",
        row.label,
        row.origin,
        row.record.run_id,
    )


def _row(entry: Entry, cell: PerformanceCell, scored: list[Record]) -> Row:
    record = entry.record
    chosen = _chosen(scored, record.machine_id)
    measured = dict(record.measurements)
    for score in chosen:
        task = _task(score)
        known = {n: m for n, m in score.measurements.items() if m.value is not None}
        measured |= {f"{task}.{name}": m for name, m in known.items()}
    measured[ACCURACY] = _mean_accuracy(cell, chosen)
    warnings = dict.fromkeys(w for part in (record, *chosen) for w in part.warnings)
    if any(score.machine_id != record.machine_id for score in chosen):
        warnings[ELSEWHERE] = None
    return Row(record, cell, entry.origin, chosen, measured, tuple(warnings))


def _chosen(scored: list[Record], machine: str) -> tuple[Record, ...]:
    """Choose one scoring run a task: a good one, then this machine, then the latest."""
    best: dict[str, Record] = {}
    for record in scored:
        task = _task(record)
        if task not in best or _usability(record, machine) >= _usability(best[task], machine):
            best[task] = record
    return tuple(best[task] for task in sorted(best))


def _usability(record: Record, machine: str) -> tuple[bool, bool]:
    return record.status is Status.OK, record.machine_id == machine


def _task(record: Record) -> str:
    return record.cell.task.name if isinstance(record.cell, AccuracyCell) else ""


def _mean_accuracy(cell: PerformanceCell, scored: Iterable[Record]) -> Measurement:
    primary = {}
    for record in scored:
        measured = {n: m for n, m in record.measurements.items() if m.value is not None}
        name = next((name for name in _PRIMARY if name in measured), None)
        if name is not None:
            primary[f"{_task(record)}.{name}"] = measured[name]
    values = [m.value for m in primary.values() if m.value is not None]
    sources = [m.provenance for m in primary.values() if m.provenance is not None]
    if cell.model.weights_origin == "random":
        return _no_accuracy("the weights are random")
    if not values:
        return _no_accuracy("no task with accuracy was scored for this arm")
    return Measurement(
        value=sum(values) / len(values),
        unit="1",
        n=sum(m.n for m in primary.values()),
        summary=f"mean of {', '.join(primary)}",
        provenance=weakest(sources) if sources else None,
        method_version=max(m.method_version for m in primary.values()),
        reason="no interval: a derived mean over tasks",
    )


def _no_accuracy(reason: str) -> Measurement:
    return Measurement(
        value=None, unit="1", n=0, summary="mean", provenance=None, method_version=1, reason=reason
    )
