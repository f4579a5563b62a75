"""What a span feeds, and what sequences begin with alike: the same for every backend."""

from __future__ import annotations

from bisect import bisect_left

from leanboard.runners.backends.base import Span


def fed(span: Span) -> tuple[int, ...]:
    """Return the tokens that a span feeds: the last one is only predicted."""
    return (*span.context, *span.continuation[:-1])


def fed_tokens(span: Span) -> int:
    """Return how many tokens a span feeds."""
    return len(span.context) + len(span.continuation) - 1


def common_prefix(one: tuple[int, ...], other: tuple[int, ...]) -> int:
    """Return how many tokens two sequences begin with alike."""
    # Slices compare faster than tokens: find the first length at which they differ.
    lengths = range(1, min(len(one), len(other)) + 1)
    return bisect_left(lengths, 1, key=lambda n: int(one[:n] != other[:n]))
