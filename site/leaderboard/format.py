"""Numbers for people: milliseconds, MiB and three significant digits.

``static/format.js`` does the same in the browser; a browser test holds the two together.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import ROUND_HALF_UP, Decimal
from functools import lru_cache
from itertools import accumulate, repeat
from operator import truediv
from statistics import median

DASH = "\u2014"
MINUS = "\u2212"
_TIMES: tuple[tuple[float, str], ...] = ((1.0, "s"), (1e3, "ms"), (1e6, "\u00b5s"))
_BYTES = ((2.0**-30, "GiB"), (2.0**-20, "MiB"), (2.0**-10, "KiB"), (1.0, "B"))
_JOULES: tuple[tuple[float, str], ...] = ((1e-3, "kJ"), (1.0, "J"), (1e3, "mJ"))
_LADDERS = {"s": _TIMES, "B": _BYTES, "J": _JOULES}
_MOST_DECIMALS = 8
_STEPS = sorted(accumulate(repeat(10.0, _MOST_DECIMALS - 1), truediv, initial=100.0))
"""Sizes below which one more decimal is shown."""
_WHOLE = 2.0**52
_NEAR_ONE = 1e-3


@dataclass(frozen=True, slots=True)
class Scale:
    """How the numbers of one unit are shown: multiplied by ``factor``, with ``suffix`` behind."""

    factor: float
    suffix: str


def scale_for(unit: str, values: Iterable[float]) -> Scale:
    """Return the scale in which these values read best, the same one for all of them.

    Seconds, bytes and joules climb their ladder by the median; ``B/tok`` and the like keep what
    follows the slash. A share or ratio (unit ``1``) and any other unit stay as they are.
    """
    *larger, least = _scales(unit)
    if not larger:
        return least
    sizes = [abs(value) for value in values if value != 0]
    middle = median(sizes) if sizes else 1.0
    for scale in larger:
        if middle * scale.factor >= 1.0:
            return scale
    return least


@lru_cache(maxsize=1024)
def _scales(unit: str) -> tuple[Scale, ...]:
    """Return the scales of a unit, from the largest to the least."""
    base, slash, rest = unit.partition("/")
    ladder = _LADDERS.get(base)
    if ladder is None:
        return (Scale(1.0, "" if unit == "1" else unit),)
    return tuple(Scale(factor, name + slash + rest) for factor, name in ladder)


def decimals(value: float) -> int:
    """Return how many decimals show at least three significant digits."""
    return _MOST_DECIMALS - bisect_right(_STEPS, abs(value)) if value != 0 else 0


def number(value: float, places: int | None = None) -> str:
    """Return a number with three significant digits (or ``places`` decimals) and separators.

    What is no finite number is a dash.
    """
    if not math.isfinite(value):
        return DASH
    places = decimals(value) if places is None else places
    size = abs(value)
    # Formatting rounds what lies halfway to even. Half a step is exact here wherever it can occur.
    halves = size * 2.0 * 10.0**places
    if size < _WHOLE and (halves % 2 == 1 or halves > _WHOLE):
        halfway_up = Decimal(size).quantize(Decimal(1).scaleb(-places), rounding=ROUND_HALF_UP)
        text = f"{halfway_up:,f}"
    else:
        text = f"{size:,.{places}f}"
    return MINUS + text if value < 0 and text.strip("0.,") else text


def quantity(value: float | None, unit: str, scale: Scale | None = None) -> str:
    """Return a value with its unit in a readable size, or a dash for ``None``."""
    if value is None:
        return DASH
    scale = scale_for(unit, [value]) if scale is None else scale
    return f"{number(value * scale.factor)} {scale.suffix}".rstrip()


def span(low: float, high: float, scale: Scale) -> str:
    """Return both ends of an interval, with enough decimals to tell them apart, without a unit."""
    low, high = low * scale.factor, high * scale.factor
    places = decimals(max(abs(low), abs(high)))
    if high > low:
        places = max(places, decimals(high - low) - 2)
    return f"{number(low, places)} \u2013 {number(high, places)}"


def ratio_places(least: int, ends: Sequence[float], *shown: float) -> int:
    """Return the decimals of a ratio: ``least``, or as many as tell what is shown from 1.

    Args:
        least: decimals that are enough for most, and for a ratio whose interval holds 1.
        ends: both ends of its interval; nothing without one.
        shown: what is printed with these decimals, such as the ratio and both ends.
    """
    if ends and ends[0] <= 1 <= ends[1]:
        return least
    nearest = min((abs(value - 1) for value in shown if value != 1), default=1.0)
    enough = (places for places in range(least, _MOST_DECIMALS) if nearest >= 0.5 / 10**places)
    return next(enough, _MOST_DECIMALS)


def rounded(value: float, digits: int = 6) -> float:
    """Return a value with ``digits`` significant digits, to keep the page's data small."""
    return float(f"{value:.{digits}g}")


def rounded_ratio(value: float) -> float:
    """Return a ratio with six significant digits; near 1 with all decimals that are ever shown."""
    return round(value, _MOST_DECIMALS) if abs(value - 1) < _NEAR_ONE else rounded(value)


def share(value: float, places: int = 1) -> str:
    """Return a share as a percentage."""
    return f"{number(value * 100, places)} %"


def percent(change: float, places: int = 1) -> str:
    """Return a change, given as a share, as a percentage with its sign."""
    return share(change, places) if change < 0 else f"+{share(change, places)}"


def moment(when: datetime) -> str:
    """Return a point in time as ISO date and minutes, in the zone that it carries."""
    zone = when.strftime("%Z") or "UTC"
    return f"{when:%Y-%m-%d %H:%M} {zone}"


def plural(count: int, noun: str) -> str:
    """Return a count with its noun (``1 run``, ``1,200 runs``, ``8 launches``)."""
    ending = "" if count == 1 else "es" if noun.endswith("ch") else "s"
    return f"{count:,} {noun}{ending}"
