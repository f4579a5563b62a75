"""Launches: the processes of a block's arms, started, loaded, and ended again.

An arm's process is started anew for every launch, because the same work differs between two
processes of the same arm by more than between two requests of one process: where memory happens to
lie is settled once, when a process loads.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from leanboard.metrics.trace import Provenance, Quantity
from leanboard.results.errors import LeanboardError, UnsupportedError
from leanboard.runners import wire
from leanboard.runners.arms import RunningArm
from leanboard.runners.backends.base import Vocabulary
from leanboard.runners.block import Arm, Block
from leanboard.runners.code import code_hash
from leanboard.runners.forkserver import ForkServer
from leanboard.runners.isolate import Worker
from leanboard.runners.machine import memory
from leanboard.runners.techniques.base import Technique

_LOAD = "load"


@contextmanager
def launched(
    block: Block,
    arms: Sequence[RunningArm],
    logs: Path,
    launch: int | str,
    loaded: Callable[[RunningArm], None],
) -> Iterator[tuple[RunningArm, ...]]:
    """Give each arm a process with its model loaded, stopped until it is woken.

    What all arms import is imported once, in a process that theirs are copies of, where the backend
    allows that; what only techniques need is imported by all at once. Models are loaded one after
    the other, so that a load is timed alone. An arm that cannot be loaded notes why; the others go
    on. All processes are ended on leaving, whatever happened.

    Args:
        block: the block that the arms belong to.
        arms: the arms to start; those that failed before are left out.
        logs: folder for what the processes print.
        launch: names the log files.
        loaded: told of each arm that has loaded, or cannot.

    Yields:
        The arms whose model is loaded.
    """
    able = [arm for arm in arms if arm.error is None and _allowed(block, arm)]
    try:
        with ExitStack() as stack:
            server = _fork_server(block, able, logs / f"{launch}.log", stack)
            for arm in able:
                log = logs / f"{launch}-{block.arms.index(arm.arm)}.log"
                with _noted(arm):
                    arm.process = stack.enter_context(Worker(arm.label, log, server))
            _import_libraries(block, able)
            for arm in able:
                _load(block, arm)
                loaded(arm)
            yield tuple(_alive(able))
    finally:
        for arm in able:
            arm.process = None


def fits_together(block: Block, arms: int) -> bool:
    """Whether so many arms can be loaded side by side; else they take turns.

    A rule of thumb from the size of the model: a machine that does not say what is available is
    taken at its word, and an arm that runs out of memory fails with the numbers.
    """
    available = memory.device_available_bytes(block.spec.device.kind)
    return available is None or arms * _required_bytes(block) <= available


def load_message(block: Block, arm: Arm) -> dict[str, Any]:
    """Return what a worker must know to load an arm."""
    return {
        "model": wire.model_to_wire(block.model.files),
        "device": wire.device_to_wire(block.spec.device),
        "backend": dict(block.spec.backend),
        "techniques": _techniques(arm),
        "code": code_hash(),
    }


def _techniques(arm: Arm) -> list[dict[str, Any]]:
    """Return the configs that make an arm's techniques again, in order."""
    return [dict(technique.target) for technique in arm.spec.techniques]


def check_composition(block: Block, arm: Arm) -> None:
    """Refuse techniques that exclude one another or that the backend cannot do.

    Raises:
        UnsupportedError: naming the technique and what is in its way.
    """
    built = {spec.name: spec.build() for spec in arm.spec.techniques}
    for name, technique in built.items():
        if block.spec.backend_name not in technique.backends:
            raise UnsupportedError(
                f"the backend '{block.spec.backend_name}' cannot do '{name}'; "
                f"it runs on: {', '.join(sorted(technique.backends))}."
            )
        for other in sorted(built.keys() - {name}):
            if other in technique.conflicts or _same_part(technique, built[other]):
                raise UnsupportedError(f"'{name}' cannot be combined with '{other}'.")


def _same_part(technique: Technique, other: Technique) -> bool:
    return technique.exclusive is not None and technique.exclusive == other.exclusive


def check_memory(block: Block) -> None:
    """Refuse to load what cannot fit.

    Raises:
        OutOfMemoryError: with the bytes needed and the bytes available.
    """
    if block.spec.device.kind != "cpu":
        return
    memory.require_memory(
        _required_bytes(block),
        f"loading {block.model.identity.name} in {block.profile.reference_dtype}",
        block.spec.device.memory_cap_bytes,
    )


def _required_bytes(block: Block) -> int:
    return memory.required_bytes(block.model.identity.parameters, block.profile.reference_dtype)


def _allowed(block: Block, running: RunningArm) -> bool:
    try:
        check_composition(block, running.arm)
        check_memory(block)
    except LeanboardError as error:
        running.fail(error)
    return running.error is None


def _fork_server(
    block: Block, arms: Sequence[RunningArm], log: Path, stack: ExitStack
) -> ForkServer | None:
    """Return a process with the backend imported; ``None`` where arms start from nothing.

    One arm alone has nothing to share, and what a GPU's driver begins no copy can go on with.
    """
    forks = block.spec.build_backend().forks_after_import
    if not forks or len(arms) < 2 or block.spec.device.kind != "cpu":
        return None
    server = stack.enter_context(ForkServer(log))
    try:
        server.import_libraries(dict(block.spec.backend), block.spec.procedure.timeout_s)
    except LeanboardError:
        # Each arm meets the same, and says it for itself.
        return None
    return server


def _import_libraries(block: Block, arms: Sequence[RunningArm]) -> None:
    """Let all processes import at once: most of what a start costs, and no part of a load."""
    timeout_s = block.spec.procedure.timeout_s
    for arm in _alive(arms):
        with _noted(arm):
            arm.worker.send(
                "import_libraries",
                backend=dict(block.spec.backend),
                techniques=_techniques(arm.arm),
            )
    for arm in _alive(arms):
        with _noted(arm):
            arm.worker.receive("import_libraries", timeout_s)


def _alive(arms: Sequence[RunningArm]) -> list[RunningArm]:
    return [arm for arm in arms if arm.error is None]


@contextmanager
def _noted(arm: RunningArm) -> Iterator[None]:
    """Let an error end the arm and not the block."""
    try:
        yield
    except LeanboardError as error:
        arm.fail(error)


def _load(block: Block, running: RunningArm) -> None:
    """Load an arm and note load time, memory and stored bytes."""
    if running.error is not None:
        return
    timeout_s = block.spec.procedure.timeout_s
    with running.awake(_LOAD) as worker:
        reply = worker.call("load", timeout_s, **load_message(block, running.arm))
        running.vocabulary = Vocabulary(**reply["vocabulary"])
        running.load_s.append(reply["load_s"])
        running.threads, running.libraries = reply["threads"], reply["libraries"]
        running.notes = tuple(reply["notes"])
        running.facts |= wire.facts_from_wire(reply["facts"]) | {
            "load_s": Quantity(statistics.median(running.load_s), "s", Provenance.MEASURED),
            "parameters": Quantity(block.model.identity.parameters, "1", Provenance.COUNTED),
        }
        if block.spec.device.kind == "cpu":
            _note_load_peak(running, reply["memory"])
    if _LOAD in running.refused:
        running.fail(running.refused.pop(_LOAD))


def _note_load_peak(running: RunningArm, reading: wire.Message | None) -> None:
    if reading is None:
        return
    before = running.facts.get("load_peak_memory_bytes")
    highest = reading["peak"] if before is None else max(before.value, reading["peak"])
    running.facts["load_peak_memory_bytes"] = Quantity(highest, "B", Provenance.MEASURED)
