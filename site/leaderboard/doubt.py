"""Why a verdict is shown in doubt: a run behind it was disturbed, or each arm had one process.

A run that is unstable by its own samples alone (their spread, drift, or launches of different
speeds) puts no paired ratio in doubt: rounds alternate between the arms in random order, so what
drifts is in both, and the interval is taken over launches, so what these differ by is in it.
Nor does a disturbance that is too small to turn the verdict: load of others and stolen time can
lengthen a time by what they took of one core, at most.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from leanboard.metrics.metric import Role, Verdict
from leanboard.metrics.stability import FROM_SAMPLES
from leanboard.results.schema import Comparison, Interval, Record

BOUNDED = frozenset({"load", "steal"})
"""Kinds of cause of which it is known how much they took."""

ONE_PROCESS = "one process an arm: what differs between processes is not in this interval"


def launches_of(comparison: Comparison) -> int:
    """Return the launches that a ratio comes from; 0 where there are none.

    Records that are older than launches name none, and their runs had one process an arm. What has
    a standard error is over scored items, and no launch is in it.
    """
    timed = comparison.statistic == "ratio" and comparison.stderr is None
    return max(comparison.launches, int(timed and comparison.interval is not None))


def in_one_process(comparison: Comparison) -> bool:
    """Return whether the interval of a ratio was taken within one process an arm."""
    return comparison.interval is not None and launches_of(comparison) == 1


@dataclass(frozen=True, slots=True)
class Unrest:
    """What disturbed the two runs of a comparison from outside.

    Attributes:
        words: which run it was; empty where neither was.
        reach: factor by which it can have moved a ratio of times, up or down, at most.
    """

    words: str = ""
    reach: float = 1.0

    def turns(self, interval: Interval) -> bool:
        """Whether a ratio with this interval may lie on the other side of 1, or on none."""
        return interval.low / self.reach <= 1 <= interval.high * self.reach


def unrest_of(record: Record, baseline: Record | None) -> Unrest:
    """Return what disturbed a timed run, or else that of its baseline."""
    reach, theirs = reach_of(record), 1.0 if baseline is None else reach_of(baseline)
    if reach > 1:
        return Unrest("this run was disturbed", reach * theirs)
    return Unrest("the run of its baseline was disturbed", theirs) if theirs > 1 else Unrest()


def reach_of(record: Record) -> float:
    """Return the factor by which what disturbed a run can have lengthened its times, at most.

    It is 1 where nothing did, and infinite where it is not known how much. Arms wait for the
    slowest of their threads: what others take of one core is taken of all.
    """
    judged = record.stability
    kinds = set() if judged is None else {cause.kind for cause in judged.causes} - FROM_SAMPLES
    if judged is None or not kinds:
        return 1.0
    load, stolen = (judged.figures.get(name) for name in ("other_cores", "steal_share"))
    if kinds - BOUNDED or load is None or stolen is None:
        return math.inf
    taken = load + stolen * record.environment.cpu.logical_cores
    return 1 / (1 - taken) if taken < 1 else math.inf


def doubts_about(comparison: Comparison, role: Role | None, unrest: Unrest) -> tuple[str, ...]:
    """Return why the verdict of a comparison is in doubt; nothing where it is not.

    Only ratios of what was timed can be: scores and outputs do not depend on a machine's unrest,
    nor on what differs between processes.

    Args:
        comparison: the comparison.
        role: what its metric is about; ``None`` where the registry does not have it.
        unrest: what disturbed the runs behind it.
    """
    untouched = role is Role.QUALITY or comparison.statistic != "ratio"
    if untouched or comparison.verdict is Verdict.UNDECIDED:
        return ()
    turned = comparison.interval is not None and unrest.turns(comparison.interval)
    found = (unrest.words if turned else "", ONE_PROCESS if in_one_process(comparison) else "")
    return tuple(reason for reason in found if reason)
