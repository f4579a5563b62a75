"""The quality of an arm on a run's page: scores, nearness, sameness, and how it was scored."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from leanboard.leaderboard.describe import Section, Term
from leanboard.leaderboard.divergence import fact
from leanboard.leaderboard.format import number, quantity
from leanboard.leaderboard.gate_marks import gate_mark
from leanboard.leaderboard.remembered import Remembered
from leanboard.leaderboard.run_tables import (
    NO_REASON,
    Measured,
    Missed,
    measured_line,
    missed_of,
)
from leanboard.leaderboard.score_tables import (
    NearLine,
    ScoreLine,
    TaskLines,
    average_line,
    near_lines,
)
from leanboard.results.derived_columns import ACCURACY, DERIVED
from leanboard.results.output_comparisons import LOSSLESS, UP_TO_TIES
from leanboard.results.schema import Record, Status, Task
from leanboard.results.table import Row
from leanboard.results.task_scores import task_of

NOT_NOTED = "the run did not note it"
_IN_THE_AVERAGE = frozenset({ACCURACY, "accuracy_difference", "accuracy_ratio"})


@dataclass(frozen=True, slots=True)
class Sameness:
    """Whether greedy outputs are the baseline's: yes, yes up to ties, no, or not known."""

    answer: str
    css: str
    detail: str


@dataclass(frozen=True, slots=True)
class Quality:
    """What is known of an arm's quality.

    Args:
        tasks: the scores of each task.
        average: over the tasks; ``None`` where there is none.
        nearness: to the baseline's predictions and answers.
        sameness: of the timed outputs; ``None`` where they were not compared.
        derived: from scores and what was timed.
        missed: what could not be derived, and why.
        scoring: how each task was scored.
    """

    tasks: tuple[TaskLines, ...]
    average: ScoreLine | None = None
    nearness: tuple[NearLine, ...] = ()
    sameness: Sameness | None = None
    derived: tuple[Measured, ...] = ()
    missed: tuple[Missed, ...] = ()
    scoring: tuple[Section, ...] = ()


def scored_quality(record: Record, scores: Callable[[Record], TaskLines]) -> Quality | None:
    """Return what a scoring run says of its arm; ``None`` where it failed.

    Args:
        record: the run.
        scores: returns the scores of a scoring run.
    """
    if record.status is not Status.OK:
        return None
    return Quality(
        tasks=(scores(record),),
        nearness=near_lines([record], {}),
        scoring=(_how(record),),
    )


def timed_quality(
    record: Record, row: Row | None, scores: Callable[[Record], TaskLines]
) -> Quality | None:
    """Return what is known of the quality of a timed run's arm; ``None`` where nothing is.

    Args:
        record: the timed run.
        row: its row of the board; ``None`` for one that a later run has taken the place of.
        scores: returns the scores of a scoring run.
    """
    same = sameness(record)
    if record.status is not Status.OK or (row is None and same is None):
        return None
    if row is None:
        return Quality(tasks=(), sameness=same)
    lines = [scores(scored) for scored in row.accuracy_records]
    near = near_lines(row.accuracy_records, row.measurements)
    elsewhere = {*_IN_THE_AVERAGE, *(line.name for line in near)}
    others = {name: row.measurements[name] for name in DERIVED if name not in elsewhere}
    if row.measurements[ACCURACY].value is None:
        others = {ACCURACY: row.measurements[ACCURACY], **others}
    return Quality(
        tasks=tuple(task for task in lines if task.lines),
        average=average_line(row.measurements, gate_mark(row.gate)),
        nearness=near,
        sameness=same,
        derived=tuple(measured_line(n, m) for n, m in others.items() if m.value is not None),
        missed=missed_of(others),
        scoring=tuple(map(_how, row.accuracy_records)),
    )


def sameness(record: Record) -> Sameness | None:
    """Return whether a timed run's outputs are its baseline's; ``None`` if nobody compared."""
    compared = {comparison.metric: comparison for comparison in record.comparisons}
    exact, ties = compared.get(LOSSLESS), compared.get(UP_TO_TIES)
    if exact is None:
        return None
    if exact.value is None:
        return Sameness("not known", "plain", exact.reason or NO_REASON)
    if exact.value == 1:
        return Sameness("yes", "good", f"all {exact.n} outputs, token for token")
    up_to_ties = ties is not None and ties.value == 1
    answer, css = ("yes, up to ties", "good") if up_to_ties else ("no", "plain")
    return Sameness(answer, css, exact.reason or NO_REASON)


def _scoring(record: Record) -> Section:
    """Return how a task was scored."""
    task = task_of(record)
    shown = (
        Term("items", _items(task)),
        Term("few-shot examples", str(task.num_fewshot)),
        Term("data", task.data_source),
        Term("data hash", task.data_hash, code=True),
        Term("harness", f"{task.harness} {task.harness_version}, task version {task.task_version}"),
        _chat_template(task),
        Term("answers", _answers(record)),
        Term("tokens fed", _tokens(record)),
        Term("peak memory", _peak_memory(record)),
        Term("machine", record.machine_id),
        *(Term("note", warning) for warning in record.warnings),
    )
    if record.error is not None:
        return Section(task.name, (*shown, Term(record.status.value, record.error.message)))
    return Section(task.name, shown)


def _items(task: Task) -> str:
    chosen = "all" if task.limit is None else f"at most {task.limit:,}, seed {task.seed},"
    return f"{chosen} of {task.split}"


def _chat_template(task: Task) -> Term:
    found = task.settings.get("chat_template")
    return Term("chat template", "none" if found is None else str(found), code=found is not None)


def _answers(record: Record) -> str:
    cached, scored = (fact(record.facts, f"answers_{how}") for how in ("cached", "scored"))
    if cached is None or scored is None:
        return NOT_NOTED
    return f"{number(scored, 0)} scored in this run, {number(cached, 0)} kept from an earlier one"


def _tokens(record: Record) -> str:
    fed, plain = (fact(record.facts, name) for name in ("scored_tokens", "scored_tokens_plain"))
    if fed is None or plain is None:
        return NOT_NOTED
    return f"{number(fed, 0)}; each request by itself: {number(plain, 0)}"


def _peak_memory(record: Record) -> str:
    """Return the peak of the whole task; answers from an earlier run leave it unknown."""
    found = fact(record.facts, "scoring_peak_memory_bytes")
    return NOT_NOTED if found is None else quantity(found, "B")


# A scoring run stands on its own page and on those of all timed runs of its arm.
_how = Remembered(_scoring)
