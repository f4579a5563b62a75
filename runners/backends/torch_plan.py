"""What to feed a model so that tokens which spans begin with are computed once.

Three levels. A *trunk* is what many rows begin with (the examples before every question of a
subject): it is computed alone. A *row* is one context, or a few that differ only near their end,
with all of its continuations: first its *stem*, what all of them begin with, then its *tail*, the
rest as a tree whose branches do not see each other. Positions count from the sequence's start.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from leanboard.runners.backends.base import Span
from leanboard.runners.backends.spans import common_prefix, fed
from leanboard.runners.backends.torch_trunks import Unit, trunks_of

STEM_TOKENS = 256
"""Shorter stems stay in the tail: the mask costs less there than padding in two places."""

TAIL_TOKENS = 512
"""Most tokens of a tail that is not of a single span: each attends to all, mask or not."""


@dataclass(frozen=True, slots=True)
class Read:
    """Where a span's continuation is predicted.

    Args:
        place: the span's place in the list.
        nodes: for each continuation token, the token of the tail whose logits predict it.
        targets: the continuation.
    """

    place: int
    nodes: tuple[int, ...]
    targets: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Row:
    """Spans that begin alike.

    Args:
        stem: what all of them begin with, after the trunk; not read.
        tail: the rest, parents before children.
        parents: place in the tail of each token's predecessor; -1 is the stem's end.
        reads: one for each span.
    """

    stem: tuple[int, ...]
    tail: tuple[int, ...]
    parents: tuple[int, ...]
    reads: tuple[Read, ...]

    @property
    def is_chain(self) -> bool:
        """Whether the tail has no branches."""
        return self.parents == tuple(range(-1, len(self.tail) - 1))

    @property
    def depths(self) -> tuple[int, ...]:
        """Position of each token of the tail, counted from the stem's end."""
        depths: list[int] = []
        for parent in self.parents:
            depths.append(depths[parent] + 1 if parent >= 0 else 0)
        return tuple(depths)


@dataclass(frozen=True, slots=True)
class Group:
    """Rows after the same trunk, which may be empty."""

    trunk: tuple[int, ...]
    rows: tuple[Row, ...]

    @property
    def tokens(self) -> int:
        """Tokens that are fed."""
        return len(self.trunk) + sum(len(row.stem) + len(row.tail) for row in self.rows)


def plan_whole(spans: Sequence[Span], places: Sequence[int]) -> Group:
    """Plan each of these spans as a row of its own: nothing is shared."""
    return Group((), tuple(_row(spans, (place,), 0) for place in places))


def plan_shared(spans: Sequence[Span]) -> list[Group]:
    """Plan all spans, sharing what saves tokens; rows without a trunk come in one group."""
    units = _units(spans)
    groups: list[Group] = []
    alone: list[Unit] = []
    for trunk, members in trunks_of(units):
        if trunk == 0:
            alone += members
        else:
            rows = tuple(_row(spans, places, trunk) for places in _joined(members, trunk))
            groups.append(Group(members[0].context[:trunk], rows))
    if alone:
        rows = tuple(_row(spans, places, 0) for places in _joined(alone, 0))
        groups.append(Group((), rows))
    return groups


def _units(spans: Sequence[Span]) -> list[Unit]:
    """Collect the spans of each context, in the order of the contexts' tokens."""
    by_context: dict[tuple[int, ...], list[int]] = {}
    for place, span in enumerate(spans):
        by_context.setdefault(span.context, []).append(place)
    units = []
    for context, places in sorted(by_context.items()):
        taken: list[int] = []
        tokens = 0
        for place in places:
            more = len(spans[place].continuation) - 1
            if taken and tokens + more > TAIL_TOKENS:
                units.append(Unit(context, tuple(taken), len(context) + tokens))
                taken, tokens = [], 0
            taken.append(place)
            tokens += more
        units.append(Unit(context, tuple(taken), len(context) + tokens))
    return units


def _joined(units: Sequence[Unit], trunk: int) -> Iterator[tuple[int, ...]]:
    """Yield the places of each row: neighbours whose contexts are more alike than not."""
    row: list[Unit] = []
    for unit in units:
        if row and not _fits(row, unit, trunk):
            yield tuple(place for member in row for place in member.places)
            row = []
        row.append(unit)
    if row:
        yield tuple(place for member in row for place in member.places)


def _fits(row: Sequence[Unit], unit: Unit, trunk: int) -> bool:
    shared = common_prefix(row[0].context, unit.context)
    shortest = min(len(member.context) for member in (*row, unit))
    tail = sum(member.tokens - shared for member in (*row, unit))
    return 2 * (shared - trunk) >= shortest - trunk and tail <= TAIL_TOKENS


def _row(spans: Sequence[Span], places: Sequence[int], trunk: int) -> Row:
    """Lay out the spans of a row as a stem and a tree."""
    sequences = {place: fed(spans[place]) for place in places}
    ordered = sorted(places, key=lambda place: (sequences[place], place))
    start = min(
        common_prefix(sequences[ordered[0]], sequences[ordered[-1]]),
        *(len(spans[place].context) - 1 for place in places),
    )
    if start - trunk < STEM_TOKENS or _nested([sequences[place] for place in ordered]):
        start = trunk
    tree = _Tree()
    reads = []
    # The longest last: it reaches furthest and has all the others before it, so that whoever tries
    # one span of the row tries both.
    for place in sorted(ordered, key=lambda place: len(sequences[place])):
        path = tree.add(sequences[place][start:])
        first = len(spans[place].context) - 1 - start
        reads.append(Read(place, tuple(path[first:]), spans[place].continuation))
    stem = sequences[ordered[0]][trunk:start]
    return Row(stem, tuple(tree.tokens), tuple(tree.parents), tuple(reads))


def _nested(ordered: Sequence[tuple[int, ...]]) -> bool:
    """Return whether each sequence begins with the one before it."""
    return all(b[: len(a)] == a for a, b in pairwise(ordered))


class _Tree:
    """Sequences of tokens; what they begin with alike is there once."""

    def __init__(self) -> None:
        self.tokens: list[int] = []
        self.parents: list[int] = []
        self._known: dict[tuple[int, int], int] = {}

    def add(self, sequence: Sequence[int]) -> list[int]:
        """Add a sequence and return its tokens' places."""
        path = []
        node = -1
        for token in sequence:
            found = self._known.setdefault((node, token), len(self.tokens))
            if found == len(self.tokens):
                self.tokens.append(token)
                self.parents.append(node)
            node = found
            path.append(node)
        return path
