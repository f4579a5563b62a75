"""Energy windows without joules, counted."""

from __future__ import annotations

import pytest

from leanboard.metrics.energy_coverage import missing_windows
from leanboard.metrics.trace import EnergyWindow, Phase, Provenance, RequestObservation

GAP, SHORT = "the readings have a gap", "the window is too short"


def window(
    energy_j: float | None, reason: str | None = None, phase: Phase = Phase.MIXED
) -> EnergyWindow:
    return EnergyWindow(
        phase, 0, 0.0, 1.0, energy_j, "nvml-energy", Provenance.MEASURED, 1, 8, reason
    )


def said(*windows: EnergyWindow) -> str | None:
    return missing_windows(RequestObservation(windows=windows))


def test_some_windows_without_joules_are_counted_with_the_most_frequent_reason() -> None:
    lacking = [window(None, SHORT), window(None, GAP), window(None, GAP)]
    assert said(*lacking, *[window(2.0)] * 5) == f"3 of 8 energy windows have no joules: {GAP}"


def test_one_window_is_told_in_the_singular_and_zero_joules_are_joules() -> None:
    assert said(window(0.0), window(None, GAP)) == f"1 of 2 energy windows has no joules: {GAP}"


def test_the_first_of_equally_frequent_reasons_is_given() -> None:
    assert str(said(window(1.0), window(None, SHORT), window(None, GAP))).endswith(SHORT)


def test_a_window_without_a_reason_says_that() -> None:
    assert str(said(window(1.0), window(None))).endswith("joules: no reason was recorded")


@pytest.mark.parametrize(
    "windows", [[], [window(1.0), window(2.0)], [window(None, GAP), window(None, SHORT)]]
)
def test_none_and_all_without_joules_are_nothing_to_say(windows: list[EnergyWindow]) -> None:
    assert said(*windows) is None


@pytest.mark.parametrize("phase", [Phase.PREFILL, Phase.DECODE, Phase.IDLE])
def test_only_the_timed_windows_count(phase: Phase) -> None:
    assert said(window(1.0), window(1.0), window(None, GAP, phase)) is None
