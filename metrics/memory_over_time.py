"""Memory over time: what an arm used on average while its requests ran.

Source: EfficientLLM, arXiv:2505.13840 (AMU): the time average of the memory in use.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np

from leanboard.metrics.batches import NOT_REQUESTS, NOTHING_TIMED, Batch, batches, launches_of
from leanboard.metrics.metric import (
    Direction,
    Kind,
    Metric,
    Missing,
    Reduce,
    Role,
    Samples,
    Summary,
)
from leanboard.metrics.trace import Observation, RequestObservation, Series, weakest

MEMORY = "memory_bytes"
"""Name of the series: readings of the memory in use, a series for each timed round."""

MEMORY_TOTAL = "memory_total_bytes"
"""Name of the fact: the memory that there is."""

LONGEST_STEP = 0.25
"""Longest time between two readings, as a share of what is averaged over."""

MOST_UNREAD = 0.1
"""Largest share of batches that may be left out because they were not read often enough."""

_NOT_READ = Missing("what memory the process used while requests ran could not be read")


def mean_memory(observation: Observation) -> Samples | Missing:
    """Return byte-seconds and seconds of each timed batch."""
    if not isinstance(observation, RequestObservation):
        return NOT_REQUESTS
    timed = batches(observation)
    if not timed:
        return NOTHING_TIMED
    found = (series for series in observation.series if series.name == MEMORY and series.time_s)
    readings = sorted(found, key=_start_s)
    drawn = [(batch, _byte_seconds(batch, readings)) for batch in timed]
    unread = [part for _, part in drawn if isinstance(part, Missing)]
    if len(unread) > MOST_UNREAD * len(timed):
        return Missing(f"{len(unread)} of {len(timed)} batches: {unread[0].reason}")
    read = [(batch, *part) for batch, part in drawn if not isinstance(part, Missing)]
    units, areas, lengths_s = zip(*read, strict=True)
    provenance = weakest(series.provenance for series in readings)
    return Samples(areas, provenance, weights=lengths_s, groups=launches_of(units))


def mean_share(observation: Observation) -> Samples | Missing:
    """Return the same, the seconds multiplied by the memory that there is."""
    used = mean_memory(observation)
    if isinstance(used, Missing):
        return used
    total = observation.facts.get(MEMORY_TOTAL)
    if total is None or total.value <= 0:
        return Missing("it is not known how much memory there is")
    return replace(
        used,
        weights=tuple(length_s * total.value for length_s in used.weights or ()),
        provenance=weakest((used.provenance, total.provenance)),
    )


def area(series: Series, started_s: float, ended_s: float) -> float | Missing:
    """Return the area under readings between two times, by the trapezoid rule.

    Between readings the signal is taken for linear. Both times must lie within the readings.
    """
    readings = zip(series.time_s, series.value, strict=True)
    ends = np.interp((started_s, ended_s), series.time_s, series.value)
    points = [
        (started_s, float(ends[0])),
        *((time_s, value) for time_s, value in readings if started_s < time_s < ended_s),
        (ended_s, float(ends[1])),
    ]
    longest_s = max(after[0] - before[0] for before, after in pairwise(points))
    if longest_s > LONGEST_STEP * (ended_s - started_s):
        return Missing(
            f"too few readings of memory: {longest_s:.3g} s between two of them, in "
            f"{ended_s - started_s:.3g} s of requests"
        )
    return math.fsum(
        (before[1] + after[1]) / 2 * (after[0] - before[0]) for before, after in pairwise(points)
    )


def _byte_seconds(batch: Batch, readings: Sequence[Series]) -> tuple[float, float] | Missing:
    if not all(request.token_s for request in batch):
        return Missing("a request produced no token")
    started_s = min(request.sent_s for request in batch)
    ended_s = max(request.token_s[-1] for request in batch)
    place = bisect_right(readings, started_s, key=_start_s) - 1
    if place < 0 or readings[place].time_s[-1] < ended_s:
        return _NOT_READ
    found = area(readings[place], started_s, ended_s)
    return found if isinstance(found, Missing) else (found, ended_s - started_s)


def _start_s(series: Series) -> float:
    return series.time_s[0]


def _averaged(  # noqa: PLR0913
    name: str, label: str, doc: str, reduce: Reduce, *, unit: str, direction: Direction
) -> Metric:
    return Metric(
        name=name,
        unit=unit,
        direction=direction,
        role=Role.MEMORY,
        label=label,
        doc=doc,
        source="EfficientLLM (AMU), arXiv 2505.13840; Linux /proc/PID/statm; NVML",
        kinds=frozenset({Kind.REQUESTS}),
        summary=Summary.RATIO_OF_SUMS,
        reduce=reduce,
        series=MEMORY,
    )


METRICS: tuple[Metric, ...] = (
    _averaged(
        "memory_mean_bytes",
        "Mean memory",
        "Time average of the memory in use from a batch's first request sent to its last token: "
        "sum of the areas under the readings (trapezoid rule) / sum of the seconds. CPU: resident "
        "set of the cell process. CUDA: the process's use as the driver shows it. n counts "
        "batches.",
        mean_memory,
        unit="B",
        direction=Direction.LOWER,
    ),
    _averaged(
        "memory_mean_share",
        "Mean memory, share",
        "memory_mean_bytes / the memory that there is: the machine's, or its container's limit "
        "where that is less; the GPU's on CUDA. What is better or worse is the bytes: the share "
        "also falls where more memory is built in.",
        mean_share,
        unit="1",
        direction=Direction.NEUTRAL,
    ),
)
