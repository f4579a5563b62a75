"""Pareto fronts: the points that no other point beats on every axis."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import le

from leanboard.metrics.metric import Direction

Costs = tuple[float, ...]
"""The values of a point, one an axis, turned so that less is better."""


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
    costs: dict[str, Costs] = {}
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


def dominates(one: Costs, other: Costs) -> bool:
    """Return whether one point is at least as good on every axis, and better on one."""
    return one != other and all(map(le, one, other))


def _beaten(costs: Mapping[str, Costs]) -> Iterator[str]:
    """Yield the beaten points of any number of axes, each compared with the front so far.

    In the order of their costs, what beats a point comes before it; and if that is beaten itself,
    then by a point of the front, which beats both.
    """
    front: list[Costs] = []
    for name, cost in sorted(costs.items(), key=lambda item: item[1]):
        if any(dominates(member, cost) for member in front):
            yield name
        else:
            front.append(cost)


def _beaten_pairs(costs: Mapping[str, Costs]) -> Iterator[str]:
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


def _as_costs(values: Sequence[float], directions: Sequence[Direction]) -> Costs:
    return tuple(
        value if direction is Direction.LOWER else -value
        for value, direction in zip(values, directions, strict=True)
    )
