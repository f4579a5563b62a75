"""How an estimate is stored in a record."""

from __future__ import annotations

import math
from collections.abc import Sequence

from leanboard.metrics import intervals
from leanboard.results.schema import Interval

INLINE_SAMPLES = 512
"""Longest list of samples that a record holds itself; longer ones stay in the traces."""


def fits_in_a_record(values: Sequence[float], weights: Sequence[float] = ()) -> bool:
    """Whether a record can hold these samples: not too many, and all finite."""
    return len(values) <= INLINE_SAMPLES and all(map(math.isfinite, (*values, *weights)))


def stored_interval(interval: intervals.Interval | None) -> Interval | None:
    """Return an interval as records hold it."""
    if interval is None:
        return None
    return Interval(
        low=interval.low, high=interval.high, level=interval.level, method=interval.method
    )
