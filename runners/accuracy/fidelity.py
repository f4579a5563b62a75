"""Predictions of a text beside the baseline's, and ties: what needs whole distributions.

They are too large to be carried between processes, so they are read where the model is, and only
sums come back.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from itertools import pairwise
from operator import add
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from leanboard.metrics.lossless import Parting
from leanboard.metrics.metric import Missing
from leanboard.metrics.trace import Provenance, Quantity
from leanboard.results.errors import ArmError
from leanboard.runners.backends.base import Engine, Span

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from leanboard.runners.accuracy.reference import Keeper, Reference

LOGITS_AT_ONCE = 2**26
"""Most log-probabilities that an engine is asked for at once: 256 MiB."""


@dataclass(frozen=True, slots=True)
class Nearness:
    """How near predictions of some tokens are to the baseline's; sums over the tokens.

    Args:
        kl_nats: KL(baseline || this), with the baseline's less likely tokens as one outcome.
        agreeing: tokens at which the baseline's most likely token is the most likely here.
        kl_rest: the baseline's probability of its less likely tokens.
        whole_tokens: tokens at which the baseline's whole distribution is known.
        whole_nats: KL of the whole distributions at these.
        bound_nats: what ``kl_nats`` has for these.
    """

    kl_nats: float
    agreeing: int
    kl_rest: float
    whole_tokens: int
    whole_nats: float
    bound_nats: float

    def __add__(self, other: Nearness) -> Nearness:
        """Return the sums over the tokens of both."""
        return Nearness(
            self.kl_nats + other.kl_nats,
            self.agreeing + other.agreeing,
            self.kl_rest + other.kl_rest,
            self.whole_tokens + other.whole_tokens,
            self.whole_nats + other.whole_nats,
            self.bound_nats + other.bound_nats,
        )


@dataclass(frozen=True, slots=True)
class Prediction:
    """How well the tokens of a span were predicted.

    Args:
        loglikelihood: of the continuation, in nats.
        is_greedy: whether greedy decoding would give it.
        nearness: to the baseline's predictions; ``None`` where there are none.
    """

    loglikelihood: float
    is_greedy: bool
    nearness: Nearness | None = None

    def __add__(self, other: Prediction) -> Prediction:
        """Return the prediction of two pieces of one span."""
        near, further = self.nearness, other.nearness
        return Prediction(
            self.loglikelihood + other.loglikelihood,
            self.is_greedy and other.is_greedy,
            None if near is None or further is None else near + further,
        )


Predictions = Iterator[tuple[int, Prediction]]


@runtime_checkable
class Predictor(Protocol):
    """What reads distributions; ``LocalPredictor`` says what each method does."""

    def predict(
        self, spans: Sequence[Span], keep: Path | None, against: Path | None
    ) -> Predictions | Missing:
        """Score spans beside the baseline's predictions, or keep them."""

    def log_probabilities_of(
        self, context: Sequence[int], tokens: Sequence[int]
    ) -> tuple[float, ...]:
        """Return the log-probability (nats) of each of some tokens after a context."""


def predictor(engine: Engine) -> Predictor:
    """Return what reads the distributions of an engine, in whatever process it is."""
    return engine if isinstance(engine, Predictor) else LocalPredictor(engine)


