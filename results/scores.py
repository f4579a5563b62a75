"""Scores that may stand side by side: the same items, scored the same way, for every arm.

Tasks of two suites share their names, but not their items. Within a group (model, backend and
device) one variant of each task rules; what was scored otherwise is a gap with its reason.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from leanboard.results.identity import digest
from leanboard.results.macro_scores import MacroScores, macro_scores
from leanboard.results.schema import (
    AccuracyCell,
    Measurement,
    PerformanceCell,
    Record,
    Status,
    Task,
)
from leanboard.results.task_scores import known_scores, task_of, task_scores

_ITEMS = ("split", "data_hash", "limit", "seed")


@dataclass(frozen=True, slots=True)
class ArmScores:
    """What one arm shows.

    Args:
        records: one scoring run a task, on the items of the group, ordered by the task's name.
        measurements: scores as ``<task>.<metric>``; null where the arm has other items only.
        macro: averages of the primary scores over the tasks of the group.
        compared: by metric, the tasks that the arms of the group are compared on.
    """

    records: tuple[Record, ...]
    measurements: Mapping[str, Measurement]
    macro: MacroScores
    compared: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Group:
    """The scores of all arms of one model, backend and device.

    Args:
        arms: scoring runs by arm, oldest first.
        ruling: by name, the variant of each task that is shown.
        tasks: names of the tasks that the mean is over: those of the baseline that at least half
            of the others have.
        runs: the same scoring runs by id.
        compared: by metric, the tasks on which at least half of the arms that have it have a value
            against their baseline.
    """

    arms: Mapping[str, Sequence[Record]]
    ruling: Mapping[str, Task]
    tasks: tuple[str, ...]
    runs: Mapping[str, Record]
    compared: Mapping[str, tuple[str, ...]]


def groups(scored: Iterable[Record]) -> dict[str, Group]:
    """Return the groups of scoring runs by :func:`group_key`.

    The variant of a task that most arms have rules, then the one that was scored last.

    Args:
        scored: records of accuracy cells, oldest first.
    """
    found: dict[str, list[Record]] = {}
    for record in scored:
        found.setdefault(group_key(record.cell), []).append(record)
    return {key: _group(records) for key, records in found.items()}


def arm_scores(group: Group | None, cell: PerformanceCell, machine: str) -> ArmScores:
    """Return the scores of the cell's arm, preferring those of a machine."""
    if group is None:
        return ArmScores((), {}, macro_scores({}, (), cell))
    scored = group.arms.get(arm_key(cell), ())
    chosen = _chosen([r for r in scored if _rules(r, group.ruling)], machine)
    shown: dict[str, Measurement] = {}
    for record in chosen:
        shown |= {f"{task_of(record).name}.{name}": m for name, m in known_scores(record).items()}
    for record in _chosen([r for r in scored if not _rules(r, group.ruling)], machine):
        task = task_of(record)
        reason = _otherwise(task, group.ruling[task.name])
        for name, measured in known_scores(record).items():
            shown.setdefault(f"{task.name}.{name}", _gap(measured, reason))
    macro = macro_scores(task_scores(chosen, group.runs), group.tasks, cell)
    return ArmScores(chosen, shown, macro, group.compared)


def group_key(cell: PerformanceCell | AccuracyCell) -> str:
    """Return the identity of what arms share: the model's content, backend and device."""
    return digest([cell.model.content_hash, *_place(cell)])


def arm_key(cell: PerformanceCell | AccuracyCell) -> str:
    """Return the identity of what loads and runs: model, techniques, backend and device."""
    techniques = [technique.model_dump(mode="json") for technique in cell.techniques]
    return digest([cell.model.content_hash, techniques, *_place(cell)])


def _place(cell: PerformanceCell | AccuracyCell) -> list[dict[str, Any]]:
    device = cell.device.model_dump(mode="json", exclude={"name"})
    return [cell.backend.model_dump(mode="json"), device]


@dataclass(slots=True)
class _Standing:
    task: Task
    arms: set[str] = field(default_factory=set)
    newest: tuple[bool, int] = (False, 0)


