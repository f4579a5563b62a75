"""Fewer items than there are, spread over all of them.

``static/stage.js`` thins alike in the browser; a browser test holds the two together.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

_GOLDEN = 0.6180339887498949
T = TypeVar("T")


def thinned(items: Sequence[T], most: int) -> list[T]:
    """Return at most so many items, spread over all of them and in their order.

    Every n-th could always hit the same arm of a table that repeats; steps of the golden ratio hit
    every part of any pattern alike (Weyl's equidistribution).
    """
    if len(items) <= most:
        return list(items)
    kept = sorted(range(len(items)), key=lambda place: place * _GOLDEN % 1)[:most]
    return [items[place] for place in sorted(kept)]
