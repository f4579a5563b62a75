"""Run the cell of a record again, from its own record, and judge the result against it."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from leanboard.results.document import json_text
from leanboard.results.errors import ConfigError, LeanboardError, RecordError
from leanboard.results.files import write_whole
from leanboard.results.printable import printable
from leanboard.results.published import published_root
from leanboard.results.reproduction import (
    Reproduction,
    as_json,
    changed_inputs,
    compared,
    other_inputs,
)
from leanboard.results.schema import AccuracyCell, Environment, PerformanceCell, Record, Status
from leanboard.results.store import Store, read_record
from leanboard.runners.estimate import Estimate
from leanboard.runners.grid import BlockSpec
from leanboard.runners.lock import measuring
from leanboard.runners.machine.environment import snapshot
from leanboard.runners.prepare import prepare
from leanboard.runners.progress import Progress, clock_text, progress_on
from leanboard.runners.rebuild import rebuild
from leanboard.runners.run import history, run
from leanboard.runners.verdict import exit_status, print_reproduction, title

if TYPE_CHECKING:
    from rich.console import Console

_Cell = PerformanceCell | AccuracyCell

_CANNOT = 2


@dataclass(frozen=True, slots=True)
class Request:
    """What was asked of ``leanboard reproduce``.

    Args:
        store: where the new records go.
        cache: where models and data are kept; ``None`` takes the config's.
        allow_model: whether a hub may be asked because a record says so.
        minutes: a record whose estimate is longer is refused.
        sample: how many published records are drawn; ``None`` draws none.
        seed: decides which.
        root: the store in which ids are looked up; ``None`` takes the published records.
        report: the JSON file that receives the verdicts; ``None`` writes none.
    """

    store: Path
    cache: Path | None = None
    allow_model: bool = False
    minutes: float = 60.0
    sample: int | None = None
    seed: int = 0
    root: Path | None = None
    report: Path | None = None


def plan_cell(spec: BlockSpec, progress: Progress) -> _Cell:
    """Return the cell that a block would measure: everything fetched, nothing run."""
    with measuring(spec.device.kind, progress.say):
        block = prepare(spec, progress)
    arm = block.arms[-1]
    if block.workloads:
        return block.performance_cell(arm, block.workloads[0])
    return block.accuracy_cell(arm, block.tasks[0])


def run_block(spec: BlockSpec, progress: Progress) -> Sequence[Record]:
    """Run one block and return its records."""
    return run([spec], progress).records


def estimate_s(spec: BlockSpec) -> float:
    """Return about how many seconds a block takes here at most, fetching apart.

    Whether its prompts are in the cache is known once the model is there: choosing them counts.
    """
    estimate = Estimate.of(spec, history(spec.store))
    return estimate.block_s(spec) + estimate.choosing_s(spec)


@dataclass(frozen=True, slots=True)
class Bench:
    """What does the work; tests put other functions in."""

    plan_cell: Callable[[BlockSpec, Progress], _Cell] = plan_cell
    run_block: Callable[[BlockSpec, Progress], Sequence[Record]] = run_block
    estimate_s: Callable[[BlockSpec], float] = estimate_s
    environment: Callable[[str], Environment] = snapshot


BENCH = Bench()


def reproduce(
    record: Record, request: Request, progress: Progress, bench: Bench = BENCH
) -> Reproduction:
    """Run the cell of a record again and return what that says.

    Where weights, prompts or data turn out to be others than the record's, nothing is run.

    Raises:
        ConfigError: if the record names what is not installed, or needs permission.
        LeanboardError: if something cannot be had, or the run would take too long.
    """
    spec = rebuild(record, request.store, cache=request.cache, allow_model=request.allow_model)
    seconds = bench.estimate_s(spec)
    if seconds > 60 * request.minutes:
        raise LeanboardError(
            f"run {record.run_id} may take about {clock_text(seconds)}, more than "
            f"{request.minutes:g} min. To run it all the same: --minutes N."
        )
    progress.say(
        f"{title(record)}, run {record.run_id}: at most about {clock_text(seconds)}, fetching and "
        "converting apart."
    )
    cell = bench.plan_cell(spec, progress)
    if changed_inputs(record.cell, cell):
        return other_inputs(record, cell, bench.environment(spec.device.kind))
    fresh = _record_of(cell, bench.run_block(spec, progress))
    return compared(record, fresh)


def _record_of(cell: _Cell, records: Sequence[Record]) -> Record:
    for record in records:
        if record.cell == cell:
            return record
    raise LeanboardError(
        "the run went on from an interrupted one, which had measured this cell already. Give the "
        "same command again: it measures anew."
    )


def reproduce_all(
    names: Sequence[str], request: Request, console: Console, bench: Bench = BENCH
) -> int:
    """Run records again, print what that says, and return the exit status of the worst.

    0: all are reproduced, or on other hardware with nothing independent of it drifted. 1: something
    drifted, is undecided, has other inputs or cannot be judged. 2: a record cannot be read or run;
    the others are run all the same.

    Raises:
        ConfigError: if no record is asked for.
    """
    found: list[Reproduction] = []
    errors: list[LeanboardError] = []
    for record in _asked(names, request):
        try:
            if isinstance(record, LeanboardError):
                raise record
            with progress_on(console) as progress:
                found.append(reproduce(record, request, progress, bench))
        except LeanboardError as error:
            click.secho(f"error: {printable(str(error))}", fg="red", err=True)
            errors.append(error)
        else:
            print_reproduction(found[-1], console)
    if request.report is not None:
        report = {"reproductions": list(map(as_json, found)), "errors": list(map(str, errors))}
        write_whole(request.report, json_text(report).encode())
    return _CANNOT if errors else exit_status(found)


def _asked(names: Sequence[str], request: Request) -> list[Record | LeanboardError]:
    """Return the records that were asked for, or why one cannot be read."""
    if not names and request.sample is None:
        raise ConfigError("name a record: a file, a run id or a cell id; or ask for --sample N.")
    asked: list[Record | LeanboardError] = []
    for name in names:
        try:
            asked.append(find(name, request.root))
        except RecordError as error:
            asked.append(RecordError(f"{name}: {error}"))
    if request.sample is not None:
        asked += sample(request.sample, request.seed, request.root)
    return asked


def find(name: str, root: Path | None = None) -> Record:
    """Return the record that a path, a run id or a cell id (its newest run) means.

    Args:
        name: a file, or an id of a record of the store.
        root: the store; ``None`` takes the published records.

    Raises:
        RecordError: if there is none, or it cannot be trusted to be what it was.
    """
    if Path(name).is_file():
        return read_record(Path(name))
    store = Store(root or published_root(), "published")
    records = [entry.record for entry in store.entries()]
    found = [record for record in records if name in (record.run_id, record.cell_id)]
    if not found:
        raise RecordError(
            f"{name[:120]!r} is neither a record file nor a run or cell id of the {len(records)} "
            f"records in {store.root}. Look at the address of the run's page, or give --records."
        )
    return max(found, key=lambda record: record.run_id)


def sample(count: int, seed: int, root: Path | None = None) -> list[Record]:
    """Return a few cheap published records: a timed candidate, a score, and so on by turns.

    Of each kind the fastest quarter (at least two) is drawn from, by the seed; only finished runs,
    the newest of each cell, and of the timed ones those whose ratios are sharp enough to be judged.

    Raises:
        ConfigError: if there are no records to draw from.
    """
    store = Store(root or published_root(), "published")
    newest: dict[str, Record] = {}
    for entry in store.entries():
        if entry.record.status is Status.OK:
            newest[entry.record.cell_id] = entry.record
    draw = random.Random(seed)  # noqa: S311  nothing secret is drawn
    timed = _drawn([r for r in newest.values() if _sharp(r)], draw)
    scored = _drawn([r for r in newest.values() if isinstance(r.cell, AccuracyCell)], draw)
    turns = [pool.pop() for _ in newest for pool in (timed, scored) if pool]
    if not turns:
        raise ConfigError(
            f"there are no records to draw from in {store.root}: give a record, or --records."
        )
    return turns[:count]


def _drawn(records: list[Record], draw: random.Random) -> list[Record]:
    """Return the fastest quarter, at least two, in random order."""
    ordered = sorted(records, key=lambda record: (_took_s(record), record.run_id))
    cheap = ordered[: max(2, len(ordered) // 4)]
    draw.shuffle(cheap)
    return cheap


def _sharp(record: Record) -> bool:
    """Whether every ratio that has an interval is known to within a fifth."""
    intervals = [c.interval for c in record.comparisons if c.interval is not None]
    return bool(intervals) and all(0 < i.high <= 1.2 * i.low for i in intervals)


def _took_s(record: Record) -> float:
    return math.inf if record.times.measure_s is None else record.times.measure_s
