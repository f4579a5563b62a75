"""Pareto fronts: the points that no other point beats on every axis."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

from leanboard.metrics.metric import Direction


@dataclass(frozen=True, slots=True)
class Front:
    """Every point is in exactly one of the three, by name, in the order they were given.

    Args:
        members: the non-dominated points; equal points are all kept.
        dominated: points that another is at least as good as on every axis and better on one.
        left_out: points without a value on some axis.
    """

    members: tuple[str, ...]
    dominated: tuple[str, ...]
    left_out: tuple[str, ...]


def pareto_front(
    points: Mapping[str, Sequence[float | None]], directions: Sequence[Direction]
) -> Front:
    """Return the non-dominated points.

    Args:
        points: name of each point to its values, one an axis; ``None`` where not measured.
        directions: for each axis, which way is better.

    Raises:
        ValueError: if an axis has no better direction, or a point another number of values.
    """
    if Direction.NEUTRAL in directions:
        raise ValueError("a Pareto axis needs a better direction")
    costs: dict[str, tuple[float, ...]] = {}
    for name, values in points.items():
        if len(values) != len(directions):
            raise ValueError(f"point {name} has {len(values)} values for {len(directions)} axes")
        known = [value for value in values if value is not None]
        if len(known) == len(values):
            costs[name] = _as_costs(known, directions)
    beaten = set(_beaten_pairs(costs) if len(directions) == 2 else _beaten(costs))
    return Front(
        members=tuple(name for name in costs if name not in beaten),
        dominated=tuple(name for name in costs if name in beaten),
        left_out=tuple(name for name in points if name not in costs),
    )


def _beaten(costs: Mapping[str, tuple[float, ...]]) -> Iterator[str]:
    for name, cost in costs.items():
        if any(_dominates(other, cost) for other in costs.values()):
            yield name


def _beaten_pairs(costs: Mapping[str, tuple[float, ...]]) -> Iterator[str]:
    """Yield the beaten points of two axes by a sweep along the first, in O(n log n)."""
    best = math.inf
    ordered = sorted(costs.items(), key=lambda item: item[1])
    for _, group in groupby(ordered, key=lambda item: item[1][0]):
        alike = list(group)
        least = alike[0][1][1]
        for name, cost in alike:
            if cost[1] >= best or cost[1] > least:
                yield name
        best = min(best, least)


def _as_costs(values: Sequence[float], directions: Sequence[Direction]) -> tuple[float, ...]:
    return tuple(
        value if direction is Direction.LOWER else -value
        for value, direction in zip(values, directions, strict=True)
    )


def _dominates(one: tuple[float, ...], other: tuple[float, ...]) -> bool:
    return one != other and all(a <= b for a, b in zip(one, other, strict=True))
