"""Ctrl-C that cannot be lost.

Python raises ``KeyboardInterrupt`` wherever the main thread happens to be. In a destructor or a
callback of a library nobody can catch it, and Python prints and forgets it. So the signal is
remembered, and long work asks.
"""

from __future__ import annotations

import signal
import threading
from types import FrameType
from typing import NoReturn

_asked = threading.Event()


def listen() -> None:
    """Let SIGINT and SIGTERM end the work alike: workers are ended, files are whole."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _interrupted)


def raise_if_asked() -> None:
    """Raise KeyboardInterrupt if a signal came before, whatever became of its exception."""
    if _asked.is_set():
        raise KeyboardInterrupt


def _interrupted(number: int, frame: FrameType | None) -> NoReturn:  # noqa: ARG001
    _asked.set()
    raise KeyboardInterrupt
