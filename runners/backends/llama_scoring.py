"""Log-likelihoods of continuations in llama.cpp: what several texts begin with is fed once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from leanboard.results.errors import ArmError
from leanboard.runners.backends.base import Span, SpanScore
from leanboard.runners.backends.llama_alone import (
    TOKENS_A_CALL,
    broken_position,
    not_finite,
    pieces,
    score,
)
from leanboard.runners.backends.llama_context import (
    CannotGoBackError,
    ContextShape,
    LlamaContext,
)
from leanboard.runners.backends.llama_plan import Path, plan_batches, plan_paths
from leanboard.runners.backends.llama_sharing import SharingCheck
from leanboard.runners.backends.llama_tree import TRUNK, Branch, Trunk
from leanboard.runners.backends.numpy_logits import read_rows
from leanboard.runners.backends.spans import Fed, common_prefix, fed, fed_tokens

TOKENS_A_BATCH = 8 * TOKENS_A_CALL
SEQUENCES = 64

# A span's place, and the token that it predicts.
_Prediction = tuple[int, int]


def scoring_shape(spans: Sequence[Span], *, whole: bool) -> ContextShape:
    """Return the context that these spans need.

    Args:
        spans: what is to be scored.
        whole: whether each is fed alone; else there is room for a batch beside the longest one.
    """
    longest = max(fed_tokens(span) for span in spans)
    # llama.cpp aborts where there are fewer outputs than sequences.
    outputs = max(SEQUENCES, TOKENS_A_CALL)
    if whole:
        return ContextShape(longest, 1, outputs, shared=True)
    return ContextShape(longest + TOKENS_A_BATCH, SEQUENCES, outputs, shared=True)


class _NotFiniteError(Exception):
    """Logits of the last call are not finite."""


class SpanScorer:
    """Scores spans in one context; what they begin with is fed once where that is exact."""

    def __init__(
        self, context: LlamaContext, spans: Sequence[Span], feed: Fed, sharing: SharingCheck
    ) -> None:
        """Take the spans.

        Args:
            context: empty; made with ``scoring_shape`` for these spans.
            spans: checked with ``check_spans``.
            feed: where it is counted what is fed.
            sharing: whether they can be scored in company.
        """
        self._feed = feed
        self._sharing = sharing
        self._context = context
        self._trunk = Trunk(context)
        self._spans = spans
        self._sums = [0.0] * len(spans)
        self._greedy = [True] * len(spans)
        self._left = [len(span.continuation) for span in spans]

    def scores(self) -> Iterator[tuple[int, SpanScore]]:
        """Yield each score with its span's place, batch by batch; alone from where it has to be.

        Raises:
            ArmError: if llama.cpp fails, or logits are not finite.
        """
        left = dict.fromkeys(range(len(self._spans)))
        for place, found in self._in_company():
            del left[place]
            yield place, found
        for place in left:
            self._feed.plain += fed_tokens(self._spans[place])
            yield place, self._alone(place)

    def _in_company(self) -> Iterator[tuple[int, SpanScore]]:
        """Yield scores of batches until one shows that spans have to be scored alone."""
        if self._sharing.why_whole is not None:
            return
        paths = plan_paths(self._spans)
        for batch in plan_batches(paths, TOKENS_A_BATCH, self._context.shape.sequences - 1):
            try:
                done, forked = self._score(batch)
            except CannotGoBackError as error:
                self._sharing.why_whole = f"the model takes no shared beginnings ({error})"
                return
            self._check(done[-1], forked=forked, in_company=forked or len(batch) > 1)
            if self._sharing.why_whole is not None:
                return
            self._feed.plain += sum(fed_tokens(self._spans[place]) for place in done)
            for place in done:
                yield place, SpanScore(self._sums[place], self._greedy[place])

    def _check(self, place: int, *, forked: bool, in_company: bool) -> None:
        """Score a span of the first batch of each kind alone, too, and go on from there."""
        tokens = fed(self._spans[place])
        if not in_company or not self._sharing.is_due(forked=forked, length=len(tokens)):
            return
        alone = self._alone(place).loglikelihood
        self._sharing.compare(self._sums[place], alone, len(self._spans[place].continuation))
        self._trunk.restart(tokens)

    def _alone(self, place: int) -> SpanScore:
        self._feed.tokens += fed_tokens(self._spans[place])
        return score(self._context, self._spans[place], f"Span {place}")

    def _score(self, batch: Sequence[Path]) -> tuple[list[int], bool]:
        """Feed a batch; return the places of the spans that are complete with it.

        And whether it began with tokens of an earlier one.
        """
        wanted = dict(enumerate(map(self._wanted, batch), start=TRUNK + 1))
        branches = [
            Branch(sequence, path.tokens, wanted[sequence])
            for sequence, path in enumerate(batch, start=TRUNK + 1)
        ]
        tokens = self._trunk.grow(branches)
        forked = bool(self._trunk.tokens)
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
        # What all branches share lies at the cache's beginning, without gaps: the next batch then
        # follows in the order of its tokens, and sums over the cache run as they do alone.
        self._trunk.cut(common_prefix(batch[0].tokens, batch[-1].tokens))
        self._feed.tokens += len(tokens)
        return done, forked

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
