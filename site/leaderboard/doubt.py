"""Why a verdict is shown in doubt: a run behind it was disturbed, or each arm had one process.

A run that is unstable by its own samples alone (their spread, drift, or launches of different
speeds) puts no paired ratio in doubt: rounds alternate between the arms in random order, so what
drifts is in both, and the interval is taken over launches, so what these differ by is in it.
"""

from __future__ import annotations

from leanboard.metrics.metric import Role, Verdict
from leanboard.metrics.stability import FROM_SAMPLES
from leanboard.results.schema import Comparison, Record

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


def unrest_of(record: Record, baseline: Record | None) -> str:
    """Return which of the two timed runs was disturbed, in words; empty where neither was."""
    if _disturbed(record):
        return "this run was disturbed"
    if baseline is not None and _disturbed(baseline):
        return "the run of its baseline was disturbed"
    return ""


def _disturbed(record: Record) -> bool:
    judged = record.stability
    return judged is not None and any(cause.kind not in FROM_SAMPLES for cause in judged.causes)


def doubts_about(comparison: Comparison, role: Role | None, unrest: str) -> tuple[str, ...]:
    """Return why the verdict of a comparison is in doubt; nothing where it is not.

    Only ratios of what was timed can be: scores and outputs do not depend on a machine's unrest,
    nor on what differs between processes.

    Args:
        comparison: the comparison.
        role: what its metric is about; ``None`` where the registry does not have it.
        unrest: which run behind it was disturbed; empty where none was.
    """
    untouched = role is Role.QUALITY or comparison.statistic != "ratio"
    if untouched or comparison.verdict is Verdict.UNDECIDED:
        return ()
    found = (unrest, ONE_PROCESS if in_one_process(comparison) else "")
    return tuple(reason for reason in found if reason)
