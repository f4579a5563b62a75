"""The rows of the leaderboard as a person reads them, in their order, with what filters offer."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import quote, urlencode

from leanboard.leaderboard.cells import BoardCell, cell_of
from leanboard.leaderboard.columns import Column, columns_of
from leanboard.leaderboard.doubt import Unrest, in_one_process, reach_of, unrest_of
from leanboard.leaderboard.format import plural, rounded
from leanboard.leaderboard.gate_marks import FAILED_GATE, GateMark, gate_mark
from leanboard.leaderboard.sizes import size_of
from leanboard.leaderboard.variants import Variant, variants
from leanboard.metrics.gate import GateVerdict
from leanboard.results.reliability import Reliability
from leanboard.results.schema import Record, Status
from leanboard.results.store import Entry, Loaded
from leanboard.results.table import Row, scores_in_no_row, table, technique_names

Place = tuple[str, str]
"""A machine and a run on it."""

NO_CAUSE = "the record names no cause"
JOULES = "energy_per_output_token_j"
NO_JOULES = "none"
ON_DEMAND = (FAILED_GATE, Status.FAILED.value, Status.UNSUPPORTED.value)
"""Why a row shows only where a reader asks for it, in the order in which a page counts them."""
MOST_ROWS = 50
"""Rows that a page shows at once, with or without JavaScript."""

MOST_RUN_PAGES = 10_000
"""Records up to which every run has a page of its own; more of them share one."""


@dataclass(frozen=True, slots=True)
class BoardRow:
    """One row of the table: what was run, and its page.

    ``label``, ``workload`` and ``backend`` are plain names, for filters; where a name stands for
    more than one thing, the ``_text`` beside it says which. ``hardware`` is the device and the
    machine, with the threads and the memory cap where rows differ in them. Rows of one ``hardware``
    and one ``workload_choice`` can be compared; the ``_key`` of either names it in an address, and
    does not change when other rows come. ``joules`` is the provenance of its energy. ``unstable``
    holds the causes, and is empty for a run that is not known to be unstable; ``reach`` is the
    factor by which others can have lengthened its times, at most; ``unrest`` is what disturbed it
    or its baseline. ``one_process`` tells that it is compared with its baseline by intervals that
    were taken within one process an arm. ``gate`` stands beside its accuracy.
    """

    row: Row
    label: str
    label_text: str
    model: str
    family: str
    size: str
    workload: str
    workload_text: str
    workload_choice: str
    workload_key: str
    backend: str
    backend_text: str
    hardware: str
    hardware_key: str
    machine: str
    device: str
    origin: str
    status: Status
    reason: str
    baseline: bool
    ranked: bool
    stability: Reliability
    unstable: str
    reach: float
    unrest: Unrest
    one_process: bool
    joules: str
    gate: GateMark
    href: str

    @property
    def name(self) -> str:
        """Its technique and backend, and whether it is unstable, where little room is."""
        unstable = ", unstable" if self.unstable else ""
        return f"{self.label_text} \u00b7 {self.backend_text}{unstable}"

    def cell(self, column: Column) -> BoardCell:
        """Return its value in a column, or the dash that stands for it."""
        return cell_of(self.row, column, self.unrest)

    @property
    def techniques(self) -> tuple[str, ...]:
        """The names of its techniques, each once; none for a baseline."""
        return technique_names(self.row.cell)

    @property
    def uses(self) -> str:
        """The same names with spaces between them, which no name has."""
        return " ".join(self.techniques)

    @property
    def failed_gate(self) -> bool:
        """Whether it ran and failed the gate: it then has no rank, and is never the best."""
        return self.status is Status.OK and self.gate.verdict is GateVerdict.FAIL

    @property
    def on_demand(self) -> str:
        """Why it shows only where a reader asks for it, in a word; empty for all others."""
        if self.status is not Status.OK:
            return self.status.value
        return FAILED_GATE if self.failed_gate else ""


@dataclass(frozen=True, slots=True)
class Board:
    """Everything that the pages are made of.

    Args:
        loaded: the records as they were read, and what was wrong with others.
        rows: the joined rows.
        columns: the metric columns that any row has a value in.
        lines: the rows as they are printed, in the same order.
        one_page: whether all runs share a page, as there are too many for one each.
        scored: scoring runs that no row shows.
    """

    loaded: Loaded
    rows: tuple[Row, ...]
    columns: tuple[Column, ...]
    lines: tuple[BoardRow, ...]
    one_page: bool = False
    scored: tuple[Entry, ...] = ()


def board_of(loaded: Loaded, most_run_pages: int = MOST_RUN_PAGES) -> Board:
    """Return the board of what was read from the stores.

    Args:
        loaded: the records.
        most_run_pages: records up to which every run has a page of its own.
    """
    one_page = len(loaded.entries) > most_run_pages
    rows = table(loaded.entries)
    columns = columns_of(rows)
    unrests = _unrests(loaded, rows)
    lines = tuple(
        _line(row, variant, unrest, one_page=one_page)
        for row, variant, unrest in zip(rows, variants(rows), unrests, strict=True)
    )
    scored = scores_in_no_row(loaded.entries, rows)
    return Board(loaded, rows, columns, lines, one_page, scored)


def hardware_name(record: Record, setting: str = "") -> str:
    """Return the device of a run and its machine.

    Args:
        record: the run's record.
        setting: what tells its threads and its memory from others on the device.
    """
    return f"{record.cell.device.name}{setting} \u00b7 {record.machine_id}"


def run_place(record: Record) -> str:
    """Return the path of a run below the site's folders, without an ending."""
    return f"{record.machine_id}/{record.cell_id}/{record.run_id}"


