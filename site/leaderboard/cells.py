"""The cells of the leaderboard as a person reads them: texts, sizes of bars, reasons for gaps.

``static/cells.js`` makes the same of the columns in ``data/metrics/``; a browser test holds the
two together.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from leanboard.leaderboard.columns import KL, Column, comparable
from leanboard.leaderboard.divergence import bounds
from leanboard.leaderboard.doubt import Unrest, doubts_about, launches_of
from leanboard.leaderboard.format import (
    DASH,
    number,
    percent,
    plural,
    ratio_places,
    rounded,
    rounded_ratio,
    span,
)
from leanboard.leaderboard.gate_marks import gate_mark
from leanboard.leaderboard.no_interval import processes_of, why_no_interval
from leanboard.metrics.metric import Direction, Role, Verdict
from leanboard.results.schema import Comparison, Interval, Measurement, Record
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
        ratio: candidate / baseline, with six digits or more.
        low: lower end of its interval; ``None`` without one, as ``high``.
        high: upper end.
        made: what the interval was made of; empty without one.
        n: pairs behind the ratio.
        launches: independent launches that the pairs come from; 0 where there are none.
        direction: which way of the metric is better.
        verdict: what the interval allows one to say.
        doubts: why to doubt the verdict: it then stands with a question mark, and in no colour.
    """

    ratio: float
    low: float | None
    high: float | None
    made: str
    n: int
    launches: int
    direction: Direction
    verdict: Verdict
    doubts: tuple[str, ...]

    @property
    def factor(self) -> float:
        """Baseline / candidate where lower is better, else candidate / baseline."""
        return rounded_ratio(1 / self.ratio if self.direction is Direction.LOWER else self.ratio)

    @property
    def text(self) -> str:
        """The factor between the sign of its verdict and the mark of a doubt."""
        doubt = DOUBT if self.doubts else ""
        places = ratio_places(2, self._ends, self.factor)
        return f"{GLYPHS[self.verdict]} {number(self.factor, places)}\u00d7{doubt}".lstrip()

    @property
    def css(self) -> str:
        """Class of the badge."""
        return DOUBTED if self.doubts else CLASSES[self.verdict]

    @property
    def title(self) -> str:
        """The whole sentence, for a pointer or a screen reader."""
        doubt = f"in doubt ({'; '.join(self.doubts)}): " if self.doubts else ""
        beside = "than" if self.verdict in (Verdict.BETTER, Verdict.WORSE) else "against"
        source = f" in {plural(self.launches, 'launch')}" if self.launches else ""
        made = f", {self.made}" if self.made else ""
        return (
            f"{doubt}{self.verdict.value} {beside} the baseline: candidate / baseline = "
            f"{self._measured}, n = {self.n}{source}{made}"
        )

    @property
    def _measured(self) -> str:
        """The ratio with its interval, and the change that it is."""
        places = ratio_places(3, self._ends, self.ratio, *self._ends)
        ends = ", ".join(number(end, places) for end in self._ends)
        told = f" [{ends}]" if ends else ""
        return f"{number(self.ratio, places)}{told}, {percent(self.ratio - 1, places - 2)}"

    @property
    def _ends(self) -> tuple[float, ...]:
        return () if self.low is None or self.high is None else (self.low, self.high)


