"""Run one block: load its arms, time them in interleaved rounds, score them, record it all."""

from __future__ import annotations

import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from leanboard.metrics.trace import AnswerObservation, Provenance, Quantity, RequestObservation
from leanboard.results.measure import comparisons
from leanboard.results.schema import Environment, Record, Times
from leanboard.results.store import Store, place_of
from leanboard.runners.accuracy.score import score
from leanboard.runners.accuracy.tasks import PreparedTask
from leanboard.runners.arms import RunningArm, load, workers
from leanboard.runners.block import Arm, Block, PreparedWorkload
from leanboard.runners.estimate import Estimate
from leanboard.runners.journal import Journal
from leanboard.runners.probes import choose_probe
from leanboard.runners.progress import Progress
from leanboard.runners.recording import Finished, Recorder, new_run_id
from leanboard.runners.remote import RemoteEngine
from leanboard.runners.rounds import run_rounds


@dataclass(frozen=True, slots=True)
class Todo:
    """The part of a block that is not done yet.

    Args:
        timed: arms to time; the baseline is among them as soon as there is one.
        scored: tasks to score, by arm label.
    """

    timed: tuple[Arm, ...]
    scored: dict[str, tuple[PreparedTask, ...]]

    @classmethod
    def of(cls, block: Block, journal: Journal, store: Store) -> Todo:
        """Leave out what an interrupted run of the same command has finished."""

        def done(cell_id: str) -> bool:
            return journal.done(cell_id, lambda location: (store.root / location).is_file())

        open_arms = [
            arm
            for arm in block.arms
            if not all(done(block.performance_id(arm, w)) for w in block.workloads)
        ]
        if block.baseline in open_arms:
            open_arms = list(block.arms)  # a ratio needs both in one block
        elif open_arms:
            open_arms.insert(0, block.baseline)
        scored = {
            arm.label: tuple(t for t in block.tasks if not done(block.accuracy_id(arm, t)))
            for arm in block.arms
        }
        return cls(tuple(open_arms), scored)

    def needs(self, arm: Arm) -> bool:
        """Whether an arm must be loaded."""
        return arm in self.timed or bool(self.scored[arm.label])


@dataclass(frozen=True, slots=True)
class RunContext:
    """What the blocks of a run share.

    Args:
        store: where records go.
        journal: the notes of the run.
        progress: told what is being done.
        environment: the machine and the software, as they were when the run began.
    """

    store: Store
    journal: Journal
    progress: Progress
    environment: Environment


