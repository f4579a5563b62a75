"""Scores as a model serves: through the technique's own cache, one token after the other.

What such a cache drops or rounds would not be seen in a forward of the whole sequence.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from leanboard.runners.backends.base import Span, SpanScore
from leanboard.runners.backends.torch_logits import log_softmax_rows, read_tokens

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray
    from transformers import Cache


@dataclass(frozen=True, slots=True)
class _Served:
    """A context that has been fed: its cache, the logits after it, and how long it is."""

    cache: Cache
    logits: torch.Tensor
    tokens: int


class ServedScorer:
    """Feeds each context through a fresh cache, then its continuation token by token.

    The continuations of one context start from copies of its cache: the state is the same.

    Attributes:
        fed_tokens: tokens fed so far.
    """

    def __init__(self, model: torch.nn.Module, new_cache: Callable[[], Cache]) -> None:
        """Take a model.

        Args:
            model: a causal language model as it is to be scored.
            new_cache: gives an empty cache.
        """
        self._model = model
        self._new_cache = new_cache
        self._device = next(model.parameters()).device
        self.fed_tokens = 0

    def scores(self, spans: Sequence[Span]) -> Iterator[tuple[int, SpanScore]]:
        """Yield the score of each span with its place, context after context."""
        by_context: dict[tuple[int, ...], list[int]] = {}
        for place, span in enumerate(spans):
            by_context.setdefault(span.context, []).append(place)
        for context, places in by_context.items():
            served = self._context(context)
            for place in places:
                yield place, self._score(served, spans[place].continuation)

    def table(self, span: Span) -> NDArray[np.float32]:
        """Return the log-probabilities (nats) at each token of a span: (tokens, vocabulary)."""
        import numpy as np

        steps = self._steps(self._context(span.context), span.continuation)
        return np.concatenate([log_softmax_rows(logits) for logits in steps])

    def _score(self, served: _Served, continuation: Sequence[int]) -> SpanScore:
        steps = zip(self._steps(served, continuation), continuation, strict=True)
        scores = [read_tokens(logits, [(0, token)])[0, token] for logits, token in steps]
        return SpanScore(
            loglikelihood=math.fsum(score.nats for score in scores),
            is_greedy=all(score.is_greedy for score in scores),
        )

    def _context(self, context: Sequence[int]) -> _Served:
        cache = self._new_cache()
        return _Served(cache, self._feed(context, 0, cache), len(context))

    def _steps(self, served: _Served, continuation: Sequence[int]) -> Iterator[torch.Tensor]:
        """Yield the logits (1, vocabulary) that predict each token of the continuation."""
        yield served.logits
        if len(continuation) > 1:
            cache = copy.deepcopy(served.cache)
            for number, token in enumerate(continuation[:-1]):
                yield self._feed([token], served.tokens + number, cache)

    def _feed(self, ids: Sequence[int], position: int, cache: Cache) -> torch.Tensor:
        import torch

        self.fed_tokens += len(ids)
        positions = torch.arange(position, position + len(ids), device=self._device)
        with torch.no_grad():
            logits: torch.Tensor = self._model(
                input_ids=torch.tensor([list(ids)], device=self._device),
                position_ids=positions[None],
                past_key_values=cache,
                use_cache=True,
            ).logits
        return logits[0, -1:]
