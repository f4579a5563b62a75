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
from leanboard.runners.sampling import Sampler

_NEIGHBOURS = 4

Launch = Sequence[float]
"""The ratios of one launch's rounds: the same again / baseline."""


@dataclass(frozen=True, slots=True)
class Replayed:
    """What the replays of one metric showed."""

    trials: int
    hold_one: int
    median_width: float
    median_rounds: float


def replay(
    series: Sequence[Sequence[Launch]], name: str, procedure: Procedure, trials: int
) -> Replayed:
    """Run the rule on series drawn from recorded ones, where the truth is a ratio of 1.

    Whole launches are drawn in runs of neighbours, no launch twice in a trial: what differs between
    processes, and what drifts over a few launches, stays together. One coin for each run decides
    which side is the candidate, so that in the long run nothing favours one.

    Args:
        series: for each recorded trial, its launches.
        name: the metric that they are of.
        procedure: that of the trials: as many rounds a launch.
        trials: how many.
    """
    draw = random.Random(20)  # noqa: S311  not for secrets
    estimates = [_trial(drawn(series, draw), name, procedure) for _ in range(trials)]
    widths = [w for e in estimates if (w := relative_width(e)) is not None]
    return Replayed(
        trials=trials,
        hold_one=sum(e.verdict is Verdict.NO_DIFFERENCE_SHOWN for e in estimates),
        median_width=statistics.median(widths),
        median_rounds=statistics.median(e.n for e in estimates),
    )


def drawn(series: Sequence[Sequence[Launch]], draw: random.Random) -> Iterator[list[float]]:
    """Yield launches: all runs of neighbours in random order, each launch once, then anew."""
    while True:
        runs = [run for recorded in series for run in _runs(recorded, draw)]
        draw.shuffle(runs)
        for run in runs:
            swapped = draw.random() < 0.5
            for launch in run:
                yield [1 / ratio if swapped else ratio for ratio in launch]


def _runs(recorded: Sequence[Launch], draw: random.Random) -> Iterator[Sequence[Launch]]:
    """Cut a recorded trial into runs of neighbours, from a random place on."""
    first = draw.randrange(min(_NEIGHBOURS, len(recorded)))
    yield recorded[:first]
    for start in range(first, len(recorded), _NEIGHBOURS):
        yield recorded[start : start + _NEIGHBOURS]


def _trial(launches: Iterator[list[float]], name: str, procedure: Procedure) -> RatioEstimate:
    sampler, column = Sampler(procedure), metric(name)
    ratios: list[float] = []
    numbers: list[int] = []
    while True:
        rounds = next(launches)[: len(sampler.next_rounds)]
        ratios += rounds
        numbers += [len(sampler.warmups)] * len(rounds)
        if sampler.end_launch():
            estimate = compare(column, PairedRatios(tuple(ratios), tuple(numbers)))
            sampler.look({name: relative_width(estimate)})
            if sampler.done:
                return estimate
