"""Averages over tasks, each task weighing the same, with intervals in closed form.

The tasks' items are independent of one another, so the distances from the tasks' values to the ends
of their intervals add like standard errors, each side by itself (square-and-add, also MOVER). An
interval near 0 or 1, or of a difference that few items show, keeps its shape that way. What comes
out speaks for these tasks, not for tasks in general.

Sources: Newcombe (1998); Zou and Donner, Construction of confidence limits about effect measures: a
general approach, Statistics in Medicine 27 (2008).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from leanboard.metrics.distributions import normal_quantile
from leanboard.metrics.intervals import LEVEL, Interval, mean
from leanboard.metrics.summary import Estimate

METHOD = "square-and-add over tasks"


def macro_average(tasks: Sequence[Estimate]) -> Estimate:
    """Return the unweighted mean over tasks, with its interval and standard error.

    With m the mean of the values v and k tasks: m - sqrt(sum((v - low)^2)) / k for the lower end,
    the upper end likewise; the standard error is sqrt(sum(se^2)) / k.

    Args:
        tasks: one estimate a task, of independent items; each has a value.

    Returns:
        ``n`` is the number of items. No interval (standard error) where a task has none.

    Raises:
        ValueError: if there is no task, or one has no value.
    """
    value = mean(_values(tasks))
    errors = [task.stderr for task in tasks if task.stderr is not None]
    found = Estimate(
        value=value,
        n=sum(task.n for task in tasks),
        stderr=_norm(errors) / len(tasks) if len(errors) == len(tasks) else None,
    )
    intervals = [task.interval for task in tasks if task.interval is not None]
    if len(intervals) < len(tasks):
        lacking = len(tasks) - len(intervals)
        return replace(found, reason=f"no interval: {lacking} of {len(tasks)} tasks have none")
    ends = list(zip(_values(tasks), intervals, strict=True))
    below = _norm([v - interval.low for v, interval in ends]) / len(tasks)
    above = _norm([interval.high - v for v, interval in ends]) / len(tasks)
    return replace(found, interval=Interval(value - below, value + above, METHOD))


def macro_ratio(
    candidate: Sequence[Estimate], baseline: Sequence[Estimate], differences: Sequence[Estimate]
) -> Estimate:
    """Return the ratio of two macro averages over the same items, with its interval.

    The interval holds every ratio R that the contrast C - R B does not refute (Fieller): so it lies
    below a threshold exactly if C - threshold x B is shown to be below 0. With C, B and D = C - B
    the averages and u = 1 - R the contrast is D + u B; it does not refute R while

        (D + u B)^2 <= (D - low(D))^2 + z^2 (u^2 var(B) + 2 u cov(D, B)),

    with high(D) - D instead of D - low(D) for the upper end of R, and
    cov(D, B) = (var(C) - var(B) - var(D)) / 2. A share of a score is never below 0.

    Args:
        candidate: scores of each task.
        baseline: scores of the same tasks, in the same order.
        differences: of each task, paired over its items.

    Returns:
        An estimate without a value where the baseline's average is not above 0; without an interval
        where a difference has none, a score has no standard error, or the baseline's average is so
        near 0 that the ratio has no upper end.

    Raises:
        ValueError: if the tasks differ in number, there is none, or one has no value.

    Source: Fieller, Some problems in interval estimation (1954).
    """
    if not len(candidate) == len(baseline) == len(differences):
        raise ValueError("a ratio of macro averages needs the same tasks of both arms")
    c, b, d = map(macro_average, (candidate, baseline, differences))
    if c.value is None or b.value is None or d.value is None or b.value <= 0:
        return Estimate(None, c.n, reason="the baseline's average is not above 0")
    found = Estimate(c.value / b.value, c.n)
    if d.interval is None or c.stderr is None or b.stderr is None or d.stderr is None:
        return replace(found, reason=d.reason or "no interval: a task has no standard error")
    z_squared = normal_quantile((1 + LEVEL) / 2) ** 2
    square = b.value**2 - z_squared * b.stderr**2
    if square <= 0:
        return replace(found, reason="no interval: the baseline's average is too near 0")
    covariance = (c.stderr**2 - b.stderr**2 - d.stderr**2) / 2
    linear = d.value * b.value - z_squared * covariance
    below, above = d.value - d.interval.low, d.interval.high - d.value
    low = 1 - (-linear + _root(linear, square, d.value, below)) / square
    high = 1 - (-linear - _root(linear, square, d.value, above)) / square
    return replace(found, interval=Interval(max(0.0, low), high, f"{METHOD}, Fieller"))


def _root(linear: float, square: float, difference: float, reach: float) -> float:
    """Return the root of the discriminant of square u^2 + 2 linear u + difference^2 - reach^2."""
    return math.sqrt(max(0.0, linear**2 - square * (difference**2 - reach**2)))


def _values(tasks: Sequence[Estimate]) -> list[float]:
    values = [task.value for task in tasks if task.value is not None]
    if len(values) < len(tasks):
        raise ValueError(f"{len(tasks) - len(values)} of {len(tasks)} tasks have no value")
    return values


def _norm(parts: Sequence[float]) -> float:
    return math.sqrt(math.fsum(part * part for part in parts))
