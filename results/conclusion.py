"""What the judgements on a record that was measured again say together."""

from __future__ import annotations

from collections.abc import Iterable

from leanboard.metrics.reproduction import Judgement, Outcome, contribution, overall
from leanboard.metrics.reproduction_rules import BASELINE_MARGIN, Basis, Rule
from leanboard.results.schema import PerformanceCell, Record, Status


def conclude(
    published: Record, fresh: Record, judgements: tuple[Judgement, ...]
) -> tuple[Outcome, str]:
    """Return what the judgements on two runs of a cell say together, and the sentence for it."""
    if not published.status is fresh.status is Status.OK:
        return _statuses(published, fresh)
    same_machine = published.machine_id == fresh.machine_id
    decisive = decisive_bases(published, same_machine=same_machine)
    outcome = overall(judgements, decisive)
    if outcome in (Outcome.DRIFTED, Outcome.UNDECIDED):
        named = _named(j for j in judgements if contribution(j, decisive) is outcome)
        return outcome, named + _processes(published, fresh)
    if not same_machine:
        outcome, reason = _elsewhere(judgements)
        return outcome, reason + _processes(published, fresh)
    if isinstance(published.cell, PerformanceCell) and not _timed(judgements, decisive):
        return Outcome.NOT_COMPARABLE, "no time that decides has an interval on both sides"
    if outcome is Outcome.REPRODUCED:
        wide = f" (absolute ones: {BASELINE_MARGIN:.0%})" if Basis.ABSOLUTE in decisive else ""
        reason = f"no number that decides has changed by more than its margin{wide} and its noise"
        return outcome, reason + _processes(published, fresh)
    return outcome, "no number that decides is there on both sides"


def _timed(judgements: tuple[Judgement, ...], decisive: frozenset[Basis]) -> bool:
    """Whether a number that decides was tested by intervals."""
    return any(
        contribution(j, decisive) is not None
        and j.change is not None
        and j.change.p_value is not None
        for j in judgements
    )


def _elsewhere(judgements: tuple[Judgement, ...]) -> tuple[Outcome, str]:
    """Return the outcome on another machine where nothing independent of it has drifted."""
    if all(j.outcome is Outcome.NOT_COMPARABLE for j in judgements):
        return Outcome.NOT_COMPARABLE, "no number is there on both sides"
    ratios = [j for j in judgements if basis_of(j) is Basis.RATIO]
    moved = _named(j for j in ratios if j.outcome is Outcome.DRIFTED)
    if moved:
        return Outcome.OTHER_HARDWARE, f"ratios differ there: {moved}"
    noisy = _named(j for j in ratios if j.outcome is Outcome.UNDECIDED)
    if noisy:
        return Outcome.OTHER_HARDWARE, f"ratios are too noisy there to tell: {noisy}"
    return Outcome.OTHER_HARDWARE, "nothing that can be compared there has changed"


def _named(judgements: Iterable[Judgement]) -> str:
    return ", ".join(f"{j.case.metric} {j.case.statistic}" for j in judgements)


def _processes(published: Record, fresh: Record) -> str:
    """Return what intervals of a single process leave out; nothing where there were several."""
    sides = {"the published": _one_process(published), "the fresh": _one_process(fresh)}
    single = [side for side, alone in sides.items() if alone]
    if not single:
        return ""
    return (
        f" ({' and '.join(single)} run kept one process an arm: what differs between processes is "
        "not in its intervals)"
    )


def _one_process(record: Record) -> bool:
    if not isinstance(record.cell, PerformanceCell):
        return False
    if record.sampling is not None:
        return record.sampling.launches <= 1
    # A record from before launches were counted kept one process throughout.
    return record.cell.procedure.rounds_per_launch is None


def _statuses(published: Record, fresh: Record) -> tuple[Outcome, str]:
    if published.status is fresh.status:
        return Outcome.REPRODUCED, f"the run is {fresh.status.value} again"
    said = "" if fresh.error is None else f": {fresh.error.message}"
    reason = f"the run was {published.status.value} and is {fresh.status.value} now{said}"
    return Outcome.DRIFTED, reason


def decisive_bases(published: Record, *, same_machine: bool) -> frozenset[Basis]:
    """Return what kinds of numbers decide about a record that was measured again."""
    if not same_machine:
        return frozenset({Basis.INVARIANT})
    timed_baseline = isinstance(published.cell, PerformanceCell) and not published.comparisons
    return frozenset({Basis.INVARIANT, Basis.ABSOLUTE if timed_baseline else Basis.RATIO})


def basis_of(judgement: Judgement) -> Basis | None:
    """Return what a judged number depends on; ``None`` for a metric that is not judged."""
    return judgement.case.rule.basis if isinstance(judgement.case.rule, Rule) else None
