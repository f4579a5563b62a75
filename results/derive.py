"""Derived columns of a row: from averages, comparisons and what the timed run measured."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from leanboard.metrics import derived as formulas
from leanboard.metrics.abilities import ABILITIES, changes_by_ability
from leanboard.metrics.brittleness import Domain, brittleness
from leanboard.metrics.intervals import Interval
from leanboard.metrics.macro import macro_average
from leanboard.metrics.metric import Missing, Role
from leanboard.metrics.summary import Estimate
from leanboard.metrics.trace import Provenance, weakest
from leanboard.results.derived_columns import ACCURACY, DERIVED
from leanboard.results.macro_scores import BASELINE, MacroScores
from leanboard.results.schema import Measurement, PerformanceCell, Record
from leanboard.results.stored import absent, derived, estimate_of
from leanboard.results.task_scores import TaskScore, task_of

NEVER_COMPARED = "joules that were not measured are shown, never compared"
_NO_INTERVAL = "no interval: derived from two measurements"
FIDELITY = ("kl_to_baseline", "top1_agreement", "greedy_agreement", "output_length_ratio")
"""What compares an arm's answers with those of its baseline, and so is measured of both."""
_BRITTLENESS = ("dsi", "generalization_gap", "transfer_ratio")


@dataclass(frozen=True, slots=True)
class Joined:
    """The runs that a row joins.

    Args:
        timed: the timed run.
        scored: the scoring runs of the same arm, one a task.
        macro: averages of its scores.
        baseline: the run that the timed one was compared with; ``None`` if there is none at hand.
        compared: by metric, the tasks on which arms beside it were compared with their baseline.
    """

    timed: Record
    scored: Sequence[Record]
    macro: MacroScores
    baseline: Record | None
    compared: Mapping[str, Sequence[str]] = field(default_factory=dict)


def derived_columns(joined: Joined) -> dict[str, Measurement]:
    """Return every column of ``DERIVED``, with a reason where it has no value."""
    macro = joined.macro
    found = {
        ACCURACY: macro.accuracy,
        "accuracy_difference": macro.difference,
        "accuracy_ratio": macro.ratio,
        "accuracy_above_chance": macro.above_chance,
        **{name: _fidelity(joined, name) for name in FIDELITY},
        "ipw": _cost(joined, "ipw", "mean_power_w", formulas.intelligence_per_watt),
        "ipj": _cost(joined, "ipj", "energy_per_request_j", formulas.intelligence_per_joule),
        "energy_per_correct_j": _cost(
            joined, "energy_per_correct_j", "energy_per_request_j", _per_correct
        ),
        "time_per_correct_s": _time_per_correct(joined),
        "compression_rate": _compression_rate(joined),
        **_brittleness(joined),
        **_changes(joined),
    }
    return {name: found[name] for name in DERIVED}


def _fidelity(joined: Joined, name: str) -> Measurement:
    """Return the mean over tasks of a comparison with the baseline's predictions or answers.

    Arms that stand side by side are averaged over the same tasks, or not at all.
    """
    unit = DERIVED[name].unit
    compared = {
        task_of(record).name: comparison
        for record in joined.scored
        for comparison in record.comparisons
        if comparison.metric == name
    }
    known = {task: c for task, c in compared.items() if c.value is not None}
    wanted = joined.compared.get(name, tuple(known))
    lacking = [task for task in wanted if task not in known]
    if lacking or not known:
        reasons = [f"{t}: {c.reason}" for t, c in compared.items() if t not in known]
        reasons += [f"{t}: this arm lacks it, others have it" for t in lacking if t not in compared]
        nothing = "nothing of the kind was scored"
        told = BASELINE if not joined.timed.cell.techniques else "; ".join(reasons) or nothing
        return absent(unit, "mean", told)
    common = {task: known[task] for task in wanted}
    sources = [c.provenance for c in common.values() if c.provenance is not None]
    return derived(
        macro_average(list(map(estimate_of, common.values()))),
        unit,
        f"mean of {', '.join(common)}",
        weakest(sources) if sources else None,
    )


def _per_correct(accuracy: float, amount: float) -> float:
    return formulas.per_correct(amount, accuracy)


def _time_per_correct(joined: Joined) -> Measurement:
    """Return the seconds of the machine for a right answer: the requests of a batch share them."""
    cell = joined.timed.cell
    size = cell.workload.batch_size if isinstance(cell, PerformanceCell) else 1
    found = _cost(
        joined,
        "time_per_correct_s",
        "e2e_s",
        lambda accuracy, e2e_s: _per_correct(accuracy, e2e_s / size),
    )
    return found.model_copy(update={"summary": f"{ACCURACY}, e2e_s and the batch size"})


