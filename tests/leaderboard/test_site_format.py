"""Numbers for people."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from decimal import ROUND_HALF_UP, Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leanboard.leaderboard.format import (
    DASH,
    Scale,
    moment,
    number,
    percent,
    plural,
    quantity,
    ratio_places,
    rounded_ratio,
    scale_for,
    share,
    span,
)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"),
        (0.0517, "0.0517"),
        (1.2345, "1.23"),
        (51.66, "51.7"),
        (1234567.8, "1,234,568"),
        (-3.456, "\u22123.46"),
        (2.5, "2.50"),
    ],
)
def test_a_number_has_three_significant_digits_and_no_exponent(value: float, text: str) -> None:
    assert number(value) == text


def test_halves_are_rounded_away_from_zero_as_the_browser_does() -> None:
    assert [number(v, 0) for v in (0.5, 1.5, 2.5, -2.5)] == ["1", "2", "3", "\u22123"]


DYADIC = st.builds(lambda n, power: n / 2**power, st.integers(-(10**9), 10**9), st.integers(0, 9))
"""Numbers of which many lie halfway between two decimals."""


@given(st.one_of(st.floats(-1e12, 1e12), DYADIC), st.integers(0, 8))
def test_every_number_is_rounded_from_its_exact_decimals(value: float, places: int) -> None:
    exact = Decimal(value).quantize(Decimal(1).scaleb(-places), rounding=ROUND_HALF_UP)
    sign = "\u2212" if exact < 0 else ""
    assert number(value, places) == f"{sign}{abs(exact):,f}"


@pytest.mark.parametrize("value", [2.0**53, 1e20, 1e300])
def test_a_number_too_large_for_decimals_is_whole(value: float) -> None:
    assert number(value, 3) == f"{int(value):,}.000"


def test_a_number_that_rounds_to_zero_has_no_sign() -> None:
    assert number(-0.0001, 2) == "0.00"


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (0.0517, "s", "51.7 ms"),
        (1.5, "s", "1.50 s"),
        (0.00002, "s", "20.0 \u00b5s"),
        (538_060_032, "B", "513 MiB"),
        (2**31, "B", "2.00 GiB"),
        (0.1356, "J", "136 mJ"),
        (50.2, "tok/s", "50.2 tok/s"),
        (0.58, "1", "0.580"),
    ],
)
def test_a_quantity_is_shown_in_a_readable_size(value: float, unit: str, text: str) -> None:
    assert quantity(value, unit) == text


def test_what_was_not_measured_is_a_dash_and_what_was_measured_as_zero_is_zero() -> None:
    assert quantity(None, "s") == DASH
    assert quantity(0.0, "B") == "0 B"


def test_one_scale_serves_a_whole_column() -> None:
    assert scale_for("s", [0.02, 0.05, 3.0]) == Scale(1e3, "ms")
    assert scale_for("B/tok", [46080.0]).suffix == "KiB/tok"


def test_a_narrow_interval_keeps_its_ends_apart() -> None:
    milliseconds = Scale(1e3, "ms")
    assert span(0.05170, 0.05172, milliseconds) == "51.70 \u2013 51.72"
    assert span(0.0511, 0.0523, milliseconds) == "51.1 \u2013 52.3"
    assert span(0.0, 0.0, milliseconds) == "0 \u2013 0"


@pytest.mark.parametrize("value", [math.inf, -math.inf, math.nan])
def test_what_is_no_finite_number_is_a_dash(value: float) -> None:
    assert number(value) == number(value, 2) == DASH


@pytest.mark.parametrize(
    ("ends", "shown", "places"),
    [
        ((0.8, 0.9), (0.85, 0.8, 0.9), 3),
        ((1.0004410779, 1.0009826941), (1.0008334713, 1.0004410779, 1.0009826941), 4),
        ((1.0000020083, 1.0001), (1.00005, 1.0000020083, 1.0001), 6),
        ((0.99995, 1.0002), (1.0001, 0.99995, 1.0002), 3),
        ((1.0, 1.2), (1.1, 1.0, 1.2), 3),
        ((), (1.0003,), 4),
        ((), (1.0,), 3),
        ((1.1, 1.2), (1.0 + 1e-12,), 8),
    ],
)
def test_a_ratio_is_told_from_one_unless_its_interval_holds_one(
    ends: tuple[float, ...], shown: tuple[float, ...], places: int
) -> None:
    assert ratio_places(3, ends, *shown) == places


@given(st.floats(1e-9, 0.5), st.sampled_from([1, -1]), st.integers(2, 4))
def test_the_decimals_of_a_ratio_are_the_fewest_that_tell_it_from_one(
    off: float, sign: int, least: int
) -> None:
    value = 1 + sign * off
    places = ratio_places(least, (), value)
    told = number(value, places) != number(1.0, places)
    assert told or places == 8
    assert places == least or number(value, places - 1) == number(1.0, places - 1)


def test_a_ratio_near_one_keeps_the_digits_by_which_it_differs_from_one() -> None:
    near = [1.0000020083, 0.99999799, 1.0]
    assert [rounded_ratio(value) for value in near] == [1.00000201, 0.99999799, 1.0]
    assert [rounded_ratio(v) for v in (0.123456789, 12.3456789)] == [0.123457, 12.3457]


def test_shares_counts_and_moments_read_as_people_write_them() -> None:
    assert [percent(0.214), percent(-0.38)] == ["+21.4 %", "\u221238.0 %"]
    assert percent(0.00083, 2) == "+0.08 %"
    assert [share(0.0412), share(1.0)] == ["4.1 %", "100.0 %"]
    assert [plural(1, "run"), plural(1200, "run")] == ["1 run", "1,200 runs"]
    assert [plural(1, "launch"), plural(8, "launch")] == ["1 launch", "8 launches"]
    assert moment(datetime(2026, 11, 20, 12, 3, tzinfo=UTC)) == "2026-11-20 12:03 UTC"


@given(st.floats(min_value=1e-6, max_value=1e12))
def test_the_text_of_a_number_is_close_to_it(value: float) -> None:
    shown = float(number(value).replace(",", ""))
    assert abs(shown - value) <= 0.006 * value
