"""A plot as data, which ``static/made_plot.js`` draws as ``templates/plot.html`` does.

Pixels are those that were computed when the site was built: the browser chooses nothing.
"""

from __future__ import annotations

from collections.abc import Iterable

from leanboard.leaderboard.charts import Axis, Mark, Plot
from leanboard.leaderboard.data import Json


def plot_data(heading: str, plot: Plot) -> Json:
    """Return a plot without links as the browser is told of it.

    A mark with a label keeps all that it has. The others are dots, of which there may be many, and
    have no more than their place and their class.

    Args:
        heading: the plot's heading.
        plot: the plot.
    """
    return {
        "heading": heading,
        "description": plot.description,
        "height": plot.height,
        "x": _axis(plot.x),
        "y": _axis(plot.y),
        "lines": [[line.css, line.points, line.title] for line in plot.lines],
        "dots": _dots(mark for mark in plot.marks if not mark.label),
        "marks": [_mark(mark) for mark in plot.marks if mark.label],
    }


def _axis(axis: Axis) -> list[object]:
    return [axis.title, [[tick.at, tick.text] for tick in axis.ticks]]


def _dots(marks: Iterable[Mark]) -> list[tuple[str, str]]:
    """Return the places of dots by their class, as the text of SVG's ``points``."""
    found: dict[str, list[str]] = {}
    for mark in marks:
        found.setdefault(mark.css, []).append(f"{mark.x:g},{mark.y:g}")
    return [(css, " ".join(places)) for css, places in found.items()]


def _mark(mark: Mark) -> Json:
    return {
        "css": mark.css,
        "title": mark.title,
        "x": mark.x,
        "y": mark.y,
        "bar": mark.bar_y,
        "label": mark.label,
        "at": [mark.label_x, mark.label_y, mark.anchor],
    }
