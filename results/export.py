"""Records as tables to download, as Parquet and CSV: runs long and wide, and comparisons.

The same records give the same bytes. Exports are derived from records and never edited.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from leanboard.results.data_dictionary import DICTIONARY_COLUMNS, data_dictionary
from leanboard.results.export_comparisons import comparison_table
from leanboard.results.export_runs import long_table, wide_table
from leanboard.results.files import write_failed, write_whole
from leanboard.results.store import Entry, Loaded
from leanboard.results.table import table

_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n")


def long_frame(entries: Iterable[Entry]) -> pd.DataFrame:
    """Return one row a record and metric; a run without measurements has one row with none."""
    return _frame(long_table(entries))


def wide_frame(entries: Iterable[Entry]) -> pd.DataFrame:
    """Return one row a timed cell, a column a metric, and its provenance in a second column.

    Units are in the data dictionary, which names every metric column.
    """
    return _frame(wide_table(table(entries)))


def comparison_frame(entries: Iterable[Entry]) -> pd.DataFrame:
    """Return one row a run and comparison with its baseline."""
    return _frame(comparison_table(entries))


def write_exports(loaded: Loaded, folder: Path) -> list[Path]:
    """Write the tables as Parquet and CSV, and the data dictionary; return the files.

    Raises:
        LeanboardError: if the folder cannot be written.
    """
    rows = table(loaded.entries)
    tables = {
        "comparisons": comparison_table(loaded.entries),
        "results-long": long_table(loaded.entries),
        "results-wide": wide_table(rows),
    }
    files = {"data-dictionary.csv": _csv(DICTIONARY_COLUMNS, data_dictionary(rows))}
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
