"""The score of a task that averages are made of, and what is known of it against the baseline."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from leanboard.metrics.chance import CHANCE
from leanboard.results.schema import AccuracyCell, Comparison, Measurement, Record, Task

PRIMARY = ("acc_norm", "acc", "exact_match", "exact_match_flexible", "prompt_level_strict_acc")
"""Of a task's scores the first of these that it has is its primary one."""


@dataclass(frozen=True, slots=True)
class TaskScore:
    """The primary score of one task.

    Args:
        task: name of the task.
        metric: which of its scores.
        score: the arm's.
        chance: what guessing would score; ``None`` where there is nothing to guess.
        baseline: the score of the run that it was compared with; ``None`` without one at hand.
        difference: paired over items; ``None`` for a baseline, and where none was made.
        ratio: likewise.
    """

    task: str
    metric: str
    score: Measurement
    chance: float | None
    baseline: Measurement | None
    difference: Comparison | None
    ratio: Comparison | None

    @property
    def name(self) -> str:
        """Name of the score's column."""
        return f"{self.task}.{self.metric}"


def task_of(record: Record) -> Task:
    """Return what a scoring run was scored on.

    Raises:
        TypeError: if the record is no scoring run.
    """
    if not isinstance(record.cell, AccuracyCell):
        message = f"run {record.run_id} is no scoring run"
        raise TypeError(message)
    return record.cell.task


def known_scores(record: Record) -> dict[str, Measurement]:
    """Return the measurements of a run that have a value."""
    return {name: m for name, m in record.measurements.items() if m.value is not None}


def task_scores(records: Iterable[Record], runs: Mapping[str, Record]) -> dict[str, TaskScore]:
    """Return, by task, the primary score of each that has one.

    Args:
        records: one scoring run a task.
        runs: by id, the runs that they may have been compared with.
    """
    found = {}
    for record in records:
        known = known_scores(record)
        metric = next((name for name in PRIMARY if name in known), None)
        if metric is not None:
            score = _task_score(record, metric, runs)
            found[score.task] = score
    return found


def _task_score(record: Record, metric: str, runs: Mapping[str, Record]) -> TaskScore:
    compared = {c.statistic: c for c in record.comparisons if c.metric == metric}
    difference = compared.get("difference")
    baseline = None if difference is None else runs.get(difference.baseline_run)
    measured = record.measurements.get(CHANCE)
    chance = None if measured is None else measured.value
    return TaskScore(
        task=task_of(record).name,
        metric=metric,
        score=record.measurements[metric],
        # A record may claim anything; of all scores only these can be those of guessing.
        chance=chance if chance is not None and 0 <= chance < 1 else None,
        baseline=None if baseline is None else known_scores(baseline).get(metric),
        difference=difference,
        ratio=compared.get("ratio"),
    )
