"""A candidate's scores against its baseline's on the same items.

Both arms answer the same items, so what makes an item hard cancels: a small loss shows that two
separate standard errors would hide. Scores of items are drawn again (``item_bootstrap``); ratios of
sums (instructions, windows of a text) get Student's interval of a linearised ratio. A verdict needs
``MIN_ITEMS`` items, or ``MIN_UNITS`` windows, each of which holds many tokens.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Literal

from leanboard.metrics.comparison import verdict_of
from leanboard.metrics.intervals import (
    MIN_UNITS,
    Interval,
    mean,
    ratio_of_sums,
    ratio_of_sums_error,
    ratio_of_sums_interval,
    standard_error,
)
from leanboard.metrics.item_bootstrap import (
    MIN_ITEMS,
    difference_interval,
    ratio_interval,
    right_or_wrong,
)
from leanboard.metrics.mcnemar import mcnemar_p
from leanboard.metrics.metric import Direction, Metric, Missing, Summary, Verdict
from leanboard.metrics.paired_items import PairedItems, paired_items
from leanboard.metrics.trace import AnswerObservation, Provenance

Statistic = Literal["difference", "ratio"]

_LARGEST_EXPONENT = 700.0
_UNCHANGED: Mapping[Statistic, float] = {"difference": 0.0, "ratio": 1.0}


@dataclass(frozen=True, slots=True)
class ScoreEstimate:
    """One comparison of a score, as a record holds it.

    Args:
        statistic: what ``value`` is, candidate against baseline.
        value: ``None`` where there is none, and then ``reason`` says why.
        interval: 95% interval; ``None`` for too few items, or where no spread shows.
        n: number of items (or windows of a text) that both arms answered.
        verdict: what the interval and the metric's direction allow one to say.
        provenance: the weaker of the two arms'; ``None`` without a value.
        pairs: the items' differences, in the baseline's order; of a ``difference`` only.
        stderr: standard error of ``value``; ``None`` for fewer than two items.
        p_value: McNemar's, exact; of a ``difference`` of scores that are all 0 or 1 only.
        reason: why the verdict is undecided; ``None`` if it is not.
    """

    statistic: Statistic
    value: float | None
    interval: Interval | None = None
    n: int = 0
    verdict: Verdict = Verdict.UNDECIDED
    provenance: Provenance | None = None
    pairs: tuple[float, ...] | None = None
    stderr: float | None = None
    p_value: float | None = None
    reason: str | None = None


def compare_scores(
    metric: Metric, candidate: AnswerObservation, baseline: AnswerObservation
) -> tuple[ScoreEstimate, ...]:
    """Return a score's difference from the baseline's and its ratio to it.

    A mean of scores has both, and so has a ratio of sums (bits per byte). The exponential of one
    (perplexity) has the ratio only: exp of the difference of the exponents.

    Args:
        metric: one that has a better direction.
        candidate: scored items of an arm with techniques.
        baseline: scored items of the arm without.

    Raises:
        KeyError: if the metric's summary is none of these three.
    """
    items = paired_items(metric, candidate, baseline)
    if isinstance(items, Missing):
        estimates = _ESTIMATES[metric.summary]
        return tuple(ScoreEstimate(name, None, reason=items.reason) for name in estimates)
    return compare_items(items, metric.summary, metric.direction)


def compare_items(
    items: PairedItems, summary: Summary, direction: Direction
) -> tuple[ScoreEstimate, ...]:
    """Return the same of samples that were drawn before; the first is a difference, if any is.

    Args:
        items: what was drawn from both arms.
        summary: the statistic that stands for an arm's samples.
        direction: which way is better; not neutral.

    Raises:
        KeyError: if the summary is none of the three.
    """
    return tuple(_judged(make(items), items, direction) for make in _ESTIMATES[summary].values())


def _difference_of_means(items: PairedItems) -> ScoreEstimate:
    differences = items.differences
    binary = right_or_wrong((*items.candidate, *items.baseline))
    return ScoreEstimate(
        statistic="difference",
        value=mean(differences),
        interval=difference_interval(items.candidate, items.baseline),
        n=len(differences),
        pairs=differences,
        stderr=standard_error(differences),
        p_value=mcnemar_p(differences.count(1.0), differences.count(-1.0)) if binary else None,
    )


def _difference_of_rates(items: PairedItems) -> ScoreEstimate:
    differences, weights = items.differences, items.weights or ()
    return ScoreEstimate(
        statistic="difference",
        value=ratio_of_sums(differences, weights),
        interval=_with_width(ratio_of_sums_interval(differences, weights)),
        n=len(weights),
        pairs=tuple(d / weight for d, weight in zip(differences, weights, strict=True)),
        stderr=ratio_of_sums_error(differences, weights),
    )


def _ratio(items: PairedItems) -> ScoreEstimate:
    ours, theirs = items.candidate, items.baseline
    if min(*ours, *theirs) < 0 or math.fsum(theirs) <= 0:
        return ScoreEstimate("ratio", None, reason="a ratio needs no score below 0, and some above")
    drawn = items.weights is None
    interval = ratio_interval(ours, theirs) if drawn else ratio_of_sums_interval(ours, theirs)
    return ScoreEstimate(
        statistic="ratio",
        value=ratio_of_sums(ours, theirs),
        interval=_with_width(interval),
        n=len(ours),
        stderr=ratio_of_sums_error(ours, theirs),
    )


def _ratio_of_exponentials(items: PairedItems) -> ScoreEstimate:
    inner = _difference_of_rates(items)
    ends = inner.interval
    top = inner.value if ends is None else ends.high
    if inner.value is None or top is None or top > _LARGEST_EXPONENT:
        return ScoreEstimate("ratio", None, reason="the ratio is beyond any useful number")
    value = math.exp(inner.value)
    return replace(
        inner,
        statistic="ratio",
        value=value,
        interval=ends and Interval(math.exp(ends.low), math.exp(ends.high), f"{ends.method}, exp"),
        pairs=None,
        # The error of exp(r) is exp(r) times the error of r, to first order.
        stderr=None if inner.stderr is None else value * inner.stderr,
    )


_ESTIMATES: Mapping[Summary, Mapping[Statistic, Callable[[PairedItems], ScoreEstimate]]] = {
    Summary.MEAN: {"difference": _difference_of_means, "ratio": _ratio},
    Summary.RATIO_OF_SUMS: {"difference": _difference_of_rates, "ratio": _ratio},
    Summary.EXP_RATIO_OF_SUMS: {"ratio": _ratio_of_exponentials},
}


def _with_width(interval: Interval | None) -> Interval | None:
    """Return an interval unless its ends are one: items that do not differ say nothing of it."""
    return None if interval is None or interval.low == interval.high else interval


def _judged(found: ScoreEstimate, items: PairedItems, direction: Direction) -> ScoreEstimate:
    if found.value is None:
        return found
    found = replace(found, provenance=items.provenance)
    few = _few(items)
    if few is not None:
        return replace(found, interval=None, reason=few)
    if found.interval is not None:
        same = _UNCHANGED[found.statistic]
        return replace(found, verdict=verdict_of(found.interval, direction, same))
    if items.candidate == items.baseline:
        return replace(found, verdict=Verdict.NO_DIFFERENCE_SHOWN)
    return replace(found, reason="all items differ alike, or the score is too near 0")


def _few(items: PairedItems) -> str | None:
    n, needed = len(items.candidate), MIN_UNITS if items.windows else MIN_ITEMS
    unit = "windows" if items.windows else "items"
    return None if n >= needed else f"a verdict needs {needed} {unit}, there are {n}"
