"""McNemar's exact test, by hand."""

from __future__ import annotations

import pytest

from leanboard.metrics.mcnemar import mcnemar_p


@pytest.mark.parametrize(
    ("gained", "lost", "p"),
    [
        (0, 0, 1.0),  # no item differs
        (1, 1, 1.0),  # 2 (1 + 2) / 4 is capped
        (0, 5, 2 / 32),  # all five fall one way
        (1, 6, 2 * (1 + 7) / 128),  # P(B <= 1) of seven fair coins
        (2, 8, 2 * (1 + 10 + 45) / 1024),
    ],
)
def test_p_is_twice_the_smaller_tail_of_fair_coins(gained: int, lost: int, p: float) -> None:
    assert mcnemar_p(gained, lost) == pytest.approx(p, rel=1e-12)
    assert mcnemar_p(lost, gained) == mcnemar_p(gained, lost)


def test_thousands_of_items_overflow_nothing() -> None:
    # By the normal approximation: z = (200 - 1) / sqrt(4000), two-sided.
    assert mcnemar_p(1900, 2100) == pytest.approx(0.00165, rel=0.02)
    assert mcnemar_p(0, 5000) == 0.0


def test_negative_counts_are_refused() -> None:
    with pytest.raises(ValueError, match="negative"):
        mcnemar_p(-1, 2)