class LocalPredictor:
    """Reads distributions of an engine of this process."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def predict(
        self, spans: Sequence[Span], keep: Path | None, against: Path | None
    ) -> Predictions | Missing:
        """Score spans, each with its place in the list, one forward for all that is wanted.

        Args:
            spans: what is scored.
            keep: file that receives the predictions once all are made; ``None`` keeps none.
            against: file of the baseline's predictions; ``None`` compares with none.

        Returns:
            The predictions as they come, or why the baseline's do not fit: nothing is scored then.

        Raises:
            ArmError: if a span does not fit the model's window, or a logit is not finite.
            LeanboardError: if the predictions cannot be written.
        """
        from leanboard.runners.accuracy.reference import Keeper, read

        size = self._engine.vocabulary.size
        reference = None if against is None else read(against, spans, size)
        if isinstance(reference, Missing):
            return reference
        keeper = None if keep is None else Keeper(spans, size)
        return self._predictions(spans, reference, keeper, keep)

    def _predictions(
        self,
        spans: Sequence[Span],
        reference: Reference | None,
        keeper: Keeper | None,
        keep: Path | None,
    ) -> Predictions:
        row = 0
        for place, span in enumerate(spans):
            found = []
            for piece in pieces(span, self._engine.vocabulary.size):
                rows = self._rows(piece)
                if keeper is not None:
                    keeper.add(rows)
                found.append(_prediction(rows, piece.continuation, reference, row))
                row += len(rows)
            yield place, reduce(add, found)
        if keeper is not None and keep is not None:
            keeper.reference().write(keep)

    def log_probabilities_of(
        self, context: Sequence[int], tokens: Sequence[int]
    ) -> tuple[float, ...]:
        """Return the log-probability (nats) of each of some tokens after a context.

        Raises:
            ArmError: if the context does not fit the model's window, or a logit is not finite.
        """
        rows = self._rows(Span(tuple(context), (tokens[0],)))
        return tuple(float(rows[0, token]) for token in tokens)

    def _rows(self, span: Span) -> NDArray[np.float32]:
        rows = self._engine.log_probabilities(span)
        wanted = len(span.continuation), self._engine.vocabulary.size
        if rows.shape != wanted:
            raise ArmError(
                f"The backend gave log-probabilities of shape {rows.shape} where {wanted} were "
                "asked for. This is a fault of the backend."
            )
        return rows


def pieces(span: Span, vocabulary: int) -> list[Span]:
    """Cut a span so that the log-probabilities of each piece stay under ``LOGITS_AT_ONCE``.

    A piece has all that is before it as its context, so it is computed again: memory is bounded at
    the price of time, for large vocabularies only.
    """
    most = max(1, LOGITS_AT_ONCE // vocabulary)
    tokens = span.continuation
    number = max(1, -(-len(tokens) // most))
    bounds = [len(tokens) * i // number for i in range(number + 1)]
    return [
        Span(span.context + tokens[:start], tokens[start:end]) for start, end in pairwise(bounds)
    ]


def nearness_facts(whole: Nearness, tokens: int, vocabulary: int) -> dict[str, Quantity]:
    """Return what a KL divergence from bounded predictions is worth, for the record.

    ``kl_kept_tokens`` of each distribution are kept; ``kl_rest_mass`` is the mean probability of
    the others. At ``kl_whole_tokens`` tokens the whole distribution is known: there the mean KL
    is ``kl_whole`` (nats a token), which is ``kl_error`` more than with the others as one outcome.

    Args:
        whole: the sum over all windows.
        tokens: number of scored tokens.
        vocabulary: number of token ids.
    """
    from leanboard.runners.accuracy.reference import kept_tokens

    facts = {
        "kl_kept_tokens": Quantity(kept_tokens(vocabulary), "tok", Provenance.COUNTED),
        "kl_rest_mass": Quantity(whole.kl_rest / tokens, "1", Provenance.MEASURED),
        "kl_whole_tokens": Quantity(whole.whole_tokens, "tok", Provenance.COUNTED),
    }
    if whole.whole_tokens == 0:
        return facts
    exact = whole.whole_nats / whole.whole_tokens
    error = exact - whole.bound_nats / whole.whole_tokens
    known = {"kl_whole": exact, "kl_error": error}
    # An arm that rules out a token is infinitely far from a baseline that does not.
    return facts | {
        name: Quantity(value, "nat", Provenance.MEASURED)
        for name, value in known.items()
        if math.isfinite(value)
    }


def tie_gaps(
    engine: Engine, partings: Iterable[Parting], prompts: Mapping[str, str]
) -> dict[Parting, float]:
    """Ask the baseline how near the two tokens are where an output leaves its own.

    The prompt and the common tokens are scored as one sequence. What was timed decoded them one
    by one: that may differ by rounding, as ties do.

    Args:
        engine: the baseline's.
        partings: from ``leanboard.metrics.lossless.partings``.
        prompts: text of each prompt, as it was timed.

    Returns:
        The baseline's log-probability (nats) of its own token less that of the candidate's.

    Raises:
        ArmError: if the baseline fails.
    """
    asked = predictor(engine)
    gaps: dict[Parting, float] = {}
    for parting in partings:
        context = engine.encode(prompts[parting.prompt_id]) + parting.common
        tokens = parting.baseline_token, parting.candidate_token
        theirs, ours = asked.log_probabilities_of(context, tokens)
        gaps[parting] = theirs - ours
    return gaps


def _prediction(
    rows: NDArray[np.float32], tokens: Sequence[int], reference: Reference | None, first: int
) -> Prediction:
    import numpy as np

    from leanboard.runners.accuracy.reference import compare

    targets = np.asarray(tokens)
    loglikelihood = float(rows[np.arange(len(targets)), targets].sum(dtype=np.float64))
    is_greedy = bool((rows.argmax(axis=1) == targets).all())
    if reference is None:
        return Prediction(loglikelihood, is_greedy)
    found = compare(reference, first, rows)
    nearness = Nearness(
        kl_nats=float(found.kl_nats.sum()),
        agreeing=int(found.agrees.sum()),
        kl_rest=float(found.rest.sum()),
        whole_tokens=len(found.whole_nats),
        whole_nats=float(found.whole_nats.sum()),
        bound_nats=float(found.bound_nats.sum()),
    )
    return Prediction(loglikelihood, is_greedy, nearness)
