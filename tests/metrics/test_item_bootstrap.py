"""Intervals from items drawn again: what they are, that they cover, and that they repeat."""

from __future__ import annotations

import math
import random
from functools import cache

import numpy as np
import pytest

from leanboard.metrics import item_bootstrap
from leanboard.metrics.intervals import Interval
from leanboard.metrics.item_bootstrap import difference_interval, ratio_interval

Cells = tuple[int, int, int, int]


def arms(cells: Cells) -> tuple[list[float], list[float]]:
    """Return scores of both arms: both right, only the candidate, only the baseline, neither."""
    outcomes = ((1.0, 1.0), (1.0, 0.0), (0.0, 1.0), (0.0, 0.0))
    pairs = [outcome for outcome, n in zip(outcomes, cells, strict=True) for _ in range(n)]
    return [c for c, _ in pairs], [b for _, b in pairs]


def known(interval: Interval | None) -> Interval:
    assert interval is not None
    return interval


def test_the_method_names_the_draws_and_the_seed() -> None:
    method = known(difference_interval(*arms((20, 2, 3, 25)))).method
    assert method == (
        "percentile bootstrap over items, 10000 draws, seed 0, "
        "1.5 items added to either way of differing"
    )
    continuous = known(difference_interval([i / 40 for i in range(40)], [0.5] * 40)).method
    assert continuous == "percentile bootstrap over items, 10000 draws, seed 0"


def test_the_interval_agrees_with_the_closed_form_of_bonett_and_price() -> None:
    # 400 items, 10 gained, 30 lost: 11.5 and 31.5 of 403, so that the difference is -20 / 403 and
    # its standard error sqrt((43 - 400 / 403) / 403) / sqrt(403) = 0.01608.
    interval = known(difference_interval(*arms((150, 10, 30, 210))))
    assert interval.low == pytest.approx(-0.0496 - 1.96 * 0.01608, abs=0.003)
    assert interval.high == pytest.approx(-0.0496 + 1.96 * 0.01608, abs=0.003)


def test_the_interval_of_a_continuous_mean_agrees_with_the_normal_one() -> None:
    noise = random.Random(1)
    baseline = [noise.random() for _ in range(200)]
    candidate = [b + noise.gauss(-0.02, 0.1) for b in baseline]
    differences = np.array(candidate) - np.array(baseline)
    reach = 1.96 * differences.std() / np.sqrt(200)
    interval = known(difference_interval(candidate, baseline))
    assert interval.low == pytest.approx(differences.mean() - reach, abs=0.001)
    assert interval.high == pytest.approx(differences.mean() + reach, abs=0.001)


def test_equal_answers_do_not_promise_that_the_next_ones_are_equal() -> None:
    few, many = (known(ratio_interval(*arms((n, 0, 0, n)))) for n in (25, 2500))
    assert few.low < 0.95
    assert few.high > 1.05
    assert 0.99 < many.low < 1 < many.high < 1.01


def test_the_order_of_the_items_does_not_matter() -> None:
    candidate, baseline = arms((20, 2, 3, 25))
    assert difference_interval(candidate[::-1], baseline[::-1]) == difference_interval(
        candidate, baseline
    )


def test_swapped_arms_mirror_the_difference() -> None:
    one = known(difference_interval(*arms((30, 1, 9, 60))))
    other = known(difference_interval(*arms((30, 9, 1, 60))))
    assert one.low == pytest.approx(-other.high, abs=0.011)
    assert one.high == pytest.approx(-other.low, abs=0.011)


def test_too_few_items_have_no_interval() -> None:
    assert difference_interval(*arms((5, 4, 5, 5))) is None
    assert ratio_interval(*arms((5, 4, 5, 5))) is None
    assert difference_interval(*arms((5, 5, 5, 5))) is not None


def test_a_baseline_at_zero_has_no_upper_end() -> None:
    assert ratio_interval(*arms((1, 9, 0, 40))) is None


def test_continuous_scores_that_differ_alike_have_no_spread() -> None:
    assert difference_interval([0.75] * 30, [0.5] * 30) is None


def test_more_scores_than_fit_at_once_are_drawn_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    candidate, baseline = arms((20, 2, 3, 25))
    whole = difference_interval(candidate, baseline)
    monkeypatch.setattr(item_bootstrap, "_COUNTS_AT_ONCE", 7)
    monkeypatch.setattr(item_bootstrap, "DRAWS", 10_000)
    assert difference_interval(candidate, baseline) == whole


@cache
def _interval(items: int, gained: int, lost: int) -> Interval:
    return known(difference_interval(*arms((0, gained, lost, items - gained - lost))))


def _chance(counts: tuple[int, int, int], shares: tuple[float, float, float]) -> float:
    ways = math.factorial(sum(counts)) // math.prod(map(math.factorial, counts))
    return ways * math.prod(share**count for share, count in zip(shares, counts, strict=True))


def enumerated(items: int, gained: float, lost: float) -> float:
    """Return the share of samples, exact to 1%, whose interval holds the true difference."""
    shares, seen, hit = (gained, lost, 1 - gained - lost), 0.0, 0.0
    for plus in range(items + 1 if gained else 1):
        for minus in range(items + 1 - plus):
            chance = _chance((plus, minus, items - plus - minus), shares)
            if chance > 1e-5:
                interval = _interval(items, plus, minus)
                seen += chance
                hit += chance * (interval.low - 1e-9 <= gained - lost <= interval.high + 1e-9)
    assert seen > 0.99
    return hit


@pytest.mark.parametrize("items", [20, 30, 50, 100, 200])
def test_items_that_are_only_lost_are_covered_by_exact_enumeration(items: int) -> None:
    assert min(enumerated(items, 0.0, step / 200) for step in range(1, 51)) >= 0.94


@pytest.mark.parametrize(("gained", "lost"), [(0.01, 0.05), (0.05, 0.05), (0.02, 0.2)])
def test_items_of_both_kinds_are_covered_by_exact_enumeration(gained: float, lost: float) -> None:
    assert enumerated(30, gained, lost) >= 0.94


def covered(items: int, shares: tuple[float, ...], runs: int = 400) -> tuple[float, float]:
    """Return how often both intervals hold the truth, over samples of items."""
    both, gained, lost, _ = shares
    truth = gained - lost, (both + gained) / (both + lost)
    hits = [0, 0]
    for cells in np.random.RandomState(7).multinomial(items, shares, size=runs):
        candidate, baseline = arms(tuple(cells))
        found = difference_interval(candidate, baseline), ratio_interval(candidate, baseline)
        for place, interval in enumerate(found):
            if interval is not None:
                hits[place] += interval.low - 1e-9 <= truth[place] <= interval.high + 1e-9
    return hits[0] / runs, hits[1] / runs


@pytest.mark.parametrize(
    "shares", [(0.4, 0.0, 0.02, 0.58), (0.5, 0.04, 0.04, 0.42), (0.3, 0.05, 0.15, 0.5)]
)
@pytest.mark.parametrize("items", [50, 200])
def test_the_intervals_cover_the_truth(
    monkeypatch: pytest.MonkeyPatch, items: int, shares: tuple[float, ...]
) -> None:
    monkeypatch.setattr(item_bootstrap, "DRAWS", 1000)
    # 400 samples: a true 95% shows less than 93% in one of thirty such tests.
    assert min(covered(items, shares)) >= 0.93


def test_without_the_added_items_few_that_differ_would_not_cover(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(item_bootstrap, "DRAWS", 1000)
    monkeypatch.setattr(item_bootstrap, "_ADDED", 0.0)
    assert max(covered(50, (0.4, 0.0, 0.02, 0.58))) < 0.75
