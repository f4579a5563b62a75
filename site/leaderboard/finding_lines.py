"""Whether a finding still holds: each row that it names, beside what the records say now."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from leanboard.leaderboard.board import Board, BoardRow, baseline_of, runs_of
from leanboard.leaderboard.cells import CLASSES, DOUBT, DOUBTED, GLYPHS
from leanboard.leaderboard.charts import Plot
from leanboard.leaderboard.columns import label_of, meaning_of
from leanboard.leaderboard.doubt import Unrest, doubts_about
from leanboard.leaderboard.finding_plot import finding_plot
from leanboard.leaderboard.format import DASH, number
from leanboard.leaderboard.run_tables import decimals_of, ends_of, measured_line
from leanboard.metrics.metric import Direction, Role, Verdict
from leanboard.results.derive import FIDELITY
from leanboard.results.derived_columns import DerivedColumn
from leanboard.results.finding import Evidence, Finding
from leanboard.results.output_comparisons import LOSSLESS, UP_TO_TIES
from leanboard.results.schema import AccuracyCell, Comparison, Interval, Measurement, Record

ABSENT = "no run of this cell is among these records"
NOT_COMPARED = "the newest run of this cell does not compare it"
_OUTPUTS = {
    LOSSLESS: "Outputs equal to the baseline's",
    UP_TO_TIES: "Outputs equal to the baseline's, up to ties",
}
BARRED = "the quality of these weights is not ranked, and enters no finding"

Place = tuple[str, str]
"""A machine and a cell."""


class Standing(StrEnum):
    """What the records say of a finding, or of one row that it names."""

    HOLDS = "holds"
    DOUBTED = "in doubt"
    BROKEN = "no longer holds"
    UNKNOWN = "cannot be judged here"


_CSS = {
    Standing.HOLDS: "good",
    Standing.DOUBTED: "",
    Standing.BROKEN: "bad",
    Standing.UNKNOWN: "plain",
}
_WORST_FIRST = (Standing.BROKEN, Standing.UNKNOWN, Standing.DOUBTED, Standing.HOLDS)


@dataclass(frozen=True, slots=True)
class Number:
    """A value with its interval, ready to print; dashes where there is none."""

    value: str = DASH
    interval: str = ""


@dataclass(frozen=True, slots=True)
class EvidenceLine:
    """One row that a finding names.

    Args:
        name: the arm, or the cell where there is no run of it.
        href: the page of its run; empty where there is none.
        where: workload, backend, model and hardware.
        metric: label of the metric.
        baseline: what was measured of the baseline.
        candidate: what was measured of the arm.
        statistic: what the comparison is (``ratio``).
        compared: its value.
        n: pairs behind it.
        verdict: what the records say.
        css: class of the verdict's badge.
        claimed: what the finding says.
        standing: whether the two agree.
        note: what a reader must know; empty for most.
    """

    name: str
    href: str
    where: str
    metric: str
    baseline: Number
    candidate: Number
    statistic: str
    compared: Number
    n: str
    verdict: str
    css: str
    claimed: str
    standing: Standing
    note: str


@dataclass(frozen=True, slots=True)
class Judged:
    """A finding with the lines behind it, what they come to, and its picture, if it has one."""

    finding: Finding
    standing: Standing
    css: str
    lines: tuple[EvidenceLine, ...]
    plot: Plot | None


def judged(findings: Sequence[Finding], board: Board) -> tuple[Judged, ...]:
    """Return every finding as the records of this board bear it out."""
    rows, runs = _rows(board), runs_of(board.loaded)
    found = []
    for finding in findings:
        lines = tuple(_line(evidence, rows, runs) for evidence in finding.evidence)
        standing = next(s for s in _WORST_FIRST if any(line.standing is s for line in lines))
        plot = None if finding.picture is None else finding_plot(finding.picture, board)
        found.append(Judged(finding, standing, _CSS[standing], lines, plot))
    return tuple(found)


def _rows(board: Board) -> dict[Place, BoardRow]:
    """Return the rows by machine and cell; a published one goes before a local one."""
    ordered = sorted(board.lines, key=lambda line: line.origin == "published")
    return {(line.machine, line.row.record.cell_id): line for line in ordered}


def _line(
    evidence: Evidence, rows: Mapping[Place, BoardRow], runs: Mapping[Place, Record]
) -> EvidenceLine:
    row = rows.get((evidence.machine, evidence.cell))
    if row is None:
        return _absent(evidence)
    comparison = row.row.comparison(evidence.metric)
    other = None if evidence.than is None else rows.get((evidence.machine, evidence.than))
    if evidence.than is None:
        standing, note = _standing(evidence, row, comparison)
    elif other is None:
        standing, note = Standing.UNKNOWN, f"{evidence.than}: {ABSENT}"
    else:
        standing, note = _standing_beside(evidence, row, other, runs)
    doubted = standing is Standing.DOUBTED
    baseline = baseline_of(row.row.record, runs)
    theirs = None if baseline is None else baseline.measurements.get(evidence.metric)
    return EvidenceLine(
        name=row.label_text,
        href=row.href,
        where=f"{row.workload_text} \u00b7 {row.backend_text} \u00b7 {row.model} \u00b7 "
        f"{row.hardware}",
        metric=_label(evidence.metric),
        baseline=_measured(evidence.metric, theirs),
        candidate=_measured(evidence.metric, row.row.measurements.get(evidence.metric)),
        statistic="" if comparison is None else comparison.statistic,
        compared=_compared(comparison),
        n=DASH if comparison is None else f"{comparison.n:,}",
        verdict=DASH if comparison is None else _verdict(comparison, doubted=doubted),
        css="plain" if comparison is None else _badge(comparison, doubted=doubted),
        claimed=evidence.verdict.value,
        standing=standing,
        note=note,
    )


def _absent(evidence: Evidence) -> EvidenceLine:
    return EvidenceLine(
        name=evidence.cell,
        href="",
        where=evidence.machine,
        metric=_label(evidence.metric),
        baseline=Number(),
        candidate=Number(),
        statistic="",
        compared=Number(),
        n=DASH,
        verdict=DASH,
        css="plain",
        claimed=evidence.verdict.value,
        standing=Standing.UNKNOWN,
        note=ABSENT,
    )


def _standing(
    evidence: Evidence, row: BoardRow, comparison: Comparison | None
) -> tuple[Standing, str]:
    """Return whether the records say what the finding says, and what a reader must know."""
    if not row.ranked and _of_quality(evidence.metric):
        return Standing.UNKNOWN, BARRED
    if comparison is None or comparison.value is None:
        reason = None if comparison is None else comparison.reason
        return Standing.BROKEN, reason or NOT_COMPARED
    note = comparison.reason or ""
    if comparison.verdict is not evidence.verdict:
        return Standing.BROKEN, note
    meaning = meaning_of(evidence.metric)
    doubts = doubts_about(comparison, None if meaning is None else meaning.role, row.unrest)
    return (Standing.DOUBTED, "; ".join(doubts)) if doubts else (Standing.HOLDS, note)


def _standing_beside(
    evidence: Evidence, row: BoardRow, other: BoardRow, runs: Mapping[Place, Record]
) -> tuple[Standing, str]:
    """Return whether two rows differ as claimed: by intervals of the same statistic that are apart.

    Both are compared with one baseline. Intervals that touch leave open which one is better.
    """
    if _of_quality(evidence.metric) and not (row.ranked and other.ranked):
        return Standing.UNKNOWN, BARRED
    meaning = meaning_of(evidence.metric)
    if evidence.metric in FIDELITY and meaning is not None:
        return _standing_nearer(evidence, row, other, meaning.direction, runs)
    mine, theirs = (each.row.comparison(evidence.metric) for each in (row, other))
    if mine is None or theirs is None or meaning is None:
        return Standing.BROKEN, NOT_COMPARED
    if mine.baseline_run != theirs.baseline_run or mine.statistic != theirs.statistic:
        return Standing.BROKEN, f"{other.label_text} was compared with another baseline"
    note = f"beside {other.label_text}: {_compared(theirs).value} {_compared(theirs).interval}"
    found = _apart(mine.interval, theirs.interval, meaning.direction)
    if found is not evidence.verdict:
        return Standing.BROKEN, note
    moved = row.unrest.words or other.unrest.words
    # Between two candidates no reach is known: any disturbance leaves a doubt.
    unrest = Unrest(moved, math.inf if moved else 1.0)
    doubts = [d for c in (mine, theirs) for d in doubts_about(c, meaning.role, unrest)]
    return Standing.DOUBTED if doubts else Standing.HOLDS, "; ".join([note, *dict.fromkeys(doubts)])


def _standing_nearer(
    evidence: Evidence,
    row: BoardRow,
    other: BoardRow,
    direction: Direction,
    runs: Mapping[Place, Record],
) -> tuple[Standing, str]:
    """Return whether one of two rows is nearer to their baseline: the measure is a comparison."""
    mine, theirs = (each.row.measurements.get(evidence.metric) for each in (row, other))
    if mine is None or theirs is None:
        return Standing.BROKEN, NOT_COMPARED
    if _beside(row, evidence.metric, runs) != _beside(other, evidence.metric, runs):
        return Standing.BROKEN, f"{other.label_text} was compared with another baseline"
    shown = _measured(evidence.metric, theirs)
    note = f"beside {other.label_text}: {shown.value} {shown.interval}"
    found = _apart(mine.interval, theirs.interval, direction)
    return Standing.HOLDS if found is evidence.verdict else Standing.BROKEN, note


def _beside(row: BoardRow, metric: str, runs: Mapping[Place, Record]) -> set[Hashable]:
    """Return the baselines that a row's outputs or predictions were compared with.

    Two runs of one cell that scored the very same made the same predictions.
    """
    records = (row.row.record, *row.row.accuracy_records)
    compared = (comparison for record in records for comparison in record.comparisons)
    named = {comparison.baseline_run for comparison in compared if comparison.metric == metric}
    return {_predictions(runs.get((row.machine, run)), run) for run in named}


def _predictions(baseline: Record | None, run: str) -> Hashable:
    if baseline is None or not isinstance(baseline.cell, AccuracyCell):
        return run
    found = baseline.measurements.items()
    scores = ((name, one.value) for name, one in found if _of_quality(name))
    return baseline.cell_id, *sorted(scores)


def _apart(mine: Interval | None, theirs: Interval | None, direction: Direction) -> Verdict:
    if mine is None or theirs is None or direction is Direction.NEUTRAL:
        return Verdict.UNDECIDED
    lower, higher = mine.high < theirs.low, mine.low > theirs.high
    if not (lower or higher):
        return Verdict.NO_DIFFERENCE_SHOWN
    return Verdict.BETTER if lower == (direction is Direction.LOWER) else Verdict.WORSE


def _label(metric: str) -> str:
    return _OUTPUTS.get(metric) or label_of(metric)


def _of_quality(metric: str) -> bool:
    meaning = meaning_of(metric)
    if meaning is None:
        return False
    used = isinstance(meaning, DerivedColumn) and meaning.uses_quality
    return used or meaning.role is Role.QUALITY


def _measured(name: str, measurement: Measurement | None) -> Number:
    if measurement is None or measurement.value is None:
        return Number()
    line = measured_line(name, measurement)
    return Number(line.value, line.interval if measurement.interval is not None else "")


def _compared(comparison: Comparison | None) -> Number:
    if comparison is None or comparison.value is None:
        return Number()
    places = decimals_of(comparison.statistic)
    return Number(number(comparison.value, places), ends_of(comparison.interval, places))


def _verdict(comparison: Comparison, *, doubted: bool) -> str:
    mark = DOUBT if doubted else ""
    return f"{GLYPHS[comparison.verdict]} {comparison.verdict.value}{mark}".lstrip()


def _badge(comparison: Comparison, *, doubted: bool) -> str:
    return DOUBTED if doubted else CLASSES[comparison.verdict]
