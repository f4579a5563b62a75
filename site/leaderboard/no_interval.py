"""Why a measured value has no interval, in words."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

from leanboard.metrics.intervals import MIN_UNITS
from leanboard.metrics.metric import Summary
from leanboard.metrics.percentile import order_statistic_ranks
from leanboard.results.schema import Measurement, Record

ONE_VALUE = "one value"
TOO_FEW = "too few independent samples for an interval"
APART = "its processes differ too much for an interval from so few samples"
_PERCENTILES: Mapping[str, int] = {
    Summary.MEDIAN: 50,
    Summary.P50: 50,
    Summary.P90: 90,
    Summary.P95: 95,
    Summary.P99: 99,
}


def why_no_interval(measurement: Measurement, processes: int = 1) -> str:
    """Return why there is a value and no interval.

    Args:
        measurement: has a value.
        processes: that its samples come from.
    """
    if measurement.reason:
        return measurement.reason
    if measurement.n == 1:
        return ONE_VALUE
    if processes < MIN_UNITS:
        return TOO_FEW
    return APART if _enough(measurement.n, measurement.summary) else TOO_FEW


@lru_cache(maxsize=1024)
def _enough(n: int, summary: str) -> bool:
    """Return whether so many samples hold an interval where none knows of the others."""
    p = _PERCENTILES.get(summary)
    return p is not None and order_statistic_ranks(n, p) is not None


def processes_of(record: Record) -> int:
    """Return how many processes the samples of a record come from, as far as it says."""
    return 1 if record.sampling is None else record.sampling.launches
