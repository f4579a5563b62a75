"""Python scripts in a process of their own, which a test waits for and ends."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def running(script: str, folder: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Start a script and yield its process with the first line that it prints.

    Leaving the context waits for its end.

    Args:
        script: keeps running until its standard input ends.
        folder: its only argument.
    """
    with subprocess.Popen(
        [sys.executable, "-c", script, str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        yield process, process.stdout.readline()
