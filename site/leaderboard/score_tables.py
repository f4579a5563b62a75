"""The scores of a run's page, each beside the baseline's: what was scored, and how near it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from leanboard.leaderboard.board import Place, run_href
from leanboard.leaderboard.cells import CLASSES, GLYPHS
from leanboard.leaderboard.columns import BETTER, KL, in_order, label_of, meaning_of
from leanboard.leaderboard.divergence import bound
from leanboard.leaderboard.format import DASH, number, quantity
from leanboard.leaderboard.gate_marks import GateMark, gate_mark, task_gate
from leanboard.leaderboard.run_tables import decimals_of, ends_of
from leanboard.metrics.chance import CHANCE
from leanboard.metrics.fidelity import OTHER
from leanboard.metrics.metric import Direction, Role
from leanboard.results.derived_columns import ACCURACY, DERIVED
from leanboard.results.gates import REQUANTISED
from leanboard.results.schema import Comparison, Measurement, Record
from leanboard.results.task_scores import known_scores, task_of, task_scores

NEARNESS: Mapping[str, str] = {
    "kl_to_baseline": "nat",
    "top1_agreement": "1",
    "greedy_agreement": "1",
    "first_divergence": "1",
    "output_length_ratio": "1",
}
"""What says how near predictions and answers are to the baseline's, with the units."""

_LABELS = {"first_divergence": "Share of the answer before the first difference"}
_CHOICES = ("acc", "acc_norm")
_LEAST_P = 0.001


@dataclass(frozen=True, slots=True)
class Against:
    """A score against the baseline's: the value, its interval, and the verdict or why none."""

    value: str
    interval: str
    verdict: str
    css: str
    title: str


@dataclass(frozen=True, slots=True)
class ScoreLine:
    """One score; only the primary one of a task has a ``gate``, and a baseline's has none."""

    name: str
    label: str
    better: str
    score: str
    interval: str
    n: str
    chance: str
    difference: Against
    p_value: str
    ratio: Against
    gate: GateMark | None


@dataclass(frozen=True, slots=True)
class TaskLines:
    """The scores of one task, with the address of its run's page."""

    task: str
    href: str
    lines: tuple[ScoreLine, ...]


@dataclass(frozen=True, slots=True)
class NearLine:
    """How near an arm is to its baseline in one respect, on one task or on the mean of them."""

    name: str
    label: str
    task: str
    value: str
    interval: str
    n: str
    note: str


def task_lines(record: Record, runs: Mapping[Place, Record]) -> TaskLines:
    """Return the scores of a scoring run; its primary one has a gate.

    Args:
        record: the scoring run.
        runs: all runs, to find the baseline's.
    """
    ids = {comparison.baseline_run for comparison in record.comparisons}
    found = {run: runs[place] for run in ids if (place := (record.machine_id, run)) in runs}
    task = task_of(record).name
    primary = task_scores([record], found).get(task)
    gates = {}
    if primary is not None and record.cell.techniques:
        gates[primary.metric] = gate_mark(task_gate(primary, barred(record)))
    names = [name for name in in_order(known_scores(record)) if _is_score(name)]
    lines = tuple(_score_line(record, name, gates.get(name)) for name in names)
    return TaskLines(task, run_href(record), lines)


def average_line(measured: Mapping[str, Measurement], gate: GateMark) -> ScoreLine | None:
    """Return the average over tasks as a line; ``None`` where there is none.

    Args:
        measured: the measurements of the joined row.
        gate: that of the row.
    """
    accuracy = measured[ACCURACY]
    if accuracy.value is None:
        return None
    return ScoreLine(
        name=ACCURACY,
        label=label_of(ACCURACY),
        better=BETTER[DERIVED[ACCURACY].direction],
        score=number(accuracy.value),
        interval=ends_of(accuracy.interval),
        n=f"{accuracy.n:,}",
        chance=DASH,
        difference=_against(measured["accuracy_difference"], "difference"),
        p_value=DASH,
        ratio=_against(measured["accuracy_ratio"], "ratio"),
        gate=gate,
    )


