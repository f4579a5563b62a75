"""Quality and cost in one number, by hand."""

from __future__ import annotations

import pytest

from leanboard.metrics import derived


def test_ratios_of_quality_to_power_and_energy() -> None:
    assert derived.intelligence_per_watt(0.5, 20.0) == 0.025
    assert derived.intelligence_per_joule(0.5, 4.0) == 0.125


def test_a_right_answer_takes_as_many_attempts_as_it_needs() -> None:
    assert derived.per_correct(3.0, 0.25) == 12.0


def test_the_compression_rate_weighs_bytes_against_score() -> None:
    # A quarter of the bytes, nine tenths of the score.
    assert derived.compression_rate(0.25, 0.9) == pytest.approx(3.6)


def test_what_cannot_be_divided_by_is_refused() -> None:
    with pytest.raises(ValueError, match="power"):
        derived.intelligence_per_watt(0.5, 0.0)
    with pytest.raises(ValueError, match="energy"):
        derived.intelligence_per_joule(0.5, 0.0)
    with pytest.raises(ValueError, match="accuracy"):
        derived.per_correct(36.0, 0.0)
    with pytest.raises(ValueError, match="size"):
        derived.compression_rate(0.0, 0.9)
