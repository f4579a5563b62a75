"""Runs as tables: tidy long (a row a run and metric) and wide (a row a timed cell)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import pyarrow as pa

from leanboard.results.export_cells import (
    FLAG,
    IDENTITY,
    NUMBER,
    REAL,
    TEXT,
    WHOLE,
    Block,
    asked_cells,
    identity_cells,
    in_order,
    in_place,
    number_columns,
    provenance_cell,
    table_of,
)
from leanboard.results.gates import GATE_COLUMNS, gate_cells
from leanboard.results.reliability import COLUMNS, reliability_cells
from leanboard.results.store import Entry
from leanboard.results.table import Row

LONG = {
    **IDENTITY,
    "workload": TEXT,
    "task": TEXT,
    "suite": TEXT,
    "block": TEXT,
    "arm": TEXT,
    "status": TEXT,
    **COLUMNS,
    "metric": TEXT,
    **NUMBER,
    "summary": TEXT,
    "provenance": TEXT,
    "reason": TEXT,
    "started_at": TEXT,
    "licence": TEXT,
}
_WIDE = {
    **IDENTITY,
    "threads": WHOLE,
    "workload": TEXT,
    "suite": TEXT,
    "block": TEXT,
    "arm": TEXT,
    "status": TEXT,
    "error": TEXT,
    **COLUMNS,
    "quality_ranked": FLAG,
    **GATE_COLUMNS,
    "warnings": TEXT,
    "started_at": TEXT,
    "licence": TEXT,
}
_PROVENANCE = "__provenance"
NOTHING = "nothing measured"


def long_table(entries: Iterable[Entry]) -> pa.Table:
    """Return one row a record and metric; a run without measurements has one row with none."""
    return table_of(LONG, long_blocks(entries))


def long_blocks(entries: Iterable[Entry]) -> Iterator[Block]:
    """Yield the rows of that table, a run's at a time."""
    return map(_block_of, in_place(entries))


def _block_of(entry: Entry) -> Block:
    record = entry.record
    shared = {
        **identity_cells(record, entry.origin),
        **asked_cells(record),
        **reliability_cells(record),
    }
    if not record.measurements:
        return Block(shared | {"reason": record.error.message if record.error else NOTHING})
    names = in_order(record.measurements)
    found = [record.measurements[name] for name in names]
    columns = {
        "metric": names,
        "unit": [one.unit for one in found],
        "summary": [one.summary for one in found],
        **number_columns(found),
    }
    return Block(shared, columns, len(found))


def wide_table(rows: Sequence[Row]) -> pa.Table:
    """Return one row a timed cell, a column a metric, and its provenance in a second column."""
    return table_of(wide_columns(rows), map(wide_block, rows))


def wide_columns(rows: Sequence[Row]) -> dict[str, pa.DataType]:
    """Return the columns of that table with their types."""
    columns = dict(_WIDE)
    for name in in_order(_metric_columns(rows)):
        columns |= {name: REAL, name + _PROVENANCE: TEXT}
    return columns


def wide_block(row: Row) -> Block:
    """Return a row of that table."""
    error = row.record.error
    cells = identity_cells(row.record, row.origin) | {
        "threads": row.cell.device.threads,
        "workload": row.workload,
        "error": None if error is None else error.message,
        **reliability_cells(row.record),
        "quality_ranked": row.quality_ranked,
        **gate_cells(row.gate),
        "warnings": "; ".join(row.warnings),
    }
    for name in _metric_columns([row]):
        measurement = row.measurements[name]
        cells |= {
            name: measurement.value,
            name + _PROVENANCE: provenance_cell(measurement.provenance),
        }
    return Block(cells)


def _metric_columns(rows: Iterable[Row]) -> set[str]:
    """Return the names of the rows' metrics that hide no other column."""
    names = {name for row in rows for name in row.measurements}
    return {name for name in names if name not in _WIDE and not name.endswith(_PROVENANCE)}
