"""Why a measured value has no interval, in words."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

from leanboard.metrics.intervals import MIN_UNITS
from leanboard.metrics.metric import Summary
from leanboard.metrics.percentile import clustered_ranks
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
    enough = processes >= MIN_UNITS and _enough(measurement.n, measurement.summary, processes)
    return APART if enough else TOO_FEW


@lru_cache(maxsize=1024)
def _enough(n: int, summary: str, processes: int) -> bool:
    """Return whether so many samples would have an interval if their processes were alike."""
    p = _PERCENTILES.get(summary)
    return p is not None and n > 0 and clustered_ranks(n, processes, p) is not None


def processes_of(record: Record) -> int:
    """Return how many processes the samples of a record come from, as far as it says."""
    return 1 if record.sampling is None else record.sampling.launches
