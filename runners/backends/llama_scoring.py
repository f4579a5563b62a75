"""Log-likelihoods of continuations in llama.cpp: a context that several share is fed once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np

from leanboard.results.errors import ArmError
from leanboard.runners.backends.base import Span, SpanScore
from leanboard.runners.backends.llama_context import ContextShape, LlamaContext, Logits, Token

# Tokens of one call: the size of llama.cpp's own physical batch.
TOKENS_A_CALL = 512
LOGITS_A_CALL = 2**25
_SEQUENCES = 16
_CONTEXT = 0


@dataclass(slots=True)
class _Tally:
    """What is known so far of one continuation."""

    loglikelihood: float = 0.0
    is_greedy: bool = True

    def add(self, logits: Logits, token: int) -> None:
        """Count the prediction of one token."""
        # float64: the sum over a large vocabulary must not lose digits.
        wide = logits.astype(np.float64)
        top = float(wide.max())
        self.loglikelihood += float(wide[token]) - top - float(np.log(np.exp(wide - top).sum()))
        self.is_greedy = self.is_greedy and int(logits.argmax()) == token


@dataclass(slots=True)
class _Group:
    """Spans with the same context, by their places in the list."""

    context: tuple[int, ...]
    places: list[int] = field(default_factory=list)


def scoring_shape(spans: Sequence[Span], vocabulary: int) -> ContextShape:
    """Return the context that these spans need: the longest one, and room for its siblings."""
    longest = max(_fed(span) for span in spans)
    # llama.cpp aborts where there are fewer outputs than sequences.
    outputs = max(_SEQUENCES, min(TOKENS_A_CALL, LOGITS_A_CALL // vocabulary))
    return ContextShape(longest + TOKENS_A_CALL, _SEQUENCES, outputs, shared=True)


def check_spans(spans: Sequence[Span], max_length: int) -> None:
    """Refuse what cannot be scored.

    Raises:
        ArmError: if a span is longer than the context window: nothing is cut off silently.
    """
    for span in spans:
        if not span.context or not span.continuation:
            raise ArmError("A span to score needs at least one context and one continuation token.")
        if _fed(span) > max_length:
            raise ArmError(
                f"A span of {_fed(span)} tokens does not fit the model's window of {max_length}. "
                "Score shorter texts, or give a smaller window."
            )


def score_spans(context: LlamaContext, spans: Sequence[Span]) -> list[SpanScore]:
    """Return the score of each span, in the order of the spans.

    Spans that follow one another with the same context share its computation: it is fed once to
    one sequence, and the continuations start from copies of that sequence.

    Args:
        context: made with ``scoring_shape`` for these spans.
        spans: checked with ``check_spans``.
    """
    tallies = [_Tally() for _ in spans]
    for group in _groups(spans):
        _score_group(context, group, spans, tallies)
    return [SpanScore(tally.loglikelihood, tally.is_greedy) for tally in tallies]


def _fed(span: Span) -> int:
    """Return how many tokens are fed: the last one is only predicted."""
    return len(span.context) + len(span.continuation) - 1


def _groups(spans: Sequence[Span]) -> Iterator[_Group]:
    group: _Group | None = None
    for place, span in enumerate(spans):
        if group is None or span.context != group.context:
            if group is not None:
                yield group
            group = _Group(span.context)
        group.places.append(place)
    if group is not None:
        yield group


def _score_group(
    context: LlamaContext, group: _Group, spans: Sequence[Span], tallies: list[_Tally]
) -> None:
    context.clear()
    fed = len(group.context)
    for start in range(0, fed, TOKENS_A_CALL):
        stop = min(start + TOKENS_A_CALL, fed)
        piece = [Token(group.context[i], i, _CONTEXT, i == fed - 1) for i in range(start, stop)]
        context.decode(piece)
    # The last token of the context predicts the first of every continuation.
    first = context.logits(len(piece) - 1)
    for place in group.places:
        tallies[place].add(first, spans[place].continuation[0])
    longer = [place for place in group.places if len(spans[place].continuation) > 1]
    for batch in _batches(longer, spans):
        _score_batch(context, fed, [(spans[i].continuation, tallies[i]) for i in batch])


def _batches(places: Sequence[int], spans: Sequence[Span]) -> Iterator[list[int]]:
    """Group continuations that fit the sequences and the cells; a long one goes alone."""
    batch: list[int] = []
    tokens = 0
    for place in places:
        more = len(spans[place].continuation) - 1
        if batch and (len(batch) + 1 >= _SEQUENCES or tokens + more > TOKENS_A_CALL):
            yield batch
            batch, tokens = [], 0
        batch.append(place)
        tokens += more
    if batch:
        yield batch


def _score_batch(
    context: LlamaContext, start: int, batch: Sequence[tuple[tuple[int, ...], _Tally]]
) -> None:
    """Feed continuations in sequences of their own, behind a copy of the context."""
    work: list[tuple[Token, int, _Tally]] = []
    for sequence, (continuation, tally) in enumerate(batch, start=_CONTEXT + 1):
        context.fork(_CONTEXT, sequence)
        for offset, (token, following) in enumerate(pairwise(continuation)):
            work.append((Token(token, start + offset, sequence, output=True), following, tally))
    size = context.shape.outputs
    for piece in (work[i : i + size] for i in range(0, len(work), size)):
        context.decode([token for token, _, _ in piece])
        for index, (_, following, tally) in enumerate(piece):
            tally.add(context.logits(index), following)
    for sequence in range(1, len(batch) + 1):
        context.drop(sequence)
