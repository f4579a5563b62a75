"""Trunks: what many contexts begin with, found so that as few tokens as possible are fed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from leanboard.runners.backends.spans import common_prefix

TRUNK_COSTS = 64
"""Tokens that a trunk must save at least: it runs alone, and its rows in batches of their own."""

TRUNK_SHARE = 4
"""What follows a trunk is at most so many times as long: behind a trunk attention needs a mask."""


@dataclass(frozen=True, slots=True)
class Unit:
    """Spans of one context.

    Args:
        places: their places in the list.
        tokens: what they feed together without a trunk.
    """

    context: tuple[int, ...]
    places: tuple[int, ...]
    tokens: int


@dataclass(frozen=True, slots=True)
class _Block:
    """Neighbouring units, in groups as cheap as they can be.

    Args:
        tokens: what the units would feed without a trunk.
        cost: what they feed as they are grouped.
        trunk: tokens of the trunk of all; 0 if the halves stay apart.
    """

    first: int
    last: int
    tokens: int
    cost: int
    trunk: int = 0
    halves: tuple[_Block, ...] = field(default=(), repr=False)


def trunks_of(units: Sequence[Unit]) -> Iterator[tuple[int, Sequence[Unit]]]:
    """Yield neighbours with the length of their trunk; 0 for those without.

    Neighbours are joined from the longest common prefix to the shortest; what is joined keeps the
    cheaper way: one trunk for all, or the halves as they were.
    """
    beginning = {n: _Block(n, n, unit.tokens, unit.tokens) for n, unit in enumerate(units)}
    ending = dict(beginning)
    # A trunk leaves at least the context's last token to its row, which is read there.
    shared = {
        n: min(
            common_prefix(units[n - 1].context, units[n].context),
            len(units[n - 1].context) - 1,
            len(units[n].context) - 1,
        )
        for n in range(1, len(units))
    }
    for n in sorted(shared, key=lambda n: (-shared[n], n)):
        block = _join(ending[n - 1], beginning[n], shared[n])
        beginning[block.first] = ending[block.last] = block
    blocks = [beginning[0]] if units else []
    while blocks:
        block = blocks.pop()
        if block.trunk > 0 or not block.halves:
            yield block.trunk, units[block.first : block.last + 1]
        else:
            blocks += reversed(block.halves)


def _join(left: _Block, right: _Block, trunk: int) -> _Block:
    tokens = left.tokens + right.tokens
    together = tokens - (right.last - left.first) * trunk + TRUNK_COSTS
    apart = left.cost + right.cost
    rest = tokens // (right.last - left.first + 1) - trunk
    if together < apart and rest <= TRUNK_SHARE * trunk:
        return _Block(left.first, right.last, tokens, together, trunk)
    return _Block(left.first, right.last, tokens, apart, halves=(left, right))
