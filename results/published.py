"""What comes with leanboard, records and findings, and the local records beside them."""

from __future__ import annotations

from pathlib import Path

from leanboard import results
from leanboard.results.loading import load_lean
from leanboard.results.store import Loaded, Origin, read_stores


def published_root() -> Path:
    """Return the folder of the published records; it need not exist (a wheel carries none)."""
    return Path(results.__path__[0]) / "records"


def findings_root() -> Path:
    """Return the folder of the written findings; it need not exist (a wheel carries none)."""
    return Path(results.__path__[0]) / "findings"


def load_all(local: Path) -> Loaded:
    """Read the published records and the local ones under ``local``."""
    return read_stores(_stores(local))


def load_for_board(local: Path, processes: int | None = None) -> Loaded:
    """Read the same, lean: without samples, and with little memory for each record."""
    return load_lean(_stores(local), processes)


def _stores(local: Path) -> list[tuple[Path, Origin]]:
    return [(published_root(), "published"), (local, "local")]
