"""Quality: scores of task items, and how well a text is predicted.

A per-item score is one ``_score(...)`` line; a rate over a text is one ``_rolling(...)`` line.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from leanboard.metrics.intervals import standard_error
from leanboard.metrics.metric import (
    Direction,
    Kind,
    Metric,
    Missing,
    Reduce,
    Role,
    Samples,
    Summary,
)
from leanboard.metrics.trace import AnswerObservation, AnswerTrace, Observation, Provenance

_ANSWERS = frozenset({Kind.ANSWERS})
# How many words the harness counts in a text stands beside the scores of its item.
_WORDS = "words"
_NOT_ANSWERS = Missing("the observation holds no scored answers")


def score(name: str) -> Reduce:
    """Make the reduction to the items' scores of one name, with the standard error of their mean.

    A task that gives the score to some of its items only is not averaged: the mean would be of
    another set than the task's.
    """

    def reduce(observation: Observation) -> Samples | Missing:
        if not isinstance(observation, AnswerObservation):
            return _NOT_ANSWERS
        values = tuple(a.scores[name] for a in observation.answers if name in a.scores)
        if not values:
            return Missing(f"the task gives no {name}")
        if len(values) < len(observation.answers):
            lacking = len(observation.answers) - len(values)
            return Missing(f"{lacking} of {len(observation.answers)} items have no {name}")
        return Samples(values, Provenance.MEASURED, stderr=standard_error(values))

    return reduce


def target_nll(observation: Observation) -> Samples | Missing:
    """Return the negative log-likelihood (nats) of each item's one continuation."""
    if not isinstance(observation, AnswerObservation):
        return _NOT_ANSWERS
    answers = observation.answers
    if not answers or any(len(a.loglikelihoods) != 1 or a.tokens for a in answers):
        return Missing("the items do not ask for one continuation each")
    nats = tuple(-a.loglikelihoods[0] for a in answers)
    bad = sum(not math.isfinite(value) for value in nats)
    if bad:
        return Missing(f"{bad} of {len(nats)} log-likelihoods are not finite")
    return Samples(nats, Provenance.MEASURED, weights=(1.0,) * len(nats))


def _words(answer: AnswerTrace) -> int:
    words = answer.scores.get(_WORDS, 0.0)
    return int(words) if math.isfinite(words) else 0


def nll_per(count: Callable[[AnswerTrace], int], unit: str, scale: float = 1.0) -> Reduce:
    """Make the reduction to negative log-likelihoods of text windows over a count of each.

    Args:
        count: what each window's nats are divided by in the end (tokens, bytes).
        unit: name of what is counted, for the reason where there is none.
        scale: factor on nats (1 / ln 2 gives bits).
    """

    def reduce(observation: Observation) -> Samples | Missing:
        if not isinstance(observation, AnswerObservation):
            return _NOT_ANSWERS
        rolling = [a for a in observation.answers if count(a) > 0]
        if not rolling:
            return Missing(f"the task scores no running text: no {unit} were counted")
        nats = [-math.fsum(a.loglikelihoods) for a in rolling]
        bad = sum(not math.isfinite(value) for value in nats)
        if bad:
            return Missing(f"{bad} of {len(nats)} log-likelihoods are not finite")
        weights = tuple(float(count(a)) for a in rolling)
        return Samples(tuple(scale * v for v in nats), Provenance.MEASURED, weights=weights)

    return reduce


def _score(
    name: str, label: str, doc: str, *, of: str | None = None, headline: bool = False
) -> Metric:
    """Make the metric of a per-item score; ``of`` is the harness's name for it if it differs."""
    return Metric(
        name=name,
        unit="1",
        direction=Direction.HIGHER,
        role=Role.QUALITY,
        label=label,
        doc=f"{doc} Mean over items; standard error s / sqrt(n).",
        source="lm-evaluation-harness",
        kinds=_ANSWERS,
        summary=Summary.MEAN,
        reduce=score(name if of is None else of),
        headline=headline,
    )


def _rolling(  # noqa: PLR0913
    name: str,
    unit: str,
    label: str,
    doc: str,
    *,
    summary: Summary,
    reduce: Reduce,
    headline: bool = False,
) -> Metric:
    return Metric(
        name=name,
        unit=unit,
        direction=Direction.LOWER,
        role=Role.QUALITY,
        label=label,
        doc=doc,
        source="lm-evaluation-harness (rolling log-likelihood); The Pile",
        kinds=_ANSWERS,
        summary=summary,
        reduce=reduce,
        headline=headline,
    )


METRICS: tuple[Metric, ...] = (
    _score(
        "acc",
        "Accuracy",
        "Share of items whose right choice has the highest log-likelihood, or whose one "
        "continuation greedy decoding gives; for truthfulqa_mc2 the probability that the true "
        "answers get among all answers.",
        headline=True,
    ),
    _score(
        "acc_norm",
        "Accuracy, length-normalised",
        "Share of items whose right choice has the highest log-likelihood per byte of the choice.",
        headline=True,
    ),
    _score(
        "exact_match",
        "Exact match",
        "Share of items whose generated answer, filtered as the task says, equals the reference.",
    ),
    _score(
        "exact_match_strict",
        "Exact match, strict",
        "Share of items whose answer, found behind the marks that the examples have (gsm8k: "
        "####), equals the reference.",
        of="exact_match,strict-match",
    ),
    _score(
        "exact_match_flexible",
        "Exact match, flexible",
        "Share of items whose last number, wherever it stands, equals the reference.",
        of="exact_match,flexible-extract",
    ),
    _rolling(
        "perplexity",
        "1",
        "Perplexity",
        "exp(total negative log-likelihood in nats / tokens). Depends on the tokenizer.",
        summary=Summary.EXP_RATIO_OF_SUMS,
        reduce=nll_per(lambda a: a.tokens, "tokens"),
    ),
    _rolling(
        "target_perplexity",
        "1",
        "Perplexity of the continuation",
        "exp(mean negative log-likelihood in nats of an item's one continuation, whatever its "
        "number of tokens); lm-eval calls it perplexity (lambada_openai).",
        summary=Summary.EXP_RATIO_OF_SUMS,
        reduce=target_nll,
    ),
    _rolling(
        "word_perplexity",
        "1",
        "Perplexity a word",
        "exp(total negative log-likelihood in nats / words, as the task counts them).",
        summary=Summary.EXP_RATIO_OF_SUMS,
        reduce=nll_per(_words, "words"),
    ),
    _rolling(
        "byte_perplexity",
        "1",
        "Perplexity a byte",
        "exp(total negative log-likelihood in nats / UTF-8 bytes).",
        summary=Summary.EXP_RATIO_OF_SUMS,
        reduce=nll_per(lambda a: a.text_bytes, "bytes"),
    ),
    _rolling(
        "bits_per_byte",
        "bit",
        "Bits per byte",
        "Total negative log-likelihood / (ln 2 x UTF-8 bytes). Compares across tokenizers.",
        summary=Summary.RATIO_OF_SUMS,
        reduce=nll_per(lambda a: a.text_bytes, "bytes", 1 / math.log(2)),
        headline=True,
    ),
)
