"""Trials without a machine: recorded launches, drawn again, through the rule that stops early."""

from __future__ import annotations

import random
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from leanboard.metrics.comparison import RatioEstimate, compare
from leanboard.metrics.metric import Verdict
from leanboard.metrics.pairs import PairedRatios
from leanboard.metrics.registry import metric
from leanboard.metrics.stopping import relative_width
from leanboard.results.schema import Procedure
from leanboard.runners.sampling import Sampler, Warmup

_NEIGHBOURS = 4

Pair = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Replayed:
    """What the replays of one metric showed."""

    trials: int
    hold_one: int
    median_width: float
    median_rounds: float


def replay(
    series: Sequence[Sequence[Pair]], name: str, procedure: Procedure, trials: int
) -> Replayed:
    """Run the rule on series drawn from recorded ones, where the truth is a ratio of 1.

    Runs of neighbouring launches are drawn with replacement, so that what drifts slowly stays
    together; a coin decides which of a pair is the candidate, so that nothing favours a side.

    Args:
        series: for each recorded trial, a pair of values a launch: baseline, and the same again.
        name: the metric that they are of.
        procedure: one round a launch.
        trials: how many.
    """
    draw = random.Random(20)  # noqa: S311  not for secrets
    estimates = [_trial(_drawn(series, draw), name, procedure) for _ in range(trials)]
    widths = [w for e in estimates if (w := relative_width(e)) is not None]
    return Replayed(
        trials=trials,
        hold_one=sum(e.verdict is Verdict.NO_DIFFERENCE_SHOWN for e in estimates),
        median_width=statistics.median(widths),
        median_rounds=statistics.median(e.n for e in estimates),
    )


def _drawn(series: Sequence[Sequence[Pair]], draw: random.Random) -> Iterator[float]:
    """Yield ratios without end."""
    while True:
        recorded = draw.choice(series)
        first = draw.randrange(max(1, len(recorded) - _NEIGHBOURS + 1))
        for ours, theirs in recorded[first : first + _NEIGHBOURS]:
            yield ours / theirs if draw.random() < 0.5 else theirs / ours


def _trial(ratios: Iterator[float], name: str, procedure: Procedure) -> RatioEstimate:
    sampler, column, seen = Sampler(procedure), metric(name), list[float]()
    while True:
        seen += [next(ratios) for _ in sampler.next_rounds]
        sampler.note(Warmup(0, capped=False), 0.0)
        looking = sampler.end_launch()
        if looking or sampler.done:
            estimate = compare(column, PairedRatios(tuple(seen), tuple(range(len(seen)))))
            sampler.look({name: relative_width(estimate)})
        if sampler.done:
            return estimate
