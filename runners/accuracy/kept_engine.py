"""An engine that is asked only what its arm has not answered before."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from leanboard.metrics.metric import Missing
from leanboard.metrics.trace import Quantity, RequestTrace
from leanboard.results.identity import digest
from leanboard.runners.accuracy.fidelity import Predictions, predictor
from leanboard.runners.accuracy.score_cache import KeptScores
from leanboard.runners.backends.base import (
    Engine,
    Request,
    Span,
    SpanScore,
    UntilAnswer,
    UntilRequest,
    Vocabulary,
)

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Ask = Callable[[list[int]], Iterator[tuple[int, list[Any]]]]


class KeptEngine:
    """An ``Engine`` that answers from ``KeptScores`` first and keeps every new answer.

    Only what accuracy asks for is kept: never a time. A request is the same only with the same
    tokens, most tokens and stop texts.

    Args:
        engine: answers what is not kept.
        kept: the answers of this very arm.
    """

    def __init__(self, engine: Engine, kept: KeptScores) -> None:
        self.vocabulary: Vocabulary = engine.vocabulary
        self._engine = engine
        self._kept = kept

    def loglikelihood(self, spans: Sequence[Span]) -> Iterator[tuple[int, SpanScore]]:
        """Score the spans; those that were scored before come first."""

        def ask(places: list[int]) -> Iterator[tuple[int, list[Any]]]:
            for place, score in self._engine.loglikelihood([spans[i] for i in places]):
                yield place, [score.loglikelihood, score.is_greedy]

        requests = [digest(["loglikelihood", span.context, span.continuation]) for span in spans]
        for place, (value, is_greedy) in self._answers(requests, ask):
            yield place, SpanScore(value, is_greedy)

    def generate_until(self, requests: Sequence[UntilRequest]) -> Iterator[tuple[int, UntilAnswer]]:
        """Answer the requests; those that were answered before come first."""

        def ask(places: list[int]) -> Iterator[tuple[int, list[Any]]]:
            for place, answer in self._engine.generate_until([requests[i] for i in places]):
                yield place, [answer.output_ids, answer.text, answer.ended]

        hashes = [digest(["generate_until", r.prompt, r.max_tokens, r.stops]) for r in requests]
        for place, (output_ids, text, ended) in self._answers(hashes, ask):
            yield place, UntilAnswer(tuple(output_ids), text, ended)

    def _answers(self, requests: Sequence[str], ask: Ask) -> Iterator[tuple[int, list[Any]]]:
        """Yield the answer to each request, by its hash; ask the engine for what is missing."""
        missing: list[int] = []
        for place, request in enumerate(requests):
            answer = self._kept.answer_to(request)
            if answer is None:
                missing.append(place)
            else:
                self._kept.served += 1
                yield place, answer
        for number, answer in ask(missing) if missing else ():
            place = missing[number]
            self._kept.scored += 1
            if _can_be_kept(answer):
                self._kept.note(self._engine.notes())
                self._kept.keep(requests[place], answer)
            yield place, answer
        self._kept.note(self._engine.notes())

    def predict(
        self, spans: Sequence[Span], keep: Path | None, against: Path | None
    ) -> Predictions | Missing:
        """Score the spans beside the baseline's predictions: always anew, all in one go."""
        found = predictor(self._engine).predict(spans, keep, against)
        return found if isinstance(found, Missing) else self._counted(found)

    def _counted(self, found: Predictions) -> Predictions:
        for place, prediction in found:
            self._kept.scored += 1
            yield place, prediction
        self._kept.note(self._engine.notes())

    def log_probabilities_of(
        self, context: Sequence[int], tokens: Sequence[int]
    ) -> tuple[float, ...]:
        """Ask the engine."""
        return predictor(self._engine).log_probabilities_of(context, tokens)

    def notes(self) -> tuple[str, ...]:
        """Return what the engine said of how it answered, also when it gave the kept answers."""
        return tuple(dict.fromkeys((*self._kept.notes, *self._engine.notes())))

    def generate(self, requests: Sequence[Request]) -> list[RequestTrace]:
        """Run the requests: what is timed is never kept."""
        return self._engine.generate(requests)

    def log_probabilities(self, span: Span) -> NDArray[np.float32]:
        """Ask the engine: they are too large to be kept."""
        return self._engine.log_probabilities(span)

    def encode(self, text: str) -> tuple[int, ...]:
        """Ask the engine."""
        return self._engine.encode(text)

    def encode_batch(self, texts: Sequence[str]) -> list[tuple[int, ...]]:
        """Ask the engine."""
        return self._engine.encode_batch(texts)

    def decode(self, ids: Sequence[int]) -> str:
        """Ask the engine."""
        return self._engine.decode(ids)

    def facts(self) -> Mapping[str, Quantity]:
        """Return the engine's own."""
        return self._engine.facts()


def _can_be_kept(answer: Sequence[Any]) -> bool:
    """Whether an answer has only finite numbers: what has others is told by who asked."""
    return all(math.isfinite(part) for part in answer if isinstance(part, float))
