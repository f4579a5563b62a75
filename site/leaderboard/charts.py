"""Geometry of the server-drawn plots: axes with round ticks, points, lines. No drawing here.

Pixels run right and down, as SVG's do. ``static/axes.js`` makes the same axes in the browser; a
browser test holds the two together.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from leanboard.leaderboard.format import number

WIDTH, HEIGHT = 720.0, 440.0
LEFT, RIGHT, TOP, BOTTOM = 72.0, 24.0, 20.0, 56.0
_TICKS = 6
_MARGIN = 0.06
_LETTER, _RIM = 7.6, 4.0
_WIDE, _FEW_DECADES = 5.0, 100.0
"""Ratios of a logarithmic axis' ends: from which its marks are powers of ten, and those alone."""
_MOST_DECADES = 12
"""Powers of ten up to which each has its mark."""
_MOST_PLACES, _MOST_DIGITS = 3, 9
"""Decimals, and digits before them, up to which the text of a power of ten is written out."""
_LEAST, _MOST = 1e-99, 1e120
"""The smallest and the largest size that are drawn: those of records are smaller than the latter.

Values that lie closer together than the smallest, or than this share of themselves, are drawn as
one: no text of a mark could tell them apart.
"""
_LEAST_SHARE = 1e-9


@dataclass(frozen=True, slots=True)
class Tick:
    """A mark on an axis: its pixel and its text."""

    at: float
    text: str


@dataclass(frozen=True, slots=True)
class Axis:
    """A linear axis from values to pixels.

    Args:
        title: what it shows, with the unit.
        low: value at ``start``.
        high: value at ``end``.
        start: pixel of ``low``.
        end: pixel of ``high``.
    """

    title: str
    low: float
    high: float
    start: float
    end: float

    def at(self, value: float) -> float:
        """Return the pixel of a value, to two decimals."""
        share = (_held(value) - self.low) / (self.high - self.low)
        return round(self.start + share * (self.end - self.start), 2)

    @property
    def ticks(self) -> tuple[Tick, ...]:
        """Marks at round values."""
        return tuple(Tick(self.at(value), text) for value, text in self._round_values())

    def _round_values(self) -> Iterator[tuple[float, str]]:
        """Yield the multiples of a round step between both ends, each with its text."""
        step = _round_step((self.high - self.low) / _TICKS)
        first, last = math.ceil(self.low / step - 1e-9), math.floor(self.high / step + 1e-9)
        places = max(0, -math.floor(math.log10(step) + 1e-9))
        return ((i * step, number(i * step, places)) for i in range(first, last + 1))


@dataclass(frozen=True, slots=True)
class LogAxis(Axis):
    """A logarithmic axis: both ends are above 0."""

    def at(self, value: float) -> float:
        """Return the pixel of a value above 0, to two decimals."""
        share = math.log(_held(value, _LEAST) / self.low) / math.log(self.high / self.low)
        return round(self.start + share * (self.end - self.start), 2)

    @property
    def ticks(self) -> tuple[Tick, ...]:
        """Marks at powers of ten, over few decades at 2 and 5 times them too; else round values."""
        if self.high / self.low < _WIDE:
            return tuple(Tick(self.at(value), text) for value, text in self._round_values())
        first, last = math.floor(math.log10(self.low)), math.ceil(math.log10(self.high))
        every = math.ceil((last - first) / _MOST_DECADES)
        steps = (1,) if self.high / self.low > _FEW_DECADES else (1, 2, 5)
        powers = ((m, e) for e in range(first, last + 1, every) for m in steps)
        values = ((_power(m, e), _power_text(m, e)) for m, e in powers)
        return tuple(
            Tick(self.at(value), text) for value, text in values if self.low <= value <= self.high
        )


def _power(factor: int, exponent: int) -> float:
    """Return ``factor`` times a power of ten; read, as powers are computed by each in its way."""
    return float(f"{factor}e{exponent}")


def _power_text(factor: int, exponent: int) -> str:
    """Write ``factor`` times a power of ten in as little room as an axis has beside its title."""
    if exponent < -_MOST_PLACES:
        return f"{factor}e\u2212{-exponent}"
    if exponent > _MOST_DIGITS:
        return f"{factor}e{exponent}"
    return number(_power(factor, exponent), max(0, -exponent))


