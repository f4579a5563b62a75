"""Writing a file so that a reader sees all of it or nothing."""

from __future__ import annotations

import errno
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from leanboard.results.errors import LeanboardError


def write_whole(path: Path, data: bytes) -> None:
    """Write a file so that it is there whole or not at all.

    Raises:
        OSError: if that fails; nothing is left behind then.
    """
    with whole_file(path) as file:
        file.write(data)


@contextmanager
def whole_file(path: Path) -> Iterator[BinaryIO]:
    """Give a file with a temporary name; at the end sync it, rename it, sync the folder.

    Raises:
        OSError: if that fails; the temporary file is gone then, as after any other error.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}.tmp")
    try:
        with temporary.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.rename(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)


def write_failed(error: OSError, folder: Path) -> LeanboardError:
    """Return the error for the user when ``folder`` could not be written."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        message = (
            f"no space left to write to {folder}: free some and run the same command again; "
            "what was finished is kept"
        )
        return LeanboardError(message)
    message = (
        f"cannot write to {folder} ({error.strerror or error}): check that it is a folder "
        "that you may write to, or name another one"
    )
    return LeanboardError(message)


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
