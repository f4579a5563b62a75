"""How sure a point's place on a Pareto front is: the share of draws in which nothing beats it.

A draw moves every value within what its interval says: a normal deviate, on the logarithm where
value and interval are positive, with the half-width of either side as 1.96 standard deviations.
Rows and metrics move independently. A value without an interval stays where it is.

``site/leaderboard/static/membership.js`` draws the very same numbers (Mulberry32 seeded by a hash
of the names), so that the page with and without JavaScript agree. Method: METRICS.md, Comparison;
Mulberry32: Tommy Ettinger, public domain; FNV-1a: Fowler, Noll, Vo.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from leanboard.metrics.distributions import normal_quantile
from leanboard.metrics.metric import Direction
from leanboard.metrics.pareto import Costs, dominates, pareto_front

DRAWS = 400
MOST_DRAWN = 250
"""Most points that a page draws on three axes or more: fronts of many take long."""
_Z95 = normal_quantile(0.975)
_WORD = 0xFFFFFFFF
_FARTHEST = math.sqrt(-2 * math.log(2.0**-32))
"""The largest deviate that there is: a uniform of 32 bits is at least 2**-32 away from 1."""


@dataclass(frozen=True, slots=True)
class Uncertain:
    """A value and its 95% interval.

    Args:
        value: the value, in the metric's unit.
        low: lower end; ``None`` without an interval, as ``high``.
        high: upper end.
    """

    value: float
    low: float | None = None
    high: float | None = None

    def moved(self, deviates: Sequence[float]) -> list[float]:
        """Return the value moved by each of some standard normal deviates."""
        value, low, high = self.value, self.low, self.high
        if low is None or high is None:
            return [value] * len(deviates)
        if min(value, low, high) > 0:
            down, up = _log(low / value), _log(high / value)
            return [value * _exp(abs(d) * (down if d < 0 else up) / _Z95) for d in deviates]
        down, up = low - value, high - value
        return [value + abs(d) * (down if d < 0 else up) / _Z95 for d in deviates]

    @property
    def reach(self) -> tuple[float, float]:
        """The least and the greatest value that any draw moves it to."""
        ends = self.value, *self.moved((-_FARTHEST, _FARTHEST))
        return min(ends), max(ends)


@dataclass(frozen=True, slots=True)
class Membership:
    """How sure the places of points on a front are.

    Args:
        contenders: how many points some draw could put on the front.
        shares: name of each point to the share of draws in which it is on the front; ``None``
            where more points than allowed would have to be drawn.
    """

    contenders: int
    shares: Mapping[str, float] | None


def membership(
    points: Mapping[str, Sequence[Uncertain]],
    metrics: Sequence[str],
    directions: Sequence[Direction],
    draws: int = DRAWS,
    most: float = math.inf,
) -> Membership:
    """Return for each point the share of draws in which it is on the front.

    Args:
        points: name of each point to its values, one an axis.
        metrics: name of each axis.
        directions: for each axis, which way is better.
        draws: how many fronts are drawn; the standard error is at most 0.5 / sqrt(draws).
        most: how many points may be drawn. Contenders that no draw can beat, and that no other's
            place depends on, are not drawn: they are on every front.

    Raises:
        ValueError: if an axis has no better direction, or a point another number of values.
    """
    able = {name: points[name] for name in contenders(points, directions)}
    disputed = in_dispute(able, directions, most)
    if len(disputed) > most:
        return Membership(len(able), None)
    counts = dict.fromkeys(points, 0) | dict.fromkeys(able, draws) | dict.fromkeys(disputed, 0)
    for moved in drawn({name: able[name] for name in disputed}, metrics, draws):
        for name in pareto_front(moved, directions).members:
            counts[name] += 1
    return Membership(len(able), {name: count / draws for name, count in counts.items()})


def drawn(
    points: Mapping[str, Sequence[Uncertain]], metrics: Sequence[str], draws: int = DRAWS
) -> Iterator[dict[str, tuple[float, ...]]]:
    """Yield the points of each draw: name to moved values, one an axis."""
    moves = {name: _moves(name, values, metrics, draws) for name, values in points.items()}
    for place in range(draws):
        yield {name: moved[place] for name, moved in moves.items()}


def _moves(
    name: str, values: Sequence[Uncertain], metrics: Sequence[str], draws: int
) -> list[tuple[float, ...]]:
    """Return a point as each draw moves it; a value without an interval needs no deviates."""
    axes = [
        value.moved([0.0] * draws if value.low is None else _deviates(f"{name}/{metric}", draws))
        for value, metric in zip(values, metrics, strict=True)
    ]
    return list(zip(*axes, strict=True))


def contenders(
    points: Mapping[str, Sequence[Uncertain]], directions: Sequence[Direction]
) -> list[str]:
    """Return the points that some draw could put on the front: the others need no draws.

    A point is none of them if even at its best another beats it at that one's worst.

    Args:
        points: name of each point to its values, one an axis.
        directions: for each axis, which way is better.

    Raises:
        ValueError: if an axis has no better direction, or a point another number of values.
    """
    if Direction.NEUTRAL in directions:
        raise ValueError("a Pareto axis needs a better direction")
    corners = {name: _corners(values, directions) for name, values in points.items()}
    worst = {name: corner for name, (_, corner) in corners.items()}
    front = pareto_front(worst, [Direction.LOWER] * len(directions)).members
    return [
        name
        for name, (best, _) in corners.items()
        if not any(dominates(worst[other], best) for other in front)
    ]


def in_dispute(
    able: Mapping[str, Sequence[Uncertain]],
    directions: Sequence[Direction],
    most: float = math.inf,
) -> list[str]:
    """Return the contenders that some draw may beat, and those that may beat them.

    Stops soon after there are more than ``most``.

    Args:
        able: name of each contender to its values, one an axis.
        directions: for each axis, which way is better.
        most: how many are worth knowing.
    """
    corners = {name: _corners(values, directions) for name, values in able.items()}
    found: set[str] = set()
    for name, (_, worst) in corners.items():
        rivals = [
            other
            for other, (best, _) in corners.items()
            if other != name and dominates(best, worst)
        ]
        found.update(rivals, [name] if rivals else [])
        if len(found) > most:
            break
    return [name for name in able if name in found]


def _corners(values: Sequence[Uncertain], directions: Sequence[Direction]) -> tuple[Costs, Costs]:
    """Return the costs of a point at its best and at its worst over all draws."""
    best, worst = [], []
    for value, direction in zip(values, directions, strict=True):
        low, high = value.reach
        lower = direction is Direction.LOWER
        best.append(low if lower else -high)
        worst.append(high if lower else -low)
    return tuple(best), tuple(worst)


def _deviates(name: str, count: int) -> list[float]:
    """Return standard normal deviates, the same ones for the same name (Box and Muller).

    Logarithms and cosines are those of the C library, as numpy's depend on the processor.
    """
    uniform = _mulberry32(_fnv1a(name), 2 * count)
    pairs = zip(uniform[::2], uniform[1::2], strict=True)
    return [math.sqrt(-2 * math.log(1 - u)) * math.cos(2 * math.pi * v) for u, v in pairs]


def _log(ratio: float) -> float:
    """Return the logarithm of a ratio, which may be too small for a float."""
    return math.log(ratio) if ratio > 0 else -math.inf


def _exp(exponent: float) -> float:
    """Return the exponential, infinity where it is too large for a float."""
    try:
        return math.exp(exponent)
    except OverflowError:
        return math.inf


def _fnv1a(text: str) -> int:
    state = 0x811C9DC5
    for byte in text.encode():
        state = ((state ^ byte) * 0x01000193) & _WORD
    return state


def _mulberry32(state: int, count: int) -> list[float]:
    """Return uniform numbers from 0 to 1; unsigned words of 32 bits wrap around, as they should."""
    steps = np.arange(1, count + 1, dtype=np.uint32)
    states = steps * np.uint32(0x6D2B79F5) + np.uint32(state)
    mixed = (states ^ (states >> 15)) * (states | 1)
    mixed ^= mixed + (mixed ^ (mixed >> 7)) * (mixed | 61)
    uniform: list[float] = ((mixed ^ (mixed >> 14)) / 2.0**32).tolist()
    return uniform
