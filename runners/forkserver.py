"""A process that has imported what the arms of a launch share, and begins each as a copy of itself.

Importing torch and transformers takes a processor four to nine seconds; sixteen arms on two cores
spent more of a launch on that than on being measured. A launch has a fork server of its own, so
that libraries lie elsewhere in memory in every launch. Arms load their models after the copy, each
by itself.

The protocol is that of a worker. `import_libraries` is its first message, `fork` hands over the
pipes of an arm by a socket (SCM_RIGHTS), `reap` tells how an arm ended.
"""

from __future__ import annotations

import os
import select
import signal
import socket
from pathlib import Path
from typing import IO, Any, Self

from leanboard.results.errors import LeanboardError
from leanboard.runners.isolate import Worker
from leanboard.runners.wire import Message

_TIMEOUT_S = 60.0


class ForkServer:
    """Use as a context manager, outside of those of its arms.

    Args:
        log: file that receives everything the process prints.
    """

    def __init__(self, log: Path) -> None:
        self._ours, self._theirs = socket.socketpair()
        self._worker = Worker("fork server", log, control=self._theirs)

    def __enter__(self) -> Self:
        self._worker.__enter__()
        self._theirs.close()
        return self

    def __exit__(self, *error: object) -> None:
        self._worker.__exit__(*error)
        self._ours.close()

    def import_libraries(self, backend: dict[str, Any], timeout_s: float) -> None:
        """Import what a backend needs.

        Raises:
            ArmError: if the process fails.
            MissingDependencyError: if a library is not installed.
        """
        self._worker.call("import_libraries", timeout_s, backend=backend, techniques=[])

    def start(self, log: IO[bytes]) -> Forked:
        """Begin an arm's process.

        Args:
            log: receives what it prints; may be closed after.

        Raises:
            ArmError: if the server is gone, or cannot be copied.
        """
        theirs_in, ours_in = os.pipe()
        ours_out, theirs_out = os.pipe()
        handed = [theirs_in, theirs_out, log.fileno()]
        try:
            socket.send_fds(self._ours, [b"f"], handed)
            pid = self._ask("fork")["pid"]
        except BaseException:
            os.close(ours_in)
            os.close(ours_out)
            raise
        finally:
            os.close(theirs_in)
            os.close(theirs_out)
        return Forked(self, pid, os.fdopen(ours_in, "wb", 0), os.fdopen(ours_out, "rb", 0))

    def reap(self, pid: int) -> int:
        """Wait for the end of an arm and return its exit status, negative if it was a signal.

        An arm is ended with its server, by the same signal.
        """
        try:
            return int(self._ask("reap", pid=pid)["code"])
        except LeanboardError:
            return -signal.SIGKILL

    def _ask(self, op: str, **payload: int) -> Message:
        """Return the answer; Ctrl-C before it came ends the server.

        Whoever asked next would take the late answer for its own.
        """
        try:
            return self._worker.call(op, _TIMEOUT_S, **payload)
        except KeyboardInterrupt:
            self._worker.kill()
            raise


class Forked:
    """An arm's process, with those parts of ``subprocess.Popen`` that a worker uses.

    Args:
        server: that it is a copy of.
        pid: its process id.
        stdin: what it reads.
        stdout: what it answers.
    """

    def __init__(self, server: ForkServer, pid: int, stdin: IO[bytes], stdout: IO[bytes]) -> None:
        self.pid, self.stdin, self.stdout = pid, stdin, stdout
        self._server = server
        # The server has not waited for it yet, so that the number still is this process.
        self._handle = os.pidfd_open(pid)
        self._code: int | None = None

    def poll(self) -> int | None:
        """Return the exit status; ``None`` while it runs."""
        if self._code is None and select.select([self._handle], [], [], 0)[0]:
            return self.wait()
        return self._code

    def wait(self) -> int:
        """Wait for its end and return the exit status."""
        if self._code is None:
            select.select([self._handle], [], [])
            self._code = self._server.reap(self.pid)
            os.close(self._handle)
        return self._code

    def kill(self) -> None:
        """End it."""
        self.send_signal(signal.SIGKILL)

    def send_signal(self, number: int) -> None:
        """Send a signal, to nobody if it has ended."""
        if self._code is None:
            signal.pidfd_send_signal(self._handle, number)
