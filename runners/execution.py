"""Run one block: load its arms, time them in interleaved rounds, score them, record it all."""

from __future__ import annotations

import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from leanboard.metrics.trace import AnswerObservation, Provenance, Quantity
from leanboard.results.errors import LeanboardError
from leanboard.results.schema import Comparison, Record, Times
from leanboard.results.store import Store, place_of
from leanboard.runners.accuracy.score import score
from leanboard.runners.accuracy.tasks import PreparedTask
from leanboard.runners.arms import RunningArm, load, workers
from leanboard.runners.block import Arm, Block, PreparedWorkload
from leanboard.runners.environment import snapshot
from leanboard.runners.estimate import Estimate
from leanboard.runners.journal import Journal
from leanboard.runners.probes import choose_probe
from leanboard.runners.progress import Progress
from leanboard.runners.recording import Finished, Recorder, compared, new_run_id
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
        if open_arms and block.baseline not in open_arms:
            open_arms.insert(0, block.baseline)
        scored = {
            arm.label: tuple(t for t in block.tasks if not done(block.accuracy_id(arm, t)))
            for arm in block.arms
        }
        return cls(tuple(open_arms), scored)

    def needs(self, arm: Arm) -> bool:
        """Whether an arm must be loaded."""
        return arm in self.timed or bool(self.scored[arm.label])


class Execution:
    """One execution of a block.

    Args:
        block: the prepared block.
        store: where its records go.
        journal: the notes of the run that it is part of.
        progress: told what is being done.
        estimate: expected seconds, for the time left.
    """

    def __init__(
        self, block: Block, store: Store, journal: Journal, progress: Progress, estimate: Estimate
    ) -> None:
        self._block = block
        self._store = store
        self._journal = journal
        self._progress = progress
        self._estimate = estimate
        self._block_id = secrets.token_hex(8)
        self._records: list[Record] = []

    def run(self) -> list[Record]:
        """Do what is left of the block and return the records written."""
        block = self._block
        todo = Todo.of(block, self._journal, self._store)
        arms = tuple(arm for arm in block.arms if todo.needs(arm))
        self._recorder = Recorder(
            block, self._block_id, snapshot(block.spec.device.kind), self._store
        )
        logs = self._store.root.parent / "logs" / self._block_id
        with workers(arms, logs) as running:
            for arm in running:
                load(block, arm)
                self._advance(self._estimate.load_s(block.spec, arm.arm.spec), arm, "loaded")
            self._time([arm for arm in running if arm.arm in todo.timed])
            for arm in running:
                self._score(arm, todo.scored[arm.label])
                arm.worker.kill()
        return self._records

    def _time(self, running: Sequence[RunningArm]) -> None:
        """Run the rounds and record every arm on every workload, the baseline first."""
        if not running:
            return
        block = self._block
        spec = block.spec

        def advance(arm: RunningArm, workload: PreparedWorkload) -> None:
            seconds = self._estimate.batch_s(spec, arm.arm.spec, workload.config)
            self._advance(seconds, arm, workload.config.name)

        probe = choose_probe(spec.device)
        run_rounds(running, block.workloads, probe, spec.procedure, advance)
        for workload in block.workloads:
            baseline_run = new_run_id()
            for arm in running:
                is_baseline = arm.arm is block.baseline
                run_id = baseline_run if is_baseline else new_run_id()
                against = (
                    () if is_baseline else self._compare(arm, running[0], workload, baseline_run)
                )
                self._write(self._timed(arm, workload, run_id, against))

    def _compare(
        self, arm: RunningArm, baseline: RunningArm, workload: PreparedWorkload, run_id: str
    ) -> tuple[Comparison, ...]:
        if not (arm.alive and baseline.alive):
            return ()
        name = workload.config.name
        return compared(arm.observation(name), baseline.observation(name), run_id)

    def _timed(
        self,
        arm: RunningArm,
        workload: PreparedWorkload,
        run_id: str,
        comparisons: tuple[Comparison, ...],
    ) -> Finished:
        observation = arm.observation(workload.config.name)
        return Finished(
            run_id=run_id,
            cell=self._block.performance_cell(arm.arm, workload),
            arm=arm.arm,
            observation=observation if observation.requests else None,
            error=arm.error,
            times=self._times(arm, arm.started_at, arm.measured_s.get(workload.config.name)),
            comparisons=comparisons,
        )

    def _score(self, arm: RunningArm, tasks: Sequence[PreparedTask]) -> None:
        """Score an arm on each task, in the process that was timed, and record it."""
        for task in tasks:
            started_at, started_s = datetime.now(UTC), time.perf_counter()
            observation = self._answers(arm, task)
            self._write(
                Finished(
                    run_id=new_run_id(started_at),
                    cell=self._block.accuracy_cell(arm.arm, task),
                    arm=arm.arm,
                    observation=observation,
                    error=arm.error,
                    times=self._times(arm, started_at, time.perf_counter() - started_s),
                )
            )

    def _answers(self, arm: RunningArm, task: PreparedTask) -> AnswerObservation | None:
        if not arm.alive or arm.vocabulary is None:
            return None
        spec = self._block.spec
        seconds = self._estimate.score_s(spec, arm.arm.spec, task.identity.name, task.size)
        share_done = 0.0

        def progress(done: int, total: int) -> None:
            nonlocal share_done
            self._advance(seconds * (done / total - share_done), arm, task.identity.name)
            share_done = done / total

        observation: AnswerObservation | None = None
        with arm.awake() as worker:
            unknown = worker.call("reset_peak", spec.procedure.timeout_s)["peak_unknown"]
            engine = RemoteEngine(worker, arm.vocabulary, spec.procedure.timeout_s)
            observation = score(task, engine, progress)
            reading = worker.call("read_memory", spec.procedure.timeout_s)["memory"]
            if unknown is None and reading is not None:
                peak = Quantity(reading["peak"], "B", Provenance.MEASURED)
                observation = replace(
                    observation, facts={**observation.facts, "scoring_peak_memory_bytes": peak}
                )
        return observation

    def _times(self, arm: RunningArm, started_at: datetime, measure_s: float | None) -> Times:
        load_s = arm.facts.get("load_s")
        return Times(
            started_at=started_at,
            finished_at=datetime.now(UTC),
            load_s=None if load_s is None else load_s.value,
            measure_s=measure_s,
        )

    def _write(self, finished: Finished) -> None:
        record = self._recorder.write(finished)
        self._records.append(record)
        self._journal.note(record, str(place_of(record)))
        if finished.error is not None:
            label = f"{finished.arm.label} {record.status}: {_first_line(finished.error)}"
            self._progress.say(label)

    def _advance(self, seconds: float, arm: RunningArm, doing: str) -> None:
        backend = self._block.spec.backend_name
        self._progress.advance(seconds, f"{backend} / {arm.label}: {doing}")


def _first_line(error: LeanboardError) -> str:
    return str(error).splitlines()[0]
