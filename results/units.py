"""The unit of every metric: a number in another one is not a value of it."""

from __future__ import annotations

from leanboard.metrics.registry import METRICS
from leanboard.results.derived_columns import DERIVED

_UNITS = {metric.name: metric.unit for metric in METRICS}


def unit_of(name: str) -> str | None:
    """Return the unit of a measurement, whose name may carry a task in front.

    Args:
        name: of a metric, of what is derived, or of any other; the last have none that is known.
    """
    derived = DERIVED.get(name)
    return _UNITS.get(name.rpartition(".")[2]) if derived is None else derived.unit
