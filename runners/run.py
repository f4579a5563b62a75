"""Run blocks one after the other: resume, lock, prepare, execute."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from leanboard.results import identity
from leanboard.results.published import load_all
from leanboard.results.schema import Environment, Record, Status
from leanboard.results.store import Store
from leanboard.runners.code import code_hash
from leanboard.runners.estimate import Estimate, History
from leanboard.runners.execution import Execution, RunContext
from leanboard.runners.grid import BlockSpec
from leanboard.runners.journal import Journal
from leanboard.runners.lock import measuring
from leanboard.runners.machine.calibration import Calibration, Resources, ensure_calibrated, stored
from leanboard.runners.machine.environment import snapshot
from leanboard.runners.prepare import prepare
from leanboard.runners.progress import Progress
from leanboard.runners.scoring import predictions_file


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run did.

    Args:
        records: that it wrote.
        wall_s: how long it took, preparing, loading and converting included.
    """

    records: tuple[Record, ...]
    wall_s: float

    @property
    def measuring_s(self) -> float:
        """How much of it passed in measuring (warm-ups included) and scoring."""
        taken = (record.times.measure_s for record in self.records)
        return sum(seconds for seconds in taken if seconds is not None)

    @property
    def failed(self) -> tuple[Record, ...]:
        """The records of cells that failed and would be tried again."""
        return tuple(record for record in self.records if record.status is Status.FAILED)


def history(store: Path) -> History:
    """Gather what local and published records say of this machine's pace."""
    return History.of(load_all(store).entries, identity.machine_id(snapshot()))


def run_key(specs: Sequence[BlockSpec]) -> str:
    """Return what identifies a run of a command: its blocks, the machine and the software."""
    environment = snapshot()
    return identity.digest(
        {
            "blocks": [_plain(spec) for spec in specs],
            "machine": identity.machine_id(environment),
            "software": identity.software_id(environment),
            "code": code_hash(),
        }
    )[:16]


def _plain(value: Any) -> Any:
    import json

    from pydantic import BaseModel

    def default(part: Any) -> Any:
        return part.model_dump(mode="json") if isinstance(part, BaseModel) else str(part)

    return json.loads(json.dumps(asdict(value), default=default))


def run(specs: Sequence[BlockSpec], progress: Progress) -> Outcome:
    """Run the blocks, resuming an interrupted run of the same command, and return the records.

    Raises:
        LeanboardError: if a block cannot be prepared or the store cannot be written. Failures of
            single arms become records instead.
    """
    started_s = time.perf_counter()
    store = Store(specs[0].store, "local")
    with Journal.opened(store.root.parent / "runs", run_key(specs), progress.say) as journal:
        if journal.finished:
            progress.say(f"Resuming: {len(journal.finished)} cells of this run are done.")
        records = _run(specs, store, journal, progress)
        for location in journal.finished.values():
            predictions_file(store.root, Path(location).stem).unlink(missing_ok=True)
        journal.close()
    return Outcome(tuple(records), time.perf_counter() - started_s)


def _run(
    specs: Sequence[BlockSpec], store: Store, journal: Journal, progress: Progress
) -> list[Record]:
    known = history(store.root)
    estimates = [Estimate.of(spec, known) for spec in specs]
    progress.add(sum(map(Estimate.block_s, estimates, specs)))
    code = snapshot()
    records: list[Record] = []
    for spec, estimate in zip(specs, estimates, strict=True):
        with measuring(spec.device.kind, progress.say):
            block = prepare(spec, progress)
            context = RunContext(
                store, journal, progress, _environment(spec, code), _calibration(spec, code)
            )
            records += Execution(block, context, estimate).run()
    return records


def _calibration(spec: BlockSpec, code: Environment) -> Calibration | None:
    return stored(spec.cache, identity.machine_id(code), resources(spec))


def resources(spec: BlockSpec) -> Resources:
    """Return what must be calibrated for the roofline of a block."""
    return Resources(spec.device.kind, spec.device.threads)


def calibrate(specs: Sequence[BlockSpec], say: Callable[[str], None]) -> None:
    """Measure the machine's ceilings for these blocks, where that was not done before."""
    machine = identity.machine_id(snapshot())
    for cache, needed in sorted({(spec.cache, resources(spec)) for spec in specs}, key=str):
        ensure_calibrated(cache, machine, needed, say)


def _environment(spec: BlockSpec, code: Environment) -> Environment:
    """Return the machine as it is now with the software as it was when the run began.

    A checkout that changes under a run does not change what the run has imported.
    """
    now = snapshot(spec.device.kind)
    fixed = {"git_sha": code.git_sha, "git_dirty": code.git_dirty, "packages": code.packages}
    return now.model_copy(update=fixed)
