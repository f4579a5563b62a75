"""The cells of the leaderboard as a person reads them: texts, sizes of bars, reasons for gaps."""

from __future__ import annotations

from dataclasses import dataclass

from leanboard.leaderboard.columns import KL, Column, comparable
from leanboard.leaderboard.divergence import bounds
from leanboard.leaderboard.doubt import doubts_about, launches_of
from leanboard.leaderboard.format import DASH, number, percent, plural, rounded, span
from leanboard.leaderboard.gate_marks import gate_mark
from leanboard.metrics.metric import Direction, Role, Verdict
from leanboard.results.schema import Comparison, Interval, Measurement
from leanboard.results.table import Row

GLYPHS = {
    Verdict.BETTER: "\u25b2",
    Verdict.WORSE: "\u25bc",
    Verdict.NO_DIFFERENCE_SHOWN: "\u2248",
    Verdict.UNDECIDED: "",
}
CLASSES = {
    Verdict.BETTER: "better",
    Verdict.WORSE: "worse",
    Verdict.NO_DIFFERENCE_SHOWN: "same",
    Verdict.UNDECIDED: "undecided",
}
DOUBT, DOUBTED = " ?", "doubted"
BAR_WIDTH = 100.0
MARK_WIDTH = 1.2
"""Least width of an interval that is drawn: below it nothing would be seen."""
NOTHING = "the run did not measure it"


@dataclass(frozen=True, slots=True)
class Gain:
    """How much better than its baseline, above 1 better whichever way the metric points.

    Args:
        factor: baseline / candidate where lower is better, else candidate / baseline.
        verdict: what the interval allows one to say.
        title: the whole sentence, for a pointer or a screen reader.
        doubted: whether there is a reason to doubt the verdict: it then stands with a question
            mark, and in no colour.
    """

    factor: float
    verdict: Verdict
    title: str
    doubted: bool = False

    @property
    def text(self) -> str:
        """The factor between the sign of its verdict and the mark of a doubt."""
        doubt = DOUBT if self.doubted else ""
        return f"{GLYPHS[self.verdict]} {number(self.factor, 2)}\u00d7{doubt}".lstrip()

    @property
    def css(self) -> str:
        """Class of the badge."""
        return DOUBTED if self.doubted else CLASSES[self.verdict]


@dataclass(frozen=True, slots=True)
class BoardCell:
    """One value of the table, ready to print.

    ``value`` is ``None`` for a dash; ``unranked`` marks a quality that is shown, not ranked;
    ``estimate`` is the provenance of a value that may not be compared (``modelled``), and empty
    for all others: such a value has no bar beside theirs, no rank, and no place on an axis.
    """

    value: float | None
    low: float | None
    high: float | None
    n: int
    estimate: str
    text: str
    span: str
    title: str
    gain: Gain | None
    unranked: bool
    bar: float
    whisker_start: float
    whisker_width: float


def gain_of(
    comparison: Comparison | None, direction: Direction, role: Role, unrest: str
) -> Gain | None:
    """Return how much better a candidate is, from a ratio with a better direction.

    Args:
        comparison: the comparison, if there is one.
        direction: which way of its metric is better.
        role: what its metric is about.
        unrest: which run behind it is unstable; empty where none is.
    """
    if comparison is None or comparison.value is None or comparison.statistic != "ratio":
        return None
    if direction is Direction.NEUTRAL or comparison.value <= 0:
        return None
    ratio, doubts = comparison.value, doubts_about(comparison, role, unrest)
    doubt = f"in doubt ({'; '.join(doubts)}): " if doubts else ""
    return Gain(
        factor=rounded(1 / ratio if direction is Direction.LOWER else ratio),
        verdict=comparison.verdict,
        title=doubt + _sentence(comparison, ratio),
        doubted=bool(doubts),
    )


def cell_of(row: Row, column: Column, unrest: str) -> BoardCell:
    """Return one value of a row, or the dash that stands for it.

    Args:
        row: the row.
        column: which of its measurements.
        unrest: which of its run and that of its baseline is unstable; empty where neither is.
    """
    measured = row.measurements.get(column.name)
    if measured is None or measured.value is None:
        return _gap(measured)
    value, interval = measured.value, measured.interval
    low = rounded(interval.low) if interval is not None else None
    high = rounded(interval.high) if interval is not None else None
    solid = comparable(measured, column.role)
    width = BAR_WIDTH / column.largest if column.largest > 0 and solid else 0.0
    start = max(0.0, (value if low is None else low) * width)
    end = (value if high is None else high) * width
    return BoardCell(
        value=value,
        low=low,
        high=high,
        n=measured.n,
        estimate="" if solid else _provenance(measured),
        text=number(value * column.scale.factor),
        span="" if low is None or high is None else span(low, high, column.scale),
        title="; ".join(filter(None, (_title(measured, column), _beside(row, column)))),
        gain=gain_of(row.comparison(column.name), column.direction, column.role, unrest),
        unranked=column.quality and not row.quality_ranked,
        bar=round(max(0.0, value * width), 2),
        whisker_start=round(start, 2),
        whisker_width=round(max(MARK_WIDTH, end - start), 2),
    )


def _beside(row: Row, column: Column) -> str:
    """Return what a reader must know of a value beyond the value; empty for most."""
    if column.gated:
        return gate_mark(row.gate).title
    return bounds(row.accuracy_records) if column.name == KL else ""


def _sentence(comparison: Comparison, ratio: float) -> str:
    """Return a verdict, its ratio, and what the interval was made of."""
    verdict, interval, launches = comparison.verdict, comparison.interval, launches_of(comparison)
    beside = "than" if verdict in (Verdict.BETTER, Verdict.WORSE) else "against"
    ends = "" if interval is None else f" [{interval.low:.3f}, {interval.high:.3f}]"
    source = f" in {plural(launches, 'launch')}" if launches else ""
    made = "" if interval is None else f", {_made(interval)}"
    return (
        f"{verdict.value} {beside} the baseline: candidate / baseline = {ratio:.3f}{ends}, "
        f"{percent(ratio - 1)}, n = {comparison.n}{source}{made}"
    )


def _made(interval: Interval) -> str:
    return f"{number(interval.level * 100, 0)} % interval ({interval.method})"


def _provenance(measured: Measurement) -> str:
    return "unknown" if measured.provenance is None else measured.provenance.value


def _gap(measured: Measurement | None) -> BoardCell:
    reason = NOTHING if measured is None else measured.reason or NOTHING
    title = f"not measured: {reason}"
    return BoardCell(
        value=None,
        low=None,
        high=None,
        n=0,
        estimate="",
        text=DASH,
        span="",
        title=title,
        gain=None,
        unranked=False,
        bar=0.0,
        whisker_start=0.0,
        whisker_width=0.0,
    )


def _title(measured: Measurement, column: Column) -> str:
    parts = [measured.summary, f"n = {measured.n}"]
    if measured.interval is not None:
        parts.append(_made(measured.interval))
    if measured.provenance is not None:
        parts.append(measured.provenance.value)
    if measured.reason is not None:
        parts.append(measured.reason)
    return f"{column.label}: {', '.join(parts)}"
