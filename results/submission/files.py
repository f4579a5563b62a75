"""The files of a submission: records and their raw samples, and nothing beside them."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from leanboard.results.store import traces_path
from leanboard.results.submission.finding import Finding

MIB = 2**20
_RECORD, _TRACES = ".json", ".traces.parquet"
MOST_BYTES = {_RECORD: MIB, _TRACES: 20 * MIB}
"""How large a record and its raw samples may be, by the ending of the file."""
README = "README.md"
"""The only other file that a store may hold, at its top."""
_RUN = re.compile(r"[0-9]{8}T[0-9]{6}Z-[0-9a-f]{8}")


@dataclass(frozen=True, slots=True)
class Submitted:
    """What lies in a submission.

    Args:
        records: files of records, sorted.
        problems: files that may not be there, each with what is wrong with it.
    """

    records: tuple[Path, ...]
    problems: tuple[tuple[Path, Finding], ...]


def submitted_files(paths: Iterable[Path]) -> Submitted:
    """Return the records among files and whole folders; nothing is read, no link is followed.

    A record and its raw samples belong together: one names the other.
    """
    problems: list[tuple[Path, Finding]] = []
    files = {file for path in paths for file in _belonging(path, problems)}
    good: set[Path] = set()
    for file in files:
        finding = _wrong(file)
        if finding is None:
            good.add(file)
        else:
            problems.append((file, finding))
    records = {file for file in good if file.name.endswith(_RECORD)}
    orphans = {file for file in good - records if _record_of(file) not in files}
    problems += [(file, _orphaned(file)) for file in orphans]
    return Submitted(tuple(sorted(records)), tuple(sorted(problems, key=lambda found: found[0])))


def _belonging(path: Path, problems: list[tuple[Path, Finding]]) -> Iterator[Path]:
    """Yield the files under a folder, or a file with what belongs to it."""
    if path.is_dir() and not path.is_symlink():
        yield from _under(path, problems)
        return
    yield path
    if path.name.endswith(_TRACES):
        beside = _record_of(path)
    elif path.name.endswith(_RECORD):
        beside = traces_path(path)
    else:
        return
    if os.path.lexists(beside):
        yield beside


def _under(root: Path, problems: list[tuple[Path, Finding]]) -> Iterator[Path]:
    errors: list[OSError] = []
    for folder, folders, names in os.walk(root, onerror=errors.append):
        here = Path(folder)
        yield from (here / name for name in folders if (here / name).is_symlink())
        for name in names:
            described = here == root and name == README and not (here / name).is_symlink()
            if not described:
                yield here / name
    problems += [
        (
            Path(error.filename),
            Finding(f"cannot be listed ({error.strerror})", "check the folder's permissions"),
        )
        for error in errors
    ]


def _wrong(file: Path) -> Finding | None:
    """Return why a file may not be part of a submission; ``None`` if it may."""
    try:
        found = file.lstat()
    except OSError as error:
        return Finding(f"cannot be read ({error.strerror})", "name a file or a folder that exists")
    if stat.S_ISLNK(found.st_mode):
        return Finding("a symbolic link", "put the file itself in its place")
    if not stat.S_ISREG(found.st_mode):
        return Finding("not a regular file", "remove it")
    ending = next((ending for ending in MOST_BYTES if file.name.endswith(ending)), None)
    if ending is None or not _RUN.fullmatch(file.name.removesuffix(ending)):
        return Finding(
            f"neither a record (RUN{_RECORD}) nor its raw samples (RUN{_TRACES})", "remove it"
        )
    if found.st_size > MOST_BYTES[ending]:
        most = MOST_BYTES[ending]
        return Finding(
            f"its size is {found.st_size} bytes, at most {most} are accepted",
            "measure fewer rounds, or score fewer items, in one run",
        )
    return None


def _record_of(traces: Path) -> Path:
    """Return where the record of a trace file is."""
    return traces.with_name(traces.name.removesuffix(_TRACES) + _RECORD)


def _orphaned(traces: Path) -> Finding:
    return Finding(
        f"raw samples without their record: there is no {_record_of(traces).name} beside them",
        "submit both, or neither",
    )
