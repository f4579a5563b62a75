"""The rows of the board: each timed cell's latest run, joined with the scores of the same arm."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass

from leanboard.metrics.gate import Gate
from leanboard.results.derive import Joined, derived_columns
from leanboard.results.gates import REQUANTISED, gate_of
from leanboard.results.lean import Lean
from leanboard.results.reliability import Reliability, causes, reliability_of
from leanboard.results.schema import (
    AccuracyCell,
    Comparison,
    Measurement,
    PerformanceCell,
    Record,
    Status,
)
from leanboard.results.scores import Group, arm_scores, group_key, groups
from leanboard.results.store import Entry, Origin
from leanboard.results.task_scores import task_of

ELSEWHERE = "scored on another machine"


@dataclass(frozen=True, slots=True)
class Row:
    """One row: a timed run and the scoring runs of the same model, techniques, backend, device.

    Args:
        record: the latest run of its cell on its machine, whatever its status.
        cell: the record's cell.
        origin: ``published`` or ``local``; the accuracy records have the same origin.
        accuracy_records: the latest usable scoring run a task, ordered by the task's name; all
            arms of a model, backend and device were scored on the same items.
        measurements: metrics of the record by name, scores as ``<task>.<metric>``, and what
            is derived from both (``DERIVED``), such as ``accuracy``.
        warnings: those of all these records, and ``scored on another machine``.
        gate: whether enough of the baseline's accuracy is kept.
    """

    record: Record
    cell: PerformanceCell
    origin: Origin
    accuracy_records: tuple[Record, ...]
    measurements: Mapping[str, Measurement]
    warnings: tuple[str, ...]
    gate: Gate

    @property
    def label(self) -> str:
        """Name of the arm."""
        return arm_name(self.cell)

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

    @property
    def stability(self) -> Reliability:
        """Whether the timed run was stable; an unstable one competes by its intervals, or not."""
        return reliability_of(self.record)

    @property
    def causes(self) -> str:
        """What makes the timed run unstable; empty where nothing does."""
        return causes(self.record)

    def comparison(self, metric: str, score: str = "difference") -> Comparison | None:
        """Return the comparison of the timed run with the baseline of its block, if there is one.

        Args:
            metric: a metric of the timed run, or a score (``<task>.<metric>``), which is paired
                over items.
            score: the statistic of a score: ``difference`` or ``ratio``.
        """
        task, _, name = metric.rpartition(".")
        if not task:
            for comparison in self.record.comparisons:
                if comparison.metric == metric:
                    return comparison
            return None
        scored = (r for r in self.accuracy_records if task_of(r).name == task)
        found = (c for r in scored for c in r.comparisons if c.metric == name)
        return next((c for c in found if c.statistic == score), None)


def arm_name(cell: PerformanceCell | AccuracyCell) -> str:
    """Return the name of a cell's arm: ``none``, or the techniques joined by ``+``."""
    return "+".join(technique.name for technique in cell.techniques) or "none"


def technique_names(cell: PerformanceCell | AccuracyCell) -> tuple[str, ...]:
    """Return the names of a cell's techniques, each once; none for a baseline."""
    return tuple(dict.fromkeys(technique.name for technique in cell.techniques))


def table(entries: Iterable[Entry]) -> tuple[Row, ...]:
    """Return the latest run of every timed cell, a machine and an origin, joined with its scores.

    Scores come from the same origin, from the same machine where there are any, and then from
    the latest run; :mod:`leanboard.results.scores` keeps them comparable. The order follows from
    the contents, never from that of the entries.
    """
    ordered = sorted(entries, key=_recency)
    scored: dict[Origin, list[Record]] = {}
    latest: dict[Hashable, tuple[Entry, PerformanceCell]] = {}
    for entry in ordered:
        record = entry.record
        if isinstance(record.cell, AccuracyCell):
            scored.setdefault(entry.origin, []).append(record)
        else:
            key = (record.machine_id, record.cell_id, entry.origin)
            latest[key] = (entry, record.cell)
    known = {origin: groups(records) for origin, records in scored.items()}
    runs = {(e.record.machine_id, e.record.run_id): e.record for e in ordered}
    lean = Lean()
    rows = [
        _row(entry, cell, known.get(entry.origin, {}).get(group_key(cell)), runs, lean)
        for entry, cell in latest.values()
    ]
    return tuple(sorted(rows, key=_row_order))


def scores_in_no_row(entries: Iterable[Entry], rows: Iterable[Row]) -> tuple[Entry, ...]:
    """Return the latest run of every scoring cell, a machine and an origin, that no row shows.

    Its arm was never timed, it ended without scores, or the rows show what was scored on other
    items or on another machine.

    Args:
        entries: the records.
        rows: the rows that :func:`table` makes of them.
    """
    shown = {
        (record.machine_id, record.run_id)
        for row in rows
        for record in row.accuracy_records
        if record.status is Status.OK
    }
    latest: dict[Hashable, Entry] = {}
    for entry in sorted(entries, key=_recency):
        record = entry.record
        if isinstance(record.cell, AccuracyCell):
            latest[record.machine_id, record.cell_id, entry.origin] = entry
    left = (e for e in latest.values() if (e.record.machine_id, e.record.run_id) not in shown)
    return tuple(sorted(left, key=_scored_order))


def _scored_order(entry: Entry) -> tuple[str | bool, ...]:
    record = entry.record
    label = arm_name(record.cell)
    named = record.cell.model.name, record.machine_id, record.cell.device.name
    task = task_of(record).name
    backend = record.cell.backend.name
    return (*named, task, backend, label != "none", label, entry.origin, record.run_id)


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


def _row(
    entry: Entry,
    cell: PerformanceCell,
    group: Group | None,
    runs: Mapping[tuple[str, str], Record],
    lean: Lean,
) -> Row:
    record = entry.record
    scores = arm_scores(group, cell, record.machine_id)
    compared = next((c.baseline_run for c in record.comparisons), "")
    baseline = runs.get((record.machine_id, compared))
    joined = Joined(record, scores.records, scores.macro, baseline, scores.compared)
    measured = {
        **record.measurements,
        **lean.named(scores.measurements),
        **lean.measurements(derived_columns(joined)),
    }
    warnings = dict.fromkeys(w for part in (record, *scores.records) for w in part.warnings)
    gate = gate_of(scores.macro, warnings)
    if any(score.machine_id != record.machine_id for score in scores.records):
        warnings[ELSEWHERE] = None
    return Row(record, cell, entry.origin, scores.records, measured, tuple(warnings), gate)
