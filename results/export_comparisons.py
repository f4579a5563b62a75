"""Comparisons as a table: every candidate against its baseline, a row a metric and statistic."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import pyarrow as pa

from leanboard.metrics.registry import METRICS
from leanboard.results.derived_columns import DERIVED
from leanboard.results.export_cells import (
    IDENTITY,
    NUMBER,
    REAL,
    TEXT,
    WHOLE,
    Cells,
    asked_cells,
    identity_cells,
    in_place,
    number_cells,
    table_of,
)
from leanboard.results.schema import Comparison
from leanboard.results.store import Entry

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
_UNITS = {m.name: m.unit for m in METRICS} | {name: c.unit for name, c in DERIVED.items()}


def comparison_table(entries: Iterable[Entry]) -> pa.Table:
    """Return one row a candidate's run and comparison, in the order of the record."""
    return table_of(COMPARISONS, comparison_rows(entries))


def comparison_rows(entries: Iterable[Entry]) -> Iterator[Cells]:
    """Yield the rows of that table."""
    for entry in in_place(entries):
        yield from _rows_of(entry)


def _rows_of(entry: Entry) -> Iterator[Cells]:
    record = entry.record
    common = {**identity_cells(record, entry.origin), **asked_cells(record)}
    for comparison in record.comparisons:
        yield {**common, **_compared(comparison)}


def _compared(comparison: Comparison) -> Cells:
    differs = comparison.statistic == "difference"
    return number_cells(comparison) | {
        "baseline_run": comparison.baseline_run,
        "metric": comparison.metric,
        "statistic": comparison.statistic,
        "unit": _UNITS.get(comparison.metric) if differs else "1",
        "p_value": comparison.p_value,
        "verdict": comparison.verdict.value,
        "pair_launches": comparison.launches,
        "method_version": comparison.method_version,
    }
