"""Every metric of the board, in the order of its columns."""

from __future__ import annotations

from difflib import get_close_matches

from leanboard.metrics import (
    chance,
    energy,
    idealized,
    instructions,
    latency,
    memory,
    memory_over_time,
    overhead,
    quality,
    roofline,
    speculation,
    throughput,
)
from leanboard.metrics.metric import Metric

METRICS: tuple[Metric, ...] = (
    *latency.METRICS,
    *throughput.METRICS,
    *speculation.METRICS,
    *memory.METRICS,
    *memory_over_time.METRICS,
    *energy.METRICS,
    *quality.METRICS,
    *instructions.METRICS,
    *chance.METRICS,
    *overhead.METRICS,
    *roofline.METRICS,
    *idealized.METRICS,
)

_BY_NAME = {metric.name: metric for metric in METRICS}


def metric(name: str) -> Metric:
    """Return the metric of a name.

    Raises:
        KeyError: if there is none; the message names the closest ones.
    """
    if name in _BY_NAME:
        return _BY_NAME[name]
    close = get_close_matches(name, _BY_NAME) or sorted(_BY_NAME)
    raise KeyError(f"there is no metric {name!r}; did you mean {', '.join(close)}?")
