"""Parents that are killed while what they started is busy."""

from __future__ import annotations

from pathlib import Path

import psutil
from scripts import running


def gone_with_its_parent(script: str, folder: Path) -> bool:
    """Run a script that prints the pid of a process it started, kill it, and say how that ends.

    Args:
        script: keeps running until its standard input ends; its argument is the folder.
        folder: for what it writes.

    Returns:
        Whether the process ended within ten seconds of the script.
    """
    with running(script, folder) as (parent, line):
        orphan = psutil.Process(int(line))
        parent.kill()
    try:
        orphan.wait(timeout=10)
    except psutil.TimeoutExpired:
        orphan.kill()
        return False
    return not orphan.is_running()
