"""What a number depends on, and how far it may be from what was published."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

from leanboard.metrics.metric import Direction, Metric, Missing, Role, Summary
from leanboard.metrics.trace import Provenance

RATIO_MARGIN = 0.05
"""Change of a ratio to the baseline that is too small to matter, as a share."""

ABSOLUTE_MARGIN = 0.10
"""The same of a time, a rate, a memory peak or joules: these move with the day."""

BASELINE_MARGIN = 0.25
"""The same where absolute numbers decide (a timed baseline): machines move by tens of percent."""

ITEMS_MARGIN = 0.02
"""The same of a score on the same items, as a share of the items; one item always may differ."""

TEXT_MARGIN = 0.01
"""The same of perplexity and bits per byte on the same text, as a share."""

EXACT = 1e-9
"""Largest relative difference of counted numbers that is rounding."""

_MODELS = frozenset({Provenance.MODELLED, Provenance.SIMULATED})


class Basis(StrEnum):
    """What a number depends on besides the cell."""

    RATIO = "ratio"
    INVARIANT = "invariant"
    ABSOLUTE = "absolute"


class Method(StrEnum):
    """How two readings are compared.

    By their intervals, by the intervals over windows of a text where these differ at all (else by a
    share), by a share, or by counted items.
    """

    INTERVALS = "intervals"
    WINDOWS = "windows"
    WITHIN = "within"
    ITEMS = "items"


@dataclass(frozen=True, slots=True)
class Rule:
    """How a metric is judged.

    Args:
        basis: what it depends on besides the cell.
        method: the test.
        margin: change that is too small to matter.
        decides: whether it may decide about the whole; else it is judged and shown only.
    """

    basis: Basis
    method: Method
    margin: float
    decides: bool = True


_FIDELITY: Mapping[str, Rule] = {
    "top1_agreement": Rule(Basis.INVARIANT, Method.WINDOWS, ITEMS_MARGIN),
    "greedy_agreement": Rule(Basis.INVARIANT, Method.ITEMS, ITEMS_MARGIN),
    "first_divergence": Rule(Basis.INVARIANT, Method.ITEMS, ITEMS_MARGIN),
    # What rounding alone leaves of a divergence has no stable size, and more tokens are no loss.
    "kl_to_baseline": Rule(Basis.INVARIANT, Method.WITHIN, RATIO_MARGIN, decides=False),
    "output_length_ratio": Rule(Basis.INVARIANT, Method.WITHIN, RATIO_MARGIN, decides=False),
}


def answers_rule(metric: str, statistic: str, provenance: Provenance | None) -> Rule | Missing:
    """Return how a comparison of scored answers with the baseline's is judged.

    The same items are scored again: how sure one is of other items says nothing of a change, and
    the scores of both arms are judged by themselves. What lies between the two arms is not.
    """
    if provenance in _MODELS:
        return Missing(f"{provenance} numbers are shown, never compared")
    rule = _FIDELITY.get(metric)
    if rule is None:
        return Missing(f"this {statistic} follows from both arms' scores, judged by themselves")
    return rule


def ratio_rule(statistic: str, provenance: Provenance | None) -> Rule | Missing:
    """Return how a comparison with the baseline is judged."""
    if provenance in _MODELS:
        return Missing(f"{provenance} numbers are shown, never compared")
    if statistic == "ratio":
        return Rule(Basis.RATIO, Method.INTERVALS, RATIO_MARGIN)
    if statistic == "agreement":
        return Rule(Basis.INVARIANT, Method.ITEMS, ITEMS_MARGIN)
    return Missing(f"a {statistic} is derived from other metrics")


def value_rule(metric: Metric, provenance: Provenance | None) -> Rule | Missing:
    """Return how the value of a metric itself is judged.

    A metric that describes the machine, or of which neither direction is better, decides nothing.
    """
    if provenance in _MODELS:
        return Missing(f"{provenance} numbers are shown, never compared")
    if metric.role is Role.SETUP:
        return Missing("it happens once a run, beside whatever the disk is doing")
    decides = metric.direction is not Direction.NEUTRAL and metric.role is not Role.HARDWARE
    return replace(_rule_of(metric, provenance), decides=decides)


def _rule_of(metric: Metric, provenance: Provenance | None) -> Rule:
    if metric.role is Role.QUALITY:
        share = metric.summary is Summary.MEAN
        method = Method.ITEMS if share else Method.WITHIN
        return Rule(Basis.INVARIANT, method, ITEMS_MARGIN if share else TEXT_MARGIN)
    if provenance is Provenance.COUNTED and metric.summary is Summary.SINGLE:
        return Rule(Basis.INVARIANT, Method.WITHIN, EXACT)
    if metric.role is Role.SPECULATION:
        return Rule(Basis.INVARIANT, Method.INTERVALS, RATIO_MARGIN)
    return Rule(Basis.ABSOLUTE, Method.INTERVALS, ABSOLUTE_MARGIN)
