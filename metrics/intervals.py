"""Confidence intervals of means, proportions and ratios."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from leanboard.metrics.distributions import normal_quantile, t_quantile

METHOD_VERSION = 3
"""Raised whenever the same samples would give another value, interval or verdict."""

MIN_UNITS = 5
"""Fewest independent units for which a mean or a ratio of sums gets an interval."""

LEVEL = 0.95


@dataclass(frozen=True, slots=True)
class Interval:
    """A confidence interval, in the unit of its value, and how it was made."""

    low: float
    high: float
    method: str
    level: float = LEVEL


def mean(values: Sequence[float]) -> float:
    """Return the arithmetic mean.

    Raises:
        ValueError: if there is no value.
    """
    if not values:
        raise ValueError("the mean of nothing is not defined")
    return math.fsum(values) / len(values)


def standard_error(values: Sequence[float]) -> float | None:
    """Return s / sqrt(n) with s the sample deviation (n - 1); ``None`` for fewer than two values.

    Source: lm-evaluation-harness, ``mean_stderr``.
    """
    n = len(values)
    if n < 2:
        return None
    centre = mean(values)
    return math.sqrt(math.fsum((v - centre) ** 2 for v in values) / (n - 1) / n)


def t_interval(values: Sequence[float], level: float = LEVEL) -> Interval | None:
    """Return Student's interval of a mean: m +- t(n - 1) s / sqrt(n).

    ``None`` for fewer than ``MIN_UNITS`` values. Source: Student (1908).
    """
    error = standard_error(values)
    if error is None or len(values) < MIN_UNITS:
        return None
    reach = t_quantile((1 + level) / 2, len(values) - 1) * error
    centre = mean(values)
    return Interval(centre - reach, centre + reach, "t", level)


def geometric_mean(ratios: Sequence[float]) -> float:
    """Return exp(mean(log r)), the mean that treats r and 1/r alike.

    Raises:
        ValueError: if there is no ratio, or one is not positive.
    """
    return math.exp(mean(logarithms(ratios)))


def logarithms(ratios: Sequence[float]) -> list[float]:
    """Return the natural logarithm of each ratio.

    Raises:
        ValueError: if a ratio is not positive.
    """
    if any(r <= 0 for r in ratios):
        raise ValueError(f"ratios must be positive, the smallest is {min(ratios)}")
    return [math.log(r) for r in ratios]


def ratio_of_sums(numerators: Sequence[float], denominators: Sequence[float]) -> float:
    """Return sum(numerators) / sum(denominators).

    Raises:
        ValueError: if the lengths differ, or the denominators do not sum to a positive number.
    """
    if len(numerators) != len(denominators):
        raise ValueError(f"{len(numerators)} numerators but {len(denominators)} denominators")
    below = math.fsum(denominators)
    if below <= 0:
        raise ValueError(f"the denominators sum to {below}; a ratio needs more than 0")
    return math.fsum(numerators) / below


def ratio_of_sums_error(numerators: Sequence[float], denominators: Sequence[float]) -> float | None:
    """Return the standard error of a ratio of sums over independent units, by linearisation.

    With R the ratio and e_i = y_i - R x_i: sqrt(n / (n - 1) sum(e_i^2)) / sum(x). For equal
    denominators it is exactly the standard error of the mean of the units' own ratios. ``None``
    for fewer than two units. Source: Cochran, Sampling Techniques (1977), 6.4.
    """
    n = len(numerators)
    if n < 2:
        return None
    ratio = ratio_of_sums(numerators, denominators)
    squares = math.fsum((y - ratio * x) ** 2 for y, x in zip(numerators, denominators, strict=True))
    return math.sqrt(n / (n - 1) * squares) / math.fsum(denominators)


def ratio_of_sums_interval(
    numerators: Sequence[float], denominators: Sequence[float], level: float = LEVEL
) -> Interval | None:
    """Return R +- t(n - 1) se(R) for a ratio of sums; ``None`` for fewer than ``MIN_UNITS`` units.

    Source: Cochran, Sampling Techniques (1977), 6.4.
    """
    error = ratio_of_sums_error(numerators, denominators)
    if error is None or len(numerators) < MIN_UNITS:
        return None
    ratio = ratio_of_sums(numerators, denominators)
    reach = t_quantile((1 + level) / 2, len(numerators) - 1) * error
    return Interval(ratio - reach, ratio + reach, "t, linearised ratio", level)


def wilson_interval(successes: int, n: int, level: float = LEVEL) -> Interval | None:
    """Return Wilson's score interval of a proportion; ``None`` for fewer than ``MIN_UNITS`` trials.

    It stays inside [0, 1] and is honest near the ends, where s / sqrt(n) shrinks to 0.

    Source: Wilson (1927).

    Raises:
        ValueError: if there are more successes than trials.
    """
    if not 0 <= successes <= n:
        raise ValueError(f"{successes} successes of {n} trials")
    if n < MIN_UNITS:
        return None
    z = normal_quantile((1 + level) / 2)
    share = successes / n
    scale = 1 + z * z / n
    centre = (share + z * z / (2 * n)) / scale
    reach = z * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n)) / scale
    # At the ends the formula meets 0 or 1 exactly; rounding must not leave them.
    low = 0.0 if successes == 0 else centre - reach
    high = 1.0 if successes == n else centre + reach
    return Interval(low, high, "Wilson", level)
