"""What a record says about how it was sampled and how stable it was, as columns of a table.

Only timed runs have it: a scoring run is not sampled in rounds.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any

import pyarrow as pa

from leanboard.results.schema import AccuracyCell, Record

COLUMNS: dict[str, pa.DataType] = {
    "stability": pa.string(),
    "stability_causes": pa.string(),
    "launches": pa.int64(),
    "rounds": pa.int64(),
    "stopped_by": pa.string(),
}
DOCS = {
    "stability": "stable, unstable, or unknown (an older record, a failed run, or too few samples "
    "to judge by); empty for scoring runs. An unstable run competes by its intervals; times "
    "of an unknown error are on no front, and verdicts on them are in doubt.",
    "stability_causes": "What makes the run unstable, each with its figure and threshold.",
    "launches": "Processes of the arm, one after the other, that its timed rounds are spread over.",
    "rounds": "Timed rounds of the arm, warm-ups apart.",
    "stopped_by": "Why no more rounds were made: fixed (a number was asked for), width (every "
    "watched interval was narrow enough), rounds (the most allowed), time (the budget) or nothing "
    "(no ratio could come any more: an arm that it needs had failed).",
}
UNITS = {"launches": "1", "rounds": "1"}


class Reliability(StrEnum):
    """What a record allows one to say about its stability."""

    STABLE = "stable"
    UNSTABLE = "unstable"
    UNKNOWN = "unknown"


def reliability_of(record: Record) -> Reliability:
    """Return whether the run was stable; a record without a judgement is unknown."""
    stable = None if record.stability is None else record.stability.stable
    if stable is None:
        return Reliability.UNKNOWN
    return Reliability.STABLE if stable else Reliability.UNSTABLE


def causes(record: Record) -> str:
    """Return what makes the run unstable, in one line; empty where nothing does."""
    if record.stability is None:
        return ""
    return "; ".join(f"{cause.kind}: {cause.message}" for cause in record.stability.causes)


def reliability_cells(record: Record) -> dict[str, Any]:
    """Return the columns of one record; ``None`` where the record does not tell."""
    timed = not isinstance(record.cell, AccuracyCell)
    sampling = record.sampling
    return {
        "stability": reliability_of(record).value if timed else None,
        "stability_causes": causes(record) or None,
        "launches": None if sampling is None else sampling.launches,
        "rounds": None if sampling is None else sampling.rounds,
        "stopped_by": None if sampling is None else sampling.stopped_by,
    }
