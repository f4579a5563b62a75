"""Which runs of a stage share a front: all of them, or those of each model.

``static/pareto.js`` makes the same groups in the browser, and others that a reader chooses.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import chain

from leanboard.leaderboard.format import plural
from leanboard.leaderboard.shapes import SHAPES, corners_at, group_class
from leanboard.leaderboard.stage import Contest, Point, Stage, contested

_KEY = 8.0
"""Pixel of a shape's middle, across and down, where it stands beside a text."""


@dataclass(frozen=True, slots=True)
class Front:
    """A front, and the runs that compete for it.

    Args:
        name: the model that it is of; empty where all runs share it.
        number: its place among several, by which it is drawn; ``None`` where all runs share it.
        stage: its runs.
        contest: who of them is on it.
    """

    name: str
    number: int | None
    stage: Stage
    contest: Contest

    @property
    def css(self) -> str:
        """The class that gives it its colour, with a space before it; empty for the only one."""
        return group_class(self.number)

    @property
    def key(self) -> str:
        """Its shape for a legend, as SVG's ``points``; empty for a circle."""
        return corners_at(self.number, _KEY, _KEY)

    @property
    def share(self) -> str:
        """How many of its runs are on it."""
        runs = plural(len(self.stage.points) + len(self.stage.hollow), "run")
        return f"{len(self.contest.front)} of {runs} on its front"


def several_models(stage: Stage) -> bool:
    """Return whether more than one model competes.

    One front over models of unlike size says little more than that the smaller one is faster.
    """
    return len({point.line.model for point in stage.points}) > 1


def fronts_of(
    stage: Stage, *, per_model: bool, contest: Callable[[Stage], Contest] = contested
) -> tuple[Front, ...]:
    """Return the fronts of a stage, by name.

    Args:
        stage: the runs.
        per_model: whether each model has a front of its own.
        contest: finds who is on the front of a stage.
    """
    if not per_model:
        return (Front("", None, stage, contest(stage)),)
    names = sorted({point.line.model for point in chain(stage.points, stage.hollow)})
    parts = ((name, _part(stage, name)) for name in names)
    return tuple(Front(name, i, part, contest(part)) for i, (name, part) in enumerate(parts))


def _part(stage: Stage, model: str) -> Stage:
    return replace(stage, points=_of(stage.points, model), hollow=_of(stage.hollow, model))


def _of(points: Sequence[Point], model: str) -> tuple[Point, ...]:
    return tuple(point for point in points if point.line.model == model)


def together(fronts: Sequence[Front]) -> Contest:
    """Return who is on any of the fronts."""
    contests = [front.contest for front in fronts]
    return Contest(
        tuple(point for contest in contests for point in contest.front),
        tuple(point for contest in contests for point in contest.maybe),
        tuple(point for contest in contests for point in contest.beaten),
        {href: chance for contest in contests for href, chance in contest.chances.items()},
        sum(contest.undecided for contest in contests),
    )


def shapes_note(fronts: Sequence[Front]) -> str:
    """Say that shapes are used again; empty where they are not."""
    repeat = "Shapes repeat: the title of a point tells more."
    return repeat if len(fronts) > len(SHAPES) else ""
