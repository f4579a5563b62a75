"""One number for all tasks of an arm: the average score, and how it stands to the baseline's.

Everything here is closed form from what the records hold; nothing is drawn again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from leanboard.metrics.gate import above_chance, near_chance
from leanboard.metrics.intervals import Interval
from leanboard.metrics.macro import macro_average, macro_ratio
from leanboard.metrics.summary import Estimate
from leanboard.metrics.trace import weakest
from leanboard.results.schema import Comparison, Measurement, PerformanceCell
from leanboard.results.stored import absent, derived, estimate_of
from leanboard.results.task_scores import TaskScore

BASELINE = "it is the baseline"
_MEAN = "mean"


@dataclass(frozen=True, slots=True)
class MacroScores:
    """Averages over the tasks of a group of arms.

    Args:
        tasks: the scores that they are over; empty where there is no average.
        accuracy: unweighted mean of the tasks' primary scores.
        above_chance: that of (score - chance) / (1 - chance); chance is 0 where none is known.
        difference: accuracy - the baseline's, paired over items.
        ratio: accuracy / the baseline's, paired over items.
        near_chance: whether the baseline itself is not shown to be above guessing.
    """

    tasks: tuple[TaskScore, ...]
    accuracy: Measurement
    above_chance: Measurement
    difference: Measurement
    ratio: Measurement
    near_chance: bool = False


def macro_scores(
    scores: Mapping[str, TaskScore], wanted: Sequence[str], cell: PerformanceCell
) -> MacroScores:
    """Return the averages of an arm's scores over the tasks of its group.

    Args:
        scores: the arm's primary scores by task.
        wanted: the tasks that all arms of the group are averaged over.
        cell: what the arm runs.
    """
    lacking = _no_average(scores, wanted, cell)
    if lacking is not None:
        gap = absent("1", _MEAN, lacking)
        return MacroScores((), gap, gap, gap, gap)
    tasks = tuple(scores[name] for name in wanted)
    over = _over(tasks)
    averages = MacroScores(
        tasks=tasks,
        accuracy=_shown(macro_average([estimate_of(task.score) for task in tasks]), tasks, over),
        above_chance=_shown(_above_chance(tasks, [t.score for t in tasks]), tasks, over),
        difference=absent("1", over, BASELINE),
        ratio=absent("1", over, BASELINE),
    )
    return _compared(averages) if cell.techniques else averages


def _no_average(
    scores: Mapping[str, TaskScore], wanted: Sequence[str], cell: PerformanceCell
) -> str | None:
    missing = [task for task in wanted if task not in scores]
    if cell.model.weights_origin == "random":
        return "the weights are random"
    if missing:
        return f"this arm lacks {', '.join(missing)} on the items of the others"
    return None if wanted else "no task with accuracy was scored for this arm"


def _compared(averages: MacroScores) -> MacroScores:
    """Add how the average stands to the baseline's, or why that is not known."""
    tasks, over = averages.tasks, _over(averages.tasks)
    differences = [t.difference for t in tasks if t.difference and t.difference.value is not None]
    baselines = [task.baseline for task in tasks if task.baseline is not None]
    if len(differences) < len(tasks):
        gap = absent("1", over, _no_difference(tasks))
        return replace(averages, difference=gap, ratio=gap)
    difference = _shown(macro_average(list(map(estimate_of, differences))), tasks, over)
    if len(baselines) < len(tasks):
        gap = absent("1", over, "a run that it was compared with is not among the records")
        return replace(averages, difference=difference, ratio=gap)
    return replace(
        averages,
        difference=difference,
        ratio=_shown(_ratio(tasks, baselines, differences), tasks, over),
        near_chance=_reaches_chance(tasks, baselines),
    )


def _ratio(
    tasks: Sequence[TaskScore],
    baselines: Sequence[Measurement],
    differences: Sequence[Comparison],
) -> Estimate:
    """Return the ratio of the averages; that of an only task is the one that its record holds."""
    only = tasks[0].ratio if len(tasks) == 1 else None
    if only is not None:
        return estimate_of(only)
    return macro_ratio(
        [estimate_of(task.score) for task in tasks],
        list(map(estimate_of, baselines)),
        list(map(estimate_of, differences)),
    )


def _no_difference(tasks: Sequence[TaskScore]) -> str:
    for task in tasks:
        found: Comparison | None = task.difference
        if found is None:
            return f"{task.task} was not compared with the baseline's, item by item"
        if found.value is None:
            return f"{task.task}: {found.reason}"
    raise ValueError("every task has a difference")


def _above_chance(tasks: Sequence[TaskScore], scores: Sequence[Measurement]) -> Estimate:
    moved = [
        _moved(estimate_of(score), task.chance or 0.0)
        for task, score in zip(tasks, scores, strict=True)
    ]
    found = macro_average(moved)
    if all(task.chance is None for task in tasks):
        return Estimate(None, 0, reason="what guessing would score is not known for any task")
    return found


def _moved(score: Estimate, chance: float) -> Estimate:
    """Return a score above chance, with its interval and error on the same scale."""
    ends, error = score.interval, score.stderr
    return replace(
        score,
        value=None if score.value is None else above_chance(score.value, chance),
        interval=ends
        and Interval(
            above_chance(ends.low, chance), above_chance(ends.high, chance), ends.method, ends.level
        ),
        stderr=None if error is None else error / (1 - chance),
    )


def _reaches_chance(tasks: Sequence[TaskScore], baselines: Sequence[Measurement]) -> bool:
    interval = _above_chance(tasks, baselines).interval
    return interval is not None and near_chance(interval, 0.0)


def _over(tasks: Sequence[TaskScore]) -> str:
    return f"mean of {', '.join(task.name for task in tasks)}"


def _shown(found: Estimate, tasks: Sequence[TaskScore], summary: str) -> Measurement:
    sources = [task.score.provenance for task in tasks if task.score.provenance is not None]
    known = found.value is not None and sources
    return derived(found, "1", summary, weakest(sources) if known else None)
