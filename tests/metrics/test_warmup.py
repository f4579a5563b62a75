"""A warm-up ends when the newest round is no record any more."""

from __future__ import annotations

import random

import pytest

from leanboard.metrics.warmup import drifting


@pytest.mark.parametrize("values", [(), (1.0,), (1.0, 1.0)])
def test_two_rounds_have_not_shown_an_end(values: tuple[float, ...]) -> None:
    assert drifting(values)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ((1.0, 1.0, 1.0), False),
        # A slow first round does not count against the two after it.
        ((1.15, 1.0, 1.01), False),
        ((1.15, 1.0, 0.985), False),
        ((1.15, 1.0, 0.975), True),
        ((1.3, 1.15, 1.0), True),
        ((1.3, 1.15, 1.0, 1.0), False),
        # Slower than before is no warm-up.
        ((1.0, 1.0, 1.2), False),
        ((1.0, 1.0, 1.2, 1.1), False),
        # A gain from a disturbed round back to the level is none either.
        ((1.0, 1.0, 1.4, 1.0), False),
    ],
)
def test_it_drifts_while_the_newest_round_is_the_best_by_more_than_two_percent(
    values: tuple[float, ...], *, expected: bool
) -> None:
    assert drifting(values) is expected


def rounds_until_the_end(first: float, noise: float, seed: int) -> int:
    chance = random.Random(seed)
    values: list[float] = []
    while drifting(values) and len(values) < 20:
        values.append((first if not values else 1.0) * chance.gauss(1, noise))
    return len(values)


@pytest.mark.parametrize(("first", "noise"), [(1.0, 0.03), (1.15, 0.03), (1.15, 0.005)])
def test_noise_costs_a_fraction_of_a_round(first: float, noise: float) -> None:
    taken = [rounds_until_the_end(first, noise, seed) for seed in range(500)]
    assert 3 <= sum(taken) / len(taken) < 3.5
    assert max(taken) < 8
