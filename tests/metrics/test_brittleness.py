"""How unevenly a technique treats domains, by hand."""

from __future__ import annotations

import math

import pytest

from leanboard.metrics.abilities import ability_of, changes_by_ability
from leanboard.metrics.brittleness import Brittleness, Domain, brittleness
from leanboard.metrics.intervals import Interval
from leanboard.metrics.metric import Missing
from leanboard.metrics.summary import Estimate


def found(domains: dict[str, Domain], target: str | None = None) -> Brittleness:
    result = brittleness(domains, target)
    assert isinstance(result, Brittleness)
    return result


def test_domains_that_keep_the_same_share_show_no_brittleness() -> None:
    even = found({"law": Domain(0.4, 0.5, 0.0), "art": Domain(0.2, 0.25, 0.0)})
    assert even.dsi == pytest.approx(0)
    assert even.dsi_of_noise == 0
    assert even.transfer_ratio == pytest.approx(1)


def test_uneven_domains_by_hand() -> None:
    # Retentions 1.2, 0.9, 0.6: mean 0.9, squared distances 0.09, 0, 0.09.
    uneven = found(
        {
            "law": Domain(0.60, 0.50, 0.03),
            "art": Domain(0.36, 0.40, 0.04),
            "sport": Domain(0.30, 0.50, 0.05),
        }
    )
    assert uneven.target == "law"
    assert uneven.dsi == pytest.approx(math.sqrt(0.06) / 0.9)
    # The target keeps 1.2, the others 0.75 on average.
    assert uneven.generalization_gap == pytest.approx(0.45)
    assert uneven.transfer_ratio == pytest.approx(0.625)
    squares = (0.03**2 + 0.04**2 + 0.05**2) / 3
    assert uneven.dsi_of_noise == pytest.approx(math.sqrt(squares * 2 / 3) / 0.9)


@pytest.mark.parametrize(
    ("law", "art", "gap"),
    [
        # Law keeps 1.05 and gains 0.01; art keeps 0.94 / 0.9 and gains 0.04.
        (Domain(0.21, 0.2), Domain(0.94, 0.9), 1.05 - 0.94 / 0.9),
        # Law keeps 0.9 and loses 0.09; art keeps 0.26 / 0.3 and loses 0.04.
        (Domain(0.81, 0.9), Domain(0.26, 0.3), 0.9 - 0.26 / 0.3),
    ],
)
def test_the_target_keeps_the_largest_share_even_if_another_gained_more(
    law: Domain, art: Domain, gap: float
) -> None:
    shown = found({"art": art, "law": law})
    assert shown.target == "law"
    assert shown.generalization_gap == pytest.approx(gap)
    assert shown.generalization_gap > 0


def test_a_named_target_is_the_one_that_the_others_are_held_against() -> None:
    domains = {"law": Domain(0.6, 0.5), "art": Domain(0.2, 0.4)}
    tuned = found(domains, "art")
    assert tuned.target == "art"
    assert tuned.generalization_gap == pytest.approx(0.5 - 1.2)
    assert tuned.transfer_ratio == pytest.approx(1.2 / 0.5)
    assert tuned.dsi_of_noise is None
    with pytest.raises(KeyError):
        brittleness(domains, "music")


@pytest.mark.parametrize(
    ("domains", "reason"),
    [
        ({"law": Domain(0.5, 0.5)}, "one domain"),
        ({"law": Domain(0.5, 0.0), "art": Domain(0.5, 0.5)}, "above 0 in every domain"),
        ({"law": Domain(0.0, 0.5), "art": Domain(0.0, 0.5)}, "nothing is left"),
    ],
)
def test_what_gives_no_shares_is_missing(domains: dict[str, Domain], reason: str) -> None:
    result = brittleness(domains)
    assert isinstance(result, Missing)
    assert reason in result.reason


@pytest.mark.parametrize(
    ("task", "ability"),
    [
        ("mmlu", "knowledge"),
        ("mmlu_anatomy", "knowledge"),
        ("arc_easy", "knowledge"),
        ("ifeval", "instruction"),
        ("truthfulqa_mc2", "truthfulness"),
        ("hellaswag", None),
    ],
)
def test_tasks_are_told_apart_by_what_they_ask_for(task: str, ability: str | None) -> None:
    assert ability_of(task) == ability


def test_changes_are_averaged_within_an_ability() -> None:
    def change(value: float) -> Estimate:
        return Estimate(value, 100, Interval(value - 0.03, value + 0.04, "test"), 0.01)

    changes = changes_by_ability(
        {"mmlu": change(-0.2), "arc_easy": change(-0.1), "ifeval": change(0.3), "piqa": change(0)}
    )
    assert list(changes) == ["instruction", "knowledge"]
    assert changes["instruction"].value == pytest.approx(0.3)
    assert changes["knowledge"].value == pytest.approx(-0.15)
    knowledge = changes["knowledge"].interval
    assert knowledge is not None
    assert knowledge.low == pytest.approx(-0.15 - 0.03 / math.sqrt(2))
