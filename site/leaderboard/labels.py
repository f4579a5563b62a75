"""Where the names of points go, so that they cover neither each other nor the points."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from leanboard.leaderboard.charts import Mark, Plot

CHARACTER, HEIGHT, GAP = 7.2, 14.0, 10.0
Box = tuple[float, float, float, float]


def with_labels(plot: Plot) -> Plot:
    """Return the plot with a place for each label; one that fits nowhere is left out.

    What is drawn last, and so on top, gets its place first. The title of a point still names it.
    """
    taken: list[Box] = [_around(mark) for mark in plot.marks]
    placed: list[Mark] = []
    for mark in reversed(plot.marks):
        chosen = next(
            (
                (x, y, anchor, box)
                for x, y, anchor, box in _candidates(mark)
                if _inside(box, plot) and not any(_overlap(box, other) for other in taken)
            ),
            None,
        )
        if chosen is None:
            placed.append(replace(mark, label=""))
            continue
        x, y, anchor, box = chosen
        taken.append(box)
        placed.append(replace(mark, label_x=round(x, 2), label_y=round(y, 2), anchor=anchor))
    return replace(plot, marks=tuple(reversed(placed)))


def _candidates(mark: Mark) -> Sequence[tuple[float, float, str, Box]]:
    """Right, left, above, below, and the four corners; nothing for a mark without a label."""
    if not mark.label:
        return []
    width, middle = len(mark.label) * CHARACTER, mark.y + 4.0
    rows = (middle, middle - HEIGHT, middle + HEIGHT, middle - 2 * HEIGHT, middle + 2 * HEIGHT)
    found = []
    for y in rows:
        for anchor, x in (("start", mark.x + GAP), ("end", mark.x - GAP), ("middle", mark.x)):
            left = {"start": x, "end": x - width, "middle": x - width / 2}[anchor]
            found.append((x, y, anchor, (left, y - HEIGHT + 3, left + width, y + 3)))
    return found


def _around(mark: Mark) -> Box:
    return mark.x - 7, mark.y - 7, mark.x + 7, mark.y + 7


def _inside(box: Box, plot: Plot) -> bool:
    left, top, right, bottom = box
    inside = left >= plot.left and right <= plot.width
    return inside and top >= 0 and bottom <= plot.bottom


def _overlap(one: Box, other: Box) -> bool:
    apart = one[2] <= other[0] or other[2] <= one[0] or one[3] <= other[1] or other[3] <= one[1]
    return not apart
