"""What an interrupted run has finished: the notes that let the same command go on."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from leanboard.results.schema import Record, Status


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
        except (FileNotFoundError, ValueError, AttributeError):
            return cls(path)

    def done(self, cell_id: str, exists: Callable[[str], bool]) -> bool:
        """Whether a cell is done and its record is still there."""
        return cell_id in self.finished and exists(self.finished[cell_id])

    def note(self, record: Record, location: str) -> None:
        """Note a record as finished; failed cells are tried again and so are not noted."""
        if record.status is Status.FAILED:
            return
        self.finished[record.cell_id] = location
        self.path.parent.mkdir(parents=True, exist_ok=True)
        draft = self.path.with_suffix(f".{os.getpid()}.tmp")
        draft.write_text(json.dumps(self.finished, sort_keys=True, indent=1), encoding="utf-8")
        draft.replace(self.path)

    def close(self) -> None:
        """Forget the notes: the run is complete, and the next one measures anew."""
        self.path.unlink(missing_ok=True)
