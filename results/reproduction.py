"""A published record beside a fresh one of the same cell: metric by metric, and together."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from leanboard.metrics.change import Reading
from leanboard.metrics.intervals import Interval
from leanboard.metrics.metric import Missing
from leanboard.metrics.registry import METRICS
from leanboard.metrics.reproduction import Case, Judgement, Outcome, contribution, judge
from leanboard.metrics.reproduction_rules import (
    Basis,
    Rule,
    answers_rule,
    ratio_rule,
    value_rule,
)
from leanboard.results.conclusion import basis_of, conclude, decisive_bases
from leanboard.results.difference import (
    Difference,
    cell_differences,
    environment_differences,
)
from leanboard.results.schema import (
    AccuracyCell,
    Comparison,
    Environment,
    Measurement,
    PerformanceCell,
    Record,
)

_PROMPTS = "task.settings.prompts_hash"
_INPUTS = frozenset({"model.content_hash", "workload.prompts_hash", "task.data_hash", _PROMPTS})
_MOST_SAMPLES = 10**9
_METRICS = {metric.name: metric for metric in METRICS}


@dataclass(frozen=True, slots=True)
class Reproduction:
    """What running a record's cell again said.

    Args:
        published: the record that was read.
        fresh: the record of the new run; ``None`` where the inputs were others and none was made.
        outcome: what the judgements say together.
        reason: the outcome in a sentence.
        judgements: metric by metric, ratios to the baseline first.
        cell: what differs between the cells (versions, knobs that were added, hashes).
        environment: what differs around the runs.
    """

    published: Record
    fresh: Record | None
    outcome: Outcome
    reason: str
    judgements: tuple[Judgement, ...]
    cell: tuple[Difference, ...]
    environment: tuple[Difference, ...]

    @property
    def same_machine(self) -> bool:
        """Whether both runs were made on the same hardware."""
        return self.fresh is not None and self.published.machine_id == self.fresh.machine_id


def changed_inputs(
    then: PerformanceCell | AccuracyCell, now: PerformanceCell | AccuracyCell
) -> tuple[Difference, ...]:
    """Return which of the weights, the prompts and the task's data are not what they were.

    Few-shot and chat prompts have a hash of their own; an older record may lack it, and nobody
    knows what they were.
    """
    differing = (d for d in cell_differences(then, now) if d.field in _INPUTS)
    return tuple(d for d in differing if d.field != _PROMPTS or d.then is not None)


def other_inputs(
    published: Record, now: PerformanceCell | AccuracyCell, environment: Environment
) -> Reproduction:
    """Return the result for a cell whose weights, prompts or data cannot be had as they were."""
    fields = ", ".join(difference.field for difference in changed_inputs(published.cell, now))
    return Reproduction(
        published=published,
        fresh=None,
        outcome=Outcome.OTHER_INPUTS,
        reason=f"{fields} differ: measuring would be about something else, and was not done",
        judgements=(),
        cell=cell_differences(published.cell, now),
        environment=environment_differences(published.environment, environment),
    )


def compared(published: Record, fresh: Record) -> Reproduction:
    """Judge a fresh run of the same cell against the published one.

    The ratios to the baseline and what does not depend on the machine (counted sizes, scores,
    agreement with the baseline) decide; on another machine only the latter, for a ratio may rightly
    differ there. Absolute times, rates, memory peaks and joules move with the day; they decide only
    for a timed baseline, which has no ratios, and with a wide margin.
    """
    same_machine = published.machine_id == fresh.machine_id
    judgements = judge(_cases(published, fresh), same_machine=same_machine)
    outcome, reason = conclude(published, fresh, judgements)
    return Reproduction(
        published=published,
        fresh=fresh,
        outcome=outcome,
        reason=reason,
        judgements=judgements,
        cell=cell_differences(published.cell, fresh.cell),
        environment=environment_differences(published.environment, fresh.environment),
    )


def _cases(published: Record, fresh: Record) -> Iterator[Case]:
    found = {(c.metric, c.statistic): c for c in fresh.comparisons}
    for comparison in published.comparisons:
        key = (comparison.metric, comparison.statistic)
        yield Case(
            metric=comparison.metric,
            statistic=comparison.statistic,
            rule=_comparison_rule(published, comparison),
            published=reading_of(comparison),
            fresh=reading_of(found.get(key)),
        )
    for name, measurement in sorted(published.measurements.items()):
        again = fresh.measurements.get(name)
        yield Case(
            metric=name,
            statistic="value",
            rule=_value_rule(name, measurement, again),
            published=reading_of(measurement),
            fresh=reading_of(again),
        )


def _comparison_rule(record: Record, comparison: Comparison) -> Rule | Missing:
    if isinstance(record.cell, AccuracyCell):
        return answers_rule(comparison.metric, comparison.statistic, comparison.provenance)
    return ratio_rule(comparison.statistic, comparison.provenance)


def _value_rule(name: str, then: Measurement, now: Measurement | None) -> Rule | Missing:
    if name not in _METRICS:
        return Missing("this leanboard has no such metric")
    if now is not None and (then.unit, then.summary) != (now.unit, now.summary):
        return Missing(f"it was the {then.summary} in {then.unit}, and is another statistic now")
    return value_rule(_METRICS[name], then.provenance if now is None else now.provenance)


def reading_of(found: Measurement | Comparison | None) -> Reading | Missing:
    """Return what a record says of a metric, as it is tested against another; or why nothing.

    The number of samples decides by which t the half-width of the interval is divided, to have the
    standard error back. For a comparison of several launches that is their number. Otherwise it is
    the number of rounds or samples, and the error comes out somewhat too large where the interval
    was made with fewer degrees of freedom (an effective n, samples grouped by launch): cautious.
    """
    if found is None:
        return Missing("the run has no such metric")
    if found.value is None:
        return Missing(found.reason or "no value")
    interval = found.interval
    launches = found.launches if isinstance(found, Comparison) else 0
    samples = launches if launches > 1 else found.n
    return Reading(
        value=found.value,
        # A record is untrusted text: its n may be beyond what a float holds.
        n=min(samples, _MOST_SAMPLES),
        interval=None
        if interval is None
        else Interval(interval.low, interval.high, interval.method, interval.level),
    )


def as_json(reproduction: Reproduction) -> dict[str, Any]:
    """Return what a program reads: outcome, both run ids, every judgement, every difference."""
    fresh = reproduction.fresh
    decisive = decisive_bases(reproduction.published, same_machine=reproduction.same_machine)
    return {
        "outcome": reproduction.outcome.value,
        "reason": reproduction.reason,
        "published_run": reproduction.published.run_id,
        "fresh_run": None if fresh is None else fresh.run_id,
        "cell_id": reproduction.published.cell_id,
        "same_machine": reproduction.same_machine,
        "judgements": [_judgement_json(j, decisive) for j in reproduction.judgements],
        "cell_differences": [asdict(d) for d in reproduction.cell],
        "environment_differences": [asdict(d) for d in reproduction.environment],
    }


def _judgement_json(judgement: Judgement, decisive: frozenset[Basis]) -> dict[str, Any]:
    case, basis = judgement.case, basis_of(judgement)
    return {
        "metric": case.metric,
        "statistic": case.statistic,
        "basis": None if basis is None else basis.value,
        "decides": contribution(judgement, decisive) is not None,
        "outcome": judgement.outcome.value,
        "reason": judgement.reason,
        "published": None if isinstance(case.published, Missing) else asdict(case.published),
        "fresh": None if isinstance(case.fresh, Missing) else asdict(case.fresh),
        "change": None if judgement.change is None else asdict(judgement.change),
    }
