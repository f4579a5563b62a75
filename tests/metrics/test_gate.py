"""Pass, fail or undecided; and what guessing is worth."""

from __future__ import annotations

import pytest

from leanboard.metrics.gate import (
    GateVerdict,
    above_chance,
    gate,
    near_chance,
)
from leanboard.metrics.intervals import Interval


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [
        (0.99, 1.02, GateVerdict.PASS),
        (1.01, 1.02, GateVerdict.PASS),
        (0.90, 0.9899, GateVerdict.FAIL),
        (0.90, 0.99, GateVerdict.UNDECIDED),
        (0.9899, 1.02, GateVerdict.UNDECIDED),
    ],
)
def test_the_whole_interval_must_be_on_one_side(
    low: float, high: float, verdict: GateVerdict
) -> None:
    assert gate(Interval(low, high, "test")).verdict is verdict


def test_the_reason_names_the_interval_and_the_threshold() -> None:
    found = gate(Interval(0.95, 1.05, "test"), 0.999)
    assert found.reason == (
        "[0.950, 1.050] of the baseline's score, which holds 0.999: more items would decide"
    )
    assert found.threshold == 0.999


def test_without_an_interval_there_is_nothing_to_judge() -> None:
    assert gate(None).verdict is None
    assert "no interval" in gate(None).reason


@pytest.mark.parametrize("threshold", [0.0, 1.01, -1.0])
def test_a_threshold_is_a_share(threshold: float) -> None:
    with pytest.raises(ValueError, match="share"):
        gate(None, threshold)


def test_a_score_above_chance_is_zero_for_guessing_and_one_for_all_right() -> None:
    assert above_chance(0.25, 0.25) == 0
    assert above_chance(1.0, 0.25) == 1
    assert above_chance(0.4, 0.25) == pytest.approx(0.2)
    assert above_chance(0.4, 0.0) == 0.4
    with pytest.raises(ValueError, match="guessing"):
        above_chance(0.4, 1.0)


def test_a_score_is_near_chance_if_its_interval_reaches_it() -> None:
    assert near_chance(Interval(0.25, 0.5, "test"), 0.25)
    assert not near_chance(Interval(0.26, 0.5, "test"), 0.25)
