"""One measurement at a time on a machine: a lock a device set."""

from __future__ import annotations

import fcntl
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from leanboard.results.errors import LeanboardError


def lock_path(device_set: str, folder: Path | None = None) -> Path:
    """Return the lock file of a device set, in a folder that all users of the machine share."""
    return (folder or Path(tempfile.gettempdir())) / f"leanboard-{device_set}.lock"


@contextmanager
def _held(path: Path, say: Callable[[str], None]) -> Iterator[None]:
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    except OSError as error:
        raise LeanboardError(
            f"cannot open the measuring lock {path}: {error.strerror}. "
            "Remove it if it belongs to a user who is gone, or set another TMPDIR."
        ) from error
    # Other users of the machine must be able to open it too, whatever the umask; only its owner
    # can, and need, say so.
    with suppress(PermissionError):
        os.fchmod(descriptor, 0o666)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            owner = os.pread(descriptor, 32, 0).decode(errors="replace").strip() or "unknown"
            say(f"another leanboard run is measuring on this machine (process {owner}); waiting")
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, str(os.getpid()).encode(), 0)
        yield
    finally:
        # The kernel lets the lock go with the descriptor, also when the process is killed.
        os.close(descriptor)


@contextmanager
def measuring(
    device: str, say: Callable[[str], None], folder: Path | None = None
) -> Iterator[None]:
    """Hold the machine's measuring lock; wait for it, saying so, if another run has it.

    A GPU is driven by the CPU, so measuring on ``cuda`` holds both locks, always in one order.

    Raises:
        LeanboardError: if the lock file cannot be opened.
    """
    with ExitStack() as stack:
        for device_set in ("cpu", "cuda") if device == "cuda" else ("cpu",):
            stack.enter_context(_held(lock_path(device_set, folder), say))
        yield
