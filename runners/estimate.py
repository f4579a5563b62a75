"""How long a run will take: from records of the same work on this machine, else a rough rule."""

from __future__ import annotations

import math
import statistics
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from leanboard.results.schema import PerformanceCell, Procedure, Record, Status, Workload
from leanboard.results.store import Entry
from leanboard.runners.accuracy.settings import TaskSize
from leanboard.runners.grid import ArmSpec, BlockSpec
from leanboard.runners.techniques.facts import MAKING_S
from leanboard.runners.workloads import WorkloadConfig

# The rough rule, for work never seen here: what one core sustains on dense float matrices, what a
# machine reads from memory, and what starting a process and its libraries costs. Only the plan
# and the time left use these; no record does.
_FLOPS_PER_CORE = 8e10
_BYTES_PER_S = 1.5e10
_START_S = 8.0
_IMPORT_S = 4.0
_TOKENS_PER_ITEM, _TOKENS_PER_EXAMPLE = 160, 80
_ANSWERS_AT_ONCE = 4
"""Answers that are written side by side in the time of one."""
_DEFAULT_PARAMETERS = 1.35e8

# The backend whose answers decide which prompts qualify.
_REFERENCE = "transformers"


@dataclass(frozen=True, slots=True)
class Key:
    """What work is of the same kind: its pace carries over."""

    model: str
    backend: str
    threads: int
    arm: str
    work: str


@dataclass(frozen=True, slots=True)
class History:
    """What earlier records tell of the time that work takes.

    Args:
        load_s: median seconds of a load.
        batch_s: of a batch.
        item_s: of an item that was scored.
        making_s: of making once all that an arm reads.
        weights: content hash of each model, by name, in its newest record.
        text: hash of the calibration text in the newest record of what is calibrated.
    """

    load_s: Mapping[Key, float] = field(default_factory=dict)
    batch_s: Mapping[Key, float] = field(default_factory=dict)
    item_s: Mapping[Key, float] = field(default_factory=dict)
    making_s: Mapping[Key, float] = field(default_factory=dict)
    weights: Mapping[str, str] = field(default_factory=dict)
    text: str | None = None

    @classmethod
    def of(cls, entries: Iterable[Entry], machine: str) -> History:
        """Gather what the finished runs of one machine took."""
        loads: dict[Key, list[float]] = defaultdict(list)
        batches: dict[Key, list[float]] = defaultdict(list)
        items: dict[Key, list[float]] = defaultdict(list)
        makings: dict[Key, list[float]] = defaultdict(list)
        weights: dict[str, str] = {}
        text = None
        for record in _finished(entries, machine):
            weights[record.cell.model.name] = record.cell.model.content_hash
            texts = (component.calibration for component in record.cell.techniques)
            text = next(filter(None, texts), text)
            key, parts = _key_and_parts(record)
            if (making_s := _making_s(record)) is not None:
                makings[replace(key, work="")].append(making_s)
            if record.times.load_s is not None:
                loads[key].append(record.times.load_s)
            if record.times.measure_s is not None and parts > 0 and not _served(record):
                timed = isinstance(record.cell, PerformanceCell)
                (batches if timed else items)[key].append(record.times.measure_s / parts)
        return cls(
            load_s=_medians(loads),
            batch_s=_medians(batches),
            item_s=_medians(items),
            making_s=_medians(makings),
            weights=weights,
            text=text,
        )


def _finished(entries: Iterable[Entry], machine: str) -> list[Record]:
    """Return the finished runs of a machine, the newest last."""
    records = (entry.record for entry in entries)
    found = [r for r in records if r.status is Status.OK and r.machine_id == machine]
    return sorted(found, key=lambda record: record.times.started_at)


def _making_s(record: Record) -> float | None:
    """Return how long it took to make what the techniques of a run read."""
    found = record.facts.get(MAKING_S)
    seconds = found.get("value") if isinstance(found, dict) else None
    return seconds if isinstance(seconds, int | float) else None


def _served(record: Record) -> bool:
    """Whether some of its answers were not scored but kept from an earlier run."""
    cached = record.facts.get("answers_cached")
    return isinstance(cached, dict) and cached.get("value") != 0


def _key_and_parts(record: Record) -> tuple[Key, int]:
    """Return the kind of work of a run, and how many batches or items it was."""
    cell = record.cell
    common = (cell.model.name, cell.backend.name, cell.device.threads, record.block.arm)
    if not isinstance(cell, PerformanceCell):
        work = _scored_work(cell.task.name, cell.task.num_fewshot)
        return Key(*common, work), 0 if record.traces is None else record.traces.rows
    sampling, key = record.sampling, Key(*common, _work(cell.workload))
    if sampling is None:
        return key, batches(cell.procedure)
    return key, sampling.rounds + sum(sampling.warmup_rounds)


def _work(workload: Workload | WorkloadConfig) -> str:
    """Return what tells the pace of a workload: its name may have been given other sizes."""
    sizes = (workload.prompt_tokens, workload.output_tokens, workload.batch_size)
    return f"{workload.name}/{'x'.join(map(str, sizes))}"


def _scored_work(task: str, num_fewshot: int) -> str:
    """Return what tells the pace of scoring: examples make each item longer."""
    return f"{task}/{num_fewshot}"


def _medians(seen: Mapping[Key, Sequence[float]]) -> dict[Key, float]:
    return {key: statistics.median(values) for key, values in seen.items()}


