"""Records as tables to download: tidy long (cell x metric) and wide, as Parquet and CSV.

The same records give the same bytes. Exports are derived from records and never edited.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from leanboard.metrics.registry import METRICS
from leanboard.results.derived_columns import DERIVED
from leanboard.results.files import write_failed, write_whole
from leanboard.results.gates import GATE_COLUMNS, GATE_DOCS, gate_cells
from leanboard.results.reliability import COLUMNS, DOCS, UNITS, reliability_cells
from leanboard.results.schema import AccuracyCell, Measurement, Record
from leanboard.results.store import Entry, Loaded
from leanboard.results.table import Row, table

Cells = dict[str, Any]

_TEXT, _REAL, _WHOLE, _FLAG = pa.string(), pa.float64(), pa.int64(), pa.bool_()
_IDENTITY = {
    "run_id": _TEXT,
    "cell_id": _TEXT,
    "machine": _TEXT,
    "origin": _TEXT,
    "model": _TEXT,
    "techniques": _TEXT,
    "backend": _TEXT,
    "device": _TEXT,
}
_LONG = {
    **_IDENTITY,
    "workload": _TEXT,
    "task": _TEXT,
    "suite": _TEXT,
    "block": _TEXT,
    "arm": _TEXT,
    "status": _TEXT,
    **COLUMNS,
    "metric": _TEXT,
    "value": _REAL,
    "unit": _TEXT,
    "n": _WHOLE,
    "low": _REAL,
    "high": _REAL,
    "interval_method": _TEXT,
    "stderr": _REAL,
    "summary": _TEXT,
    "provenance": _TEXT,
    "reason": _TEXT,
    "started_at": _TEXT,
    "licence": _TEXT,
}
_WIDE = {
    **_IDENTITY,
    "threads": _WHOLE,
    "workload": _TEXT,
    "suite": _TEXT,
    "block": _TEXT,
    "arm": _TEXT,
    "status": _TEXT,
    "error": _TEXT,
    **COLUMNS,
    "quality_ranked": _FLAG,
    **GATE_COLUMNS,
    "warnings": _TEXT,
    "started_at": _TEXT,
    "licence": _TEXT,
}
_PROVENANCE = "__provenance"
_DICTIONARY = ("metric", "unit", "direction", "doc", "source")
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n")


def long_frame(entries: Iterable[Entry]) -> pd.DataFrame:
    """Return one row a record and metric; a run without measurements has one row with none."""
    return _frame(_long_table(entries))


def wide_frame(entries: Iterable[Entry]) -> pd.DataFrame:
    """Return one row a timed cell, a column a metric, and its provenance in a second column.

    Units are in the data dictionary, which names every metric column.
    """
    return _frame(_wide_table(table(entries)))


def write_exports(loaded: Loaded, folder: Path) -> list[Path]:
    """Write both tables as Parquet and CSV, and the data dictionary; return the files.

    Raises:
        LeanboardError: if the folder cannot be written.
    """
    rows = table(loaded.entries)
    tables = {"results-long": _long_table(loaded.entries), "results-wide": _wide_table(rows)}
    files = {"data-dictionary.csv": _csv(_DICTIONARY, _dictionary(rows))}
    for name, content in tables.items():
        files[f"{name}.parquet"] = _parquet(content)
        files[f"{name}.csv"] = _csv(content.column_names, content.to_pylist())
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, data in sorted(files.items()):
            write_whole(folder / name, data)
    except OSError as error:
        raise write_failed(error, folder) from error
    return [folder / name for name in sorted(files)]


def _long_table(entries: Iterable[Entry]) -> pa.Table:
    ordered = sorted(entries, key=lambda e: (*_place(e.record), e.origin))
    rows = [row for entry in ordered for row in _long_rows(entry)]
    return pa.Table.from_pylist(rows, schema=pa.schema(list(_LONG.items())))


def _place(record: Record) -> tuple[str, str, str]:
    return record.machine_id, record.cell_id, record.run_id


def _long_rows(entry: Entry) -> Iterator[Cells]:
    record = entry.record
    common = _common(record, entry.origin)
    if isinstance(record.cell, AccuracyCell):
        common["task"] = record.cell.task.name
    else:
        common["workload"] = record.cell.workload.name
    for name in _in_order(record.measurements):
        yield {**common, "metric": name, **_measured(record.measurements[name])}
    if not record.measurements:
        yield {**common, "reason": record.error.message if record.error else "nothing measured"}


def _common(record: Record, origin: str) -> Cells:
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
        **reliability_cells(record),
    }


def _measured(measurement: Measurement) -> Cells:
    interval = measurement.interval
    return {
        "value": measurement.value,
        "unit": measurement.unit,
        "n": measurement.n,
        "low": None if interval is None else interval.low,
        "high": None if interval is None else interval.high,
        "interval_method": None if interval is None else interval.method,
        "stderr": measurement.stderr,
        "summary": measurement.summary,
        "provenance": _provenance(measurement),
        "reason": measurement.reason,
    }


def _provenance(measurement: Measurement) -> str | None:
    return None if measurement.provenance is None else measurement.provenance.value


def _wide_table(rows: Sequence[Row]) -> pa.Table:
    columns = dict(_WIDE)
    for name in _in_order(_metric_columns(rows)):
        columns |= {name: _REAL, name + _PROVENANCE: _TEXT}
    content = [_wide_row(row) for row in rows]
    return pa.Table.from_pylist(content, schema=pa.schema(list(columns.items())))


def _wide_row(row: Row) -> Cells:
    error = row.record.error
    cells = _common(row.record, row.origin) | {
        "threads": row.cell.device.threads,
        "workload": row.workload,
        "error": None if error is None else error.message,
        "quality_ranked": row.quality_ranked,
        **gate_cells(row.gate),
        "warnings": "; ".join(row.warnings),
    }
    for name in _metric_columns([row]):
        measurement = row.measurements[name]
        cells |= {name: measurement.value, name + _PROVENANCE: _provenance(measurement)}
    return cells


def _metric_columns(rows: Iterable[Row]) -> set[str]:
    """Return the names of the rows' metrics that hide no other column."""
    names = {name for row in rows for name in row.measurements}
    return {name for name in names if name not in _WIDE and not name.endswith(_PROVENANCE)}


