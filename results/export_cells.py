"""Cells that the tables to download share: whose a row is, and what a number says."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import Any

import pyarrow as pa

from leanboard.metrics.registry import METRICS
from leanboard.metrics.trace import Provenance
from leanboard.results.derived_columns import DERIVED
from leanboard.results.schema import AccuracyCell, Comparison, Measurement, Record
from leanboard.results.store import Entry

Cells = dict[str, Any]
Chunk = dict[str, list[Any]]
"""Columns of some rows of a table."""

CHUNK_ROWS = 50_000

_ORDERED = (*(metric.name for metric in METRICS), *DERIVED)
_PLACES = {name: place for place, name in enumerate(_ORDERED)}

TEXT, REAL, WHOLE, FLAG = pa.string(), pa.float64(), pa.int64(), pa.bool_()
IDENTITY: dict[str, pa.DataType] = {
    "run_id": TEXT,
    "cell_id": TEXT,
    "machine": TEXT,
    "origin": TEXT,
    "model": TEXT,
    "techniques": TEXT,
    "backend": TEXT,
    "device": TEXT,
}
NUMBER: dict[str, pa.DataType] = {
    "value": REAL,
    "unit": TEXT,
    "n": WHOLE,
    "low": REAL,
    "high": REAL,
    "interval_method": TEXT,
    "stderr": REAL,
}
"""What a measurement and a comparison both say."""


def identity_cells(record: Record, origin: str) -> Cells:
    """Return whose a row is: run, cell, machine, model, arm, and the run's circumstances."""
    cell = record.cell
    return {
        "run_id": record.run_id,
        "cell_id": record.cell_id,
        "machine": record.machine_id,
        "origin": origin,
        "model": cell.model.name,
        "techniques": "+".join(technique.name for technique in cell.techniques) or "none",
        "backend": cell.backend.name,
        "device": cell.device.name,
        "suite": record.block.suite,
        "block": record.block.block_id,
        "arm": record.block.arm,
        "status": record.status.value,
        "started_at": record.times.started_at.isoformat(),
        "licence": record.licence,
    }


def asked_cells(record: Record) -> Cells:
    """Return what was asked of the arm: a workload or a task."""
    if isinstance(record.cell, AccuracyCell):
        return {"task": record.cell.task.name}
    return {"workload": record.cell.workload.name}


def number_cells(found: Measurement | Comparison) -> Cells:
    """Return value, interval and error of a number; the unit is the caller's."""
    interval = found.interval
    return {
        "value": found.value,
        "n": found.n,
        "low": None if interval is None else interval.low,
        "high": None if interval is None else interval.high,
        "interval_method": None if interval is None else interval.method,
        "stderr": found.stderr,
        "provenance": provenance_cell(found.provenance),
        "reason": found.reason,
    }


def provenance_cell(provenance: Provenance | None) -> str | None:
    """Return a provenance as text; ``None`` where nothing was measured."""
    return None if provenance is None else provenance.value


def in_place(entries: Iterable[Entry]) -> list[Entry]:
    """Return the entries in the order in which their records stand in a table."""

    def place(entry: Entry) -> tuple[str, str, str, str]:
        record = entry.record
        return record.machine_id, record.cell_id, record.run_id, entry.origin

    return sorted(entries, key=place)


def table_of(columns: Mapping[str, pa.DataType], rows: Iterable[Cells]) -> pa.Table:
    """Return a table with these columns in their order; cells that a row lacks are empty."""
    schema = pa.schema(list(columns.items()))
    return pa.concat_tables(
        pa.Table.from_pydict(chunk, schema=schema) for chunk in chunks_of(columns, rows)
    )


def chunks_of(columns: Iterable[str], rows: Iterable[Cells]) -> Iterator[Chunk]:
    """Yield the columns of ``CHUNK_ROWS`` rows at a time, at least once; cells may be empty."""
    names, left = list(columns), iter(rows)
    taken = list(islice(left, CHUNK_ROWS))
    while True:
        yield {name: [row.get(name) for row in taken] for name in names}
        taken = list(islice(left, CHUNK_ROWS))
        if not taken:
            return


def in_order(names: Iterable[str]) -> list[str]:
    """Return the names in the registry's order, what is derived, then the others by name."""
    return sorted(names, key=lambda name: (_PLACES.get(name, len(_PLACES)), name))
