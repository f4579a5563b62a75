"""Log-likelihoods of continuations in llama.cpp: what several texts begin with is fed once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from leanboard.results.errors import ArmError
from leanboard.runners.backends.base import Span, SpanScore
from leanboard.runners.backends.llama_alone import (
    TOKENS_A_CALL,
    broken_position,
    not_finite,
    pieces,
)
from leanboard.runners.backends.llama_context import ContextShape, LlamaContext
from leanboard.runners.backends.llama_logits import read_rows
from leanboard.runners.backends.llama_plan import Path, fed, plan_batches, plan_paths
from leanboard.runners.backends.llama_tree import TRUNK, Branch, Trunk

LOGITS_A_CALL = 2**25
SEQUENCES = 64

# A span's place, and the token that it predicts.
_Prediction = tuple[int, int]


def scoring_shape(spans: Sequence[Span], vocabulary: int) -> ContextShape:
    """Return the context that these spans need: the longest one, and room for a batch beside it."""
    longest = max(len(fed(span)) for span in spans)
    # llama.cpp aborts where there are fewer outputs than sequences.
    outputs = max(SEQUENCES, min(TOKENS_A_CALL, LOGITS_A_CALL // vocabulary))
    return ContextShape(longest + TOKENS_A_CALL, SEQUENCES, outputs, shared=True)


def check_spans(spans: Sequence[Span], max_length: int) -> None:
    """Refuse what cannot be scored.

    Raises:
        ArmError: if a span is longer than the context window: nothing is cut off silently.
    """
    for place, span in enumerate(spans):
        if not span.context or not span.continuation:
            raise ArmError(
                f"Span {place}: scoring needs at least one context and one continuation token."
            )
        length = len(fed(span))
        if length > max_length:
            raise ArmError(
                f"Span {place}: {length} tokens do not fit the model's window of {max_length}. "
                "Score shorter texts or use fewer examples: nothing is cut off."
            )


class _NotFiniteError(Exception):
    """Logits of the last call are not finite."""


@dataclass(slots=True)
class Feed:
    """Tokens that were fed to score spans.

    Args:
        tokens: as they were fed, what is shared once.
        plain: as they would be fed if each span were scored alone.
    """

    tokens: int = 0
    plain: int = 0


class SpanScorer:
    """Scores spans in one context."""

    def __init__(self, context: LlamaContext, spans: Sequence[Span], feed: Feed) -> None:
        """Take the spans.

        Args:
            context: empty; made with ``scoring_shape`` for these spans.
            spans: checked with ``check_spans``.
            feed: where it is counted what is fed.
        """
        self._feed = feed
        self._context = context
        self._trunk = Trunk(context)
        self._spans = spans
        self._sums = [0.0] * len(spans)
        self._greedy = [True] * len(spans)
        self._left = [len(span.continuation) for span in spans]

    def scores(self) -> Iterator[tuple[int, SpanScore]]:
        """Yield each score with its span's place, batch by batch.

        Raises:
            ArmError: if llama.cpp fails, or logits are not finite.
        """
        paths = plan_paths(self._spans)
        for batch in plan_batches(paths, TOKENS_A_CALL, self._context.shape.sequences - 1):
            for place in self._score(batch):
                yield place, SpanScore(self._sums[place], self._greedy[place])

    def _score(self, batch: Sequence[Path]) -> list[int]:
        """Feed a batch; return the places of the spans that are complete with it."""
        wanted = dict(enumerate(map(self._wanted, batch), start=TRUNK + 1))
        branches = [
            Branch(sequence, path.tokens, wanted[sequence])
            for sequence, path in enumerate(batch, start=TRUNK + 1)
        ]
        tokens = self._trunk.grow(branches)
        done: list[int] = []
        for piece in pieces(tokens, self._context.shape.outputs):
            self._context.decode(piece)
            predictions = [wanted[t.sequences[0]][t.position] for t in piece if t.output]
            try:
                done += self._read(predictions)
            except _NotFiniteError:
                raise self._fault(batch) from None
        self._trunk.follow(branches[-1])
        for branch in branches:
            self._context.drop(branch.sequence)
        self._feed.tokens += len(tokens)
        self._feed.plain += sum(len(fed(self._spans[place])) for place in done)
        return done

    def _wanted(self, path: Path) -> dict[int, list[_Prediction]]:
        """Return what is predicted from each position that a path owns."""
        wanted: dict[int, list[_Prediction]] = {}
        for stretch in path.stretches:
            span = self._spans[stretch.place]
            first = len(span.context) - 1
            for at in range(stretch.start, stretch.stop):
                prediction = stretch.place, span.continuation[at - first]
                wanted.setdefault(at, []).append(prediction)
        return wanted

    def _read(self, predictions: Sequence[Sequence[_Prediction]]) -> list[int]:
        """Count the predictions of each row of logits; return the spans that are complete."""
        if not predictions:
            return []
        logits = self._context.rows(len(predictions))
        facts = read_rows(logits)
        if not facts.finite.all():
            raise _NotFiniteError
        done = []
        for row, targets in enumerate(predictions):
            for place, token in targets:
                self._sums[place] += float(logits[row, token]) - float(facts.log_sums[row])
                self._greedy[place] &= int(facts.greedy[row]) == token
                self._left[place] -= 1
                if self._left[place] == 0:
                    done.append(place)
        return done

    def _fault(self, batch: Sequence[Path]) -> ArmError:
        """Return the error that names the span: a broken one may spoil what is fed beside it."""
        places = list(dict.fromkeys(s.place for path in batch for s in path.stretches))
        for place in places:
            tokens = fed(self._spans[place])
            position = broken_position(self._context, tokens)
            if position is not None:
                return not_finite(f"Span {place}", position, len(tokens))
        return not_finite(f"Spans {', '.join(map(str, places))}", None, 0)
