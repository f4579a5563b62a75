"""McNemar's exact test: whether two arms are right on different numbers of the same items."""

from __future__ import annotations


def mcnemar_p(gained: int, lost: int) -> float:
    """Return the exact two-sided p value of McNemar's test.

    Only items on which the arms differ count. If neither arm were better, each of those would be
    gained or lost like a fair coin: p = min(1, 2 P(B <= min(gained, lost))) with
    B ~ Binomial(gained + lost, 1/2); 1 where no item differs.

    Args:
        gained: items that only the candidate has right.
        lost: items that only the baseline has right.

    Source: McNemar (1947); the exact form as in Agresti, Categorical Data Analysis, 10.1.

    Raises:
        ValueError: if a count is negative.
    """
    if gained < 0 or lost < 0:
        raise ValueError(f"counts of items cannot be negative: {gained}, {lost}")
    n = gained + lost
    term, below = 1, 0
    for k in range(min(gained, lost) + 1):
        below += term
        term = term * (n - k) // (k + 1)
    # Whole numbers until the last division: there may be thousands of items.
    return min(1.0, 2 * below / (1 << n))
