"""Why a verdict is shown in doubt: a run behind it is unstable, or each arm had one process."""

from __future__ import annotations

from leanboard.metrics.metric import Role, Verdict
from leanboard.results.reliability import Reliability, reliability_of
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
    """Return which of the two timed runs is unstable, in words; empty where neither is."""
    if reliability_of(record) is Reliability.UNSTABLE:
        return "this run is unstable"
    if baseline is not None and reliability_of(baseline) is Reliability.UNSTABLE:
        return "the run of its baseline is unstable"
    return ""


def doubts_about(comparison: Comparison, role: Role | None, unrest: str) -> tuple[str, ...]:
    """Return why the verdict of a comparison is in doubt; nothing where it is not.

    Only ratios of what was timed can be: scores and outputs do not depend on a machine's unrest,
    nor on what differs between processes.

    Args:
        comparison: the comparison.
        role: what its metric is about; ``None`` where the registry does not have it.
        unrest: which run behind it is unstable; empty where none is.
    """
    untouched = role is Role.QUALITY or comparison.statistic != "ratio"
    if untouched or comparison.verdict is Verdict.UNDECIDED:
        return ()
    found = (unrest, ONE_PROCESS if in_one_process(comparison) else "")
    return tuple(reason for reason in found if reason)
