"""What each process of leanboard does first: tie its end to its parent's, and free its output."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO

_PR_SET_PDEATHSIG = 1


def die_with_parent(parent: int) -> None:
    """Have the kernel kill this process as soon as the parent is gone, however it went."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0 or os.getppid() != parent:
        sys.exit("leanboard worker: the parent is gone")


@contextmanager
def private_stdout() -> Iterator[IO[bytes]]:
    """Give the protocol the real standard output, and point file descriptor 1 at the log."""
    with os.fdopen(os.dup(1), "wb") as channel:
        os.dup2(2, 1)
        yield channel
