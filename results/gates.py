"""The gate of a row: whether enough of the baseline's accuracy is kept."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pyarrow as pa

from leanboard.metrics.gate import THRESHOLD, Gate, GateVerdict
from leanboard.metrics.gate import gate as judged
from leanboard.results.macro_scores import MacroScores
from leanboard.results.stored import estimate_of

REQUANTISED = "requantised"
"""How the warning begins that keeps an arm's quality out of ranks, fronts, gates and findings."""

GATE_COLUMNS: dict[str, pa.DataType] = {
    "gate": pa.string(),
    "gate_reason": pa.string(),
    "gate_threshold": pa.float64(),
}
GATE_DOCS = {
    "gate": "pass, fail or undecided: whether the interval of accuracy_ratio lies at or above the "
    "threshold, below it, or holds it. Empty where there is nothing to judge.",
    "gate_reason": "What the gate was judged by, or why there is none.",
    "gate_threshold": "Share of the baseline's accuracy that passes.",
}


def gate_of(macro: MacroScores, warnings: Iterable[str], threshold: float = THRESHOLD) -> Gate:
    """Return the gate of an arm, from the interval of its accuracy's ratio to the baseline's.

    Args:
        macro: the arm's averages.
        warnings: those of its records.
        threshold: share of the baseline's accuracy that passes.
    """
    if any(warning.startswith(REQUANTISED) for warning in warnings):
        reason = (
            "requantised: the weights were published quantised, so what this arm loses is not what "
            "it would lose on float weights"
        )
        return Gate(None, reason, threshold)
    ratio = macro.ratio
    if ratio.value is None or ratio.interval is None:
        reason = ratio.reason or "the ratio to the baseline's score has no interval"
        return Gate(None, reason, threshold)
    if macro.near_chance:
        reason = "the baseline itself is not shown to be above guessing: a share of it says little"
        return Gate(GateVerdict.UNDECIDED, reason, threshold)
    return judged(estimate_of(ratio).interval, threshold)


def gate_cells(gate: Gate) -> dict[str, Any]:
    """Return the columns of one gate."""
    return {
        "gate": None if gate.verdict is None else gate.verdict.value,
        "gate_reason": gate.reason,
        "gate_threshold": gate.threshold,
    }
