"""From samples to one number: the statistic of a metric, its interval, or why there is none."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from leanboard.metrics.groups import grouped
from leanboard.metrics.intervals import (
    Interval,
    mean,
    ratio_of_sums,
    ratio_of_sums_error,
    ratio_of_sums_interval,
    standard_error,
    t_interval,
    wilson_interval,
)
from leanboard.metrics.metric import Metric, Missing, Samples, Summary
from leanboard.metrics.percentile import (
    clustered_interval,
    order_statistic_interval,
    percentile,
    too_few,
)


@dataclass(frozen=True, slots=True)
class Estimate:
    """The value of a metric for one observation.

    Args:
        value: in the metric's unit; ``None`` where there are too few samples to report one.
        n: number of samples.
        interval: 95% interval; ``None`` where n does not allow one.
        stderr: standard error of the value, for means and ratios of sums.
        reason: why there is no value; ``None`` if there is one.
    """

    value: float | None
    n: int
    interval: Interval | None = None
    stderr: float | None = None
    reason: str | None = None


_PERCENTILES = {
    Summary.MEDIAN: 50,
    Summary.P50: 50,
    Summary.P90: 90,
    Summary.P95: 95,
    Summary.P99: 99,
}


def summarise(metric: Metric, samples: Samples | Missing) -> Estimate:
    """Return the metric's statistic of these samples, as its ``summary`` says.

    Raises:
        ValueError: if the samples do not fit the summary (several values of a single one, a
            ratio of sums without weights).
    """
    if isinstance(samples, Missing):
        return Estimate(None, 0, reason=samples.reason)
    n = len(samples.values)
    bad = sum(not math.isfinite(v) for v in (*samples.values, *(samples.weights or ())))
    if bad:
        return Estimate(None, n, reason=f"{bad} of {n} samples are not finite")
    if _of_one_process(samples):
        return _noted(summarise(metric, replace(samples, groups=None)), "one process")
    if metric.summary in _PERCENTILES:
        return _percentile(samples, _PERCENTILES[metric.summary])
    return _STATISTICS[metric.summary](samples)


def _of_one_process(samples: Samples) -> bool:
    groups = samples.groups or ()
    return samples.grouped_by == "launch" and len(set(groups)) == 1


def _noted(estimate: Estimate, note: str) -> Estimate:
    interval = estimate.interval
    if interval is None:
        return estimate
    return replace(estimate, interval=replace(interval, method=f"{interval.method}, {note}"))


def point(metric: Metric, samples: Samples) -> float:
    """Return the bare statistic without asking for a number of samples; the median for tails.

    For the few samples of one round, whose scatter the rounds themselves show.

    Raises:
        ValueError: if there is no sample, or the samples do not fit the summary.
    """
    if metric.summary in {Summary.RATIO_OF_SUMS, Summary.EXP_RATIO_OF_SUMS}:
        ratio = ratio_of_sums(samples.values, _weights(samples))
        return ratio if metric.summary is Summary.RATIO_OF_SUMS else math.exp(ratio)
    if metric.summary is Summary.MEAN:
        return mean(samples.values)
    return percentile(samples.values, 50)


def _percentile(samples: Samples, p: int) -> Estimate:
    n = len(samples.values)
    reason = too_few(n, p)
    if reason is not None:
        return Estimate(None, n, reason=reason)
    if samples.groups is None:
        interval = order_statistic_interval(samples.values, p)
    else:
        grouped_by = samples.grouped_by
        interval = clustered_interval(samples.values, samples.groups, p, grouped_by=grouped_by)
    return Estimate(percentile(samples.values, p), n, interval)


def _mean(samples: Samples) -> Estimate:
    values = samples.values
    if not values:
        return Estimate(None, 0, reason="there are no samples")
    binary = all(v in {0.0, 1.0} for v in values)
    interval = wilson_interval(round(sum(values)), len(values)) if binary else t_interval(values)
    error = samples.stderr if samples.stderr is not None else standard_error(values)
    return Estimate(mean(values), len(values), interval, error)


def _weights(samples: Samples) -> tuple[float, ...]:
    if samples.weights is None:
        raise ValueError("a ratio of sums needs weights")
    return samples.weights


def _ratio(samples: Samples) -> Estimate:
    weights, n = _weights(samples), len(samples.values)
    if math.fsum(weights) <= 0:
        return Estimate(None, n, reason="the denominators sum to 0")
    units = _units(samples.values, weights, samples.groups)
    interval, error = ratio_of_sums_interval(*units), ratio_of_sums_error(*units)
    found = Estimate(ratio_of_sums(samples.values, weights), n, interval, error)
    return found if samples.groups is None else _noted(found, f"by {samples.grouped_by}")


def _units(
    values: Sequence[float], weights: Sequence[float], groups: Sequence[int] | None
) -> tuple[list[float], list[float]]:
    """Return numerators and denominators summed over each independent unit."""
    if groups is None:
        return list(values), list(weights)
    numerators, denominators = (grouped(parts, groups) for parts in (values, weights))
    return list(map(math.fsum, numerators)), list(map(math.fsum, denominators))


_LARGEST_EXPONENT = 700.0


def _exp_ratio(samples: Samples) -> Estimate:
    inner = _ratio(samples)
    if inner.value is None:
        return inner
    top = inner.value if inner.interval is None else inner.interval.high
    if top > _LARGEST_EXPONENT:
        return Estimate(None, inner.n, reason=f"exp({inner.value:g}) is beyond any useful number")
    value = math.exp(inner.value)
    interval = inner.interval and Interval(
        math.exp(inner.interval.low), math.exp(inner.interval.high), f"{inner.interval.method}, exp"
    )
    # The error of exp(r) is exp(r) times the error of r, to first order.
    error = None if inner.stderr is None else value * inner.stderr
    return Estimate(value, inner.n, interval, error)


def _single(samples: Samples) -> Estimate:
    if len(samples.values) != 1:
        raise ValueError(f"a single value was expected, there are {len(samples.values)}")
    return Estimate(samples.values[0], 1)


_STATISTICS: dict[Summary, Callable[[Samples], Estimate]] = {
    Summary.MEAN: _mean,
    Summary.RATIO_OF_SUMS: _ratio,
    Summary.EXP_RATIO_OF_SUMS: _exp_ratio,
    Summary.SINGLE: _single,
}
