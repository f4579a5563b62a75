"""How near a candidate's predictions and answers are to its baseline's, beside their scores.

Scores are noisy where these are not: a technique may leave accuracy as it was and yet change what
the model says. Text windows (with ``kl_nats``) are compared by their predictions, generated answers
by their tokens; answers that are choices have nothing here.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from leanboard.metrics.intervals import (
    Interval,
    mean,
    ratio_of_sums,
    ratio_of_sums_error,
    ratio_of_sums_interval,
    standard_error,
    t_interval,
    wilson_interval,
)
from leanboard.metrics.lossless import Ids, first_difference
from leanboard.metrics.metric import Verdict
from leanboard.metrics.trace import AnswerObservation, AnswerTrace

LENGTH_LOW, LENGTH_HIGH = 0.9, 1.1
"""Ratios of output lengths outside of these make a gain in speed suspect (MLPerf Inference)."""

OTHER = "another prediction or answer is not a worse one: scores say that"
_NEUTRAL = "neither direction of this metric is better"
_OUTSIDE = f"outside {LENGTH_LOW:g} to {LENGTH_HIGH:g} a gain in speed is suspect (MLPerf)"

Statistic = Literal["difference", "agreement", "ratio"]


@dataclass(frozen=True, slots=True)
class FidelityEstimate:
    """One comparison of a candidate's answers with its baseline's, as a record holds it.

    Args:
        metric: its name.
        statistic: what ``value`` is.
        value: ``None`` where nothing was compared, and then ``reason`` says why.
        interval: 95% interval; ``None`` for too few units, or where no unit differs from another.
        n: independent units: windows of a text, or generated answers.
        verdict: ``no difference shown`` where all is equal, else ``undecided``.
        pairs: one value a unit, in order: its own share, mean or ratio; ``None`` where a unit of
            the baseline has length 0.
        stderr: standard error of ``value``; ``None`` for fewer than two units.
        reason: why the verdict is undecided; ``None`` if it is not.
    """

    metric: str
    statistic: Statistic
    value: float | None
    interval: Interval | None
    n: int
    verdict: Verdict = Verdict.UNDECIDED
    pairs: tuple[float, ...] | None = None
    stderr: float | None = None
    reason: str | None = OTHER


def fidelity_comparisons(
    candidate: AnswerObservation, baseline: AnswerObservation
) -> tuple[FidelityEstimate, ...]:
    """Return every comparison of fidelity that the answers allow.

    Of text windows ``kl_to_baseline`` (nats a token; sum of KL / tokens) and ``top1_agreement``
    (share of tokens); of generated answers ``greedy_agreement`` (share that is equal token for
    token), ``first_divergence`` (mean share of the baseline's answer before the first difference,
    1 where there is none) and ``output_length_ratio`` (mean tokens / the baseline's).

    Sources: Kullback and Leibler (1951); MLPerf Inference's rule on output lengths.
    """
    return (*_of_text(candidate, baseline), *_of_outputs(candidate, baseline))


def _of_text(
    candidate: AnswerObservation, baseline: AnswerObservation
) -> Iterator[FidelityEstimate]:
    windows = [answer for answer in candidate.answers if answer.tokens > 0]
    if not windows:
        return
    reason = _other_items(candidate, baseline) or _uncompared(windows)
    if reason is not None:
        yield _none("kl_to_baseline", "difference", reason)
        yield _none("top1_agreement", "agreement", reason)
        return
    tokens = [float(window.tokens) for window in windows]
    kl = [window.kl_nats for window in windows if window.kl_nats is not None]
    agreeing = [float(window.agreeing) for window in windows if window.agreeing is not None]
    divergence = _over_windows("kl_to_baseline", "difference", kl, tokens, math.inf)
    yield _judged(divergence, equal=not any(kl))
    agreement = _over_windows("top1_agreement", "agreement", agreeing, tokens, 1.0)
    yield _judged(agreement, equal=agreeing == tokens)


def _uncompared(windows: Sequence[AnswerTrace]) -> str | None:
    lacking = sum(w.kl_nats is None or w.agreeing is None for w in windows)
    if lacking:
        return f"{lacking} of {len(windows)} windows were not compared with the baseline's"
    bad = sum(w.kl_nats is not None and not math.isfinite(w.kl_nats) for w in windows)
    return f"the KL divergence of {bad} of {len(windows)} windows is not finite" if bad else None


def _over_windows(
    metric: str,
    statistic: Statistic,
    sums: Sequence[float],
    tokens: Sequence[float],
    highest: float,
) -> FidelityEstimate:
    return FidelityEstimate(
        metric=metric,
        statistic=statistic,
        value=ratio_of_sums(sums, tokens),
        interval=_within(ratio_of_sums_interval(sums, tokens), highest),
        n=len(tokens),
        pairs=tuple(part / count for part, count in zip(sums, tokens, strict=True)),
        stderr=ratio_of_sums_error(sums, tokens),
    )


def _of_outputs(
    candidate: AnswerObservation, baseline: AnswerObservation
) -> Iterator[FidelityEstimate]:
    if not any(answer.output_ids for answer in (*candidate.answers, *baseline.answers)):
        return
    reason = _other_items(candidate, baseline)
    if reason is not None:
        yield _none("greedy_agreement", "agreement", reason)
        yield _none("first_divergence", "agreement", reason)
        yield _none("output_length_ratio", "ratio", reason)
        return
    both = zip(candidate.answers, baseline.answers, strict=True)
    outputs = [(a.output_ids, b.output_ids) for a, b in both if a.output_ids or b.output_ids]
    yield _greedy_agreement(outputs)
    yield _first_divergence(outputs)
    yield _length_ratio(outputs)


def _greedy_agreement(outputs: Sequence[tuple[Ids, Ids]]) -> FidelityEstimate:
    same = tuple(float(ours == theirs) for ours, theirs in outputs)
    found = FidelityEstimate(
        metric="greedy_agreement",
        statistic="agreement",
        value=mean(same),
        interval=wilson_interval(round(sum(same)), len(same)),
        n=len(same),
        pairs=same,
        stderr=standard_error(same),
    )
    return _judged(found, equal=all(same))


def _first_divergence(outputs: Sequence[tuple[Ids, Ids]]) -> FidelityEstimate:
    shares = tuple(_share_before_difference(ours, theirs) for ours, theirs in outputs)
    found = FidelityEstimate(
        metric="first_divergence",
        statistic="agreement",
        value=mean(shares),
        interval=_within(t_interval(shares), 1.0),
        n=len(shares),
        pairs=shares,
        stderr=standard_error(shares),
    )
    return _judged(found, equal=all(ours == theirs for ours, theirs in outputs))


def _share_before_difference(ours: Ids, theirs: Ids) -> float:
    position = first_difference(ours, theirs)
    if position is None:
        return 1.0
    return position / len(theirs) if theirs else 0.0


def _length_ratio(outputs: Sequence[tuple[Ids, Ids]]) -> FidelityEstimate:
    ours, theirs = ([float(len(pair[side])) for pair in outputs] for side in (0, 1))
    lengths = {*ours, *theirs}
    if len(lengths) == 1:
        reason = f"every answer has {min(lengths):g} tokens: the length is fixed"
        return _none("output_length_ratio", "ratio", reason)
    if not any(theirs):
        return _none("output_length_ratio", "ratio", "the baseline's answers have no tokens")
    value = ratio_of_sums(ours, theirs)
    return FidelityEstimate(
        metric="output_length_ratio",
        statistic="ratio",
        value=value,
        interval=_within(ratio_of_sums_interval(ours, theirs), math.inf),
        n=len(outputs),
        pairs=tuple(a / b for a, b in zip(ours, theirs, strict=True)) if all(theirs) else None,
        stderr=ratio_of_sums_error(ours, theirs),
        reason=_NEUTRAL if LENGTH_LOW <= value <= LENGTH_HIGH else _OUTSIDE,
    )


def _other_items(candidate: AnswerObservation, baseline: AnswerObservation) -> str | None:
    ours, theirs = (
        [(answer.stratum, answer.item_id, answer.tokens) for answer in arm.answers]
        for arm in (candidate, baseline)
    )
    return None if ours == theirs else "candidate and baseline did not answer the same items"


def _within(interval: Interval | None, highest: float) -> Interval | None:
    """Cut an interval to what is possible; units that do not differ say nothing of its width."""
    if interval is None or interval.low == interval.high:
        return None
    return replace(interval, low=max(0.0, interval.low), high=min(highest, interval.high))


def _judged(found: FidelityEstimate, *, equal: bool) -> FidelityEstimate:
    if not equal:
        return found
    return replace(found, verdict=Verdict.NO_DIFFERENCE_SHOWN, reason=None)


def _none(metric: str, statistic: Statistic, reason: str) -> FidelityEstimate:
    return FidelityEstimate(metric, statistic, None, None, 0, reason=reason)