def _in_order(names: Iterable[str]) -> list[str]:
    """Return the names in the registry's order, what is derived, then the others by name."""
    ordered = [*(metric.name for metric in METRICS), *DERIVED]
    known = {name: place for place, name in enumerate(ordered)}
    return sorted(names, key=lambda name: (known.get(name, len(known)), name))


def _dictionary(rows: Sequence[Row]) -> list[Cells]:
    """Describe every metric, every column that derives from one, and how runs were sampled."""
    described = {
        m.name: {"unit": m.unit, "direction": m.direction.value, "doc": m.doc, "source": m.source}
        for m in METRICS
    }
    for name, column in DERIVED.items():
        described[name] = {
            "unit": column.unit,
            "direction": column.direction.value,
            "doc": column.doc,
            "source": column.source,
        }
    columns = {name: m.unit for row in rows for name, m in row.measurements.items()}
    for name in columns.keys() - described.keys():
        task, _, metric = name.rpartition(".")
        base = described.get(metric, {"direction": "", "doc": "", "source": ""})
        described[name] = {**base, "unit": columns[name], "doc": f"On {task}: {base['doc']}"}
    for name, doc in {**DOCS, **GATE_DOCS}.items():
        plain = {"unit": UNITS.get(name, ""), "direction": "", "doc": doc, "source": "leanboard"}
        described.setdefault(name, plain)
    return [{"metric": name, **described[name]} for name in _in_order(described)]


def _frame(content: pa.Table) -> pd.DataFrame:
    frame: pd.DataFrame = content.to_pandas()
    return frame


def _parquet(content: pa.Table) -> bytes:
    sink = io.BytesIO()
    pq.write_table(content, sink, compression="zstd", compression_level=3)
    return sink.getvalue()


def _csv(columns: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> bytes:
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([_csv_cell(name) for name in columns])
    writer.writerows([_csv_cell(row[name]) for name in columns] for row in rows)
    return text.getvalue().encode()


def _csv_cell(value: object) -> object:
    """Keep a spreadsheet from reading text as a formula (OWASP, CSV injection)."""
    if isinstance(value, str) and value.startswith(_FORMULA_STARTS):
        return f"'{value}"
    return value
