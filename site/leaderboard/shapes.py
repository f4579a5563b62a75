"""The shapes of groups of points, so that nobody needs colours to tell them apart.

``static/plot.js`` draws the same shapes, which it gets with the board's data.
"""

from __future__ import annotations

from collections.abc import Sequence

from leanboard.leaderboard.charts import polyline

Corners = Sequence[tuple[float, float]]

SHAPES: tuple[Corners, ...] = (
    (),
    ((-5.3, -5.3), (5.3, -5.3), (5.3, 5.3), (-5.3, 5.3)),
    ((0, -8), (7, 5), (-7, 5)),
    ((0, -7.5), (7.5, 0), (0, 7.5), (-7.5, 0)),
    (
        *((-2.2, -7), (2.2, -7), (2.2, -2.2), (7, -2.2), (7, 2.2), (2.2, 2.2)),
        *((2.2, 7), (-2.2, 7), (-2.2, 2.2), (-7, 2.2), (-7, -2.2), (-2.2, -2.2)),
    ),
    ((0, 8), (7, -5), (-7, -5)),
    (
        *((-5, -7), (0, -2.6), (5, -7), (7, -5), (2.6, 0), (7, 5)),
        *((5, 7), (0, 2.6), (-5, 7), (-7, 5), (-2.6, 0), (-7, -5)),
    ),
    ((0, -8), (2, -2), (8, 0), (2, 2), (0, 8), (-2, 2), (-8, 0), (-2, -2)),
)
"""Corners around a point, in pixels; the first is a circle, which has none."""


def corners_at(number: int | None, x: float, y: float) -> str:
    """Return the shape of a group around a point, as SVG's ``points``; empty for a circle.

    Args:
        number: which group, from 0; ``None`` where there are no groups.
        x: pixel of the point.
        y: the same, downwards.
    """
    shape = SHAPES[(number or 0) % len(SHAPES)]
    return polyline([(round(x + dx, 2), round(y + dy, 2)) for dx, dy in shape])


def group_class(number: int | None) -> str:
    """Return the class that gives a group its colour and dashes, with a space before it."""
    return "" if number is None else f" group-{number % len(SHAPES)}"
