"""Cells that the tables to download share: whose a row is, and what a number says."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
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


@dataclass(frozen=True, slots=True)
class Block:
    """Rows that lie together in a table.

    Args:
        shared: the cells that all of them have; a cell that is nowhere is empty.
        columns: by name, the cells in which they differ, one a row.
        rows: how many.
    """

    shared: Cells
    columns: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    rows: int = 1


# Names are those of records: there may be any number of them.
_MOST_NAMES = 4096
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


def number_columns(found: Sequence[Measurement] | Sequence[Comparison]) -> Chunk:
    """Return values, intervals and errors of numbers, by column; units are the caller's."""
    intervals = [one.interval for one in found]
    return {
        "value": [one.value for one in found],
        "n": [one.n for one in found],
        "low": [None if ends is None else ends.low for ends in intervals],
        "high": [None if ends is None else ends.high for ends in intervals],
        "interval_method": [None if ends is None else ends.method for ends in intervals],
        "stderr": [one.stderr for one in found],
        "provenance": [provenance_cell(one.provenance) for one in found],
        "reason": [one.reason for one in found],
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


def table_of(columns: Mapping[str, pa.DataType], blocks: Iterable[Block]) -> pa.Table:
    """Return a table with these columns in their order."""
    schema = pa.schema(list(columns.items()))
    return pa.concat_tables(
        pa.Table.from_pydict(chunk, schema=schema) for chunk in chunks_of(columns, blocks)
    )


def chunks_of(columns: Iterable[str], blocks: Iterable[Block]) -> Iterator[Chunk]:
    """Yield the columns of ``CHUNK_ROWS`` rows at a time, at least once."""
    chunk: Chunk = {name: [] for name in columns}
    taken, whole = 0, False
    for block in blocks:
        for name, cells in chunk.items():
            own = block.columns.get(name)
            cells.extend([block.shared.get(name)] * block.rows if own is None else own)
        taken += block.rows
        while taken >= CHUNK_ROWS:
            yield {name: cells[:CHUNK_ROWS] for name, cells in chunk.items()}
            chunk = {name: cells[CHUNK_ROWS:] for name, cells in chunk.items()}
            taken, whole = taken - CHUNK_ROWS, True
    if taken or not whole:
        yield chunk


def in_order(names: Iterable[str]) -> tuple[str, ...]:
    """Return the names in the registry's order, what is derived, then the others by name."""
    return _sorted(tuple(names))


@lru_cache(_MOST_NAMES)
def _sorted(names: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(sorted(names, key=lambda name: (_PLACES.get(name, len(_PLACES)), name)))
