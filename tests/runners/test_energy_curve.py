"""Joules read off a curve: only where the readings really tell."""

from __future__ import annotations

import pytest

from leanboard.runners.energy.curve import Curve, Sample, integrated
from leanboard.runners.energy.meters import MeterError

# 20 W for 2 s, then 40 W for 2 s, read every half second.
TIMES = tuple(0.5 * i for i in range(9))
JOULES = (0.0, 10.0, 20.0, 30.0, 40.0, 60.0, 80.0, 100.0, 120.0)
CURVE = Curve(TIMES, JOULES, 0.0)


def samples(*pairs: tuple[float, float]) -> list[Sample]:
    return [Sample(time_s, (value,)) for time_s, value in pairs]


def test_the_whole_window_is_the_difference_of_its_ends() -> None:
    assert CURVE.total_j(0.0, 4.0) == 120.0


def test_between_readings_joules_are_interpolated() -> None:
    # from 0.1 s (2 J) to 3.9 s (116 J)
    assert CURVE.between_j(0.1, 3.9) == pytest.approx(114.0)


def test_a_window_of_few_updates_says_how_short_it_is() -> None:
    with pytest.raises(MeterError, match=r"0\.08 s window, what is read moves every 0\.1 s"):
        Curve((0.0, 0.08), (0.0, 5.0), 0.1).total_j(0.0, 0.08)


def test_ten_updates_are_enough() -> None:
    assert Curve((0.0, 1.0), (0.0, 5.0), 0.1).total_j(0.0, 1.0) == 5.0


@pytest.mark.parametrize(
    ("started_s", "ended_s", "which"), [(-0.1, 3.0, "start"), (1.0, 4.1, "end")]
)
def test_nothing_is_read_beyond_the_readings(started_s: float, ended_s: float, which: str) -> None:
    with pytest.raises(MeterError, match=f"no reading beyond the window's {which}"):
        CURVE.between_j(started_s, ended_s)


def test_a_boundary_without_a_reading_near_it_is_refused() -> None:
    curve = Curve((0.0, 1.0, 3.0, 4.0), (0.0, 10.0, 30.0, 40.0), 0.0)
    assert curve.between_j(0.0, 4.0) == 40.0
    with pytest.raises(MeterError, match=r"nearest reading is 0\.5 s from the window's start"):
        curve.between_j(1.5, 4.0)


def test_a_counter_that_stands_still_is_not_zero_joules() -> None:
    with pytest.raises(MeterError, match="stood still"):
        Curve((0.0, 5.0), (0.0, 0.0), 0.1).total_j(0.0, 5.0)


def test_power_is_integrated_by_trapezoids() -> None:
    # (10 + 30) / 2 x 1 + (30 + 30) / 2 x 2
    curve = integrated(samples((0.0, 10.0), (1.0, 30.0), (3.0, 30.0)), 2.0, 0.1)
    assert curve.joules == (0.0, 20.0, 80.0)
    assert curve.resolution_s == 0.1


def test_a_gap_in_the_samples_is_refused() -> None:
    with pytest.raises(MeterError, match=r"no reading for 0\.4 s, at most 0\.25 s"):
        integrated(samples((0.0, 10.0), (0.1, 10.0), (0.5, 10.0)), 0.25, 0.1)


def test_a_clock_that_went_back_is_refused() -> None:
    with pytest.raises(MeterError, match=r"the clock went back by 0\.3 s"):
        integrated(samples((1.0, 10.0), (0.7, 10.0)), 0.25, 0.1)
