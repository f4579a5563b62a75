"""The tables of a run's page: names in their order, and gaps that many runs have in common."""

from __future__ import annotations

import pytest
from record_factory import make_run

from leanboard.leaderboard.columns import in_order, place_of
from leanboard.leaderboard.format import decimals
from leanboard.leaderboard.run_tables import NO_REASON, missed, missed_of
from leanboard.results.schema import Measurement


def gap(reason: str | None) -> Measurement:
    return Measurement(
        value=None, unit="s", n=0, summary="", provenance=None, method_version=1, reason=reason
    )


def test_names_stand_in_the_order_of_the_registry_whatever_order_they_came_in() -> None:
    names = ["zzz", "tpot_s", "arc_easy.acc", "accuracy", "ttft_s", "aaa"]
    expected = ("ttft_s", "tpot_s", "accuracy", "arc_easy.acc", "aaa", "zzz")
    assert in_order(names) == in_order(reversed(names)) == expected
    assert list(expected) == sorted(names, key=place_of)


def test_runs_that_lack_the_same_share_the_list_of_it() -> None:
    one, other = make_run(number=1).record, make_run(number=2).record
    assert missed(one)
    assert missed(one) is missed(other)


def test_a_gap_says_its_reason_or_that_there_is_none() -> None:
    found = missed_of({"tpot_s": gap("it failed"), "odd": gap(None)})
    assert [(line.name, line.reason) for line in found] == [
        ("tpot_s", "it failed"),
        ("odd", NO_REASON),
    ]


@pytest.mark.parametrize(
    ("value", "places"),
    [(0.0, 0), (100.0, 0), (-99.9, 1), (10.0, 1), (9.99, 2), (0.1, 3), (0.099, 4), (1e-12, 8)],
)
def test_three_digits_are_shown_with_eight_decimals_at_most(value: float, places: int) -> None:
    assert decimals(value) == places
