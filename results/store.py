"""Where records live: ``<root>/<machine_id>/<cell_id>/<run_id>.json``, raw traces beside them.

Files appear whole or not at all, so any number of jobs may write at once, and a crash loses at
most the run in flight.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from leanboard.results.document import record_from_text, record_to_text
from leanboard.results.errors import RecordError
from leanboard.results.files import write_failed, write_whole
from leanboard.results.schema import Record

Origin = Literal["published", "local"]


@dataclass(frozen=True, slots=True)
class Entry:
    """A record as it was found in a store."""

    record: Record
    origin: Origin
    path: Path


@dataclass(frozen=True, slots=True)
class Problem:
    """A file that could not be read or does not hold what it claims."""

    path: Path
    message: str


@dataclass(frozen=True, slots=True)
class Loaded:
    """What reading one or more stores gave: the good records, and what was wrong."""

    entries: tuple[Entry, ...] = ()
    problems: tuple[Problem, ...] = ()


@dataclass(frozen=True, slots=True)
class Store:
    """A folder of records.

    Args:
        root: the folder; made when the first record is written, empty until then.
        origin: whether its rows are shown as ``published`` or ``local``.
    """

    root: Path
    origin: Origin

    def path_of(self, record: Record) -> Path:
        """Return the one place where a record belongs."""
        return self.root / place_of(record)

    def write(self, record: Record, traces: bytes | None) -> Path:
        """Write a record and its traces, the traces first; return the record's path.

        Raises:
            RecordError: if the record is there already, or the traces are not the record's.
            LeanboardError: if the disk is full or the folder cannot be written; nothing
                partial is left behind.
        """
        _check_traces(record, traces)
        path = self.path_of(record)
        beside = traces_path(path)
        _refuse_existing(path, beside)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            if traces is not None:
                write_whole(beside, traces)
            write_whole(path, record_to_text(record).encode())
        except OSError as error:
            _remove(path, beside)
            raise write_failed(error, self.root) from error
        return path

    def read(self, path: Path) -> Record:
        """Return the record in a file of this store.

        Raises:
            RecordError: if it cannot be read, or does not lie where it belongs.
        """
        record = read_record(path)
        if path != self.path_of(record):
            raise _misplaced(record)
        return record

    def entries(self) -> Iterator[Entry]:
        """Yield the readable records, ordered by path."""
        yield from self.load().entries

    def load(self) -> Loaded:
        """Read every record, ordered by path; what cannot be read becomes a problem."""
        entries: list[Entry] = []
        paths, problems = find_records(self.root)
        for path in paths:
            try:
                record = self.read(path)
            except RecordError as error:
                problems.append(Problem(path, str(error)))
            else:
                entries.append(Entry(record, self.origin, path))
        return Loaded(tuple(entries), tuple(sorted(problems, key=lambda p: p.path)))


def read_stores(stores: Sequence[tuple[Path, Origin]]) -> Loaded:
    """Read several stores, in the given order."""
    parts = [Store(root, origin).load() for root, origin in stores]
    return Loaded(
        tuple(entry for part in parts for entry in part.entries),
        tuple(problem for part in parts for problem in part.problems),
    )


def read_record(path: Path) -> Record:
    """Return the record in a file.

    Raises:
        RecordError: if it cannot be read; the message says why, without the path.
    """
    if not path.is_file():
        message = "not a regular file; remove it from the store"
        raise RecordError(message)
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        message = f"cannot be read ({error}); restore or delete it"
        raise RecordError(message) from error
    return record_from_text(text)


def find_records(root: Path) -> tuple[list[Path], list[Problem]]:
    """Return the record files under a folder, sorted, and what may not be read.

    Symbolic links are never followed: each is a problem. A folder that does not exist is empty.
    """
    paths: list[Path] = []
    links: list[Path] = []
    errors: list[OSError] = []
    for folder, folders, names in os.walk(root, onerror=errors.append):
        here = Path(folder)
        links += [here / name for name in folders if (here / name).is_symlink()]
        for name in names:
            if name.endswith(".json") and not name.startswith("."):
                path = here / name
                (links if path.is_symlink() else paths).append(path)
    problems = [Problem(link, _leads(link, root)) for link in links]
    problems += [
        Problem(Path(error.filename), f"cannot be listed ({error.strerror}); check its permissions")
        for error in errors
        if not isinstance(error, FileNotFoundError)
    ]
    return sorted(paths), problems


def place_of(record: Record) -> Path:
    """Return the path of a record relative to the root of its store."""
    return Path(record.machine_id, record.cell_id, f"{record.run_id}.json")


def traces_path(record_path: Path) -> Path:
    """Return where the traces of the record at ``record_path`` are."""
    return record_path.with_name(f"{record_path.stem}.traces.parquet")


def check_place(path: Path, record: Record) -> None:
    """Check that the path of a record is its identity.

    Raises:
        RecordError: if machine, cell or run differ between the path and the record.
    """
    if path.absolute().parts[-3:] != place_of(record).parts:
        raise _misplaced(record)


def _misplaced(record: Record) -> RecordError:
    place = place_of(record)
    return RecordError(f"does not lie where its record belongs, which is {place}; move it there")


def _leads(link: Path, root: Path) -> str:
    inside = link.resolve().is_relative_to(root.resolve())
    where = "elsewhere in the store" if inside else "out of the store"
    return f"a symbolic link that leads {where}: it is not followed; remove it"


def _check_traces(record: Record, traces: bytes | None) -> None:
    claimed = None if record.traces is None else record.traces.sha256
    actual = None if traces is None else hashlib.sha256(traces).hexdigest()
    if claimed != actual:
        message = f"run {record.run_id}: the traces given are not the ones that its record names"
        raise RecordError(message)


def _refuse_existing(*paths: Path) -> None:
    for path in paths:
        if os.path.lexists(path):
            message = f"{path} exists: records are never overwritten; measure again for a new run"
            raise RecordError(message)


def _remove(*paths: Path) -> None:
    """Remove what there is of these files; the error that led here is the one to tell."""
    for path in paths:
        with suppress(OSError):
            path.unlink()