def near_lines(records: Sequence[Record], means: Mapping[str, Measurement]) -> tuple[NearLine, ...]:
    """Return how near predictions and answers are to the baseline's.

    Args:
        records: the scoring runs of an arm.
        means: what is derived over them; one line more where several tasks have the same.
    """
    lines: list[NearLine] = []
    for name, unit in NEARNESS.items():
        found = [(r, c) for r in records for c in r.comparisons if c.metric == name]
        lines += [_near(name, task_of(r).name, c, unit, _note(r, c)) for r, c in found]
        mean = means.get(name)
        if len(found) > 1 and mean is not None:
            lines.append(_near(name, mean.summary, mean, unit, mean.reason or ""))
    return tuple(lines)


def _is_score(name: str) -> bool:
    meaning = meaning_of(name)
    return (
        meaning is not None
        and meaning.role is Role.QUALITY
        and meaning.direction is not Direction.NEUTRAL
    )


def barred(record: Record) -> str:
    """Return why no score of an arm is judged; empty where scores are."""
    if record.cell.model.weights_origin == "random":
        return "the weights are random"
    return next((w for w in record.warnings if w.startswith(REQUANTISED)), "")


def _score_line(record: Record, name: str, gate: GateMark | None) -> ScoreLine:
    score, meaning = record.measurements[name], meaning_of(name)
    chance = record.measurements.get(CHANCE)
    guess = chance if chance is not None and name in _CHOICES else None
    compared = {c.statistic: c for c in record.comparisons if c.metric == name}
    difference = compared.get("difference")
    return ScoreLine(
        name=name,
        label=label_of(name),
        better="" if meaning is None else BETTER[meaning.direction],
        score=quantity(score.value, score.unit),
        interval=ends_of(score.interval),
        n=f"{score.n:,}",
        chance=DASH if guess is None else quantity(guess.value, guess.unit),
        difference=_against(difference, "difference"),
        p_value=_p(None if difference is None else difference.p_value),
        ratio=_against(compared.get("ratio"), "ratio"),
        gate=gate,
    )


def _against(found: Comparison | Measurement | None, statistic: str) -> Against:
    if found is None or found.value is None:
        reason = None if found is None else found.reason
        return Against(DASH, "", "", "", reason or "nothing was compared")
    signed = statistic == "difference" and found.value > 0
    places = decimals_of(statistic, found.value, found.interval)
    value = number(found.value, places)
    verdict = found.verdict if isinstance(found, Comparison) else None
    made = "" if found.interval is None else f", {found.interval.method}"
    return Against(
        value=f"+{value}" if signed else value,
        interval=ends_of(found.interval, places),
        verdict="" if verdict is None else f"{GLYPHS[verdict]} {verdict.value}".lstrip(),
        css="" if verdict is None else CLASSES[verdict],
        title=f"n = {found.n}{made}" + (f"; {found.reason}" if found.reason else ""),
    )


def _p(value: float | None) -> str:
    if value is None:
        return DASH
    return f"< {_LEAST_P}" if value < _LEAST_P else number(value, 3)


def _near(name: str, task: str, found: Comparison | Measurement, unit: str, note: str) -> NearLine:
    return NearLine(
        name=name,
        label=_LABELS.get(name) or label_of(name),
        task=task,
        value=quantity(found.value, unit),
        interval=ends_of(found.interval) or DASH,
        n=f"{found.n:,}",
        note=note,
    )


def _note(record: Record, comparison: Comparison) -> str:
    bounded = comparison.metric == KL and comparison.value is not None
    # That another answer is no worse one is true of every line: the section says it once.
    reason = None if comparison.reason == OTHER else comparison.reason
    return "; ".join(filter(None, (bound(record) if bounded else "", reason)))
