"""Quantiles and tails of the few distributions that intervals need, without scipy.

Everything rests on one special function, the regularised incomplete beta function.
"""

from __future__ import annotations

import math
from functools import lru_cache
from statistics import NormalDist

_TINY = 1e-300
_PRECISION = 1e-15
_STEPS = 100_000


def incomplete_beta(a: float, b: float, x: float) -> float:
    """Return the regularised incomplete beta function I_x(a, b).

    Args:
        a: first shape, > 0.
        b: second shape, > 0.
        x: upper limit of the integral, in [0, 1].

    Raises:
        ValueError: if an argument is out of range.

    Source: Press et al., Numerical Recipes 6.4 (continued fraction by Lentz's method).
    """
    if a <= 0 or b <= 0 or not 0 <= x <= 1:
        raise ValueError(f"I_x(a, b) needs a, b > 0 and x in [0, 1]: a={a}, b={b}, x={x}")
    if x in {0.0, 1.0}:
        return x
    log_front = math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b)
    log_front += a * math.log(x) + b * math.log1p(-x)
    front = math.exp(log_front)
    # The fraction converges fast only below the mean; above it the symmetry is used.
    if x < (a + 1) / (a + b + 2):
        return front * _beta_fraction(a, b, x) / a
    return 1.0 - front * _beta_fraction(b, a, 1.0 - x) / b


def _away_from_zero(value: float) -> float:
    return value if abs(value) > _TINY else _TINY


def _beta_fraction(a: float, b: float, x: float) -> float:
    c = 1.0
    d = 1.0 / _away_from_zero(1.0 - (a + b) * x / (a + 1))
    total = d
    for m in range(1, _STEPS):
        even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        d = 1.0 / _away_from_zero(1.0 + even * d)
        c = _away_from_zero(1.0 + even / c)
        total *= d * c
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        d = 1.0 / _away_from_zero(1.0 + odd * d)
        c = _away_from_zero(1.0 + odd / c)
        total *= d * c
        if abs(d * c - 1.0) < _PRECISION:
            break
    return total


def binomial_cdf(k: int, n: int, share: float) -> float:
    """Return P(B <= k) of a binomial count B of ``n`` trials that succeed with ``share``.

    Source: Abramowitz and Stegun 26.5.24.
    """
    if k < 0:
        return 0.0
    if k >= n:
        return 1.0
    return incomplete_beta(n - k, k + 1, 1.0 - share)


def t_cdf(t: float, degrees: float) -> float:
    """Return P(T <= t) of Student's t with this many degrees of freedom.

    Source: Abramowitz and Stegun 26.7.1.
    """
    tail = 0.5 * incomplete_beta(degrees / 2, 0.5, degrees / (degrees + t * t))
    return 1.0 - tail if t > 0 else tail


@lru_cache(maxsize=1024)
def t_quantile(share: float, degrees: float) -> float:
    """Return the t below which a share of Student's t lies, by bisection of its distribution.

    Args:
        share: probability, strictly between 0 and 1.
        degrees: degrees of freedom, > 0.

    Raises:
        ValueError: if an argument is out of range.
    """
    if not 0 < share < 1 or degrees <= 0:
        raise ValueError(f"a t quantile needs 0 < share < 1 and degrees > 0: {share}, {degrees}")
    if share < 0.5:
        return -t_quantile(1.0 - share, degrees)
    low, high = 0.0, 1.0
    while t_cdf(high, degrees) < share:
        low, high = high, 2 * high
    while True:
        middle = (low + high) / 2
        if middle in {low, high}:
            return middle
        if t_cdf(middle, degrees) < share:
            low = middle
        else:
            high = middle


def normal_quantile(share: float) -> float:
    """Return the z below which a share of the standard normal distribution lies."""
    return NormalDist().inv_cdf(share)
