"""Run one block: load its arms, time them in interleaved rounds, score them, record it all."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from leanboard.metrics.energy_coverage import missing_windows
from leanboard.metrics.trace import Quantity, RequestObservation
from leanboard.results.measure import comparisons
from leanboard.results.schema import Environment, Record, Sampling
from leanboard.results.store import Store, place_of
from leanboard.runners.accuracy.settings import TaskSize, answer_tokens
from leanboard.runners.accuracy.tasks import PreparedTask
from leanboard.runners.accuracy.tasks import Progress as Share
from leanboard.runners.arms import RunningArm
from leanboard.runners.block import Block, PreparedWorkload
from leanboard.runners.energy.probes import Probe, choose_probe
from leanboard.runners.estimate import Estimate
from leanboard.runners.interrupt import raise_if_asked
from leanboard.runners.journal import Journal
from leanboard.runners.launches import launched
from leanboard.runners.machine.calibration import Calibration
from leanboard.runners.machine.conditions import watch_for
from leanboard.runners.machine.memory_use import memory_watch_for
from leanboard.runners.progress import Progress
from leanboard.runners.recording import BlockRun, Finished, Recorder, new_run_id
from leanboard.runners.rounds import Instruments
from leanboard.runners.scoring import Scoring
from leanboard.runners.ties import TieJudge
from leanboard.runners.timing import Timing
from leanboard.runners.todo import Todo
from leanboard.runners.work import arithmetic_of, embedding_width, roofline_facts


@dataclass(frozen=True, slots=True)
class RunContext:
    """What the blocks of a run share.

    Args:
        store: where records go.
        journal: the notes of the run.
        progress: told what is being done.
        environment: the machine and the software, as they were when the run began.
        calibration: what the machine can do at best; ``None`` if that is not known.
    """

    store: Store
    journal: Journal
    progress: Progress
    environment: Environment
    calibration: Calibration | None = None


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
        block_id = secrets.token_hex(8)
        self._logs = context.store.root.parent / "logs" / block_id
        todo = Todo.of(block, context.journal, context.store)
        self._to_time = todo.timed
        self._to_score = dict(todo.scored)
        self._arms = tuple(RunningArm(arm) for arm in block.arms if todo.needs(arm))
        kind = block.spec.device.kind
        self._watch = watch_for(kind)
        self._probe = choose_probe(block.spec.device, self._gpu_others if kind == "cuda" else None)
        run = BlockRun(block_id, [arm.arm for arm in self._arms], todo.timed)
        environment = _with_energy(context.environment, self._probe)
        self._recorder = Recorder(block, run, environment, context.store)
        self._scoring = Scoring(
            block, environment, context.store.root, self._finished, context.progress.say
        )
        self._records: list[Record] = []
        self._told_s = 0.0

    def run(self) -> list[Record]:
        """Do what is left of the block and return the records written."""
        self._time([arm for arm in self._arms if arm.arm in self._to_time])
        for arm in self._arms:
            if self._to_score.get(arm.label):
                with launched(self._block, [arm], self._logs, "scoring", self._loaded):
                    self._score(arm)
        # What was done before, was not wanted any more or could not be done is no work to come.
        block_s = self._estimate.block_s(self._block.spec)
        self._context.progress.add(self._told_s - block_s)
        return self._records

    def _time(self, arms: Sequence[RunningArm]) -> None:
        """Run the rounds, record every arm on every workload, and score in the same processes."""
        if not arms:
            return
        spec = self._block.spec

        def advance(arm: RunningArm, workload: PreparedWorkload) -> None:
            seconds = self._estimate.batch_s(spec, arm.arm.spec, workload.config)
            self._advance(seconds, arm, workload.config.name)

        def at_end(ready: Sequence[RunningArm]) -> None:
            self._record_timed(arms, timing)
            for arm in ready:
                # One that died since is loaded once more, to be scored.
                if arm.worker.running:
                    self._score(arm)
                    arm.worker.kill()

        instruments = Instruments(
            procedure=spec.procedure,
            probe=self._probe,
            watch=self._watch,
            memory=memory_watch_for(spec.device.kind),
            loaded=self._loaded,
            advance=advance,
        )
        timing = Timing(self._block, arms, instruments, self._logs)
        timing.run(at_end)

    def _record_timed(self, arms: Sequence[RunningArm], timing: Timing) -> None:
        """Record every arm on every workload, the baseline first."""
        ties = TieJudge(arms[0], self._block.spec.procedure.timeout_s)
        for workload in self._block.workloads:
            sampling = timing.sampling(workload)
            baseline = self._timed(arms[0], workload, sampling)
            self._write(baseline)
            for arm in arms[1:]:
                candidate = self._timed(arm, workload, sampling)
                self._write(_compared(ties.judged(candidate, baseline, workload), baseline))

    def _timed(self, arm: RunningArm, workload: PreparedWorkload, sampling: Sampling) -> Finished:
        name = workload.config.name
        observation = arm.observation(name, self._roofline(arm))
        return Finished(
            run_id=new_run_id(arm.started.at),
            cell=self._block.performance_cell(arm.arm, workload),
            arm=arm.arm,
            observation=observation if observation.requests else None,
            error=arm.failure(name, sampling.rounds),
            times=arm.times(arm.started, arm.measured_s.get(name)),
            warnings=_warnings(arm, name, observation),
            sampling=sampling,
            threads=arm.threads,
            libraries=arm.libraries,
        )

    def _roofline(self, arm: RunningArm) -> dict[str, Quantity]:
        spec, files = self._block.spec, self._block.model.files
        width, techniques = embedding_width(files.folder), arm.arm.spec.techniques
        arithmetic = arithmetic_of(spec.backend_name, spec.device, techniques, width)
        return roofline_facts(files, arithmetic, self._context.calibration, arm.facts)

    def _score(self, arm: RunningArm) -> None:
        """Score a loaded arm on each of its tasks that is left, and record it."""
        for task in self._to_score.pop(arm.label, ()):
            self._write(self._scoring.score(arm, task, self._shares(arm, task)))

    def _shares(self, arm: RunningArm, task: PreparedTask) -> Share:
        """Return what is told how much of a task is done, and advances the run by as much."""
        name = task.identity.name
        fewshot, written = task.identity.num_fewshot, answer_tokens([name])
        size = TaskSize(name, task.size, fewshot, written)
        seconds = self._estimate.score_s(self._block.spec, arm.arm.spec, size)
        share_done = 0.0

        def progress(done: int, total: int) -> None:
            nonlocal share_done
            self._advance(seconds * (done / total - share_done), arm, name)
            share_done = done / total

        return progress

    def _finished(self, cell_id: str) -> Path | None:
        location = self._context.journal.finished.get(cell_id)
        return None if location is None else self._context.store.root / location

    def _write(self, finished: Finished) -> None:
        record = self._recorder.write(finished)
        self._records.append(record)
        self._context.journal.note(record, str(place_of(record)))
        if finished.error is not None:
            first = str(finished.error).splitlines()[0]
            self._context.progress.say(f"{finished.arm.label} {record.status}: {first}")

    def _gpu_others(self) -> int | None:
        processes = [arm.process for arm in self._arms if arm.process is not None]
        return self._watch.gpu_others([process.pid for process in processes])

    def _loaded(self, arm: RunningArm) -> None:
        spec = self._block.spec
        self._advance(self._estimate.load_s(spec, arm.arm.spec), arm, "loaded")

    def _advance(self, seconds: float, arm: RunningArm, doing: str) -> None:
        raise_if_asked()
        backend = self._block.spec.backend_name
        self._told_s += seconds
        self._context.progress.advance(seconds, f"{backend} / {arm.label}: {doing}")


def _warnings(arm: RunningArm, workload: str, observation: RequestObservation) -> tuple[str, ...]:
    seen = arm.seen[workload].notes if workload in arm.seen else []
    notes = (*arm.notes, *seen)
    missing = missing_windows(observation)
    return notes if missing is None else (*notes, missing)


def _with_energy(environment: Environment, probe: Probe) -> Environment:
    """Return the environment with what counts joules, what of, and why nothing better does."""
    settings = {
        **environment.settings,
        "energy_covers": probe.covers,
        "energy_refused": list(probe.refusals),
    }
    return environment.model_copy(update={"power_source": probe.source, "settings": settings})


def _compared(candidate: Finished, baseline: Finished) -> Finished:
    """Add the comparisons with the block's baseline, or say why there are none."""
    if candidate.error is not None:
        return candidate
    if baseline.error is not None:
        warning = f"no comparison: the baseline failed: {baseline.error}"
        return replace(candidate, warnings=(*candidate.warnings, warning))
    if not isinstance(candidate.observation, RequestObservation):
        return candidate
    if not isinstance(baseline.observation, RequestObservation):
        return candidate
    found = comparisons(candidate.observation, baseline.observation, baseline.run_id)
    return replace(candidate, comparisons=found)