def _group(records: Sequence[Record]) -> Group:
    arms: dict[str, list[Record]] = {}
    standings: dict[str, _Standing] = {}
    for position, record in enumerate(records):
        arm, ok = arm_key(record.cell), record.status is Status.OK
        arms.setdefault(arm, []).append(record)
        standing = standings.setdefault(variant_of(task_of(record)), _Standing(task_of(record)))
        standing.newest = max(standing.newest, (ok, position))
        if ok:
            standing.arms.add(arm)
    ranked = sorted(standings.values(), key=lambda s: (len(s.arms), s.newest))
    ruling = {standing.task.name: standing.task for standing in ranked}
    runs = {record.run_id: record for record in records}
    ruled = [record for record in records if _rules(record, ruling)]
    return Group(arms, ruling, _tasks(arms.values(), ruling), runs, _compared(ruled))


def _tasks(arms: Iterable[Sequence[Record]], ruling: Mapping[str, Task]) -> tuple[str, ...]:
    """Return the tasks that the mean is over.

    Those of the baseline that others have as well: a task that was asked of a few arms only would
    leave the rest without a mean. Without a baseline, those of the arm with the most.
    """
    named = [
        (not records[0].cell.techniques, names)
        for records in arms
        if (names := tuple(sorted(task_scores((r for r in records if _rules(r, ruling)), {}))))
    ]
    _, wanted = max(named, key=lambda arm: (arm[0], len(arm[1]), arm[1]), default=(False, ()))
    return _common(wanted, [names for baseline, names in named if not baseline])


def _common(tasks: Sequence[str], arms: Sequence[Collection[str]]) -> tuple[str, ...]:
    """Return the tasks that at least half of the arms have; all where there is none such."""
    common = (task for task in tasks if 2 * sum(task in arm for arm in arms) >= len(arms))
    return tuple(common) or tuple(tasks)


def _compared(records: Iterable[Record]) -> dict[str, tuple[str, ...]]:
    found: dict[str, dict[str, set[str]]] = {}
    for record in records:
        arm, task = arm_key(record.cell), task_of(record).name
        for comparison in record.comparisons:
            if comparison.value is not None:
                found.setdefault(comparison.metric, {}).setdefault(arm, set()).add(task)
    return {
        metric: _common(sorted(set().union(*arms.values())), list(arms.values()))
        for metric, arms in found.items()
    }


def _rules(record: Record, ruling: Mapping[str, Task]) -> bool:
    task = task_of(record)
    return task is ruling[task.name] or variant_of(task) == variant_of(ruling[task.name])


def variant_of(task: Task) -> str:
    """Return the identity of a task with its items and how they are scored."""
    return digest(task.model_dump(mode="json", exclude={"data_source"}))


def _chosen(scored: Iterable[Record], machine: str) -> tuple[Record, ...]:
    """Choose one scoring run a task: a good one, then this machine, then the latest."""
    best: dict[str, Record] = {}
    for record in scored:
        name = task_of(record).name
        if name not in best or _usability(record, machine) >= _usability(best[name], machine):
            best[name] = record
    return tuple(best[name] for name in sorted(best))


def _usability(record: Record, machine: str) -> tuple[bool, bool]:
    return record.status is Status.OK, record.machine_id == machine


def _otherwise(task: Task, ruling: Task) -> str:
    """Say how a task was scored otherwise than for the other arms."""
    mine, theirs = _flat(task), _flat(ruling)
    differing = [name for name in sorted(mine | theirs) if mine.get(name) != theirs.get(name)]
    what = "on other items" if set(_ITEMS) & set(differing) else "another way"
    named = [name for name in differing if name != "data_hash"]
    details = [f"{name} {mine.get(name)}, the others {theirs.get(name)}" for name in named]
    return f"scored {what}: {'; '.join(details) or 'the data differ'}"


def _flat(task: Task) -> dict[str, Any]:
    fields = task.model_dump(mode="json", exclude={"data_source", "settings"})
    return {**fields, **task.settings}


def _gap(measured: Measurement, reason: str) -> Measurement:
    return Measurement(
        value=None,
        unit=measured.unit,
        n=0,
        summary=measured.summary,
        provenance=None,
        method_version=measured.method_version,
        reason=reason,
    )
