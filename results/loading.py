"""Reading many records for a board: lean ones, by several processes."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from pydantic_core import from_json

from leanboard.results.errors import RecordError
from leanboard.results.identity import content_hash
from leanboard.results.lean import Lean, no_collections
from leanboard.results.parallel import processes_for, started
from leanboard.results.schema import SCHEMA_VERSION, Record
from leanboard.results.store import Entry, Loaded, Origin, Problem, Store, find_records

_LEAST, _PARTS = 200, 8
"""Fewest files of a task, and how many tasks a process has of many files."""


def load_lean(stores: Sequence[tuple[Path, Origin]], processes: int | None = None) -> Loaded:
    """Read several stores as :func:`leanboard.results.store.read_stores` does, in little memory.

    The records are lean ones (:mod:`leanboard.results.lean`); problems are the same.

    Args:
        stores: each folder with the origin of its rows, in the order of the result.
        processes: how many work; ``None`` for as many as the number of files is worth.
    """
    lean = Lean()
    with no_collections():
        parts = [_load(Store(root, origin), lean, processes) for root, origin in stores]
    return Loaded(
        tuple(entry for part in parts for entry in part.entries),
        tuple(problem for part in parts for problem in part.problems),
    )


def _load(store: Store, lean: Lean, processes: int | None) -> Loaded:
    """Read a store; look twice at what is odd."""
    paths, problems = find_records(store.root)
    working = processes_for(len(paths), processes)
    size = max(_LEAST, -(-len(paths) // (working * _PARTS)))
    chunks = [paths[first : first + size] for first in range(0, len(paths), size)]
    with started([partial(_read, store, chunk, lean) for chunk in chunks], working) as results:
        read = [record for chunk in results() for record in chunk]
    entries = []
    for path, quick in zip(paths, read, strict=True):
        try:
            record = lean.record(store.read(path)) if quick is None else quick
        except RecordError as error:
            problems.append(Problem(path, str(error)))
        else:
            entries.append(Entry(record, store.origin, path))
    return Loaded(tuple(entries), tuple(sorted(problems, key=lambda problem: problem.path)))


def _read(store: Store, paths: Sequence[Path], lean: Lean) -> list[Record | None]:
    """Return the records at some paths; ``None`` for one of which anything is odd."""
    return [_quick(store, path, lean) for path in paths]


def _quick(store: Store, path: Path, lean: Lean) -> Record | None:
    if not path.is_file():
        return None
    try:
        text = path.read_bytes()
        record = Record.model_validate_json(text)
    except (OSError, ValueError):
        return None
    as_expected = record.schema_version == SCHEMA_VERSION and path == store.path_of(record)
    return lean.record(record) if as_expected and _sealed(text) else None


def _sealed(text: bytes) -> bool:
    """Return whether the content hash is shown to fit."""
    if _text_sealed(text):
        return True
    try:
        fields = from_json(text, allow_inf_nan=False)
        return bool(fields["content_hash"] == content_hash(fields))
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return False


def _text_sealed(text: bytes) -> bool:
    """Return whether the hash fits the text of a record as leanboard writes it.

    But for the hash itself and the layout that text is the canonical JSON which was hashed, so its
    numbers need not be read and written again. No string holds a line break; what ends in a quote,
    a colon and a space is a name, unless the quote is escaped. What does not fit here may still be
    a record in another layout, or one that holds such a quote. A text that was hashed as it stands
    fits too where canonical JSON would be another, as when it holds a name twice.
    """
    before, _, rest = text.partition(b'\n "content_hash": "')
    stated, _, after = rest.partition(b'",')
    if b'\\": ' in text:
        return False
    canonical = b"".join(map(bytes.strip, (before + after).split(b"\n"))).replace(b'": ', b'":')
    return hashlib.sha256(canonical).hexdigest().encode() == stated
