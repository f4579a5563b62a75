"""What of many spans has to be fed, and in which order: each shared beginning once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from leanboard.runners.backends.base import Span
from leanboard.runners.backends.spans import common_prefix, fed


@dataclass(frozen=True, slots=True)
class Stretch:
    """Positions of a path whose predictions belong to a span.

    Args:
        place: the span's place in the list.
        start: first position.
        stop: position behind the last one.
    """

    place: int
    start: int
    stop: int


@dataclass(slots=True)
class Path:
    """Tokens to feed as one sequence, for a span or for several that it contains.

    Args:
        tokens: from the first one of the text.
        shared: how many of them the path before it begins with, too.
        stretches: what is read where; no position below ``shared``.
    """

    tokens: tuple[int, ...]
    shared: int
    stretches: list[Stretch] = field(default_factory=list)

    @property
    def own(self) -> int:
        """Tokens that are fed for this path."""
        return len(self.tokens) - self.shared


def plan_paths(spans: Sequence[Span]) -> list[Path]:
    """Return the paths, sorted by tokens, so that neighbours share the longest beginnings.

    A position that several spans predict from is read where it is fed first.
    """
    paths: list[Path] = []
    # The path that owns each stretch of the present one, by the stretch's first position.
    owners: list[tuple[int, Path]] = []
    sequences = [fed(span) for span in spans]
    for place in sorted(range(len(spans)), key=sequences.__getitem__):
        tokens = sequences[place]
        common = common_prefix(paths[-1].tokens, tokens) if paths else 0
        if paths and common == len(paths[-1].tokens):
            paths[-1].tokens = tokens
        else:
            paths.append(Path(tokens, common))
            owners = [(start, path) for start, path in owners if start < common]
            owners.append((common, paths[-1]))
        _read(owners, place, len(spans[place].context) - 1, len(tokens))
    return paths


def _read(owners: Sequence[tuple[int, Path]], place: int, start: int, stop: int) -> None:
    """Note the positions from ``start`` to ``stop`` with the paths that own them."""
    for begin, path in reversed(owners):
        if begin < stop:
            path.stretches.append(Stretch(place, max(start, begin), stop))
            stop = begin
        if stop <= start:
            return


def plan_batches(paths: Sequence[Path], tokens: int, sequences: int) -> Iterator[list[Path]]:
    """Yield paths that are fed together; one that is longer than a batch begins its own.

    Args:
        paths: from ``plan_paths``.
        tokens: most tokens of a batch.
        sequences: most paths of a batch.
    """
    batch: list[Path] = []
    room = tokens
    for path in paths:
        if batch and (path.own > room or len(batch) == sequences):
            yield batch
            batch, room = [], tokens
        batch.append(path)
        room -= path.own
    if batch:
        yield batch
