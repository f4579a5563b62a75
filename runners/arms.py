"""The arms of a running block: their processes and what has been seen of them so far."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from leanboard.metrics.trace import (
    EnergyWindow,
    Provenance,
    Quantity,
    RequestObservation,
    RequestTrace,
)
from leanboard.results.errors import LeanboardError, UnsupportedError
from leanboard.runners import memory, wire
from leanboard.runners.backends.base import Vocabulary
from leanboard.runners.block import Arm, Block
from leanboard.runners.isolate import Worker

_LOAD = "load"


@dataclass(slots=True)
class Seen:
    """What one arm showed on one workload; grows round by round."""

    requests: list[RequestTrace] = field(default_factory=list)
    windows: list[EnergyWindow] = field(default_factory=list)
    facts: dict[str, Quantity] = field(default_factory=dict)


@dataclass(slots=True)
class RunningArm:
    """One arm while its block runs.

    Args:
        error: why it cannot go on at all; ``None`` while its process holds a loaded model.
        refused: why it could not do a piece of work (workload or task) that it survived.
    """

    arm: Arm
    worker: Worker
    started_at: datetime
    facts: dict[str, Quantity] = field(default_factory=dict)
    vocabulary: Vocabulary | None = None
    seen: dict[str, Seen] = field(default_factory=dict)
    measured_s: dict[str, float] = field(default_factory=dict)
    error: LeanboardError | None = None
    refused: dict[str, LeanboardError] = field(default_factory=dict)

    @property
    def label(self) -> str:
        """Name of the arm within its block."""
        return self.arm.label

    def can(self, work: str) -> bool:
        """Whether the arm can still be given a workload or a task."""
        return self.error is None and work not in self.refused

    def fail(self, error: LeanboardError) -> None:
        """Note why the arm cannot go on, and end its process."""
        self.error = error
        self.worker.kill()

    @contextmanager
    def awake(self, work: str) -> Iterator[Worker]:
        """Let the arm do a piece of work; stop it again on leaving.

        An error is noted instead of raised: of this work alone if the worker lives on, of the
        whole arm if it does not.
        """
        self.worker.resume()
        try:
            yield self.worker
        except LeanboardError as error:
            if self.worker.running:
                self.refused[work] = error
            else:
                self.fail(error)
        finally:
            self.worker.pause()

    def failure(self, workload: str, rounds: int) -> LeanboardError | None:
        """Return why a workload has no result; ``None`` if all its rounds were seen."""
        timed = {r.round for r in self.seen.get(workload, Seen()).requests if not r.warmup}
        if len(timed) == rounds:
            return None
        return self.refused.get(workload, self.error)

    def observation(self, workload: str) -> RequestObservation:
        """Return what was seen on a workload as one immutable observation."""
        seen = self.seen.get(workload, Seen())
        return RequestObservation(
            requests=tuple(seen.requests),
            windows=tuple(seen.windows),
            facts={**self.facts, **seen.facts},
        )


def load_message(block: Block, arm: Arm) -> dict[str, Any]:
    """Return what a worker must know to load an arm."""
    return {
        "model": wire.model_to_wire(block.model.files),
        "device": wire.device_to_wire(block.spec.device),
        "backend": dict(block.spec.backend),
        "techniques": [dict(technique.target) for technique in arm.spec.techniques],
    }


def load(block: Block, running: RunningArm) -> None:
    """Load an arm in its own process and note load time, memory and stored bytes."""
    try:
        check_composition(block, running.arm)
        check_memory(block)
    except LeanboardError as error:
        running.fail(error)
        return
    with running.awake(_LOAD) as worker:
        reply = worker.call(
            "load", block.spec.procedure.timeout_s, **load_message(block, running.arm)
        )
        running.vocabulary = Vocabulary(**reply["vocabulary"])
        running.facts = wire.facts_from_wire(reply["facts"]) | {
            "load_s": Quantity(reply["load_s"], "s", Provenance.MEASURED),
            "parameters": Quantity(block.model.identity.parameters, "1", Provenance.COUNTED),
        }
        if reply["memory"] is not None:
            peak = Quantity(reply["memory"]["peak"], "B", Provenance.MEASURED)
            running.facts["load_peak_memory_bytes"] = peak
    if _LOAD in running.refused:
        running.fail(running.refused.pop(_LOAD))


def check_composition(block: Block, arm: Arm) -> None:
    """Refuse techniques that exclude one another or that the backend cannot do.

    Raises:
        UnsupportedError: naming the technique and what is in its way.
    """
    names = {technique.name for technique in arm.spec.techniques}
    for spec in arm.spec.techniques:
        technique = spec.build()
        if block.spec.backend_name not in technique.backends:
            raise UnsupportedError(
                f"the backend '{block.spec.backend_name}' cannot do '{spec.name}'; "
                f"it runs on: {', '.join(sorted(technique.backends))}."
            )
        clash = sorted(names & technique.conflicts)
        if clash:
            raise UnsupportedError(f"'{spec.name}' cannot be combined with '{clash[0]}'.")


def check_memory(block: Block) -> None:
    """Refuse to load what cannot fit.

    Raises:
        OutOfMemoryError: with the bytes needed and the bytes available.
    """
    if block.spec.device.kind != "cpu":
        return
    dtype = block.profile.reference_dtype
    memory.require_memory(
        memory.required_bytes(block.model.identity.parameters, dtype),
        f"loading {block.model.identity.name} in {dtype}",
        block.spec.device.memory_cap_bytes,
    )


@contextmanager
def workers(
    arms: Sequence[Arm], logs: Path, clock: Callable[[], datetime] = lambda: datetime.now(UTC)
) -> Iterator[tuple[RunningArm, ...]]:
    """Start a process for each arm; end them all on leaving, whatever happened."""
    with ExitStack() as stack:
        yield tuple(
            RunningArm(
                arm=arm,
                worker=stack.enter_context(Worker(arm.label, logs / f"{number}.log")),
                started_at=clock(),
            )
            for number, arm in enumerate(arms)
        )
