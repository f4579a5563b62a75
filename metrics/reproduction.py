"""Whether a number that was measured again is the same number.

The difference of the two is tested, not whether their intervals overlap: two 95% intervals may
overlap although the values differ. A number has *drifted* where the test says that it changed and
the change is more than a margin; a record whose truth has not changed is called drifted in at most
one of twenty cases, however many metrics it has (Holm's correction). Where no drift is shown, but
the measurements are so noisy that a large one could hide in them, the number is *undecided*.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import StrEnum

from leanboard.metrics.change import Change, Reading, change, holm
from leanboard.metrics.metric import Missing
from leanboard.metrics.reproduction_rules import BASELINE_MARGIN, EXACT, Basis, Method, Rule

HIDDEN = 0.25
"""Change that an interval must exclude before "no drift was shown" counts as reproduced."""


class Outcome(StrEnum):
    """What measuring again said."""

    REPRODUCED = "reproduced"
    DRIFTED = "drifted"
    UNDECIDED = "undecided"
    OTHER_HARDWARE = "other hardware"
    OTHER_INPUTS = "other inputs"
    NOT_COMPARABLE = "not comparable"


_PRECEDENCE = (
    Outcome.DRIFTED,
    Outcome.UNDECIDED,
    Outcome.REPRODUCED,
    Outcome.OTHER_HARDWARE,
)


@dataclass(frozen=True, slots=True)
class Case:
    """One metric of two runs of the same cell, before it is judged.

    Args:
        metric: name of the metric.
        statistic: ``value``, or the statistic of the comparison with the baseline.
        rule: how it is judged; or why it is not.
        published: what the record says; or why it says nothing.
        fresh: what was measured now; or why nothing was.
    """

    metric: str
    statistic: str
    rule: Rule | Missing
    published: Reading | Missing
    fresh: Reading | Missing


@dataclass(frozen=True, slots=True)
class Judgement:
    """A case with its outcome; ``reason`` says why it is not judged."""

    case: Case
    outcome: Outcome
    change: Change | None = None
    reason: str | None = None


def judge(cases: Iterable[Case], *, same_machine: bool) -> tuple[Judgement, ...]:
    """Return the cases with their outcomes, in their order.

    Absolute numbers of another machine are not judged. Holm's correction is made among the absolute
    numbers, and among all others; what decides nothing is apart from both.
    """
    drafts = [_draft(case, same_machine=same_machine) for case in cases]
    families: dict[tuple[bool, bool], dict[int, float]] = {}
    for number, draft in enumerate(drafts):
        p_value = None if draft.change is None else draft.change.p_value
        if draft.outcome is Outcome.REPRODUCED and p_value is not None:
            rule = _rule(draft)
            family = rule.basis is Basis.ABSOLUTE, rule.decides
            families.setdefault(family, {})[number] = p_value
    changed: dict[int, bool] = {}
    for tested in families.values():
        changed |= zip(tested, holm(list(tested.values())), strict=True)
    return tuple(_settled(draft, changed=changed.get(n, True)) for n, draft in enumerate(drafts))


def overall(judgements: Iterable[Judgement], decisive: frozenset[Basis]) -> Outcome:
    """Return what the judgements say together.

    Drifted as soon as one metric of a decisive basis has drifted, else undecided as soon as one is;
    the others are shown and decide nothing. Not comparable where none could be judged.
    """
    found = [contribution(judgement, decisive) for judgement in judgements]
    for outcome in _PRECEDENCE:
        if outcome in found:
            return outcome
    return Outcome.NOT_COMPARABLE


def contribution(judgement: Judgement, decisive: frozenset[Basis]) -> Outcome | None:
    """Return what a judgement says to the whole; ``None`` where it decides nothing.

    An absolute number that drifted by less than ``BASELINE_MARGIN`` has not drifted there.
    """
    rule = judgement.case.rule
    if isinstance(rule, Missing) or not rule.decides or rule.basis not in decisive:
        return None
    if rule.basis is Basis.ABSOLUTE and judgement.outcome is Outcome.DRIFTED:
        return _drift_of_a_day(judgement.change)
    return judgement.outcome


def _drift_of_a_day(change: Change | None) -> Outcome:
    if change is None or not _within(change, BASELINE_MARGIN):
        return Outcome.DRIFTED
    return Outcome.UNDECIDED if _hides(change) else Outcome.REPRODUCED


def _draft(case: Case, *, same_machine: bool) -> Judgement:
    """Return a judgement that is final, or ``reproduced`` with the change still to be weighed."""
    for label, side in (("published", case.published), ("fresh", case.fresh)):
        if isinstance(side, Missing):
            return Judgement(case, Outcome.NOT_COMPARABLE, None, f"{label}: {side.reason}")
    if isinstance(case.rule, Missing):
        return Judgement(case, Outcome.NOT_COMPARABLE, None, case.rule.reason)
    published, fresh = _readings(case)
    moved = _moved(case.rule, published, fresh)
    known = None if isinstance(moved, Missing) else moved
    if case.rule.basis is Basis.ABSOLUTE and not same_machine:
        return Judgement(case, Outcome.OTHER_HARDWARE, known)
    reason = _refusal(case.rule, published, fresh, moved)
    if reason is not None:
        return Judgement(case, Outcome.NOT_COMPARABLE, known, reason)
    return Judgement(case, Outcome.REPRODUCED, known)


def _moved(rule: Rule, published: Reading, fresh: Reading) -> Change | Missing:
    """Return the change; without intervals where the same items leave no sampling error."""
    if rule.method not in (Method.INTERVALS, Method.WINDOWS):
        published, fresh = replace(published, interval=None), replace(fresh, interval=None)
    return change(published, fresh)


def _refusal(rule: Rule, published: Reading, fresh: Reading, moved: Change | Missing) -> str | None:
    if rule.method is Method.ITEMS:
        same = published.n == fresh.n
        return None if same else f"scored on {published.n} items then, on {fresh.n} now"
    if isinstance(moved, Missing):
        return moved.reason
    if rule.method is Method.INTERVALS:
        for label, reading in (("published", published), ("fresh", fresh)):
            # One value a run never has an interval; the margin alone decides.
            if reading.interval is None and reading.n > 1:
                return f"{label}: {reading.n} samples gave no interval"
    return None


def _settled(draft: Judgement, *, changed: bool) -> Judgement:
    """Call drifted what has changed by more than its margin, undecided what could have."""
    if draft.outcome is not Outcome.REPRODUCED:
        return draft
    if changed and not _small(draft):
        return Judgement(draft.case, Outcome.DRIFTED, draft.change)
    if draft.change is not None and _hides(draft.change):
        return Judgement(draft.case, Outcome.UNDECIDED, draft.change, "too noisy to tell")
    return draft


def _hides(change: Change) -> bool:
    """Whether the interval of a change leaves room for a large one."""
    interval = change.interval
    return interval is not None and max(interval.high, 1 / interval.low) > 1 + HIDDEN


def _small(draft: Judgement) -> bool:
    rule, (published, fresh) = _rule(draft), _readings(draft.case)
    if rule.method is Method.ITEMS:
        items = abs(fresh.value - published.value) * fresh.n
        return items <= max(1.0, rule.margin * fresh.n) + EXACT * fresh.n
    return draft.change is not None and _within(draft.change, rule.margin)


def _within(change: Change, margin: float) -> bool:
    return abs(math.log(change.value)) <= math.log1p(margin)


def _rule(draft: Judgement) -> Rule:
    if isinstance(draft.case.rule, Missing):
        raise ValueError(f"{draft.case.metric} has no rule")
    return draft.case.rule


def _readings(case: Case) -> tuple[Reading, Reading]:
    if isinstance(case.published, Missing) or isinstance(case.fresh, Missing):
        raise ValueError(f"{case.metric} lacks a reading")
    return case.published, case.fresh
