"""Score the arms of a block on its tasks, the baseline first, and compare each with it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from leanboard.metrics.trace import AnswerObservation, Provenance, Quantity
from leanboard.results.errors import RecordError
from leanboard.results.measure import comparisons
from leanboard.results.schema import AccuracyCell, Environment
from leanboard.results.store import read_record
from leanboard.results.verify_baseline import NO_COMPARISON
from leanboard.results.verify_samples import read_observation
from leanboard.runners.accuracy.score import score
from leanboard.runners.accuracy.score_cache import KeptScores, score_key
from leanboard.runners.accuracy.tasks import BaselinePredictions, PreparedTask, Progress
from leanboard.runners.arms import RunningArm, Started
from leanboard.runners.block import Block
from leanboard.runners.isolate import Worker
from leanboard.runners.recording import Finished, arm_environment, new_run_id
from leanboard.runners.remote import RemoteEngine

Place = Callable[[str], Path | None]
"""Where the record of a cell is that an interrupted run has finished; ``None`` if there is none."""

PEAK = "scoring_peak_memory_bytes"
_COUNTED = ("scored_tokens", "scored_tokens_plain")


def predictions_file(store: Path, run_id: str) -> Path:
    """Return the file of what a run of a baseline predicted, beside the store.

    It stays until the command is done, as a later block may share the baseline, and so may the
    same command when it goes on after an interruption.
    """
    return store.parent / "predictions" / f"{run_id}.npz"


@dataclass(slots=True)
class Scoring:
    """Scores arms, one task after the other.

    Args:
        block: the block that the arms belong to.
        environment: the machine and its software.
        store: where local records go.
        finished: finds the baseline's record of an interrupted run.
        say: told what could not be kept.
    """

    block: Block
    environment: Environment
    store: Path
    finished: Place
    say: Callable[[str], None]
    _baseline: dict[str, tuple[str, AnswerObservation]] = field(default_factory=dict)

    def score(self, arm: RunningArm, task: PreparedTask, progress: Progress) -> Finished:
        """Score an arm that is loaded, or say why it has no answers.

        Args:
            arm: what is scored.
            task: on what.
            progress: called with (done, total) as answers come.
        """
        started = Started.now()
        run_id = new_run_id(started.at)
        cell = self.block.accuracy_cell(arm.arm, task)
        is_baseline = arm.arm is self.block.baseline
        reference = None if is_baseline else self._reference(task)
        if is_baseline:
            predictions = BaselinePredictions(keep=self._predictions(run_id))
        else:
            known = None if reference is None else self._predictions(reference[0])
            predictions = BaselinePredictions(against=known)
        found, notes = self._answers(arm, task, cell, predictions, progress)
        finished = Finished(
            run_id=run_id,
            cell=cell,
            arm=arm.arm,
            observation=found,
            error=None if found is not None else arm.refused.get(work_name(task), arm.error),
            times=arm.times(started, time.perf_counter() - started.clock_s),
            warnings=notes,
            threads=arm.threads,
            libraries=arm.libraries,
        )
        if not is_baseline:
            return _compared(finished, reference)
        if found is not None:
            self._baseline[task.identity.name] = run_id, found
        return finished

    def _answers(
        self,
        arm: RunningArm,
        task: PreparedTask,
        cell: AccuracyCell,
        predictions: BaselinePredictions,
        progress: Progress,
    ) -> tuple[AnswerObservation | None, tuple[str, ...]]:
        """Return the answers and what a reader must know of them; the arm knows why not."""
        if not arm.can(work_name(task)) or arm.vocabulary is None:
            return None, ()
        kept = self._kept(arm, cell)
        timeout_s = self.block.spec.procedure.timeout_s
        with arm.awake(work_name(task)) as worker:
            engine = RemoteEngine(worker, arm.vocabulary, timeout_s)
            with _counted(engine, worker, timeout_s) as facts:
                answered = score(task, engine, progress, kept, predictions)
            # On a GPU the host's resident set is not what the arm needs; and where answers were
            # kept from an earlier run, only a part of the work was done.
            if self.block.spec.device.kind != "cpu" or kept.served > 0:
                facts.pop(PEAK, None)
            notes = (*kept.notes, *(() if predictions.reason is None else (predictions.reason,)))
            return replace(answered, facts={**answered.facts, **facts}), notes
        return None, ()

    def _kept(self, arm: RunningArm, cell: AccuracyCell) -> KeptScores:
        """Return what this very arm answered before, if it may be used again."""
        if not self.block.spec.accuracy.reuse:
            return KeptScores()
        environment = arm_environment(self.environment, arm.threads, arm.libraries)
        folder = self.block.spec.cache / "answers"
        return KeptScores.open(folder, score_key(cell, environment), self.say)

    def _predictions(self, run_id: str) -> Path:
        return predictions_file(self.store, run_id)

    def _reference(self, task: PreparedTask) -> tuple[str, AnswerObservation] | None:
        """Return the baseline's run on a task and its answers; ``None`` if it has none."""
        return self._baseline.get(task.identity.name) or self._earlier(task)

    def _earlier(self, task: PreparedTask) -> tuple[str, AnswerObservation] | None:
        """Return what the baseline answered before the run was interrupted."""
        path = self.finished(self.block.accuracy_id(self.block.baseline, task))
        if path is None:
            return None
        try:
            record = read_record(path)
            answers = None if record.traces is None else read_observation(path, record.traces)
        except RecordError:
            return None
        if not isinstance(answers, AnswerObservation):
            return None
        self._baseline[task.identity.name] = record.run_id, answers
        return self._baseline[task.identity.name]


def _compared(finished: Finished, reference: tuple[str, AnswerObservation] | None) -> Finished:
    """Add the comparisons with the baseline's answers, or say why there are none."""
    if finished.observation is None:
        return finished
    if reference is None:
        warning = f"{NO_COMPARISON}: the baseline has no answers to this task"
        return replace(finished, warnings=(*finished.warnings, warning))
    run_id, answers = reference
    return replace(finished, comparisons=comparisons(finished.observation, answers, run_id))


def work_name(task: PreparedTask) -> str:
    """Return how an arm calls the work on a task."""
    return f"task {task.identity.name}"


@contextmanager
def _counted(
    engine: RemoteEngine, worker: Worker, timeout_s: float
) -> Iterator[dict[str, Quantity]]:
    """Give a mapping that is filled on leaving: peak memory and tokens fed in between."""
    before = engine.facts()
    worker.call("settle", timeout_s)
    unknown = worker.call("reset_peak", timeout_s)["peak_unknown"]
    facts: dict[str, Quantity] = {}
    yield facts
    reading = worker.call("read_memory", timeout_s)["memory"]
    if unknown is None and reading is not None:
        facts[PEAK] = Quantity(reading["peak"], "B", Provenance.MEASURED)
    fed = {
        name: replace(now, value=now.value - (before[name].value if name in before else 0.0))
        for name, now in engine.facts().items()
        if name in _COUNTED
    }
    # Not everything that is scored goes through what counts.
    if any(quantity.value > 0 for quantity in fed.values()):
        facts.update(fed)
