"""Values that resemble the one before: how many independent ones they are worth."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

from leanboard.metrics.distributions import t_quantile
from leanboard.metrics.intervals import (
    LEVEL,
    MIN_UNITS,
    Interval,
    logarithms,
    mean,
    standard_error,
)

ONE_PROCESS = "t on log ratios, one process"
"""Method of an interval that cannot know what another process would have shown."""


def lag_one(values: Sequence[float]) -> float:
    """Return the correlation of each value with the one before, corrected for its bias.

    The plain estimate is too low by about 1 / n where nothing is correlated, because the mean is
    taken from the same values. 0 for values that are all the same.

    Source: Marriott and Pope, Bias in the estimation of autocorrelations (1954).
    """
    if not values:
        return 0.0
    centre = mean(values)
    off = [value - centre for value in values]
    total = math.fsum(d * d for d in off)
    if total == 0:
        return 0.0
    return math.fsum(a * b for a, b in pairwise(off)) / total + 1 / len(values)


def effective_n(values: Sequence[float]) -> float:
    """Return the number of independent values whose mean is as uncertain as that of these.

    n (1 - r) / (1 + r) with r the lag-one autocorrelation, that of a first-order autoregressive
    series. Never more than n (a negative r narrows nothing) and never less than 2.

    Source: Bayley and Hammersley, The "effective" number of independent observations in an
    autocorrelated time series (1946).
    """
    n, r = len(values), lag_one(values)
    if r <= 0 or n <= 2:
        return float(n)
    return max(2.0, n * (1 - r) / (1 + r))


def one_process_interval(ratios: Sequence[float], level: float = LEVEL) -> Interval | None:
    """Return the interval of a geometric mean of ratios that one process gave in this order.

    Student's on log ratios with the effective n in place of n, so that it is never narrower than
    for independent rounds. ``None`` for fewer than ``MIN_UNITS`` ratios. Simulated coverage: 0.97
    of 8 and 0.96 of 32 independent ratios; with a true lag-one autocorrelation of 0.3, 0.92 of 8,
    0.93 of 32 and 0.94 of 64 (without the widening 0.87, 0.85 and 0.86).

    Args:
        ratios: one positive ratio a round, in the order of the rounds.
        level: share of such intervals that hold the true ratio of these two processes.

    Raises:
        ValueError: if a ratio is not positive.
    """
    values = logarithms(ratios)
    error, n = standard_error(values), len(values)
    if error is None or n < MIN_UNITS:
        return None
    effective = effective_n(values)
    reach = t_quantile((1 + level) / 2, effective - 1) * error * math.sqrt(n / effective)
    centre = mean(values)
    method = ONE_PROCESS if effective == n else f"{ONE_PROCESS}, effective n {effective:.1f}"
    return Interval(math.exp(centre - reach), math.exp(centre + reach), method, level)
