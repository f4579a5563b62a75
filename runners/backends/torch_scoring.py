"""Log-likelihoods of continuations, through the same modules that generate.

The same reading as lm-evaluation-harness's ``HFLM``; log-softmax is float32.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from leanboard.metrics.trace import Quantity
from leanboard.results.errors import ArmError, UnsupportedError
from leanboard.runners.backends.base import Span, SpanScore
from leanboard.runners.backends.spans import Fed, fed, fed_tokens
from leanboard.runners.backends.torch_exactness import RowKind
from leanboard.runners.backends.torch_finite import first_not_finite
from leanboard.runners.backends.torch_loading import TorchTarget
from leanboard.runners.backends.torch_rows import RowRunner
from leanboard.runners.backends.torch_served import ServedScorer
from leanboard.runners.backends.torch_stream import SpanStream

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class SpanScorer:
    """Scores spans with a model; what they begin with is computed once where that is exact.

    Whether it is, is tried (:class:`ExactnessCheck`). Where it is not, ``notes`` says what was
    scored whole.
    """

    def __init__(
        self, target: TorchTarget, *, max_length: int, shares_prefixes: bool = True
    ) -> None:
        """Take a target whose techniques are applied.

        Args:
            target: the model; where it has ``new_cache``, spans are scored as they are served.
            max_length: tokens that the model can be fed.
            shares_prefixes: whether the techniques admit that keys and values are reused.
        """
        self._target = target
        self._max_length = max_length
        self._why_whole = None if shares_prefixes else "a technique makes reuse of prefixes inexact"
        self._runner = RowRunner(target.model)
        self._served = None
        if target.new_cache is not None:
            self._served = ServedScorer(target.model, target.new_cache)
        self._exact: dict[RowKind, int] = {}
        self._notes: dict[str, None] = {}
        self._plain_tokens = 0

    def notes(self) -> tuple[str, ...]:
        """Return what a reader must know of how spans were scored."""
        return tuple(self._notes)

    def facts(self) -> Mapping[str, Quantity]:
        """Return the tokens fed for scores, and how many it were if each span were fed alone.

        Padding does not count; the check of exactness does.
        """
        fed_tokens = self._runner.fed_tokens
        if self._served is not None:
            fed_tokens += self._served.fed_tokens
        return Fed(fed_tokens, self._plain_tokens).facts()

    def scores(self, spans: Sequence[Span]) -> Iterator[tuple[int, SpanScore]]:
        """Yield each span's score with its place, as batches are done.

        Raises:
            UnsupportedError: if a technique makes likelihoods say nothing of the answers.
            ArmError: if a span does not fit the window, or a logit is not finite.
        """
        self._check_meaning()
        for span in spans:
            self._check_fit(span)
        for place, score in self._found(spans):
            self._check_finite(spans[place], score.loglikelihood)
            self._plain_tokens += fed_tokens(spans[place])
            yield place, score

    def _found(self, spans: Sequence[Span]) -> Iterator[tuple[int, SpanScore]]:
        if self._served is None:
            model, runner, exact = self._target.model, self._runner, self._exact
            stream = SpanStream(model, runner, spans, exact, self._note)
            return stream.scores(self._why_whole)
        self._note("scored as served: through the technique's cache, token by token")
        return self._served.scores(spans)

    def _note(self, text: str) -> None:
        self._notes[text] = None

    def log_probabilities(self, span: Span) -> NDArray[np.float32]:
        """Return the log-probabilities (nats) at each token: (tokens, vocabulary).

        Raises:
            UnsupportedError: if a technique makes likelihoods say nothing of the answers.
            ArmError: if the span does not fit the window, or a logit is not finite.
        """
        self._check_meaning()
        self._check_fit(span)
        reader = self._served if self._served is not None else self._runner
        table = reader.table(span)
        # A sum, since one NaN makes it one; a token that is ruled out has -inf.
        self._check_finite(span, float(table.max(axis=1).sum()))
        return table

    def _check_meaning(self) -> None:
        if self._target.no_likelihoods is not None:
            raise UnsupportedError(self._target.no_likelihoods)

    def _check_fit(self, span: Span) -> None:
        if not span.context or not span.continuation:
            raise ArmError("A span to score needs at least one context and one continuation token.")
        tokens = fed_tokens(span)
        if tokens > self._max_length:
            raise ArmError(
                f"A span of {tokens} tokens does not fit the model's window of "
                f"{self._max_length}. Score shorter texts, or give a smaller window."
            )

    def _check_finite(self, span: Span, nats: float) -> None:
        if math.isfinite(nats):
            return
        module = first_not_finite(self._target.model, fed(span))
        where = (
            f"the first output that is not finite is that of {module}"
            if module is not None
            else "no module gives it when the sequence is fed alone"
        )
        raise ArmError(
            f"The model gave a log-likelihood of {nats}: {where}. A technique or a dtype that "
            "overflows makes such numbers; try another dtype, or leave the technique out."
        )
