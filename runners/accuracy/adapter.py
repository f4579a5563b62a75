"""An ``Engine`` as lm-eval's language model: what is scored is what was timed."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeVar

from lm_eval.api.instance import Instance
from lm_eval.api.model import TemplateLM
from lm_eval.utils import get_rolling_token_windows, make_disjoint_window

from leanboard.results.errors import ArmError
from leanboard.runners.accuracy.lm_requests import (
    chunks,
    name_of,
    refuse_long,
    texts_of,
    without_tokens,
)
from leanboard.runners.accuracy.open_answers import greedy_limits
from leanboard.runners.accuracy.tasks import Progress, no_progress
from leanboard.runners.backends.base import (
    Engine,
    Span,
    SpanScore,
    UntilAnswer,
    UntilRequest,
    in_order,
)
from leanboard.runners.backends.spans import fed_tokens

ADAPTER_VERSION = 1
"""Raised whenever the same engine and items would give other scores."""

Q = TypeVar("Q")
A = TypeVar("A")
_Ids = list[int]


class EngineLM(TemplateLM):  # type: ignore[misc]
    """Scores lm-eval's requests with an engine.

    How a pair of texts becomes tokens (trailing spaces, empty contexts) is lm-eval's own code in
    ``TemplateLM``; here its texts are encoded in batches and its tokens scored by the engine.
    Where the tokenizer puts a first token before every text (``Vocabulary.adds_bos``), contexts
    get it, as with lm-eval's ``HFLM``.

    All requests are encoded and checked before the first is scored. The engine gets them in one
    call, the same tokens once, so that it can share what they begin with.

    Args:
        engine: what scores, maybe in another process.
        progress: called with (done, total): tokens, or most tokens of open answers.

    Attributes:
        answers: the open answers with their tokens, by the place of their request in the list.
    """

    def __init__(self, engine: Engine, progress: Progress = no_progress) -> None:
        super().__init__()
        self.answers: dict[int, UntilAnswer] = {}
        self._engine = engine
        self._progress = progress
        self._ids: dict[str, tuple[int, ...]] = {}
        self._pairs: list[tuple[_Ids, _Ids]] = []

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

    def _encode_ahead(self, texts: Iterable[str]) -> None:
        """Encode in one call: each is a round trip to another process."""
        wanted = list(dict.fromkeys(texts))
        self._ids = dict(zip(wanted, self._engine.encode_batch(wanted), strict=True))

    def loglikelihood(
        self,
        requests: list[Instance],
        disable_tqdm: bool = True,  # noqa: ARG002, FBT001, FBT002  lm-eval's signature
    ) -> list[tuple[float, bool]]:
        """Return (log-likelihood in nats, is greedy) of each continuation given its context.

        Raises:
            ArmError: if requests do not fit the model's window, with how many; if one has no
                tokens or its score is not a number, with the item's name.
        """
        spans = self._spans(requests)
        # The last token is only predicted, never fed.
        fed = [fed_tokens(span) for span in spans]
        refuse_long(requests, fed, self.max_length, "fewer examples (accuracy.num_fewshot)")
        scores = self._scores(requests, spans)
        return [(score.loglikelihood, score.is_greedy) for score in scores]

    def _spans(self, requests: Sequence[Instance]) -> list[Span]:
        contexts: dict[tuple[int, ...], tuple[int, ...]] = {}
        spans: list[Span] = []
        for chunk in chunks(requests):
            self._encode_ahead(texts_of(chunk))
            super().loglikelihood(chunk, disable_tqdm=True)
            for request, (context, continuation) in zip(chunk, self._pairs, strict=True):
                if not context or not continuation:
                    raise ArmError(without_tokens(request))
                # The choices of an item have the same context: it is kept once.
                shared = contexts.setdefault(tuple(context), tuple(context))
                spans.append(Span(shared, tuple(continuation)))
        return spans

    def _loglikelihood_tokens(
        self, requests: Sequence[tuple[tuple[str, str], _Ids, _Ids]], **_: object
    ) -> list[tuple[float, bool]]:
        """Take the tokens that lm-eval made; they are scored when all are known."""
        self._pairs = [(context, continuation) for _, context, continuation in requests]
        return []

    def loglikelihood_rolling(
        self,
        requests: list[Instance],
        disable_tqdm: bool = True,  # noqa: ARG002, FBT001, FBT002  lm-eval's signature
    ) -> list[float]:
        """Return the log-likelihood (nats) of each whole text.

        Long texts are read in lm-eval's disjoint rolling windows, the first after the prefix
        token. That token is never scored, also where the tokenizer would add it.

        Raises:
            ArmError: if a score is not a number, with the item's name.
        """
        self._encode_ahead(request.args[0] for request in requests)
        spans: list[Span] = []
        owners: list[int] = []
        for place, request in enumerate(requests):
            found = [Span(tuple(c), tuple(k)) for c, k in self._windows(request.args[0])]
            spans += found
            owners += [place] * len(found)
        totals = [0.0] * len(requests)
        scores = self._scores([requests[place] for place in owners], spans)
        for place, score in zip(owners, scores, strict=True):
            totals[place] += score.loglikelihood
        return totals

    def _windows(self, text: str) -> Iterator[tuple[_Ids, _Ids]]:
        ids = self.tok_encode(text, add_special_tokens=False)
        windows = get_rolling_token_windows(ids, self.prefix_token_id, self.max_length, 1)
        return map(make_disjoint_window, windows)

    def generate_until(
        self,
        requests: list[Instance],
        disable_tqdm: bool = True,  # noqa: ARG002, FBT001, FBT002  lm-eval's signature
    ) -> list[str]:
        """Return the text of each answer, generated greedily; ``answers`` keeps the tokens.

        Raises:
            ArmError: if a prompt and its most tokens do not fit the model's window, with how
                many; if a task wants anything else than greedy answers.
        """
        asked = self._open_requests(requests)
        most = [request.max_tokens for request in asked]
        needed = [len(request.prompt) + request.max_tokens for request in asked]
        remedy = "fewer examples (accuracy.num_fewshot), shorter answers"
        refuse_long(requests, needed, self.max_length, remedy)
        found = self._answered(asked, self._engine.generate_until, most)
        self.answers = dict(sorted(found))
        return [answer.text for answer in self.answers.values()]

    def _open_requests(self, requests: Sequence[Instance]) -> list[UntilRequest]:
        asked: list[UntilRequest] = []
        for chunk in chunks(requests):
            self._encode_ahead(request.args[0] for request in chunk)
            for request in chunk:
                context, wanted = request.args
                max_tokens, stops = greedy_limits(name_of(request), wanted)
                prompt = tuple(self.tok_encode(context))
                if not prompt:
                    raise ArmError(without_tokens(request))
                asked.append(UntilRequest(prompt, max_tokens, stops))
        return asked

    def _scores(self, requests: Sequence[Instance], spans: Sequence[Span]) -> list[SpanScore]:
        """Score spans; ``requests`` says whose each is."""
        tokens = [len(span.context) + len(span.continuation) for span in spans]
        scores: list[tuple[int, SpanScore]] = []
        for place, score in self._answered(spans, self._engine.loglikelihood, tokens):
            if not math.isfinite(score.loglikelihood):
                raise ArmError(
                    f"{name_of(requests[place])}: its log-likelihood is {score.loglikelihood}. The "
                    "model computes something that is not a number; try another dtype or "
                    "technique."
                )
            scores.append((place, score))
        return in_order(scores)

    def _answered(
        self,
        asked: Sequence[Q],
        ask: Callable[[Sequence[Q]], Iterator[tuple[int, A]]],
        sizes: Sequence[int],
    ) -> Iterator[tuple[int, A]]:
        """Yield each answer with its place, what is asked twice once; tell progress in sizes."""
        places: dict[Q, list[int]] = {}
        for place, question in enumerate(asked):
            places.setdefault(question, []).append(place)
        distinct = list(places)
        done, total = 0, sum(sizes)
        for number, answer in ask(distinct):
            for place in places[distinct[number]]:
                yield place, answer
                done += sizes[place]
            self._progress(done, total)
