"""The engine of another process, as accuracy scoring sees it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from leanboard.metrics.trace import Quantity, RequestTrace
from leanboard.runners import wire
from leanboard.runners.backends.base import Request, Span, SpanScore, Vocabulary
from leanboard.runners.isolate import Worker


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

    def generate(self, requests: Sequence[Request]) -> list[RequestTrace]:
        """Run the requests as one static batch."""
        plain = [
            {"prompt_id": r.prompt_id, "text": r.text, "output_tokens": r.output_tokens}
            for r in requests
        ]
        reply = self._worker.call("generate", self._timeout_s, requests=plain)
        return [wire.trace_from_wire(trace) for trace in reply["traces"]]

    def loglikelihood(self, spans: Sequence[Span]) -> list[SpanScore]:
        """Score the spans."""
        plain = [[span.context, span.continuation] for span in spans]
        reply = self._worker.call("loglikelihood", self._timeout_s, spans=plain)
        return [SpanScore(value, greedy) for value, greedy in reply["scores"]]

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
        """Nothing: the worker reports facts with its answers."""
        return {}