class Execution:
    """One execution of a block.

    Args:
        block: the prepared block.
        context: what it shares with the other blocks of the run.
        estimate: expected seconds, for the time left.
    """

    def __init__(self, block: Block, context: RunContext, estimate: Estimate) -> None:
        self._block = block
        self._context = context
        self._estimate = estimate
        self._block_id = secrets.token_hex(8)
        self._todo = Todo.of(block, context.journal, context.store)
        self._arms = tuple(arm for arm in block.arms if self._todo.needs(arm))
        self._recorder = Recorder(
            block, self._arms, self._block_id, context.environment, context.store
        )
        self._records: list[Record] = []

    def run(self) -> list[Record]:
        """Do what is left of the block and return the records written."""
        spec = self._block.spec
        logs = self._context.store.root.parent / "logs" / self._block_id
        with workers(self._arms, logs) as running:
            for arm in running:
                load(self._block, arm)
                self._advance(self._estimate.load_s(spec, arm.arm.spec), arm, "loaded")
            self._time([arm for arm in running if arm.arm in self._todo.timed])
            for arm in running:
                self._score(arm, self._todo.scored[arm.label])
                arm.worker.kill()
        return self._records

    def _time(self, running: Sequence[RunningArm]) -> None:
        """Run the rounds and record every arm on every workload, the baseline first."""
        if not running:
            return
        spec = self._block.spec

        def advance(arm: RunningArm, workload: PreparedWorkload) -> None:
            seconds = self._estimate.batch_s(spec, arm.arm.spec, workload.config)
            self._advance(seconds, arm, workload.config.name)

        probe = choose_probe(spec.device)
        run_rounds(running, self._block.workloads, probe, spec.procedure, advance)
        for workload in self._block.workloads:
            baseline = self._timed(running[0], workload)
            self._write(baseline)
            for arm in running[1:]:
                self._write(_compared(self._timed(arm, workload), baseline))

    def _timed(self, arm: RunningArm, workload: PreparedWorkload) -> Finished:
        name = workload.config.name
        observation = arm.observation(name)
        return Finished(
            run_id=new_run_id(arm.started_at),
            cell=self._block.performance_cell(arm.arm, workload),
            arm=arm.arm,
            observation=observation if observation.requests else None,
            error=arm.failure(name, self._block.spec.procedure.rounds),
            times=_times(arm, arm.started_at, arm.measured_s.get(name)),
        )

    def _score(self, arm: RunningArm, tasks: Sequence[PreparedTask]) -> None:
        """Score an arm on each task, in the process that was timed, and record it."""
        for task in tasks:
            started_at, started_s = datetime.now(UTC), time.perf_counter()
            observation = self._answers(arm, task)
            error = None if observation is not None else arm.refused.get(_key(task), arm.error)
            self._write(
                Finished(
                    run_id=new_run_id(started_at),
                    cell=self._block.accuracy_cell(arm.arm, task),
                    arm=arm.arm,
                    observation=observation,
                    error=error,
                    times=_times(arm, started_at, time.perf_counter() - started_s),
                )
            )

    def _answers(self, arm: RunningArm, task: PreparedTask) -> AnswerObservation | None:
        """Score one task; ``None`` if the arm cannot, and then the arm knows why."""
        if not arm.can(_key(task)) or arm.vocabulary is None:
            return None
        spec = self._block.spec
        seconds = self._estimate.score_s(spec, arm.arm.spec, task.identity.name, task.size)
        share_done = 0.0

        def progress(done: int, total: int) -> None:
            nonlocal share_done
            self._advance(seconds * (done / total - share_done), arm, task.identity.name)
            share_done = done / total

        with arm.awake(_key(task)) as worker:
            unknown = worker.call("reset_peak", spec.procedure.timeout_s)["peak_unknown"]
            engine = RemoteEngine(worker, arm.vocabulary, spec.procedure.timeout_s)
            answered = score(task, engine, progress)
            reading = worker.call("read_memory", spec.procedure.timeout_s)["memory"]
            known = unknown is None and reading is not None
            return _with_peak(answered, reading["peak"]) if known else answered
        return None

    def _write(self, finished: Finished) -> None:
        record = self._recorder.write(finished)
        self._records.append(record)
        self._context.journal.note(record, str(place_of(record)))
        if finished.error is not None:
            first = str(finished.error).splitlines()[0]
            self._context.progress.say(f"{finished.arm.label} {record.status}: {first}")

    def _advance(self, seconds: float, arm: RunningArm, doing: str) -> None:
        backend = self._block.spec.backend_name
        self._context.progress.advance(seconds, f"{backend} / {arm.label}: {doing}")


def _compared(candidate: Finished, baseline: Finished) -> Finished:
    """Add the comparisons with the block's baseline, or say why there are none."""
    if candidate.error is not None:
        return candidate
    if baseline.error is not None:
        return replace(
            candidate, warnings=(f"no comparison: the baseline failed: {baseline.error}",)
        )
    if not isinstance(candidate.observation, RequestObservation):
        return candidate
    if not isinstance(baseline.observation, RequestObservation):
        return candidate
    found = comparisons(candidate.observation, baseline.observation, baseline.run_id)
    return replace(candidate, comparisons=found)


def _key(task: PreparedTask) -> str:
    return f"task {task.identity.name}"


def _with_peak(observation: AnswerObservation, peak_bytes: int) -> AnswerObservation:
    peak = Quantity(peak_bytes, "B", Provenance.MEASURED)
    return replace(observation, facts={**observation.facts, "scoring_peak_memory_bytes": peak})


def _times(arm: RunningArm, started_at: datetime, measure_s: float | None) -> Times:
    load_s = arm.facts.get("load_s")
    return Times(
        started_at=started_at,
        finished_at=datetime.now(UTC),
        load_s=None if load_s is None else load_s.value,
        measure_s=measure_s,
    )
