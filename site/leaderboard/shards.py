"""The data of every run in shards: scripts that the browser loads for the runs that it needs.

``data/runs/<xx>.js`` holds the runs whose place has a SHA-256 that starts with the hex digits xx,
each as one statement that ``static/shards.js`` has the table for. Runs are added one by one, so
that no more than one of them is in memory.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

from leanboard.leaderboard.data import Json, run_script


def shard_of(place: str) -> str:
    """Return the name of the shard that holds the run at a place (machine, cell and run)."""
    return hashlib.sha256(place.encode()).hexdigest()[:2]


def write_shard(folder: Path, name: str, runs: Iterable[tuple[str, Json]]) -> None:
    """Write a shard.

    The same runs in the same order give the same bytes.

    Args:
        folder: the folder of the shards, which is there.
        name: its name (:func:`shard_of`).
        runs: the place (machine, cell and run) and the data
            (:func:`leanboard.leaderboard.run_data.run_data`) of every run that it holds.
    """
    with (folder / f"{name}.js").open("w", encoding="ascii") as shard:
        shard.writelines(run_script(place, run) for place, run in runs)
