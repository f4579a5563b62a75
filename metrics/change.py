"""How far two readings of one number are apart, and whether chance explains it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from leanboard.metrics.distributions import t_cdf, t_quantile
from leanboard.metrics.intervals import LEVEL, Interval
from leanboard.metrics.metric import Missing

_LARGEST_EXPONENT = 700.0
_LEVELS = (0.5, 0.9999)


@dataclass(frozen=True, slots=True)
class Reading:
    """A value with its number of samples and its interval, if it has one."""

    value: float
    n: int
    interval: Interval | None = None


@dataclass(frozen=True, slots=True)
class Change:
    """Fresh / published.

    Args:
        value: the ratio of the two values.
        interval: 95% interval of it; ``None`` where a reading has none.
        p_value: two-sided, of no change; ``None`` where a reading has no interval.
    """

    value: float
    interval: Interval | None = None
    p_value: float | None = None


def change(published: Reading, fresh: Reading) -> Change | Missing:
    """Return fresh / published with the interval and the p-value of the difference.

    The standard errors are what the two intervals imply; the difference of the logarithms over
    the root of their squares' sum is a t with Welch's degrees of freedom.

    Source: Welch (1947), The generalization of "Student's" problem.
    """
    if published.value == fresh.value and min(published.value, fresh.value) <= 0:
        return Change(1.0)
    impossible = _impossible(published, fresh)
    if impossible is not None:
        return Missing(impossible)
    moved = math.log(fresh.value) - math.log(published.value)
    then, now = _log_error(published), _log_error(fresh)
    if then is None or now is None:
        return Change(_exp(moved))
    error = math.hypot(then, now)
    if not math.isfinite(error):
        return Missing("an interval is too wide to say anything")
    if error == 0:
        return Change(_exp(moved), None, 1.0 if moved == 0 else 0.0)
    degrees = _welch(then, published.n, now, fresh.n)
    reach = t_quantile((1 + LEVEL) / 2, degrees) * error
    interval = Interval(_exp(moved - reach), _exp(moved + reach), "Welch t on logarithms")
    return Change(_exp(moved), interval, 2 * t_cdf(-abs(moved) / error, degrees))


def _impossible(published: Reading, fresh: Reading) -> str | None:
    if min(published.value, fresh.value) <= 0:
        return "a ratio needs values above 0"
    if not (_sound(published) and _sound(fresh)):
        return "the interval is no interval"
    return None


def _sound(reading: Reading) -> bool:
    """Whether the interval of a reading, if it has one, can be one: a record may be forged."""
    interval = reading.interval
    if interval is None:
        return True
    bounded = -math.inf < interval.low <= interval.high < math.inf
    return bounded and _LEVELS[0] <= interval.level <= _LEVELS[1]


def _log_error(reading: Reading) -> float | None:
    """Return the standard error of the logarithm of a value that its interval implies."""
    interval = reading.interval
    if interval is None:
        return None
    if interval.low > 0:
        reach = (math.log(interval.high) - math.log(interval.low)) / 2
    else:
        reach = (interval.high - interval.low) / 2 / reading.value
    return reach / t_quantile((1 + interval.level) / 2, max(reading.n - 1, 1))


def _welch(then: float, n_then: int, now: float, n_now: int) -> float:
    # Shares of the variance: the fourth powers of small errors would underflow.
    share = (then / math.hypot(then, now)) ** 2
    return 1 / (share**2 / max(n_then - 1, 1) + (1 - share) ** 2 / max(n_now - 1, 1))


def _exp(logarithm: float) -> float:
    return math.exp(max(-_LARGEST_EXPONENT, min(_LARGEST_EXPONENT, logarithm)))


def holm(p_values: Sequence[float], level: float = 1 - LEVEL) -> tuple[bool, ...]:
    """Return which hypotheses are rejected, with at most ``level`` chance of any false one.

    It holds however the tests depend on one another.

    Source: Holm (1979), A simple sequentially rejective multiple test procedure.
    """
    rejected = [False] * len(p_values)
    for rank, index in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        if p_values[index] > level / (len(p_values) - rank):
            break
        rejected[index] = True
    return tuple(rejected)
