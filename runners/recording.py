"""From what was seen to a sealed record in the store."""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from leanboard.metrics.trace import Observation, RequestObservation
from leanboard.results import identity
from leanboard.results.errors import LeanboardError, UnsupportedError
from leanboard.results.measure import bounds, measurements, stability
from leanboard.results.schema import (
    AccuracyCell,
    BlockRef,
    Comparison,
    Environment,
    Failure,
    PerformanceCell,
    Record,
    Sampling,
    Stability,
    Status,
    Times,
    TraceFile,
)
from leanboard.results.store import Store
from leanboard.results.traces import to_parquet, trace_rows
from leanboard.runners import wire
from leanboard.runners.block import Arm, Block
from leanboard.runners.techniques.facts import EXPANDED_LAYERS

REQUANTISED = (
    "requantised: the weights were published quantised ({origin}) and not as floats, so what this "
    "arm loses by rounding is not what it would lose on float weights; speed, bytes and energy "
    "count, quality is not ranked"
)

SIMULATED = (
    "simulated: a technique of this arm only simulates what it would gain in {metrics}: the "
    "figures are of what was really stored and run, and show no such gain"
)

EXPANDED = (
    "expanded: {who} expands the weights to floats at every forward, as no kernel here computes "
    "with them as they are stored: the times are those of doing that, and no measure of the format"
)

_FOLDERS = re.compile(r"(?<![^\s'\"(=:])(?:/[^\s/:'\"]+)+/(?=[^\s/:'\"])")


def without_paths(text: str) -> str:
    """Return a message with absolute paths cut to their last part: records name no folder."""
    return _FOLDERS.sub("", text)


@dataclass(frozen=True, slots=True)
class Finished:
    """A run that has ended, well or not, and is about to become a record.

    Args:
        threads: size of each thread pool of the arm's process; empty if it never loaded.
        libraries: how its libraries were built, and what they chose.
        sampling: how many samples were taken; ``None`` for accuracy.
    """

    run_id: str
    cell: PerformanceCell | AccuracyCell
    arm: Arm
    observation: Observation | None
    error: LeanboardError | None
    times: Times
    comparisons: tuple[Comparison, ...] = ()
    warnings: tuple[str, ...] = ()
    sampling: Sampling | None = None
    threads: Mapping[str, int] = field(default_factory=dict)
    libraries: Mapping[str, str] = field(default_factory=dict)


def new_run_id(now: datetime | None = None) -> str:
    """Return a run id: the start time to the second, and eight random hex digits."""
    moment = (now or datetime.now(UTC)).astimezone(UTC)
    return f"{moment:%Y%m%dT%H%M%SZ}-{secrets.token_hex(4)}"


def warnings_of(block: Block, arm: Arm, facts: Collection[str] = ()) -> tuple[str, ...]:
    """Return what a reader must know about a run of this arm.

    Args:
        block: that it belongs to.
        arm: what ran.
        facts: names of what the run noted.
    """
    origin = block.model.identity.weights_origin
    warnings = []
    if arm.quantises and origin not in ("float", "random"):
        warnings.append(REQUANTISED.format(origin=origin))
    if arm.simulates:
        warnings.append(SIMULATED.format(metrics=", ".join(sorted(arm.simulates))))
    who = arm.expanded_by or ("its library" if EXPANDED_LAYERS in facts else "")
    if who:
        warnings.append(EXPANDED.format(who=who))
    return tuple(warnings)


def arm_environment(
    environment: Environment, threads: Mapping[str, int], libraries: Mapping[str, str]
) -> Environment:
    """Return the environment with what only the arm's process knows."""
    known = {"threads": {**environment.threads, **threads}, "libraries": dict(libraries)}
    return environment.model_copy(update=known)


@dataclass(frozen=True, slots=True)
class BlockRun:
    """One execution of a block.

    Args:
        block_id: its identity.
        arms: the arms that run, now.
        timed: those of them that are timed together.
    """

    block_id: str
    arms: Sequence[Arm]
    timed: Sequence[Arm]


class Recorder:
    """Writes the records of one block.

    Args:
        block: the block that is being run.
        run: this execution of it.
        environment: the machine and its software, as they were when the block began.
        store: where local records go.
    """

    def __init__(self, block: Block, run: BlockRun, environment: Environment, store: Store) -> None:
        self._block = block
        self._run = run
        self._environment = environment
        self._store = store

    def write(self, finished: Finished) -> Record:
        """Seal a finished run, write it with its traces, and return the record."""
        observation = finished.observation
        traces = None if observation is None else to_parquet(observation)
        record = identity.sealed(
            self._identity_fields(finished)
            | self._outcome_fields(finished)
            | {"traces": _trace_file(observation, traces)}
        )
        self._store.write(record, traces)
        return record

    def _identity_fields(self, finished: Finished) -> dict[str, Any]:
        timed = isinstance(finished.cell, PerformanceCell)
        together = self._run.timed if timed else self._run.arms
        return {
            "run_id": finished.run_id,
            "cell_id": identity.cell_id(finished.cell),
            "machine_id": identity.machine_id(self._environment),
            "software_id": identity.software_id(self._environment),
            "cell": finished.cell,
            "block": BlockRef(
                block_id=self._run.block_id,
                arm=finished.arm.label,
                baseline=finished.arm is self._block.baseline,
                arms=tuple(arm.label for arm in together),
                suite=self._block.spec.suite,
            ),
            "environment": arm_environment(self._environment, finished.threads, finished.libraries),
        }

    def _outcome_fields(self, finished: Finished) -> dict[str, Any]:
        error = finished.error
        failure = None if error is None else _failure(error)
        seen = finished.observation if error is None else None
        measured = {} if seen is None else measurements(seen)
        facts = {} if seen is None else wire.facts_to_json(seen.facts)
        told = warnings_of(self._block, finished.arm, facts)
        return {
            "status": _status(error),
            "error": failure,
            "times": finished.times,
            "measurements": measured,
            "bounds": bounds(measured),
            "comparisons": () if error is not None else finished.comparisons,
            "sampling": finished.sampling if error is None else None,
            "stability": _stability(seen),
            "facts": facts,
            "warnings": tuple(without_paths(text) for text in (*told, *finished.warnings)),
        }


def _stability(observation: Observation | None) -> Stability | None:
    return stability(observation) if isinstance(observation, RequestObservation) else None


def _failure(error: LeanboardError) -> Failure:
    return Failure(kind=wire.error_kind(error), message=without_paths(str(error)))


def _status(error: LeanboardError | None) -> Status:
    if error is None:
        return Status.OK
    return Status.UNSUPPORTED if isinstance(error, UnsupportedError) else Status.FAILED


def _trace_file(observation: Observation | None, data: bytes | None) -> TraceFile | None:
    if observation is None or data is None:
        return None
    return TraceFile(sha256=hashlib.sha256(data).hexdigest(), rows=trace_rows(observation))
