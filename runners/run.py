"""Run blocks one after the other: resume, lock, prepare, execute."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from leanboard import results
from leanboard.results import identity
from leanboard.results.schema import Record, Status
from leanboard.results.store import Store, read_stores
from leanboard.runners.environment import snapshot
from leanboard.runners.estimate import Estimate, History
from leanboard.runners.execution import Execution
from leanboard.runners.grid import BlockSpec
from leanboard.runners.journal import Journal
from leanboard.runners.lock import measuring
from leanboard.runners.prepare import prepare
from leanboard.runners.progress import Progress


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run did."""

    records: tuple[Record, ...]

    @property
    def failed(self) -> tuple[Record, ...]:
        """The records of cells that failed and would be tried again."""
        return tuple(record for record in self.records if record.status is Status.FAILED)


def published_records() -> Path:
    """Return the folder of the records that come with this copy of leanboard."""
    return Path(results.__path__[0]) / "records"


def history(store: Path) -> History:
    """Gather what local and published records say of this machine's pace."""
    stores = [(published_records(), "published"), (store, "local")]
    machine = identity.machine_id(snapshot())
    return History.of(read_stores(stores).entries, machine)  # type: ignore[arg-type]


def run_key(specs: Sequence[BlockSpec]) -> str:
    """Return what identifies a run of a command: its blocks, the machine and the software."""
    environment = snapshot()
    return identity.digest(
        {
            "blocks": [_plain(spec) for spec in specs],
            "machine": identity.machine_id(environment),
            "software": identity.software_id(environment),
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
    store = Store(specs[0].store, "local")
    journal = Journal.open(store.root.parent / "runs", run_key(specs))
    if journal.finished:
        progress.say(f"Resuming: {len(journal.finished)} cells of this run are done.")
    known = history(store.root)
    estimates = [Estimate.of(spec, known) for spec in specs]
    for spec, estimate in zip(specs, estimates, strict=True):
        progress.add(estimate.block_s(spec))
    records: list[Record] = []
    for spec, estimate in zip(specs, estimates, strict=True):
        with measuring(spec.device.kind, progress.say):
            block = prepare(spec, progress)
            records += Execution(block, store, journal, progress, estimate).run()
    journal.close()
    return Outcome(tuple(records))
