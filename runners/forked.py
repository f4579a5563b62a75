"""The other side of a fork server: how a worker copies itself, and what the copy does first."""

from __future__ import annotations

import gc
import os
import socket
from collections.abc import Callable
from typing import IO, Any

from leanboard.runners.child import die_with_parent
from leanboard.runners.machine.mapped import mapped_pages, touch

_PIPES = 3

Serve = Callable[[IO[bytes], IO[bytes]], None]
"""Answers the messages of one stream on another until it ends."""


class Forker:
    """Begins processes as copies of this one.

    Args:
        control: number of the socket that hands over the pipes of the copies.
        serve: what a copy does.
    """

    def __init__(self, control: int, serve: Serve) -> None:
        self._control = socket.socket(fileno=control)
        self._serve = serve
        self._pages: list[tuple[int, int]] | None = None

    def fork(self, _: Any) -> dict[str, Any]:
        """Begin a copy with the pipes that wait in the socket; only the original returns."""
        pipes = socket.recv_fds(self._control, 1, _PIPES)[1]
        if self._pages is None:
            # What was imported is not looked through for cycles again: that would copy it.
            gc.collect()
            gc.freeze()
            self._pages = mapped_pages()
        parent, pid = os.getpid(), os.fork()
        if pid == 0:
            self._begin(parent, pipes, self._pages)
        for pipe in pipes:
            os.close(pipe)
        return {"pid": pid}

    def reap(self, message: Any) -> dict[str, Any]:
        """Wait for the end of a copy and tell its exit status."""
        return {"code": os.waitstatus_to_exitcode(os.waitpid(message["pid"], 0)[1])}

    def _begin(self, parent: int, pipes: list[int], pages: list[tuple[int, int]]) -> None:
        """Be the arm's process, and never return."""
        code = 1
        try:
            die_with_parent(parent)
            stdin, stdout, log = pipes
            os.dup2(stdin, 0)
            os.dup2(log, 1)
            os.dup2(log, 2)
            touch(pages)
            with os.fdopen(0, "rb", closefd=False) as asked, os.fdopen(stdout, "wb") as answers:
                self._serve(asked, answers)
            code = 0
        finally:
            os._exit(code)
