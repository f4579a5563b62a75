"""Processes for arms: start, ask, stop, continue, and never leave one behind."""

from __future__ import annotations

import json
import os
import selectors
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from leanboard.results.errors import ArmError, OutOfMemoryError
from leanboard.runners import wire
from leanboard.runners.machine.allocator import with_huge_pages

if TYPE_CHECKING:
    from leanboard.runners.forkserver import Forked, ForkServer

_READ_BYTES = 1 << 16
_SAME_NUMBERS = {"CUDA_DEVICE_ORDER": "PCI_BUS_ID"}
"""CUDA puts the fastest GPU first by itself, NVML goes by the bus: both must mean one device 0."""
_LOG_TAIL_LINES = 5


class Worker:
    """One arm's process. Use as a context manager; leaving it ends the process.

    Args:
        label: name of the arm, for messages.
        log: file that receives everything the process prints.
        server: of whose process it is a copy; ``None`` for one that is started from nothing.
        control: socket that it is to read; makes it a fork server.
    """

    def __init__(
        self,
        label: str,
        log: Path,
        server: ForkServer | None = None,
        control: socket.socket | None = None,
    ) -> None:
        self.label = label
        self._log = log
        self._server, self._control = server, control
        self._buffer = b""

    def __enter__(self) -> Self:
        try:
            self._process = self._started()
        except OSError as error:
            raise ArmError(f"{self.label}: the worker could not be started: {error}") from error
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._process.stdout, selectors.EVENT_READ)  # type: ignore[arg-type]
        return self

    def _started(self) -> subprocess.Popen[bytes] | Forked:
        self._log.parent.mkdir(parents=True, exist_ok=True)
        control = () if self._control is None else (self._control.fileno(),)
        with self._log.open("ab") as log:
            if self._server is not None:
                return self._server.start(log)
            parent, *numbers = map(str, (os.getpid(), *control))
            return subprocess.Popen(
                [sys.executable, "-m", "leanboard.runners.worker", parent, *numbers],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                bufsize=0,
                env=with_huge_pages(os.environ) | _SAME_NUMBERS,
                # Ctrl-C is for the parent, which then ends its workers in order.
                start_new_session=True,
                pass_fds=control,
            )

    def __exit__(self, *error: object) -> None:
        self.kill()
        self._selector.close()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()

    @property
    def running(self) -> bool:
        """Whether the process is still there."""
        return self._process.poll() is None

    @property
    def pid(self) -> int:
        """Process id of the worker."""
        return self._process.pid

    def call(self, op: str, timeout_s: float, **payload: Any) -> wire.Message:
        """Send one message and return the answer.

        Raises:
            ArmError: if the worker fails, dies or does not answer in time (it is then killed).
            OutOfMemoryError: if it ran out of memory.
            UnsupportedError: if it refuses.
        """
        self.send(op, **payload)
        return self.receive(op, timeout_s)

    def send(self, op: str, **payload: Any) -> None:
        """Send one message; ``receive`` gives the answer.

        Raises:
            ArmError: if the worker is gone.
        """
        self._send({"op": op, **payload})

    def receive(self, op: str, timeout_s: float) -> wire.Message:
        """Return the answer to the message that was sent last.

        Raises:
            ArmError: if the worker fails, dies or does not answer in time (it is then killed).
            OutOfMemoryError: if it ran out of memory.
            UnsupportedError: if it refuses.
        """
        reply = self._receive(op, time.monotonic() + timeout_s, timeout_s)
        if not reply["ok"]:
            raise wire.error_from(reply)
        return reply

    def pause(self) -> None:
        """Stop the process, so that an idle arm's thread pool cannot spin."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let a stopped process go on."""
        self._signal(signal.SIGCONT)

    def kill(self) -> None:
        """End the process at once and reap it."""
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()

    def _signal(self, number: signal.Signals) -> None:
        if self._process.poll() is None:
            self._process.send_signal(number)

    def _send(self, message: Mapping[str, Any]) -> None:
        stdin = self._process.stdin
        data = memoryview(wire.encode(message))
        try:
            while stdin is not None and data:
                data = data[stdin.write(data) or 0 :]
        except BrokenPipeError:
            raise self._death() from None

    def _receive(self, op: str, deadline_s: float, timeout_s: float) -> wire.Message:
        while b"\n" not in self._buffer:
            if not self._selector.select(max(0.0, deadline_s - time.monotonic())):
                self.kill()
                raise ArmError(
                    f"{self.label}: no answer to '{op}' within {timeout_s:g} s; the worker was "
                    "ended. Raise procedure.timeout_s if the machine is slow."
                )
            chunk = os.read(self._process.stdout.fileno(), _READ_BYTES)  # type: ignore[union-attr]
            if not chunk:
                raise self._death()
            self._buffer += chunk
        line, self._buffer = self._buffer.split(b"\n", 1)
        reply: wire.Message = json.loads(line)
        return reply

    def _death(self) -> ArmError:
        """Return the error that says how the worker ended."""
        code = self._process.wait()
        if code == -signal.SIGKILL:
            return OutOfMemoryError(
                f"{self.label}: the worker was killed (signal 9), by the kernel for lack of memory "
                "or by hand. Close other programs, or choose a smaller model."
            )
        cause = f"signal {-code}" if code < 0 else f"exit status {code}"
        tail = self._log.read_text(errors="replace").splitlines()[-_LOG_TAIL_LINES:]
        return ArmError(f"{self.label}: the worker ended with {cause}. " + " | ".join(tail))
