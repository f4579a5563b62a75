"""Whether a finding still holds: each row that it names, beside what the records say now."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from leanboard.leaderboard.board import Board, BoardRow, baseline_of
from leanboard.leaderboard.cells import CLASSES, DOUBT, DOUBTED, GLYPHS
from leanboard.leaderboard.charts import Plot
from leanboard.leaderboard.columns import label_of
from leanboard.leaderboard.finding_beside import Runs, runs_behind, standing_beside
from leanboard.leaderboard.finding_plot import finding_plot
from leanboard.leaderboard.finding_standing import (
    ABSENT,
    Number,
    Standing,
    compared_number,
    measured_number,
    standing_of,
)
from leanboard.leaderboard.format import DASH
from leanboard.results.finding import Evidence, Finding
from leanboard.results.output_comparisons import LOSSLESS, UP_TO_TIES
from leanboard.results.schema import Comparison

_OUTPUTS = {
    LOSSLESS: "Outputs equal to the baseline's",
    UP_TO_TIES: "Outputs equal to the baseline's, up to ties",
}

Place = tuple[str, str]
"""A machine and a cell."""


_CSS = {
    Standing.HOLDS: "good",
    Standing.DOUBTED: "",
    Standing.BROKEN: "bad",
    Standing.UNKNOWN: "plain",
}
_WORST_FIRST = (Standing.BROKEN, Standing.UNKNOWN, Standing.DOUBTED, Standing.HOLDS)


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
    rows, runs = _rows(board), runs_behind(board)
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


def _line(evidence: Evidence, rows: Mapping[Place, BoardRow], runs: Runs) -> EvidenceLine:
    row = rows.get((evidence.machine, evidence.cell))
    if row is None:
        return _absent(evidence)
    comparison = row.row.comparison(evidence.metric)
    other = None if evidence.than is None else rows.get((evidence.machine, evidence.than))
    if evidence.than is None:
        standing, note = standing_of(evidence, row, comparison)
    elif other is None:
        standing, note = Standing.UNKNOWN, f"{evidence.than}: {ABSENT}"
    else:
        standing, note = standing_beside(evidence, row, other, runs)
    doubted = standing is Standing.DOUBTED
    baseline = baseline_of(row.row.record, runs.known)
    theirs = None if baseline is None else baseline.measurements.get(evidence.metric)
    return EvidenceLine(
        name=row.label_text,
        href=row.href,
        where=f"{row.workload_text} \u00b7 {row.backend_text} \u00b7 {row.model} \u00b7 "
        f"{row.hardware}",
        metric=_label(evidence.metric),
        baseline=measured_number(evidence.metric, theirs),
        candidate=measured_number(evidence.metric, row.row.measurements.get(evidence.metric)),
        statistic="" if comparison is None else comparison.statistic,
        compared=compared_number(comparison),
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


def _label(metric: str) -> str:
    return _OUTPUTS.get(metric) or label_of(metric)


def _verdict(comparison: Comparison, *, doubted: bool) -> str:
    mark = DOUBT if doubted else ""
    return f"{GLYPHS[comparison.verdict]} {comparison.verdict.value}{mark}".lstrip()


def _badge(comparison: Comparison, *, doubted: bool) -> str:
    return DOUBTED if doubted else CLASSES[comparison.verdict]
