"""Hypervolume: how much of the space above a reference point a set of points covers together.

Against the baseline every axis counts doublings: the binary logarithm of the ratio to the baseline,
turned so that more is better. The baseline is then the origin. The reference point lies one
doubling worse than it on every axis, so that the baseline alone covers 1; the unit is doublings to
the power of the number of axes. Neither units nor scales of the metrics enter.

Sources: Zitzler and Thiele, Multiobjective evolutionary algorithms: a comparative case study and
the strength Pareto approach (1999), for the measure; While, Hingston, Barone and Huband, A faster
algorithm for calculating hypervolume (2006), for the slices.
``site/leaderboard/static/hypervolume.js`` does the same in the browser.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from operator import ge

from leanboard.metrics.front_membership import DRAWS, Uncertain, contenders, drawn
from leanboard.metrics.metric import Direction

REFERENCE = -1.0
"""One doubling worse than the baseline: the reference on every axis."""
MOST_RANGED = 100
"""Most candidates on three axes or more whose volume has a range: volumes of many take long."""
_OUTSIDE = 40
"""One draw in so many lies below the range, and one above: its ends enclose 95% of them."""

Box = tuple[float, ...]
"""The sides of a box that has a corner at the origin, all above 0."""


@dataclass(frozen=True, slots=True)
class Volume:
    """What a set of candidates covers, in doublings to the power of the number of axes.

    Args:
        covered: what they cover above the reference point; the baseline alone covers 1.
        low: least value of the middle 95% of draws; ``None`` where none were made, as ``high``.
        high: greatest value of these.
        beyond: what they cover that the baseline does not; 0 where none is better on any axis.
    """

    covered: float
    low: float | None
    high: float | None
    beyond: float


def doublings(ratio: float, direction: Direction) -> float:
    """Return how many doublings better a candidate is than its baseline; below 0 it is worse.

    Args:
        ratio: candidate / baseline. What is not above 0 is infinitely worse: no power of two
            leads there.
        direction: which way is better.

    Raises:
        ValueError: if neither way is better.
    """
    if direction is Direction.NEUTRAL:
        raise ValueError("a metric without a better direction has no doublings")
    if ratio <= 0:
        return -math.inf
    return -math.log2(ratio) if direction is Direction.LOWER else math.log2(ratio)


def hypervolume(points: Iterable[Sequence[float]], reference: Sequence[float]) -> float:
    """Return the volume above the reference in which some point is at least as good.

    Args:
        points: a value an axis, more being better.
        reference: the point from which volumes count. A point that is not above it on every axis
            covers nothing.

    Raises:
        ValueError: if a point has another number of values than the reference.
    """
    boxes: list[Box] = []
    for point in points:
        box = tuple(value - origin for value, origin in zip(point, reference, strict=True))
        if min(box) > 0:
            boxes = _with(boxes, box)
    return _union(boxes)


def against_baseline(
    ratios: Mapping[str, Sequence[Uncertain]],
    metrics: Sequence[str],
    directions: Sequence[Direction],
    draws: int = DRAWS,
) -> Volume:
    """Return the volume that candidates cover, and its range over draws within their intervals.

    The draws are those of :func:`leanboard.metrics.front_membership.membership`. The best of
    several noisy points is more often too good than too bad, so the range leans upwards. On three
    axes or more it is left out where more than ``MOST_RANGED`` candidates compete.

    Args:
        ratios: name of each candidate to its candidate / baseline, one an axis.
        metrics: name of each axis.
        directions: for each axis, which way is better.
        draws: how often all ratios are moved, 1 or more.

    Raises:
        ValueError: if an axis has no better direction, or a candidate another number of values.
    """
    reference = [REFERENCE] * len(directions)

    def gains(moved: Iterable[Sequence[float]]) -> list[list[float]]:
        return [list(map(doublings, values, directions)) for values in moved]

    # What is beaten in every draw adds to no volume.
    able = {name: ratios[name] for name in contenders(ratios, directions)}
    found = gains([value.value for value in values] for values in able.values())
    ends = None
    if len(directions) <= 2 or len(able) <= MOST_RANGED:
        all_moved = drawn(able, metrics, draws)
        ends = _middle([hypervolume(gains(moved.values()), reference) for moved in all_moved])
    baseline = [0.0] * len(directions)
    return Volume(
        covered=hypervolume(found, reference),
        low=None if ends is None else ends[0],
        high=None if ends is None else ends[1],
        beyond=max(0.0, hypervolume([*found, baseline], reference) - 1),
    )


def _middle(values: Iterable[float]) -> tuple[float, float]:
    ordered = sorted(values)
    outside = len(ordered) // _OUTSIDE
    return ordered[outside], ordered[-1 - outside]


def _union(boxes: Sequence[Box]) -> float:
    """Return the volume of boxes together: cut along their last side, a slice at a time.

    From the top down, the boxes that reach a slice only grow more; the slice's own volume is that
    of their other sides. No box may lie inside another.
    """
    if not boxes:
        return 0.0
    if len(boxes[0]) == 1:
        return max(side for (side,) in boxes)
    ordered = sorted(boxes, key=lambda box: -box[-1])
    floors = [*(box[-1] for box in ordered[1:]), 0.0]
    if len(boxes[0]) == 2:
        return _area(ordered, floors)
    volume, within = 0.0, list[Box]()
    for (*sides, top), floor in zip(ordered, floors, strict=True):
        within = _with(within, tuple(sides))
        if top > floor:
            volume += (top - floor) * _union(within)
    return volume


def _area(ordered: Sequence[Box], floors: Sequence[float]) -> float:
    """Return the area of rectangles from the highest down: each is wider than those before it."""
    area = 0.0
    for (width, top), floor in zip(ordered, floors, strict=True):
        area += (top - floor) * width
    return area


def _with(boxes: list[Box], box: Box) -> list[Box]:
    """Return boxes and one more, without those that lie inside another."""
    if any(_holds(other, box) for other in boxes):
        return boxes
    return [*(other for other in boxes if not _holds(box, other)), box]


def _holds(outer: Box, inner: Box) -> bool:
    return all(map(ge, outer, inner))
