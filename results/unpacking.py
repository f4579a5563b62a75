"""A Parquet file that anyone may have written: how much it unpacks to, before it is unpacked.

A few kilobytes can claim to be many gigabytes: a footer says how many values there are, but a text
that is stored once may stand in every row.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

MOST_ROWS = 1_000_000
MOST_VALUES = 20_000_000
MOST_UNPACKED_BYTES = 256 * 2**20


def opened(data: bytes, texts: Sequence[str] = ()) -> pq.ParquetFile:
    """Open a file and read its footer; texts of the columns named stay where they are stored once.

    Raises:
        pyarrow.ArrowException: if it is none.
    """
    # With threads, or through a Python file, arrow may abort when the process ends.
    return pq.ParquetFile(
        pa.BufferReader(data), pre_buffer=False, read_dictionary=list(texts) or None
    )


def oversizes(footer: pq.FileMetaData) -> Iterator[str]:
    """Yield in words what a footer has too much of."""
    groups = [footer.row_group(place) for place in range(footer.num_row_groups)]
    values = sum(
        group.column(place).num_values for group in groups for place in range(group.num_columns)
    )
    sizes = {
        "rows": (footer.num_rows, MOST_ROWS),
        "values": (values, MOST_VALUES),
        "bytes, unpacked": (sum(group.total_byte_size for group in groups), MOST_UNPACKED_BYTES),
    }
    for what, (size, most) in sizes.items():
        if size > most:
            yield f"raw samples of {size} {what}; at most {most} are accepted"


def columns_in(data: bytes, schema: pa.Schema, names: Sequence[str]) -> pa.Table:
    """Return columns of a file with this schema, in its order, with its metadata.

    Raises:
        ValueError: if the file is too large to be unpacked.
        pyarrow.ArrowException: if it is no Parquet file.
    """
    texts = [field.name for field in schema if pa.types.is_string(field.type)]
    file = opened(data, texts)
    for problem in oversizes(file.metadata):
        raise ValueError(problem)
    wanted = [name for name in schema.names if name in set(names)]
    table = file.read(wanted, use_threads=False)
    size = sum(map(_text_bytes, table.columns))
    if size > MOST_UNPACKED_BYTES:
        raise ValueError(f"raw samples of {size} bytes of text; at most {MOST_UNPACKED_BYTES}")
    plain = pa.schema([schema.field(name) for name in wanted], schema.metadata)
    return table.cast(plain)


def _text_bytes(column: pa.ChunkedArray) -> int:
    """Return the bytes that the texts of a column would take, each written out."""
    if not pa.types.is_dictionary(column.type):
        return 0
    lengths = (pc.binary_length(chunk.dictionary).take(chunk.indices) for chunk in column.chunks)
    return sum(pc.sum(each).as_py() or 0 for each in lengths)
