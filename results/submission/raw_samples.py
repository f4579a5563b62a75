"""A trace file before it is believed: how much it unpacks to, and what else it carries."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping

import pyarrow as pa
import pyarrow.parquet as pq

from leanboard.results.submission.finding import Finding
from leanboard.results.submission.personal import texts_of
from leanboard.results.traces import CORRUPT, is_known
from leanboard.results.unpacking import columns_in, opened, oversizes

_PREFIX = "leanboard."
_NOTES = frozenset({"facts", "format", "kind", "rounds", "series", "windows"})
_ARROW = b"ARROW:schema"
_SMALLER = "measure fewer rounds, or score fewer items, in one run"
_AS_WRITTEN = "submit the trace file as leanboard wrote it"


def raw_findings(data: bytes) -> Iterator[Finding]:
    """Yield why a trace file may not be unpacked. Only its footer is read.

    A few kilobytes can claim to be many gigabytes; columns and notes that leanboard does not write
    would be published without anyone having looked at them.
    """
    try:
        file = opened(data)
        yield from (Finding(problem, _SMALLER) for problem in oversizes(file.metadata))
        notes = _notes(file)
        foreign = [*_foreign_columns(file, notes), *_foreign_notes(notes)]
    except CORRUPT as error:
        yield Finding(f"not a trace file ({type(error).__name__}: {error})", _AS_WRITTEN)
        return
    for what in foreign:
        yield Finding(f"{what} is not one that leanboard writes", _AS_WRITTEN)


def raw_texts(data: bytes) -> Iterator[tuple[str, str]]:
    """Yield the texts of a trace file with the name of their column or note, each once.

    What cannot be read has none: the check of the statistics says why.
    """
    try:
        file = opened(data)
        schema = file.schema_arrow
        texts = [field.name for field in schema if pa.types.is_string(field.type)]
        found = [*_noted(_notes(file)), *_words(columns_in(data, schema, texts))]
    except CORRUPT:
        return
    yield from ((f"traces.{field}", text) for field, text in found)


def _noted(notes: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Yield the texts of what the file says beside its columns: most of it is JSON."""
    for name, text in sorted(notes.items()):
        value = json.loads(text) if text[:1] in {"[", "{"} else text
        yield from texts_of(value, name)


def _words(table: pa.Table) -> Iterator[tuple[str, str]]:
    """Yield the texts of each column, each once."""
    for name in table.column_names:
        texts = table.column(name).unique().to_pylist()
        yield from ((name, text) for text in texts if text is not None)


def _notes(file: pq.ParquetFile) -> dict[str, str]:
    """Return what the file says beside its columns."""
    raw: dict[bytes, bytes] = dict(file.metadata.metadata or {})
    raw |= file.schema_arrow.metadata or {}
    return {key.decode(): text.decode() for key, text in raw.items() if key != _ARROW}


def _foreign_columns(file: pq.ParquetFile, notes: Mapping[str, str]) -> Iterable[str]:
    kind = notes[f"{_PREFIX}kind"]
    for name in file.schema_arrow.names:
        if not is_known(name, kind):
            yield f"its column '{name}'"


def _foreign_notes(notes: Mapping[str, str]) -> Iterable[str]:
    known = {_PREFIX + name for name in _NOTES}
    return (f"its note '{name}'" for name in sorted(notes) if name not in known)
