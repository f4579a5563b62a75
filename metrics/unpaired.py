"""The ratio of two values that were measured apart, with an interval from both of theirs.

Runs of different blocks share no rounds, so there are no pairs to take ratios of. On logarithms the
distances from either value to the ends of its own interval add like standard errors, each side by
itself (square-and-add, also MOVER). For r = a / b:

    log low(r)  = log r - sqrt((log a - log low(a))^2 + (log high(b) - log b)^2)
    log high(r) = log r + sqrt((log high(a) - log a)^2 + (log b - log low(b))^2)

The ratio turned round has the interval turned round. It speaks for what the two intervals speak
for, and for nothing that changed between the runs.

``site/leaderboard/static/ratio.js`` computes the same.

Source: Zou and Donner, Construction of confidence limits about effect measures: a general approach,
Statistics in Medicine 27 (2008).
"""

from __future__ import annotations

import math

from leanboard.metrics.intervals import Interval

METHOD = "square-and-add of logarithms, unpaired"
_LARGEST_EXPONENT = 700.0


def unpaired_interval(
    candidate: float, its: Interval, reference: float, theirs: Interval
) -> Interval | None:
    """Return the interval of candidate / reference, of two values that were measured apart.

    A value that is exact has both ends of its interval at the value.

    Args:
        candidate: the value above the line.
        its: its interval.
        reference: the value below the line, in the same unit.
        theirs: the interval of that one.

    Returns:
        ``None`` where a value or an end is not above 0, a value lies outside its interval, the
        intervals have different levels, or the ends are beyond any number.
    """
    if its.level != theirs.level or not (_holds(its, candidate) and _holds(theirs, reference)):
        return None
    low, high, value = map(math.log, (its.low, its.high, candidate))
    their_low, their_high, their_value = map(math.log, (theirs.low, theirs.high, reference))
    below = math.hypot(value - low, their_high - their_value)
    above = math.hypot(high - value, their_value - their_low)
    middle = value - their_value
    if max(below, above) + abs(middle) > _LARGEST_EXPONENT:
        return None
    ratio = candidate / reference
    return Interval(ratio * math.exp(-below), ratio * math.exp(above), METHOD, its.level)


def _holds(interval: Interval, value: float) -> bool:
    return 0 < interval.low <= value <= interval.high
