"""The roofline of a run's machine, and where prefill and decode of the run stand under it.

A phase does FLOPs and moves bytes; their ratio is its arithmetic intensity. At most the machine's
peak FLOP/s are reached, and at most intensity x bandwidth. Both axes are logarithmic, so that the
roof is two straight lines that meet at the ridge. Source: Williams, Waterman and Patterson,
Roofline, CACM 2009.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from leanboard.leaderboard.charts import (
    BOTTOM,
    LEFT,
    RIGHT,
    TOP,
    WIDTH,
    Axis,
    Line,
    LogAxis,
    Mark,
    Plot,
    bar_between,
    polyline,
)
from leanboard.leaderboard.divergence import fact
from leanboard.leaderboard.format import number
from leanboard.results.schema import Measurement, Record

HEIGHT = 340.0
_GIGA = 1e9
_ROOM = 3.0
_LARGEST = 1e21
"""A peak beyond it is a slip of the record: no machine is within a factor of a hundred of it."""


@dataclass(frozen=True, slots=True)
class Position:
    """Where a phase stands.

    Args:
        phase: ``prefill`` or ``decode``.
        intensity: FLOPs for each byte moved.
        rate: FLOP/s that were reached.
        span: both ends of the rate's 95% interval; ``None`` without one.
    """

    phase: str
    intensity: float
    rate: float
    span: tuple[float, float] | None


def roofline_plot(record: Record) -> Plot | None:
    """Return the plot of a run; ``None`` without calibrated peaks, or without a phase to show."""
    flops, moved = (fact(record.facts, f"peak_{what}_per_s") for what in ("flops", "bytes"))
    if flops is None or moved is None or not 0 < min(flops, moved) <= max(flops, moved) < _LARGEST:
        return None
    found = positions(record.measurements, flops, moved)
    return _plot(found, flops, moved) if found else None


def positions(
    measured: Mapping[str, Measurement], flops: float, moved: float
) -> tuple[Position, ...]:
    """Return where prefill and decode stand; a phase that was not measured is left out.

    MFU x peak FLOP/s is what was reached, and MBU x bandwidth the bytes per second beside it.

    Args:
        measured: the measurements of a run.
        flops: the machine's peak FLOP/s.
        moved: its bytes per second.
    """
    found = (_position(phase, measured, flops, moved) for phase in ("prefill", "decode"))
    return tuple(position for position in found if position is not None)


def _position(
    phase: str, measured: Mapping[str, Measurement], flops: float, moved: float
) -> Position | None:
    mfu, mbu = (measured.get(f"{name}_{phase}") for name in ("mfu", "mbu"))
    if mfu is None or mbu is None or mfu.value is None or mbu.value is None:
        return None
    if mfu.value <= 0 or mbu.value <= 0:
        return None
    ends = mfu.interval
    span = None if ends is None else (ends.low * flops, ends.high * flops)
    return Position(phase, mfu.value * flops / (mbu.value * moved), mfu.value * flops, span)


def _plot(found: tuple[Position, ...], flops: float, moved: float) -> Plot:
    ridge = flops / moved
    across = [ridge, *(p.intensity for p in found)]
    left, right = min(across) / _ROOM, max(across) * _ROOM
    ends = [end for p in found for end in (p.rate, *(p.span or ()))]
    up = [flops, left * moved, *(end for end in ends if end > 0)]
    x = LogAxis("arithmetic intensity (FLOP per byte)", left, right, LEFT, WIDTH - RIGHT)
    y = LogAxis(
        "reached (GFLOP/s)",
        min(up) / _ROOM / _GIGA,
        max(up) * _ROOM / _GIGA,
        HEIGHT - BOTTOM,
        TOP,
    )
    corners = ((left, left * moved), (ridge, flops), (right, flops))
    roof = polyline([(x.at(intensity), y.at(rate / _GIGA)) for intensity, rate in corners])
    told = "; ".join(f"{p.phase} at {_words(p)}" for p in found)
    description = (
        f"Roof: at most {number(flops / _GIGA)} GFLOP/s, and at most {number(moved / _GIGA)} GB/s; "
        f"they meet at {number(ridge)} FLOP per byte. Reached: {told}"
    )
    marks = tuple(_mark(position, x, y) for position in found)
    return Plot(x, y, description, marks, (Line(roof, "roof-line", "roof"),), height=HEIGHT)


def _words(position: Position) -> str:
    return f"{number(position.rate / _GIGA)} GFLOP/s and {number(position.intensity)} FLOP per byte"


def _mark(position: Position, x: Axis, y: Axis) -> Mark:
    across, up = x.at(position.intensity), y.at(position.rate / _GIGA)
    early = across < WIDTH / 2
    bar = None
    if position.span is not None:
        low, high = position.span
        bar = bar_between(y, low / _GIGA, high / _GIGA)
    return Mark(
        x=across,
        y=up,
        css="point phase",
        title=f"{position.phase}: {_words(position)}",
        label=position.phase,
        bar_y=bar,
        label_x=across + 10 if early else across - 10,
        label_y=up + 4,
        anchor="start" if early else "end",
    )
