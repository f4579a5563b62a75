"""A process that runs a backend's own generate, with no code of leanboard in it.

The parent's side asks, stops and continues it, as a worker of leanboard's is; the child's side
answers one line of JSON with another.
"""

from __future__ import annotations

import ctypes
import json
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

ROOT = Path(__file__).resolve().parents[1]
Times = dict[str, dict[str, float]]
"""Name of what ran to ``ttft_s`` and ``tpot_s``."""

_PR_SET_PDEATHSIG = 1


class OwnProcess:
    """The parent's side. Use as a context manager; leaving it ends the process.

    Args:
        module: ``benchmarks.own_...``, run as a program.
        settings: what it loads; its only argument.
        log: file that receives everything the process prints beside its answers.
    """

    def __init__(self, module: str, settings: dict[str, Any], log: Path) -> None:
        self._command = [sys.executable, "-m", module, json.dumps(settings)]
        self._log = log

    def __enter__(self) -> Self:
        self._log.parent.mkdir(parents=True, exist_ok=True)
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command,
                cwd=ROOT,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        return self

    def __exit__(self, *error: object) -> None:
        self._process.kill()
        self._process.communicate()

    def answer(self) -> dict[str, Any]:
        """Return the next answer; the first one says that the model is loaded.

        Raises:
            RuntimeError: if the process has ended.
        """
        line = self._process.stdout.readline() if self._process.stdout is not None else ""
        if not line:
            raise RuntimeError(f"the process ended; see {self._log}")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def timed(self, text: str, tokens: int) -> Times:
        """Run a prompt and return what it took."""
        if self._process.stdin is not None:
            print(json.dumps([text, tokens]), file=self._process.stdin, flush=True)
        return self.answer()

    def pause(self) -> None:
        """Stop the process, so that its idle threads cannot spin."""
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on."""
        self._process.send_signal(signal.SIGCONT)


def serve(load: Callable[[dict[str, Any]], Callable[[str, int], Times]]) -> None:
    """Be the child: load what the argument says, then time prompts until there are no more."""
    # Killed with its parent, also while it is stopped.
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    timed = load(json.loads(sys.argv[1]))
    print(json.dumps({}), flush=True)
    for line in sys.stdin:
        print(json.dumps(timed(*json.loads(line))), flush=True)