def run_href(record: Record, *, one_page: bool = False) -> str:
    """Return the address of a run's page relative to the site's root.

    Args:
        record: the run's record.
        one_page: whether all runs share a page, which then shows this one.
    """
    if one_page:
        return f"run.html#{urlencode({'run': run_place(record)}, safe='/')}"
    return quote(f"runs/{run_place(record)}.html")


def cell_href(record: Record) -> str:
    """Return the address of the page of a run's cell relative to the site's root."""
    return quote(f"runs/{record.machine_id}/{record.cell_id}/index.html")


def failure_of(record: Record) -> str:
    """Return why a run has no numbers; empty for one that has."""
    return "" if record.error is None else f"{record.error.kind}: {record.error.message}"


def baseline_of(record: Record, runs: Mapping[Place, Record]) -> Record | None:
    """Return the run that a record was compared with, if it is there."""
    compared = next((comparison.baseline_run for comparison in record.comparisons), None)
    return None if compared is None else runs.get((record.machine_id, compared))


def runs_of(loaded: Loaded) -> dict[Place, Record]:
    """Return the records by machine and run."""
    return {(e.record.machine_id, e.record.run_id): e.record for e in loaded.entries}


def _unrests(loaded: Loaded, rows: Sequence[Row]) -> list[Unrest]:
    runs = runs_of(loaded)
    return [unrest_of(row.record, baseline_of(row.record, runs)) for row in rows]


def _line(row: Row, variant: Variant, unrest: Unrest, *, one_page: bool) -> BoardRow:
    record, model = row.record, row.cell.model
    unstable = row.stability is Reliability.UNSTABLE
    return BoardRow(
        row=row,
        label=row.label,
        label_text=row.label + variant.technique,
        model=row.model,
        family=model.family,
        size=size_of(model.parameters),
        workload=row.workload,
        workload_text=row.workload + variant.workload,
        workload_choice=row.workload + variant.choice,
        workload_key=row.workload + variant.workload_key,
        backend=row.backend,
        backend_text=row.backend + variant.backend,
        hardware=hardware_name(record, variant.hardware),
        hardware_key=hardware_name(record, variant.hardware_key),
        machine=row.machine_id,
        device=f"{row.device}, {plural(row.cell.device.threads, 'thread')}{variant.device}",
        origin=row.origin,
        status=row.status,
        reason=failure_of(record),
        baseline=record.block.baseline,
        ranked=row.quality_ranked,
        stability=row.stability,
        unstable=(row.causes or NO_CAUSE) if unstable else "",
        reach=rounded(reach_of(record)),
        unrest=unrest,
        one_process=any(in_one_process(comparison) for comparison in record.comparisons),
        joules=_joules(row),
        gate=gate_mark(row.gate),
        href=run_href(record, one_page=one_page),
    )


def _joules(row: Row) -> str:
    found = row.measurements.get(JOULES)
    if found is None or found.value is None or found.provenance is None:
        return NO_JOULES
    return found.provenance.value


def on_demand_counts(lines: Iterable[BoardRow]) -> str:
    """Say how many rows show only where a reader asks for them, and why; empty where all show."""
    counts = Counter(line.on_demand for line in lines)
    return ", ".join(f"{counts[why]:,} {why}" for why in ON_DEMAND if counts[why])


def techniques_of(lines: Iterable[BoardRow]) -> tuple[str, ...]:
    """Return the names of the techniques that rows use, alone or with others, sorted."""
    return tuple(sorted({name for line in lines for name in line.techniques}))
