"""What running a record again said, as a person reads it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from leanboard.metrics.change import Change, Reading
from leanboard.metrics.metric import Missing
from leanboard.metrics.reproduction import Judgement, Outcome
from leanboard.metrics.reproduction_rules import BASELINE_MARGIN, Basis, Rule
from leanboard.results.difference import Difference
from leanboard.results.printable import printable
from leanboard.results.reproduction import Reproduction
from leanboard.results.schema import PerformanceCell, Record

if TYPE_CHECKING:
    from rich.console import Console

_STYLES = {
    Outcome.REPRODUCED: "green",
    Outcome.DRIFTED: "red",
    Outcome.UNDECIDED: "yellow",
    Outcome.OTHER_HARDWARE: "yellow",
    Outcome.OTHER_INPUTS: "red",
    Outcome.NOT_COMPARABLE: "dim",
}
_STATUS = {Outcome.REPRODUCED: 0, Outcome.OTHER_HARDWARE: 0}
_NOT = 1
_MISSING = "—"


def exit_status(reproductions: Sequence[Reproduction]) -> int:
    """Return 0 where every record is reproduced, or other hardware and nothing drifted; else 1."""
    return max((_STATUS.get(r.outcome, _NOT) for r in reproductions), default=_NOT)


def _plain(text: str) -> str:
    """Return a record's text for rich: neither escapes of the terminal nor rich's own markup."""
    from rich.markup import escape

    return escape(printable(text))


def print_reproduction(reproduction: Reproduction, console: Console) -> None:
    """Print every judged metric, what differs around the runs, and the verdict last."""
    record = reproduction.published
    console.print(f"\n[bold]{_plain(title(record))}[/]  published run {record.run_id}")
    if reproduction.fresh is not None:
        _print_judgements(reproduction.judgements, console)
    _print_differences("what is measured", reproduction.cell, console)
    _print_differences("environment", reproduction.environment, console)
    for line in _cautions(reproduction):
        console.print(f"[yellow]{_plain(line)}[/]")
    outcome = reproduction.outcome
    console.print(f"[{_STYLES[outcome]}]{outcome.value}[/]: {_plain(reproduction.reason)}")


def title(record: Record) -> str:
    """Return what a record is about in a few words, safe to print."""
    cell = record.cell
    work = cell.workload.name if isinstance(cell, PerformanceCell) else cell.task.name
    return printable(f"{record.block.arm} of {cell.model.name} on {cell.backend.name}, {work}")


def _print_judgements(judgements: Sequence[Judgement], console: Console) -> None:
    from rich.table import Table

    table = Table("metric", "published", "now", "change", "verdict", box=None, padding=(0, 2, 0, 0))
    silent = 0
    for judgement in judgements:
        case = judgement.case
        if isinstance(case.published, Missing) and isinstance(case.fresh, Missing):
            silent += 1
            continue
        verdict = judgement.outcome.value
        said = "" if judgement.reason is None else f" ({judgement.reason})"
        table.add_row(
            _plain(_label(judgement)),
            _reading_text(case.published),
            _reading_text(case.fresh),
            _change_text(judgement.change),
            f"[{_STYLES[judgement.outcome]}]{verdict}[/]{_plain(said)}",
        )
    console.print(table)
    if silent:
        console.print(f"{silent} metrics have no value in either run.")


def _label(judgement: Judgement) -> str:
    case = judgement.case
    if case.statistic == "value":
        return f"{case.metric}{_aside(case.rule)}"
    return f"{case.metric} ÷ baseline" if case.statistic == "ratio" else case.metric


def _aside(rule: Rule | Missing) -> str:
    if isinstance(rule, Missing):
        return ""
    if not rule.decides:
        return " (shown only)"
    return " (absolute)" if rule.basis is Basis.ABSOLUTE else ""


def _reading_text(reading: Reading | Missing) -> str:
    if isinstance(reading, Missing):
        return _MISSING
    if reading.interval is None:
        return f"{reading.value:.4g}"
    interval = reading.interval
    return f"{reading.value:.4g} \\[{interval.low:.4g}, {interval.high:.4g}]"


def _change_text(change: Change | None) -> str:
    if change is None:
        return _MISSING
    if change.interval is None:
        return _percent(change.value)
    low, high = _percent(change.interval.low), _percent(change.interval.high)
    return f"{_percent(change.value)} \\[{low}, {high}]"


def _percent(ratio: float) -> str:
    return f"{100 * (ratio - 1):+.1f}%" if 0.5 < ratio < 2 else f"x{ratio:.3g}"


def _print_differences(what: str, differences: Sequence[Difference], console: Console) -> None:
    if not differences:
        console.print(f"{what}: no difference")
        return
    console.print(f"{what}, then and now:")
    for difference in differences:
        line = f"  {difference.field}: {_shown(difference.then)} then, {_shown(difference.now)} now"
        console.print(_plain(line), soft_wrap=True)


def _shown(value: object) -> str:
    if value is None:
        return "none"
    if isinstance(value, list):
        return " ".join(map(str, value)) or "nothing more"
    return str(value)


def _cautions(reproduction: Reproduction) -> Iterator[str]:
    for when, record in (("published", reproduction.published), ("fresh", reproduction.fresh)):
        if record is not None and record.stability is not None and record.stability.stable is False:
            causes = "; ".join(cause.message for cause in record.stability.causes)
            yield f"the {when} run is marked unstable: {causes}"
    unsettled = [
        judgement.case.metric
        for judgement in reproduction.judgements
        if judgement.outcome is Outcome.DRIFTED
        and isinstance(judgement.case.rule, Rule)
        and judgement.case.rule.basis is Basis.ABSOLUTE
        and judgement.case.rule.decides
    ]
    if unsettled and reproduction.outcome is not Outcome.DRIFTED:
        yield (
            f"absolute numbers moved ({', '.join(unsettled)}): they move with the day, and decide "
            f"only for a baseline and from {BASELINE_MARGIN:.0%} on"
        )