@dataclass(frozen=True, slots=True)
class BoardCell:
    """One value of the table, ready to print.

    Args:
        column: the column that it stands in.
        value: six digits of what was measured; ``None`` for a dash.
        low: lower end of its interval; ``None`` without one, as ``high``.
        high: upper end.
        n: samples behind the value.
        summary: which statistic of the samples it is.
        made: what its interval was made of; empty without one.
        provenance: where the value comes from, in a word; empty where the record does not say.
        reason: why there is no value, or no interval; empty where there is nothing to say.
        beside: what a reader must know beyond the value; empty for most.
        estimate: the provenance of a value that may not be compared (``modelled``), and empty for
            all others: such a value has no bar beside theirs, no rank, and no place on an axis.
        unranked: whether it is a quality that is shown, not ranked.
        gain: how it stands against the baseline, if it was compared.
    """

    column: Column
    value: float | None = None
    low: float | None = None
    high: float | None = None
    n: int = 0
    summary: str = ""
    made: str = ""
    provenance: str = ""
    reason: str = ""
    beside: str = ""
    estimate: str = ""
    unranked: bool = False
    gain: Gain | None = None

    @property
    def text(self) -> str:
        """The value in the column's scale, or a dash."""
        return DASH if self.value is None else number(self.value * self.column.scale.factor)

    @property
    def span(self) -> str:
        """Both ends of the interval in the column's scale; empty without one."""
        if self.low is None or self.high is None:
            return ""
        return span(self.low, self.high, self.column.scale)

    @property
    def title(self) -> str:
        """How the value came about, or why there is none."""
        if self.value is None:
            return f"not measured: {self.reason}"
        parts = (self.summary, f"n = {self.n}", self.made, self.provenance, self.reason)
        about = f"{self.column.label}: {', '.join(filter(None, parts))}"
        return f"{about}; {self.beside}" if self.beside else about

    @property
    def bar(self) -> float:
        """Width of its bar; 0 for what may not be compared."""
        return round(max(0.0, (self.value or 0.0) * self._width), 2)

    @property
    def whisker_start(self) -> float:
        """Where its interval starts beside the bar."""
        return round(self._ends[0], 2)

    @property
    def whisker_width(self) -> float:
        """How wide its interval is beside the bar."""
        start, end = self._ends
        return round(max(MARK_WIDTH, end - start), 2)

    @property
    def _width(self) -> float:
        largest = self.column.largest
        return BAR_WIDTH / largest if largest > 0 and not self.estimate else 0.0

    @property
    def _ends(self) -> tuple[float, float]:
        value = self.value or 0.0
        low = value if self.low is None else self.low
        high = value if self.high is None else self.high
        return max(0.0, low * self._width), high * self._width


def gain_of(
    comparison: Comparison | None, direction: Direction, role: Role, unrest: Unrest
) -> Gain | None:
    """Return how much better a candidate is, from a ratio with a better direction.

    Args:
        comparison: the comparison, if there is one.
        direction: which way of its metric is better.
        role: what its metric is about.
        unrest: what disturbed the runs behind it.
    """
    if comparison is None or comparison.value is None or comparison.statistic != "ratio":
        return None
    if direction is Direction.NEUTRAL or comparison.value <= 0:
        return None
    interval = comparison.interval
    return Gain(
        ratio=rounded_ratio(comparison.value),
        low=None if interval is None else rounded_ratio(interval.low),
        high=None if interval is None else rounded_ratio(interval.high),
        made=made_of(interval),
        n=comparison.n,
        launches=launches_of(comparison),
        direction=direction,
        verdict=comparison.verdict,
        doubts=doubts_about(comparison, role, unrest),
    )


def cell_of(row: Row, column: Column, unrest: Unrest) -> BoardCell:
    """Return one value of a row, or the dash that stands for it.

    Args:
        row: the row.
        column: which of its measurements.
        unrest: what disturbed its run and that of its baseline.
    """
    measured = row.measurements.get(column.name)
    if measured is None or measured.value is None:
        return BoardCell(column, reason=(measured and measured.reason) or NOTHING)
    interval = measured.interval
    solid = comparable(measured, column.role)
    return BoardCell(
        column=column,
        value=rounded(measured.value),
        low=None if interval is None else rounded(interval.low),
        high=None if interval is None else rounded(interval.high),
        n=measured.n,
        summary=measured.summary,
        made=made_of(interval),
        provenance="" if measured.provenance is None else measured.provenance.value,
        reason=_reason(measured, row.record),
        beside=_beside(row, column),
        estimate="" if solid else _provenance(measured),
        unranked=column.quality and not row.quality_ranked,
        gain=gain_of(row.comparison(column.name), column.direction, column.role, unrest),
    )


def _reason(measured: Measurement, record: Record) -> str:
    """Return what is to be said of a value: why it has no interval, where one was to be had."""
    whole = measured.interval is not None or measured.n == 1
    return measured.reason or ("" if whole else why_no_interval(measured, processes_of(record)))


def _beside(row: Row, column: Column) -> str:
    if column.gated:
        return gate_mark(row.gate).title
    return bounds(row.accuracy_records) if column.name == KL else ""


def made_of(interval: Interval | None) -> str:
    """Return in words what an interval is; empty where there is none."""
    if interval is None:
        return ""
    return _made(interval.level, interval.method)


@lru_cache(maxsize=1024)
def _made(level: float, method: str) -> str:
    return f"{number(level * 100, 0)} % interval ({method})"


def _provenance(measured: Measurement) -> str:
    return "unknown" if measured.provenance is None else measured.provenance.value
