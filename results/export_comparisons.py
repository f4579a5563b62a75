"""Comparisons as a table: every candidate against its baseline, a row a metric and statistic."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import pyarrow as pa

from leanboard.results.export_cells import (
    IDENTITY,
    NUMBER,
    REAL,
    TEXT,
    WHOLE,
    Block,
    Chunk,
    asked_cells,
    identity_cells,
    in_place,
    number_columns,
    table_of,
)
from leanboard.results.store import Entry
from leanboard.results.units import unit_of

COMPARISONS = {
    **IDENTITY,
    "workload": TEXT,
    "task": TEXT,
    "suite": TEXT,
    "block": TEXT,
    "arm": TEXT,
    "baseline_run": TEXT,
    "metric": TEXT,
    "statistic": TEXT,
    **NUMBER,
    "p_value": REAL,
    "verdict": TEXT,
    "pair_launches": WHOLE,
    "method_version": WHOLE,
    "provenance": TEXT,
    "reason": TEXT,
    "started_at": TEXT,
    "licence": TEXT,
}
COMPARISON_DOCS = {
    "baseline_run": "Run that the candidate was compared with.",
    "statistic": "What the value of a comparison is: ratio (candidate / baseline), difference "
    "(candidate - baseline; of kl_to_baseline the divergence itself), or agreement (share).",
    "low": "Lower end of the 95% interval of a value; empty where there is none.",
    "high": "Upper end of the 95% interval of a value; empty where there is none.",
    "interval_method": "How the interval was made.",
    "n": "Number of samples; of a comparison, of pairs (rounds, items or windows of a text).",
    "stderr": "Standard error of a value; empty for timings, whose intervals are by ranks.",
    "p_value": "McNemar's test, exact and two-sided: of items that are right or wrong, how likely "
    "so uneven a split of those that only one arm has right is if neither arm is better.",
    "verdict": "What the interval and the metric's direction allow one to say: better, worse, no "
    "difference shown, or undecided, and then the reason says why.",
    "pair_launches": "Processes of both arms that the pairs come from; 0 for scores.",
    "method_version": "Version of the methods that the numbers were made with.",
}


def comparison_table(entries: Iterable[Entry]) -> pa.Table:
    """Return one row a candidate's run and comparison, in the order of the record."""
    return table_of(COMPARISONS, comparison_blocks(entries))


def comparison_blocks(entries: Iterable[Entry]) -> Iterator[Block]:
    """Yield the rows of that table, a run's at a time."""
    for entry in in_place(entries):
        if entry.record.comparisons:
            yield _block_of(entry)


def _block_of(entry: Entry) -> Block:
    record = entry.record
    found = record.comparisons
    columns: Chunk = {
        "baseline_run": [one.baseline_run for one in found],
        "metric": [one.metric for one in found],
        "statistic": [one.statistic for one in found],
        "unit": [unit_of(o.metric) if o.statistic == "difference" else "1" for o in found],
        "p_value": [one.p_value for one in found],
        "verdict": [one.verdict.value for one in found],
        "pair_launches": [one.launches for one in found],
        "method_version": [one.method_version for one in found],
        **number_columns(found),
    }
    shared = {**identity_cells(record, entry.origin), **asked_cells(record)}
    return Block(shared, columns, len(found))
