"""The engine of another process, as accuracy scoring sees it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from leanboard.metrics.metric import Missing
from leanboard.metrics.trace import Quantity, RequestTrace
from leanboard.runners import wire
from leanboard.runners.accuracy.fidelity import Predictions
from leanboard.runners.backends.base import (
    Request,
    Span,
    SpanScore,
    UntilAnswer,
    UntilRequest,
    Vocabulary,
)
from leanboard.runners.isolate import Worker

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class RemoteEngine:
    """An ``Engine`` whose work happens in a worker: what is scored is what was timed.

    Args:
        worker: the arm's process, loaded.
        vocabulary: as the worker reported it when it loaded.
        timeout_s: limit for each single call.
    """

    def __init__(self, worker: Worker, vocabulary: Vocabulary, timeout_s: float) -> None:
        self.vocabulary = vocabulary
        self._worker = worker
        self._timeout_s = timeout_s
        self._notes: tuple[str, ...] = ()

    def generate(self, requests: Sequence[Request]) -> list[RequestTrace]:
        """Run the requests as one static batch."""
        plain = [
            {"prompt_id": r.prompt_id, "text": r.text, "output_tokens": r.output_tokens}
            for r in requests
        ]
        reply = self._worker.call("generate", self._timeout_s, requests=plain)
        return [wire.trace_from_wire(trace) for trace in reply["traces"]]

    def loglikelihood(self, spans: Sequence[Span]) -> Iterator[tuple[int, SpanScore]]:
        """Score the spans, each with its place in the list, as they come."""
        for place, value, greedy in self._stream("loglikelihood", **wire.spans_to_wire(spans)):
            yield place, SpanScore(value, greedy)

    def generate_until(self, requests: Sequence[UntilRequest]) -> Iterator[tuple[int, UntilAnswer]]:
        """Answer the requests, each with its place in the list, as they end."""
        plain = [[request.prompt, request.max_tokens, request.stops] for request in requests]
        for place, ids, text, ended in self._stream("generate_until", requests=plain):
            yield place, UntilAnswer(tuple(ids), text, ended)

    def predict(
        self, spans: Sequence[Span], keep: Path | None, against: Path | None
    ) -> Predictions | Missing:
        """Score the spans beside the baseline's predictions, or keep them, as they come."""
        files = {
            name: None if path is None else str(path.absolute())
            for name, path in (("keep", keep), ("against", against))
        }
        begun = self._worker.call("predict", self._timeout_s, **wire.spans_to_wire(spans), **files)
        if begun["unfit"] is not None:
            return Missing(begun["unfit"])
        return (wire.prediction_from_wire(item) for item in self._come())

    def log_probabilities_of(
        self, context: Sequence[int], tokens: Sequence[int]
    ) -> tuple[float, ...]:
        """Return the log-probability (nats) of each of some tokens after a context."""
        asked = {"context": list(context), "tokens": list(tokens)}
        reply = self._worker.call("log_probabilities_of", self._timeout_s, **asked)
        return tuple(reply["log_probabilities"])

    def log_probabilities(self, span: Span) -> NDArray[np.float32]:
        """Refuse: they are too large to be carried between processes."""
        raise NotImplementedError

    def notes(self) -> tuple[str, ...]:
        """Return what the worker said of how it scored, as of its last answer."""
        return self._notes

    def _stream(self, op: str, **payload: Any) -> Iterator[list[Any]]:
        self._worker.call(op, self._timeout_s, **payload)
        yield from self._come()

    def _come(self) -> Iterator[list[Any]]:
        ended = False
        while not ended:
            reply = self._worker.call("more", self._timeout_s)
            self._notes = tuple(reply["notes"])
            yield from reply["items"]
            ended = reply["ended"]

    def encode(self, text: str) -> tuple[int, ...]:
        """Return the token ids of a text."""
        return self.encode_batch([text])[0]

    def encode_batch(self, texts: Sequence[str]) -> list[tuple[int, ...]]:
        """Return the token ids of several texts."""
        reply = self._worker.call("encode", self._timeout_s, texts=list(texts))
        return [tuple(ids) for ids in reply["ids"]]

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text of token ids."""
        reply = self._worker.call("decode", self._timeout_s, ids=list(ids))
        text: str = reply["text"]
        return text

    def facts(self) -> Mapping[str, Quantity]:
        """Return what the worker's engine can count."""
        return wire.facts_from_wire(self._worker.call("facts", self._timeout_s)["facts"])
