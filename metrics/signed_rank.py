"""The middle of paired log ratios and its interval, by signed ranks.

On a shared machine one launch in four may be hit by something else: the mean moves with every such
outlier, and its interval with their squares. The median of all averages of two (Hodges and
Lehmann) hardly does. It loses 5% of efficiency where noise is normal and gains without bound where
it is not, and its interval is exact for every symmetric distribution: log ratios of two arms that
are disturbed alike are symmetric around the truth.

Sources: Wilcoxon, Individual comparisons by ranking methods (1945); Hodges and Lehmann, Estimates
of location based on rank tests (1963); Hollander, Wolfe and Chicken, Nonparametric Statistical
Methods (2014), 3.1 to 3.3.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache

import numpy as np
from numpy.typing import NDArray

from leanboard.metrics.intervals import LEVEL, Interval, logarithms

METHOD = "signed ranks of log ratios"


def ratio_centre(ratios: Sequence[float]) -> float:
    """Return exp of the Hodges-Lehmann estimate of log ratios: the median of averages of two.

    Raises:
        ValueError: if there is no ratio, or one is not positive.
    """
    if not ratios:
        raise ValueError("the middle of nothing is not defined")
    return math.exp(float(np.median(_averages(ratios))))


def ratio_interval(ratios: Sequence[float], level: float = LEVEL) -> Interval | None:
    """Return the interval of the middle of the ratios that Wilcoxon's signed-rank test inverts to.

    Its ends are averages of two log ratios, counted from both ends of their order; it holds the
    truth at least as often as the level says. ``None`` where so few ratios (fewer than 6 at 95%)
    have no interval of that level.

    Args:
        ratios: one positive ratio an independent unit.
        level: share of such intervals that hold the true ratio.

    Raises:
        ValueError: if a ratio is not positive.
    """
    left_out = averages_left_out(len(ratios), level)
    if left_out == 0:
        return None
    averages = _averages(ratios)
    low, high = float(averages[left_out - 1]), float(averages[-left_out])
    return Interval(math.exp(low), math.exp(high), METHOD, level)


@cache
def averages_left_out(n: int, level: float = LEVEL) -> int:
    """Return the place, from either end, of the average that an interval ends at; 0 for none.

    It is the largest k for which the sum of the positive ranks of n differences is below k with a
    probability of at most (1 - level) / 2 if no direction is favoured.
    """
    ways = [1]
    for rank in range(1, n + 1):
        without = ways + [0] * rank
        with_it = [0] * rank + ways
        ways = [a + b for a, b in zip(without, with_it, strict=True)]
    tail, most = 0, (1 - level) / 2 * 2**n
    for k, count in enumerate(ways):
        tail += count
        if tail > most:
            return k
    return 0


def _averages(ratios: Sequence[float]) -> NDArray[np.float64]:
    """Return the averages of every two log ratios, each with itself included, ascending."""
    values = np.array(logarithms(ratios))
    rows, columns = np.triu_indices(len(values))
    return np.sort((values[rows] + values[columns]) / 2)
