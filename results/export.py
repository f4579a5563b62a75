"""Records as tables to download, as Parquet and CSV: runs long and wide, and comparisons.

The same records give the same bytes. Exports are derived from records and never edited. They are
written chunk by chunk: a table of millions of rows is never whole in memory.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq

from leanboard.results.data_dictionary import DICTIONARY_COLUMNS, data_dictionary
from leanboard.results.export_cells import TEXT, Block, Chunk, chunks_of
from leanboard.results.export_comparisons import COMPARISONS, comparison_blocks, comparison_table
from leanboard.results.export_runs import (
    LONG,
    long_blocks,
    long_table,
    wide_block,
    wide_columns,
    wide_table,
)
from leanboard.results.files import whole_file, write_failed
from leanboard.results.store import Entry, Loaded
from leanboard.results.table import Row, table

if TYPE_CHECKING:
    import pandas as pd

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

    Args:
        loaded: the records.
        folder: where the files go; made if need be.

    Raises:
        LeanboardError: if the folder cannot be written.
    """
    rows = table(loaded.entries)
    files = [
        *write_long(loaded.entries, folder),
        *write_comparisons(loaded.entries, folder),
        *write_joined(rows, folder),
    ]
    return sorted(files)


def write_long(entries: Iterable[Entry], folder: Path) -> list[Path]:
    """Write the tidy table of all runs; return its files. Errors as :func:`write_exports`."""
    with _writing(folder):
        return _write(folder / "results-long", LONG, long_blocks(entries))


def write_comparisons(entries: Iterable[Entry], folder: Path) -> list[Path]:
    """Write the comparisons of all runs; return the files. Errors as :func:`write_exports`."""
    with _writing(folder):
        return _write(folder / "comparisons", COMPARISONS, comparison_blocks(entries))


def write_joined(rows: Sequence[Row], folder: Path) -> list[Path]:
    """Write the wide table of joined rows and the dictionary of all columns; return the files.

    Errors as :func:`write_exports`.
    """
    with _writing(folder):
        return [
            _write_dictionary(folder / "data-dictionary.csv", rows),
            *_write(folder / "results-wide", wide_columns(rows), map(wide_block, rows)),
        ]


@contextmanager
def _writing(folder: Path) -> Iterator[None]:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        yield
    except OSError as error:
        raise write_failed(error, folder) from error


def _frame(content: pa.Table) -> pd.DataFrame:
    frame: pd.DataFrame = content.to_pandas()
    return frame


def _write(stem: Path, columns: Mapping[str, pa.DataType], blocks: Iterable[Block]) -> list[Path]:
    """Write a table as Parquet and as CSV, and return both files."""
    schema = pa.schema(list(columns.items()))
    parquet, text = (stem.with_name(f"{stem.name}.{ending}") for ending in ("parquet", "csv"))
    with (
        whole_file(text) as lines,
        whole_file(parquet) as sink,
        pq.ParquetWriter(sink, schema, compression="zstd", compression_level=3) as writer,
    ):
        lines.write(_csv_head(columns))
        for chunk in chunks_of(columns, blocks):
            lines.write(_csv_lines(chunk, columns))
            writer.write_table(pa.Table.from_pydict(chunk, schema=schema))
    return [parquet, text]


def _write_dictionary(path: Path, rows: Sequence[Row]) -> Path:
    columns = dict.fromkeys(DICTIONARY_COLUMNS, TEXT)
    with whole_file(path) as lines:
        lines.write(_csv_head(columns))
        for chunk in chunks_of(columns, map(Block, data_dictionary(rows))):
            lines.write(_csv_lines(chunk, columns))
    return path


def _csv_head(columns: Iterable[str]) -> bytes:
    return (",".join(map(_csv_cell, columns)) + "\n").encode()


def _csv_lines(chunk: Chunk, columns: Mapping[str, pa.DataType]) -> bytes:
    cells = [
        _csv_texts(chunk[name]) if kind == TEXT else _csv_numbers(chunk[name])
        for name, kind in columns.items()
    ]
    lines = map(",".join, zip(*cells, strict=True))
    return "".join(f"{line}\n" for line in lines).encode()


def _csv_texts(texts: Sequence[str | None]) -> list[str]:
    """Return the cells of a column of texts, of which most come many times."""
    cells = {text: "" if text is None else _csv_cell(text) for text in set(texts)}
    return [cells[text] for text in texts]


def _csv_numbers(numbers: Sequence[float | None]) -> list[str]:
    return ["" if number is None else str(number) for number in numbers]


def _csv_cell(text: str) -> str:
    line = io.StringIO(newline="")
    csv.writer(line, lineterminator="\n").writerow((_csv_text(text), None))
    return line.getvalue().removesuffix(",\n")


def _csv_text(text: str) -> str:
    """Keep a spreadsheet from reading text as a formula (OWASP, CSV injection)."""
    return f"'{text}" if text.startswith(_FORMULA_STARTS) else text