def _cost(
    joined: Joined, name: str, of: str, formula: Callable[[float, float], float]
) -> Measurement:
    """Return a formula of the accuracy and of what the timed run measured."""
    column, accuracy = DERIVED[name], joined.macro.accuracy
    measured = joined.timed.measurements.get(of)
    summary = f"{ACCURACY} and {of}"
    if accuracy.value is None:
        return absent(column.unit, summary, accuracy.reason or "there is no accuracy")
    if measured is None or measured.value is None:
        reason = None if measured is None else measured.reason
        return absent(column.unit, summary, reason or f"{of} was not measured")
    if column.role is Role.ENERGY and measured.provenance is not Provenance.MEASURED:
        return absent(column.unit, summary, NEVER_COMPARED)
    try:
        value = formula(accuracy.value, measured.value)
    except ValueError as error:
        return absent(column.unit, summary, str(error))
    found = Estimate(value, measured.n, reason=_NO_INTERVAL)
    return derived(found, column.unit, summary, _weaker(accuracy, measured))


def _compression_rate(joined: Joined) -> Measurement:
    unit, ratio, summary = "1", joined.macro.ratio, "weight_bytes and accuracy_ratio"
    if ratio.value is None:
        return absent(unit, summary, ratio.reason or "there is no ratio of accuracies")
    sizes = [_weights(record) for record in (joined.timed, joined.baseline)]
    ours, theirs = sizes
    if ours is None or theirs is None or ours.value is None or not theirs.value:
        return absent(unit, summary, "the weights of both arms are not known")
    size_ratio, ends = ours.value / theirs.value, estimate_of(ratio).interval
    try:
        value = formulas.compression_rate(size_ratio, ratio.value)
    except ValueError as error:
        return absent(unit, summary, str(error))
    found = Estimate(
        value,
        ratio.n,
        ends and Interval(ends.low / size_ratio, ends.high / size_ratio, ends.method, ends.level),
        reason=ratio.reason,
    )
    return derived(found, unit, summary, _weaker(ours, theirs, ratio))


def _weights(record: Record | None) -> Measurement | None:
    return None if record is None else record.measurements.get("weight_bytes")


def _weaker(*parts: Measurement) -> Provenance | None:
    sources = [part.provenance for part in parts if part.provenance is not None]
    return weakest(sources) if sources else None


def _brittleness(joined: Joined) -> dict[str, Measurement]:
    macro = joined.macro
    summary = macro.ratio.summary
    if macro.ratio.value is None:
        reason = macro.ratio.reason or "there is no ratio of accuracies"
        return {name: absent("1", summary, reason) for name in _BRITTLENESS}
    found = brittleness(
        {
            task.task: Domain(task.score.value, task.baseline.value, _ratio_stderr(task))
            for task in macro.tasks
            if task.score.value is not None
            and task.baseline is not None
            and task.baseline.value is not None
        }
    )
    if isinstance(found, Missing):
        return {name: absent("1", summary, found.reason) for name in _BRITTLENESS}
    noise = "" if found.dsi_of_noise is None else f"; noise alone: about {found.dsi_of_noise:.3f}"
    best = f"no interval; {found.target} is kept best"
    values = found.dsi, found.generalization_gap, found.transfer_ratio
    reasons = f"no interval{noise}", best, best
    return {
        name: derived(
            Estimate(value, macro.ratio.n, reason=reason), "1", summary, macro.ratio.provenance
        )
        for name, value, reason in zip(_BRITTLENESS, values, reasons, strict=True)
    }


def _ratio_stderr(task: TaskScore) -> float | None:
    return None if task.ratio is None else task.ratio.stderr


def _changes(joined: Joined) -> dict[str, Measurement]:
    macro = joined.macro
    differences = {t.task: estimate_of(t.difference) for t in macro.tasks if t.difference}
    known = macro.difference.value is not None
    changes = changes_by_ability(differences) if known else {}
    columns = {}
    for ability in ABILITIES:
        missing = f"no task of the average asks for {ability}" if known else macro.difference.reason
        estimate = changes.get(ability) or Estimate(None, 0, reason=missing)
        provenance = None if estimate.value is None else macro.difference.provenance
        columns[f"{ability}_change"] = derived(
            estimate, "1", f"mean of the tasks of {ability}", provenance
        )
    return columns