@dataclass(frozen=True, slots=True)
class Mark:
    """A point with its name, error bars and link.

    Args:
        x: pixel, as ``y``.
        bar_x: pixels of both ends of the horizontal error bar; ``None`` without one.
        bar_y: the same, vertically.
        label_x: pixel of the label's anchor, as ``label_y``.
        anchor: SVG's ``text-anchor`` of the label.
        css: class that says how it looks.
        label: text beside it; empty for none.
        title: text for a pointer or a screen reader.
        href: address of its page; empty for none.
        name: text that stands beside it, where there is no room for the label, while it has the
            pointer or the focus.
        stop: whether the Tab key stops at it.
        shape: corners of its shape, as the text of SVG's ``points``; empty for a circle.
    """

    x: float
    y: float
    css: str
    title: str
    label: str = ""
    href: str = ""
    bar_x: tuple[float, float] | None = None
    bar_y: tuple[float, float] | None = None
    label_x: float = 0.0
    label_y: float = 0.0
    anchor: str = "start"
    name: str = ""
    stop: bool = True
    shape: str = ""

    @property
    def name_y(self) -> float:
        """Pixel of the name's foot: above the point, or below it where the picture ends."""
        return round(self.y - 12 if self.y > TOP + 16 else self.y + 22, 2)

    @property
    def name_x(self) -> float:
        """Pixel of the name's start: at the point, or as far left of it as the picture needs."""
        return name_start(self.name, self.x)


@dataclass(frozen=True, slots=True)
class Line:
    """A polyline, as the text of SVG's ``points``."""

    points: str
    css: str
    title: str = ""


@dataclass(frozen=True, slots=True)
class Plot:
    """One picture: its axes, what is in it, and the sentence that stands for it."""

    x: Axis
    y: Axis
    description: str
    marks: tuple[Mark, ...] = ()
    lines: tuple[Line, ...] = ()
    width: float = field(default=WIDTH, kw_only=True)
    height: float = field(default=HEIGHT, kw_only=True)

    @property
    def left(self) -> float:
        """Left edge of the area inside the axes."""
        return LEFT

    @property
    def right(self) -> float:
        """Right edge of the area inside the axes."""
        return self.width - RIGHT

    @property
    def top(self) -> float:
        """Upper edge of the area inside the axes."""
        return TOP

    @property
    def bottom(self) -> float:
        """Lower edge of the area inside the axes."""
        return self.height - BOTTOM

    @property
    def crowded(self) -> bool:
        """Whether there are too many marks for all to be named and reached by Tab."""
        return not all(mark.stop for mark in self.marks)


def x_axis(title: str, values: Iterable[float], *, zero: bool = False) -> Axis:
    """Return the horizontal axis of a plot over these values, with a little room at both ends."""
    low, high = bounds(values, zero=zero)
    return Axis(title, low, high, LEFT, WIDTH - RIGHT)


def y_axis(
    title: str, values: Iterable[float], *, zero: bool = False, height: float = HEIGHT
) -> Axis:
    """Return the vertical axis of a plot of ``height`` pixels over these values."""
    low, high = bounds(values, zero=zero)
    return Axis(title, low, high, height - BOTTOM, TOP)


def bar_between(axis: Axis, low: float, high: float) -> tuple[float, float]:
    """Return the pixels of an error bar's ends.

    A logarithmic axis has no room for 0 and less: such a bar goes to the edge of the plot.
    """
    return axis.at(max(low, axis.low)), axis.at(max(high, axis.low))


def logarithmic(axis: Axis, values: Iterable[float]) -> LogAxis:
    """Return a logarithmic axis over values above 0, at least one, in the place of another."""
    known = [_held(value, _LEAST) for value in values]
    low, high = min(known), max(known)
    room = (high / low) ** _MARGIN if _told_apart(low, high) else 2.0
    return LogAxis(axis.title, low / room, high * room, axis.start, axis.end)


def bounds(values: Iterable[float], *, zero: bool = False) -> tuple[float, float]:
    """Return limits around the values, never equal; ``zero`` starts them at 0."""
    known = [_held(value) for value in values] or [0.0, 1.0]
    low, high = min(known), max(known)
    if not _told_apart(low, high):
        low, high = low - _half(low), high + _half(high)
    margin = (high - low) * _MARGIN
    if zero and low >= 0:
        return 0.0, high + margin
    lower = low - margin
    return (max(lower, 0.0) if low >= 0 else lower), high + margin


def _held(value: float, least: float = -_MOST) -> float:
    """Return a value, or the limit beyond which it lies."""
    return min(max(value, least), _MOST)


def _told_apart(low: float, high: float) -> bool:
    """Return whether two values are drawn as two."""
    return high - low >= max(_LEAST, _LEAST_SHARE * max(abs(low), abs(high)))


def _half(value: float) -> float:
    """Return the room on either side of a value that stands alone."""
    return abs(value) / 2 if abs(value) >= _LEAST else 0.5


def polyline(points: Sequence[tuple[float, float]]) -> str:
    """Return pixels as the text of SVG's ``points`` attribute."""
    return " ".join(f"{x:g},{y:g}" for x, y in points)


def name_start(name: str, wanted: float) -> float:
    """Return the pixel at which a name starts, so that it ends inside a picture of full width."""
    return round(max(_RIM, min(wanted, WIDTH - len(name) * _LETTER - _RIM)), 2)


def _round_step(rough: float) -> float:
    """Return the next of 1, 2, 5 times a power of ten."""
    exponent = math.floor(math.log10(rough))
    steps = (_power(m, exponent) for m in (1, 2, 5, 10))
    return next(step for step in steps if step >= rough * (1 - 1e-9))
