"""How an estimate is stored in a record, and read from it again."""

from __future__ import annotations

import math
from collections.abc import Sequence

from pydantic import ValidationError

from leanboard.metrics import intervals
from leanboard.metrics.intervals import METHOD_VERSION
from leanboard.metrics.summary import Estimate
from leanboard.metrics.trace import Provenance
from leanboard.results.frozen import LARGEST
from leanboard.results.schema import Comparison, Interval, Measurement

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


def estimate_of(found: Measurement | Comparison) -> Estimate:
    """Return a stored number as an estimate that more can be derived from."""
    return Estimate(found.value, found.n, _read(found.interval), found.stderr, found.reason)


def _read(interval: Interval | None) -> intervals.Interval | None:
    if interval is None:
        return None
    return intervals.Interval(interval.low, interval.high, interval.method, interval.level)


def derived(found: Estimate, unit: str, summary: str, provenance: Provenance | None) -> Measurement:
    """Return a number that was derived from stored ones, as tables show it.

    One beyond what a record may hold is a gap.
    """
    try:
        return Measurement(
            value=found.value,
            unit=unit,
            n=found.n,
            summary=summary,
            provenance=provenance,
            method_version=METHOD_VERSION,
            interval=stored_interval(found.interval),
            stderr=found.stderr,
            reason=found.reason,
        )
    except ValidationError:
        return absent(unit, summary, f"it, its interval or its error is beyond {LARGEST:g}")


def absent(unit: str, summary: str, reason: str) -> Measurement:
    """Return the gap that stands for a number that cannot be derived."""
    return derived(Estimate(None, 0, reason=reason), unit, summary, None)
