"""How long a run will take: from records of the same work on this machine, else a rough rule."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field

from leanboard.results.schema import PerformanceCell, Status
from leanboard.results.store import Entry
from leanboard.runners.grid import ArmSpec, BlockSpec
from leanboard.runners.workloads import WorkloadConfig

# The rough rule, for work never seen here: what one core sustains on dense float matrices, what a
# machine reads from memory, and what starting a process and its libraries costs. Only the plan
# and the time left use these; no record does.
_FLOPS_PER_CORE = 4e10
_BYTES_PER_S = 1.5e10
_START_S = 8.0
_SCORED_TOKENS_PER_ITEM = 160
_DEFAULT_PARAMETERS = 1.35e8

Key = tuple[str, str, str, str]


@dataclass(frozen=True, slots=True)
class History:
    """Seconds seen in earlier records, by model, backend, arm and workload (or task)."""

    batch_s: dict[Key, float] = field(default_factory=dict)
    load_s: dict[Key, float] = field(default_factory=dict)
    score_s: dict[Key, float] = field(default_factory=dict)

    @classmethod
    def of(cls, entries: Iterable[Entry], machine: str) -> History:
        """Gather what records of one machine say; the median where there are several."""
        seen: dict[str, dict[Key, list[float]]] = defaultdict(lambda: defaultdict(list))
        for entry in entries:
            record = entry.record
            if record.status is not Status.OK or record.machine_id != machine:
                continue
            cell, times = record.cell, record.times
            on = cell.workload.name if isinstance(cell, PerformanceCell) else cell.task.name
            key = (cell.model.name, cell.backend.name, record.block.arm, on)
            if times.load_s is not None:
                seen["load_s"][key].append(times.load_s)
            if times.measure_s is not None:
                if isinstance(cell, PerformanceCell):
                    rounds = cell.procedure.rounds + cell.procedure.warmup_rounds
                    seen["batch_s"][key].append(times.measure_s / rounds)
                else:
                    share = times.measure_s / (cell.task.limit or 1)
                    seen["score_s"][key].append(share)
        return cls(
            **{
                name: {key: statistics.median(values) for key, values in groups.items()}
                for name, groups in seen.items()
            }
        )


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
        """Seconds to start and load one arm."""
        key = (spec.model.name or "", spec.backend_name, arm.label, spec.workloads[0].name)
        seen = self.history.load_s.get(key)
        return _START_S if seen is None else seen + _START_S / 2

    def batch_s(self, spec: BlockSpec, arm: ArmSpec, workload: WorkloadConfig) -> float:
        """Seconds of one batch: prefill bound by arithmetic, decode by memory."""
        key = (spec.model.name or "", spec.backend_name, arm.label, workload.name)
        seen = self.history.batch_s.get(key)
        if seen is not None:
            return seen
        tokens = workload.prompt_tokens * workload.batch_size
        prefill_s = 2 * self.parameters * tokens / (_FLOPS_PER_CORE * self.threads)
        step_s = self.parameters * self.bytes_per_parameter / _BYTES_PER_S
        return prefill_s + workload.output_tokens * step_s

    def score_s(self, spec: BlockSpec, arm: ArmSpec, task: str, items: int) -> float:
        """Seconds to score one task."""
        key = (spec.model.name or "", spec.backend_name, arm.label, task)
        seen = self.history.score_s.get(key)
        if seen is not None:
            return seen * items
        tokens = items * _SCORED_TOKENS_PER_ITEM
        return 2 * self.parameters * tokens / (_FLOPS_PER_CORE * self.threads)

    def arm_s(self, spec: BlockSpec, arm: ArmSpec) -> float:
        """Seconds of one arm: loading, rounds and scoring."""
        rounds = spec.procedure.rounds + spec.procedure.warmup_rounds
        timing_s = rounds * sum(self.batch_s(spec, arm, w) for w in spec.workloads)
        scoring_s = sum(self.score_s(spec, arm, t, n) for t, n in spec.accuracy.sizes())
        return self.load_s(spec, arm) + timing_s + scoring_s

    def block_s(self, spec: BlockSpec) -> float:
        """Seconds of a whole block."""
        return sum(self.arm_s(spec, arm) for arm in spec.arms)
