"""The rows of the leaderboard as a person reads them: texts, sizes of bars, reasons for gaps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import quote

from leanboard.leaderboard.columns import Column, columns_of
from leanboard.leaderboard.format import DASH, number, percent, plural, rounded, span
from leanboard.leaderboard.variants import Variant, variants
from leanboard.metrics.metric import Direction, Role, Verdict
from leanboard.metrics.trace import Provenance
from leanboard.results.schema import Comparison, Measurement, Record, Status
from leanboard.results.store import Loaded
from leanboard.results.table import Row, table

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
    """

    factor: float
    verdict: Verdict
    title: str

    @property
    def text(self) -> str:
        """The factor and the sign of its verdict."""
        return f"{GLYPHS[self.verdict]} {number(self.factor, 2)}\u00d7".lstrip()

    @property
    def css(self) -> str:
        """Class of the badge."""
        return CLASSES[self.verdict]


@dataclass(frozen=True, slots=True)
class BoardCell:
    """One value of the table, ready to print.

    ``value`` is ``None`` for a dash; ``unranked`` marks a quality that is shown, not ranked.
    """

    value: float | None
    low: float | None
    high: float | None
    n: int
    provenance: Provenance | None
    text: str
    span: str
    title: str
    gain: Gain | None
    unranked: bool
    bar: float
    whisker_start: float
    whisker_width: float

    @property
    def modelled(self) -> bool:
        """Whether the value is an estimate or a simulation and needs its badge."""
        return self.provenance in (Provenance.MODELLED, Provenance.SIMULATED)


@dataclass(frozen=True, slots=True)
class BoardRow:
    """One row of the table: what was run, its cells in the columns' order, its page.

    ``label``, ``workload`` and ``backend`` are plain names, for filters; where a name stands for
    more than one thing, the ``_text`` beside it says which.
    """

    label: str
    label_text: str
    model: str
    workload: str
    workload_text: str
    backend: str
    backend_text: str
    hardware: str
    machine: str
    device: str
    origin: str
    status: Status
    reason: str
    baseline: bool
    ranked: bool
    href: str
    cells: tuple[BoardCell, ...]


@dataclass(frozen=True, slots=True)
class Board:
    """Everything that the pages are made of.

    Args:
        loaded: the records as they were read, and what was wrong with others.
        rows: the joined rows.
        columns: the metric columns that any row has a value in.
        lines: the rows as they are printed, in the same order.
    """

    loaded: Loaded
    rows: tuple[Row, ...]
    columns: tuple[Column, ...]
    lines: tuple[BoardRow, ...]


def board_of(loaded: Loaded) -> Board:
    """Return the board of what was read from the stores."""
    rows = table(loaded.entries)
    columns = columns_of(rows)
    lines = tuple(
        _line(row, columns, variant) for row, variant in zip(rows, variants(rows), strict=True)
    )
    return Board(loaded, rows, columns, lines)


def run_place(record: Record) -> str:
    """Return the path of a run below the site's folders, without an ending."""
    return f"{record.machine_id}/{record.cell_id}/{record.run_id}"


def run_href(record: Record) -> str:
    """Return the address of a run's page relative to the site's root."""
    return quote(f"runs/{run_place(record)}.html")


def gain_of(comparison: Comparison | None, direction: Direction) -> Gain | None:
    """Return how much better a candidate is, from a ratio with a better direction."""
    if comparison is None or comparison.value is None or comparison.statistic != "ratio":
        return None
    if direction is Direction.NEUTRAL or comparison.value <= 0:
        return None
    lower = direction is Direction.LOWER
    interval, ratio = comparison.interval, comparison.value
    ends = "" if interval is None else f" [{interval.low:.3f}, {interval.high:.3f}]"
    return Gain(
        factor=rounded(1 / ratio if lower else ratio),
        verdict=comparison.verdict,
        title=(
            f"{comparison.verdict.value} than the baseline"
            if comparison.verdict in (Verdict.BETTER, Verdict.WORSE)
            else f"{comparison.verdict.value} against the baseline"
        )
        + f": candidate / baseline = {ratio:.3f}{ends}, {percent(ratio - 1)}, n = {comparison.n}",
    )


def _line(row: Row, columns: Sequence[Column], variant: Variant) -> BoardRow:
    record, error = row.record, row.record.error
    return BoardRow(
        label=row.label,
        label_text=row.label + variant.technique,
        model=row.model,
        workload=row.workload,
        workload_text=row.workload + variant.workload,
        backend=row.backend,
        backend_text=row.backend + variant.backend,
        hardware=f"{row.device} \u00b7 {row.machine_id}",
        machine=row.machine_id,
        device=f"{row.device}, {plural(row.cell.device.threads, 'thread')}{variant.device}",
        origin=row.origin,
        status=row.status,
        reason="" if error is None else f"{error.kind}: {error.message}",
        baseline=record.block.baseline,
        ranked=row.quality_ranked,
        href=run_href(record),
        cells=tuple(_cell(row, column) for column in columns),
    )


def _cell(row: Row, column: Column) -> BoardCell:
    measured = row.measurements.get(column.name)
    if measured is None or measured.value is None:
        return _gap(measured)
    value, interval = measured.value, measured.interval
    low = rounded(interval.low) if interval is not None else None
    high = rounded(interval.high) if interval is not None else None
    width = BAR_WIDTH / column.largest if column.largest > 0 else 0.0
    start = max(0.0, (value if low is None else low) * width)
    end = (value if high is None else high) * width
    return BoardCell(
        value=value,
        low=low,
        high=high,
        n=measured.n,
        provenance=measured.provenance,
        text=number(value * column.scale.factor),
        span="" if low is None or high is None else span(low, high, column.scale),
        title=_title(measured, column),
        gain=gain_of(row.comparison(column.name), column.direction),
        unranked=column.role is Role.QUALITY and not row.quality_ranked,
        bar=round(max(0.0, value * width), 2),
        whisker_start=round(start, 2),
        whisker_width=round(max(MARK_WIDTH, end - start), 2),
    )


def _gap(measured: Measurement | None) -> BoardCell:
    reason = NOTHING if measured is None else measured.reason or NOTHING
    title = f"not measured: {reason}"
    return BoardCell(
        value=None,
        low=None,
        high=None,
        n=0,
        provenance=None,
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
        level = number(measured.interval.level * 100, 0)
        parts.append(f"{level} % interval ({measured.interval.method})")
    if measured.provenance is not None:
        parts.append(measured.provenance.value)
    if measured.reason is not None:
        parts.append(measured.reason)
    return f"{column.label}: {', '.join(parts)}"


def choices_of(lines: Sequence[BoardRow]) -> Mapping[str, tuple[str, ...]]:
    """Return what each filter of the table offers, sorted."""
    return {
        name: tuple(sorted({str(getattr(line, field)) for line in lines}))
        for name, field in FILTERS.items()
    }


FILTERS: Mapping[str, str] = {
    "model": "model",
    "technique": "label",
    "hardware": "hardware",
    "workload": "workload",
    "backend": "backend",
    "origin": "origin",
}
"""Names of the filters (and of their keys in the URL) to the fields of a row."""
