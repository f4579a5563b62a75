"""The scores of one list of spans: they share what they begin with as long as that is exact."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from typing import TYPE_CHECKING

from leanboard.runners.backends.base import Span, SpanScore
from leanboard.runners.backends.spans import fed_tokens
from leanboard.runners.backends.torch_exactness import (
    ExactnessCheck,
    RowKind,
    kind_of,
    reach_tokens,
    why_not_shared,
)
from leanboard.runners.backends.torch_loading import is_out_of_memory
from leanboard.runners.backends.torch_plan import Group, Row, plan_shared, plan_whole
from leanboard.runners.backends.torch_rope import rope_bounds
from leanboard.runners.backends.torch_rows import RowRunner

if TYPE_CHECKING:
    import torch

_Batch = tuple[Group, Sequence[Row], dict[int, SpanScore]]
_REFUSALS = (AttributeError, IndexError, KeyError, RuntimeError, TypeError, ValueError)
"""What a model's own code may raise at a cache, a mask or positions that it does not expect."""


class SpanStream:
    """Scores spans in batches; what a batch shares is given only once its kind has been tried.

    Where it is not exact, all spans that were not given yet are scored whole.
    """

    def __init__(
        self,
        model: torch.nn.Module,
        runner: RowRunner,
        spans: Sequence[Span],
        exact: dict[RowKind, int],
        note: Callable[[str], None],
    ) -> None:
        """Take what is scored.

        Args:
            model: says what its rows can share.
            runner: scores rows.
            spans: all of them.
            exact: kinds of rows that were found exact, and up to which reach; grows.
            note: takes what a reader must know.
        """
        self._model = model
        self._runner = runner
        self._spans = spans
        self._exact_reach = exact
        self._note = note
        self._why_whole: str | None = None
        self._shared = 0

    def scores(self, why_whole: str | None) -> Iterator[tuple[int, SpanScore]]:
        """Yield the score of each span with its place.

        Args:
            why_whole: why nothing is to be shared; ``None`` leaves it to the model and the check.
        """
        self._why_whole = why_whole if why_whole is not None else why_not_shared(self._model)
        left = dict.fromkeys(range(len(self._spans)))
        for found in self._exact():
            for place, score in found.items():
                del left[place]
                yield place, score
        if self._why_whole is not None:
            given = f"; {self._shared} scores, tried and given before, share prefixes"
            self._note(f"scored whole: {self._why_whole}{given if self._shared > 0 else ''}")
        for group in self._whole(list(left)):
            for _, found in self._runner.scores(group):
                yield from found.items()

    def _exact(self) -> Iterator[dict[int, SpanScore]]:
        """Yield the scores of batches until one cannot be done, or is not exact."""
        if self._why_whole is not None:
            return
        groups = plan_shared(self._spans)
        # What reaches furthest is tried first: it speaks for all that is shorter.
        groups.sort(key=lambda group: -reach_tokens(self._spans, group.rows))
        fed = sum(group.tokens for group in groups)
        check = ExactnessCheck(self._runner, self._spans, fed, self._exact_reach)
        batches = self._batches(groups)
        while (batch := self._next(batches, check)) is not None:
            group, rows, found = batch
            if any(kind_of(group, rows)):
                self._shared += len(found)
            yield found

    def _batches(self, groups: Sequence[Group]) -> Iterator[_Batch]:
        for group in groups:
            for rows, found in self._runner.scores(group):
                yield group, rows, found

    def _next(self, batches: Iterator[_Batch], check: ExactnessCheck) -> _Batch | None:
        """Return the next batch; ``None`` after the last, and where sharing is not exact."""
        batch = None
        try:
            batch = next(batches, None)
            if batch is not None:
                self._why_whole = check.differs(*batch)
        except _REFUSALS as error:
            if is_out_of_memory(error):
                raise
            # Were it for another reason, whole sequences would fail too.
            self._why_whole = f"the model takes no shared prefixes ({error})"
        return batch if self._why_whole is None else None

    def _whole(self, places: Sequence[int]) -> Iterator[Group]:
        """Yield the spans as rows of their own; of one side of the embeddings' bounds together."""
        bounds = rope_bounds(self._model.config)

        def side(place: int) -> int:
            return bisect_left(bounds, fed_tokens(self._spans[place]))

        for _, members in groupby(sorted(places, key=side), key=side):
            yield plan_whole(self._spans, list(members))
