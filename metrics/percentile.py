"""Percentiles: when one may be reported, its value, and how sure it is."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from leanboard.metrics.distributions import binomial_cdf, t_quantile
from leanboard.metrics.groups import grouped
from leanboard.metrics.intervals import (
    LEVEL,
    MIN_UNITS,
    Interval,
    ratio_of_sums_error,
)

MEDIAN_NEEDS = 5
_TAIL_NEEDS = 500


def percentile(values: Sequence[float], p: int) -> float:
    """Return the p-th percentile by linear interpolation between order statistics.

    The position is (n - 1) p / 100, counted from 0 (Hyndman and Fan 1996, type 7; numpy's default).

    Raises:
        ValueError: if there is no value, or p is not within 0..100.
    """
    if not values or not 0 <= p <= 100:
        raise ValueError(f"percentile {p} of {len(values)} values is not defined")
    ordered = sorted(values)
    whole, rest = divmod((len(ordered) - 1) * p, 100)
    if rest == 0:
        return ordered[whole]
    low, high = ordered[whole], ordered[whole + 1]
    return low + (high - low) * (rest / 100)


def needed(p: int) -> int:
    """Return how many independent samples percentile p needs before it is reported.

    The median needs 5; any other n x (100 - p) >= 500, so that five samples lie beyond it.
    """
    if p == 50:
        return MEDIAN_NEEDS
    return -(-_TAIL_NEEDS // (100 - p))


def too_few(n: int, p: int) -> str | None:
    """Return why percentile p of n samples is not reported; ``None`` if it is."""
    if n >= needed(p):
        return None
    name = "the median" if p == 50 else f"p{p}"
    return f"{name} needs {needed(p)} samples, there are {n}"


def order_statistic_ranks(n: int, p: int, level: float = LEVEL) -> tuple[int, int] | None:
    """Return ranks (1-based) of the order statistics that enclose percentile p.

    With B ~ Binomial(n, p / 100): the largest l with P(B < l) <= a / 2 and the smallest u with
    P(B >= u) <= a / 2, a = 1 - level. The coverage P(l <= B < u) is at least the level for every
    continuous distribution. ``None`` if n is too small for either side.

    Source: David and Nagaraja, Order Statistics (2003), 7.1.
    """
    share, tail = p / 100, (1 - level) / 2
    low = _first(n, lambda k: binomial_cdf(k, n, share) > tail)
    high = 1 + _first(n, lambda k: binomial_cdf(k, n, share) >= 1 - tail)
    if low < 1 or high > n:
        return None
    return low, high


def _first(n: int, holds: Callable[[int], bool]) -> int:
    """Return the smallest k in 0..n for which a condition holds that is monotone in k."""
    low, high = 0, n
    while low < high:
        middle = (low + high) // 2
        if holds(middle):
            high = middle
        else:
            low = middle + 1
    return low


def order_statistic_interval(
    values: Sequence[float], p: int, level: float = LEVEL
) -> Interval | None:
    """Return the exact, distribution-free interval of a percentile of independent samples.

    ``None`` where n is too small: the median needs 6 samples at 95%.

    Source: David and Nagaraja, Order Statistics (2003), 7.1.
    """
    ranks = order_statistic_ranks(len(values), p, level)
    if ranks is None:
        return None
    ordered = sorted(values)
    return Interval(ordered[ranks[0] - 1], ordered[ranks[1] - 1], "order statistics", level)


def clustered_interval(
    values: Sequence[float],
    groups: Sequence[int],
    p: int,
    level: float = LEVEL,
    grouped_by: str = "launch",
) -> Interval | None:
    """Return an interval of a percentile of samples that are dependent within their group.

    The gaps of one request resemble each other, and so do the requests of one process: counting
    them as independent would claim too much. The share of samples at or below the percentile is a
    ratio of sums over groups; its error (never taken below the binomial one) gives two shares, and
    the order statistics at those shares are the interval. ``None`` for fewer than ``MIN_UNITS``
    groups, or where an end lies beyond the data.

    Args:
        values: the samples.
        groups: for each sample, the independent unit that it comes from.
        p: the percentile.
        level: share of such intervals that hold the true percentile.
        grouped_by: what a group is, for the name of the method.

    Source: Woodruff, Confidence intervals for medians and other position measures (1952).
    """
    point = percentile(values, p)
    members = grouped([float(value <= point) for value in values], groups)
    if len(members) < MIN_UNITS:
        return None
    below = [sum(flags) for flags in members]
    sizes = [float(len(flags)) for flags in members]
    clustered = ratio_of_sums_error(below, sizes) or 0.0
    ranks = clustered_ranks(len(values), len(members), p, clustered, level)
    if ranks is None:
        return None
    ordered = sorted(values)
    low, high = ranks
    return Interval(ordered[low - 1], ordered[high - 1], f"Woodruff, by {grouped_by}", level)


def clustered_ranks(
    n: int, groups: int, p: int, error: float = 0.0, level: float = LEVEL
) -> tuple[int, int] | None:
    """Return ranks (1-based) of the order statistics that :func:`clustered_interval` takes.

    ``None`` where one of them lies beyond the data.

    Args:
        n: samples.
        groups: groups that they come from, ``MIN_UNITS`` or more.
        p: the percentile.
        error: of the share of samples at or below the percentile, by groups; with 0, that of
            groups which do not differ, the ranks are as narrow as they can be.
        level: share of such intervals that hold the true percentile.
    """
    share = p / 100
    error = max(error, math.sqrt(share * (1 - share) / n))
    reach = t_quantile((1 + level) / 2, groups - 1) * error
    low, high = math.floor(n * (share - reach)), math.ceil(n * (share + reach))
    return (low, high) if low >= 1 and high <= n else None