@dataclass(frozen=True, slots=True)
class Estimate:
    """Seconds that parts of a block are expected to take."""

    history: History
    parameters: float
    bytes_per_parameter: float
    threads: int

    @classmethod
    def of(cls, spec: BlockSpec, history: History) -> Estimate:
        """Make the estimate for a block that may not have been prepared."""
        size = {"float32": 4.0}.get(spec.profile.reference_dtype, 2.0)
        parameters = spec.model.parameters or _DEFAULT_PARAMETERS
        return cls(history, float(parameters), size, spec.device.threads)

    def load_s(self, spec: BlockSpec, arm: ArmSpec) -> float:
        """Seconds to start and load one arm once; the arms of a launch import side by side."""
        work = _work(spec.workloads[0]) if spec.workloads else ""
        seen = self.history.load_s.get(_key(spec, arm, work))
        at_once = min(self.threads, len(spec.arms))
        return _START_S if seen is None else seen + _IMPORT_S / at_once

    def making_s(self, spec: BlockSpec, arm: ArmSpec) -> float | None:
        """Seconds that were once spent on making what an arm reads; ``None`` if none is known."""
        return self.history.making_s.get(_key(spec, arm, ""))

    def batch_s(self, spec: BlockSpec, arm: ArmSpec, workload: WorkloadConfig) -> float:
        """Seconds of one batch: prefill bound by arithmetic, decode by memory."""
        seen = self.history.batch_s.get(_key(spec, arm, _work(workload)))
        if seen is not None:
            return seen
        tokens = workload.prompt_tokens * workload.batch_size
        prefill_s = 2 * self.parameters * tokens / (_FLOPS_PER_CORE * self.threads)
        step_s = self.parameters * self.bytes_per_parameter / _BYTES_PER_S
        return prefill_s + workload.output_tokens * step_s

    def score_s(self, spec: BlockSpec, arm: ArmSpec, size: TaskSize) -> float:
        """Seconds to score one task."""
        seen = self.history.item_s.get(_key(spec, arm, _scored_work(size.task, size.num_fewshot)))
        if seen is not None:
            return seen * size.items
        tokens = size.items * (_TOKENS_PER_ITEM + size.num_fewshot * _TOKENS_PER_EXAMPLE)
        read_s = 2 * self.parameters * tokens / (_FLOPS_PER_CORE * self.threads)
        steps = size.items * size.answer_tokens / _ANSWERS_AT_ONCE
        return read_s + steps * self.parameters * self.bytes_per_parameter / _BYTES_PER_S

    def arm_s(self, spec: BlockSpec, arm: ArmSpec) -> float:
        """Seconds of one arm: loads, rounds and scoring; of an adaptive procedure, at most."""
        looks = [self._looks(spec, workload) for workload in spec.workloads]
        # An arm that is only scored is loaded once.
        loads = max((each * _launches_a_look(spec.procedure) for each in looks), default=1)
        timing_s = sum(
            each * self._look_s(spec, arm, workload)
            for each, workload in zip(looks, spec.workloads, strict=True)
        )
        scoring_s = sum(self.score_s(spec, arm, size) for size in spec.accuracy.sizes())
        return loads * self.load_s(spec, arm) + timing_s + scoring_s

    def choosing_s(self, spec: BlockSpec) -> float:
        """Seconds to choose the prompts of a block, where none are cached and all qualify."""
        reference = replace(spec, backend_name=_REFERENCE)
        return sum(
            math.ceil((workload.prompts + workload.warmup_prompts) / workload.batch_size)
            * self.batch_s(reference, spec.arms[0], workload)
            for workload in spec.workloads
        )

    def _look_s(self, spec: BlockSpec, arm: ArmSpec, workload: WorkloadConfig) -> float:
        """Seconds of one arm's batches until the next look."""
        return _batches_a_look(spec.procedure) * self.batch_s(spec, arm, workload)

    def _looks(self, spec: BlockSpec, workload: WorkloadConfig) -> int:
        """Return the looks of a workload, at most: a budget ends at the first look after it."""
        most, budget_s = looks(spec.procedure), spec.procedure.time_budget_s
        if budget_s is None:
            return most
        loads = _launches_a_look(spec.procedure) / len(spec.workloads)
        look_s = sum(
            loads * self.load_s(spec, arm) + self._look_s(spec, arm, workload) for arm in spec.arms
        )
        return min(most, max(1, math.ceil(budget_s / look_s))) if look_s > 0 else most

    def block_s(self, spec: BlockSpec) -> float:
        """Seconds of a whole block."""
        return sum(self.arm_s(spec, arm) for arm in spec.arms)


def looks(procedure: Procedure) -> int:
    """Return how often the intervals are looked at, at most; fixed rounds end at the first."""
    return math.ceil((procedure.max_rounds or procedure.rounds) / procedure.rounds)


def batches(procedure: Procedure) -> int:
    """Return how many batches an arm runs on a workload, warm-ups included, at most."""
    return looks(procedure) * _batches_a_look(procedure)


def _batches_a_look(procedure: Procedure) -> int:
    warmups = max(procedure.warmup_rounds, procedure.max_warmup_rounds or 0)
    return procedure.rounds + _launches_a_look(procedure) * warmups


def _launches_a_look(procedure: Procedure) -> int:
    """Return how often each arm is loaded between two looks: a launch never goes past one."""
    return math.ceil(procedure.rounds / (procedure.rounds_per_launch or procedure.rounds))


def _key(spec: BlockSpec, arm: ArmSpec, work: str) -> Key:
    return Key(spec.model.name, spec.backend_name, spec.device.threads, arm.label, work)
