"""What an interrupted run has finished: the notes that let the same command go on."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from leanboard.results.files import write_failed, write_whole
from leanboard.results.schema import Record, Status
from leanboard.runners.cache import file_lock


@dataclass(slots=True)
class Journal:
    """The notes of one run of a command, beside the records that it wrote.

    A run is identified by what it does (its blocks), the machine and the software: another model,
    another torch or an edited checkout starts anew. Notes of a finished run are never reused.

    Args:
        path: the file; ``<folder>/<key>.json``.
        finished: record paths (relative to the store) by cell id, of cells that are done.
    """

    path: Path
    finished: dict[str, str] = field(default_factory=dict)

    @classmethod
    def open(cls, folder: Path, key: str) -> Journal:
        """Open the notes of an interrupted run with this key, or begin new ones."""
        path = folder / f"{key}.json"
        try:
            notes = json.loads(path.read_text(encoding="utf-8"))
            return cls(path, {str(cell): str(record) for cell, record in notes.items()})
        except (OSError, ValueError, AttributeError):
            return cls(path)

    @classmethod
    @contextmanager
    def opened(cls, folder: Path, key: str, say: Callable[[str], None]) -> Iterator[Journal]:
        """Open the notes for one run alone; a second equal command waits for the first.

        Raises:
            LeanboardError: if the folder cannot be written.
        """

        def waiting() -> None:
            say("the same command is running already; waiting for it to end")

        with ExitStack() as stack:
            try:
                stack.enter_context(file_lock(folder / f"{key}.lock", waiting))
            except OSError as error:
                raise write_failed(error, folder) from error
            yield cls.open(folder, key)

    def done(self, cell_id: str, exists: Callable[[str], bool]) -> bool:
        """Whether a cell is done and its record is still there."""
        return cell_id in self.finished and exists(self.finished[cell_id])

    def note(self, record: Record, location: str) -> None:
        """Note a record as finished; failed cells are tried again and so are not noted.

        Raises:
            LeanboardError: if the notes cannot be written.
        """
        if record.status is Status.FAILED:
            return
        self.finished[record.cell_id] = location
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            write_whole(self.path, json.dumps(self.finished, sort_keys=True, indent=1).encode())
        except OSError as error:
            raise write_failed(error, self.path.parent) from error

    def close(self) -> None:
        """Forget the notes: the run is complete, and the next one measures anew."""
        self.path.unlink(missing_ok=True)
