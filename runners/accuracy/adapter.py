"""An ``Engine`` as lm-eval's language model: what is scored is what was timed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TypeVar

from lm_eval.api.instance import Instance
from lm_eval.api.model import TemplateLM
from lm_eval.utils import get_rolling_token_windows, make_disjoint_window

from leanboard.results.errors import ArmError
from leanboard.runners.accuracy.tasks import Progress, no_progress
from leanboard.runners.backends.base import Engine, Span, in_order

ADAPTER_VERSION = 1
"""Raised whenever the same engine and items would give other scores."""

SPANS_A_CALL = 64
"""Spans handed to the engine at once: enough to fill its batches, few enough to see progress."""

T = TypeVar("T")
_Encoded = tuple[tuple[str, str], list[int], list[int]]


class EngineLM(TemplateLM):  # type: ignore[misc]
    """Scores lm-eval's requests with an engine.

    How a pair of texts becomes tokens (trailing spaces, empty contexts) is lm-eval's own code in
    ``TemplateLM``; here its texts are encoded in batches and its tokens scored by the engine.
    Where the tokenizer puts a first token before every text (``Vocabulary.adds_bos``), contexts
    get it, as with lm-eval's ``HFLM``.

    Args:
        engine: what scores, maybe in another process.
        progress: called with (requests done, requests in all).
    """

    def __init__(self, engine: Engine, progress: Progress = no_progress) -> None:
        super().__init__()
        self._engine = engine
        self._progress = progress
        self._ids: dict[str, tuple[int, ...]] = {}
        self._names: dict[tuple[str, str], str] = {}

    @property
    def eot_token_id(self) -> int:
        """Token that ends a text."""
        return self._engine.vocabulary.eot_token_id

    @property
    def prefix_token_id(self) -> int:
        """Token that stands before a text without context."""
        return self._engine.vocabulary.prefix_token_id

    @property
    def max_length(self) -> int:
        """Tokens that the model can be fed."""
        return self._engine.vocabulary.max_length

    def tok_encode(
        self,
        string: str,
        add_special_tokens: bool | None = None,  # noqa: FBT001  lm-eval's signature
        **_: object,
    ) -> list[int]:
        """Return the token ids of a text, with a first token where the tokenizer adds one."""
        ids = self._ids.get(string)
        if ids is None:
            ids = self._ids[string] = self._engine.encode(string)
        wanted = self._engine.vocabulary.adds_bos and add_special_tokens is not False
        if wanted and ids[:1] != (self.prefix_token_id,):
            return [self.prefix_token_id, *ids]
        return list(ids)

    def loglikelihood(
        self,
        requests: list[Instance],
        disable_tqdm: bool = True,  # noqa: ARG002, FBT001, FBT002  lm-eval's signature
    ) -> list[tuple[float, bool]]:
        """Return (log-likelihood in nats, is greedy) of each continuation given its context.

        Requests with the same context go to the engine next to each other, long ones first.

        Raises:
            ArmError: if a request does not fit the model's window, with the item's name.
        """
        order = sorted(range(len(requests)), key=lambda i: (_context_first(requests[i]), i))
        answers: dict[int, tuple[float, bool]] = {}
        for chunk in _chunks(order):
            asked = [requests[i] for i in chunk]
            self._names = {request.args: _name(request) for request in asked}
            self._encode_ahead(_texts(asked))
            scores = super().loglikelihood(asked, disable_tqdm=True)
            answers.update(zip(chunk, scores, strict=True))
            self._progress(len(answers), len(requests))
        return [answers[i] for i in range(len(requests))]

    def _encode_ahead(self, texts: Iterable[str]) -> None:
        """Encode in one call: each is a round trip to another process."""
        wanted = list(dict.fromkeys(texts))
        self._ids = dict(zip(wanted, self._engine.encode_batch(wanted), strict=True))

    def _loglikelihood_tokens(
        self, requests: Sequence[_Encoded], **_: object
    ) -> list[tuple[float, bool]]:
        spans = [
            self._span(self._names[texts], context, continuation)
            for texts, context, continuation in requests
        ]
        scores = in_order(self._engine.loglikelihood(spans))
        return [(score.loglikelihood, score.is_greedy) for score in scores]

    def _span(self, name: str, context: Sequence[int], continuation: Sequence[int]) -> Span:
        if not context or not continuation:
            raise ArmError(f"{name}: its text gives no tokens to score. Leave this task out.")
        # The last token is only predicted, never fed.
        fed = len(context) + len(continuation) - 1
        if fed > self.max_length:
            raise ArmError(
                f"{name}: {fed} tokens do not fit the model's window of {self.max_length}, and "
                "nothing is cut off. Use fewer examples (accuracy.num_fewshot) or another task."
            )
        return Span(tuple(context), tuple(continuation))

    def loglikelihood_rolling(
        self,
        requests: list[Instance],
        disable_tqdm: bool = True,  # noqa: ARG002, FBT001, FBT002  lm-eval's signature
    ) -> list[float]:
        """Return the log-likelihood (nats) of each whole text.

        Long texts are read in lm-eval's disjoint rolling windows, the first after the prefix
        token. That token is never scored, also where the tokenizer would add it.
        """
        totals: list[float] = []
        for request in requests:
            spans = [
                self._span(_name(request), context, continuation)
                for context, continuation in self._windows(request.args[0])
            ]
            scores = in_order(self._engine.loglikelihood(spans))
            totals.append(sum(score.loglikelihood for score in scores))
            self._progress(len(totals), len(requests))
        return totals

    def _windows(self, text: str) -> Iterator[tuple[list[int], list[int]]]:
        ids = self.tok_encode(text, add_special_tokens=False)
        windows = get_rolling_token_windows(ids, self.prefix_token_id, self.max_length, 1)
        return map(make_disjoint_window, windows)

    def generate_until(
        self,
        requests: list[Instance],
        disable_tqdm: bool = True,  # noqa: ARG002, FBT001, FBT002  lm-eval's signature
    ) -> list[str]:
        """Refuse: engines here generate a fixed number of tokens.

        Raises:
            ArmError: always, with the item's name.
        """
        raise ArmError(
            f"{_name(requests[0])}: tasks that are answered by generating text cannot be scored "
            "yet. Choose a multiple-choice task."
        )


def _name(request: Instance) -> str:
    return f"Task {request.task_name}, item {request.doc_id}"


def _context_first(request: Instance) -> tuple[int, str]:
    context = request.args[0]
    return -len(context), context


def _texts(requests: Sequence[Instance]) -> Iterator[str]:
    """Yield what lm-eval is going to encode: each context without its trailing spaces, and whole.

    A text that is missing here is only encoded later, alone.
    """
    for request in requests:
        context, continuation = request.args
        if not continuation:
            raise ArmError(f"{_name(request)}: it has an empty answer. Leave this task out.")
        if context:
            yield context.rstrip()
        yield context + continuation


def _chunks(values: Sequence[T]) -> Iterator[Sequence[T]]:
    for start in range(0, len(values), SPANS_A_CALL):
        yield values[start : start + SPANS_A_CALL]
