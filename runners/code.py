"""Which code of leanboard runs: a hash over its files, committed or not."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path

_RUNNERS = Path(__file__).resolve().parent


@cache
def code_hash(root: Path = _RUNNERS) -> str:
    """Return the sha256 over the Python files below a folder, as this process first saw them.

    An edited checkout is other code, whether or not the edit was committed.
    """
    whole = hashlib.sha256()
    for file in sorted(root.rglob("*.py")):
        whole.update(f"{file.relative_to(root)}\0".encode())
        whole.update(hashlib.sha256(file.read_bytes()).digest())
    return whole.hexdigest()
