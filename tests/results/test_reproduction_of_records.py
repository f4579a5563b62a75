"""A published record beside a fresh one: what decides, and what is only shown."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from record_factory import (
    Run,
    answer_observation,
    make_environment,
    make_procedure,
    make_run,
)

from leanboard.metrics.change import Reading
from leanboard.metrics.reproduction import Judgement, Outcome
from leanboard.results.document import json_text
from leanboard.results.reproduction import (
    Reproduction,
    as_json,
    changed_inputs,
    compared,
    other_inputs,
    reading_of,
)
from leanboard.results.schema import AccuracyCell, Measurement, Record


def pair(number: int, speed: float = 1.5, day: float = 1.0, **options: Any) -> Run:
    """A baseline and its candidate; ``day`` makes both slower or faster."""
    baseline = make_run(number=number, speed=day, **options)
    return make_run(
        techniques=["bf16"], number=number, speed=speed * day, baseline=baseline, **options
    )


def outcomes(found: Reproduction) -> dict[tuple[str, str], str]:
    return {(j.case.metric, j.case.statistic): j.outcome.value for j in found.judgements}


def judgement(found: Reproduction, metric: str, statistic: str = "value") -> Judgement:
    (only,) = (
        j for j in found.judgements if (j.case.metric, j.case.statistic) == (metric, statistic)
    )
    return only


def test_the_same_truth_is_reproduced() -> None:
    found = compared(pair(0).record, pair(1).record)
    assert found.outcome is Outcome.REPRODUCED
    assert found.same_machine
    seen = outcomes(found)
    assert seen["tpot_s", "ratio"] == seen["ttft_s", "ratio"] == "reproduced"
    assert seen["weight_bytes", "value"] == seen["lossless", "agreement"] == "reproduced"
    assert seen["energy_per_request_j", "value"] == "not comparable"


def test_a_slower_day_moves_absolute_numbers_and_decides_nothing() -> None:
    found = compared(pair(0).record, pair(1, day=0.7).record)
    seen = outcomes(found)
    assert seen["tpot_s", "value"] == "drifted"
    assert seen["tpot_s", "ratio"] == "reproduced"
    assert found.outcome is Outcome.REPRODUCED


def test_a_ratio_that_moved_is_a_drift_and_is_named() -> None:
    found = compared(pair(0).record, pair(1, speed=1.2).record)
    assert found.outcome is Outcome.DRIFTED
    assert "tpot_s ratio" in found.reason


def test_a_baseline_has_no_ratio_and_its_times_decide_beyond_a_quarter() -> None:
    assert compared(make_run().record, make_run(number=1).record).outcome is Outcome.REPRODUCED
    slower = make_run(number=1, speed=0.7).record
    assert compared(make_run().record, slower).outcome is Outcome.DRIFTED
    # 1 / 0.85 is 18% slower: beyond the 10% of a metric, within the 25% of the whole.
    found = compared(make_run().record, make_run(number=1, speed=0.85).record)
    assert outcomes(found)["tpot_s", "value"] == "drifted"
    assert found.outcome is Outcome.REPRODUCED
    assert "absolute ones: 25%" in found.reason


def with_value(record: Record, name: str, value: float, **fields: Any) -> Record:
    """The record with another value of a metric, and no interval."""
    made = {"unit": "1", "n": 1, "summary": "single", "method_version": 2, **fields}
    changed = Measurement(value=value, provenance="measured", **made)
    return record.model_copy(update={"measurements": {**record.measurements, name: changed}})


@pytest.mark.parametrize("name", ["mfu_decode", "energy_closure_error", "idle_power_w"])
def test_what_describes_the_machine_or_has_no_better_direction_decides_nothing(name: str) -> None:
    published = with_value(make_run().record, name, 0.2)
    found = compared(published, with_value(make_run(number=1).record, name, 0.4))
    assert judgement(found, name).outcome is Outcome.DRIFTED
    assert found.outcome is Outcome.REPRODUCED
    decides = {
        j["metric"]: j["decides"]
        for j in as_json(found)["judgements"]
        if j["outcome"] != "not comparable"
    }
    assert not decides[name]
    assert decides["tpot_s"]


def test_other_hardware_is_said_and_ratios_may_differ_there() -> None:
    elsewhere = make_environment(cpu="Another CPU", cores=64)
    found = compared(pair(0).record, pair(1, day=1.1, environment=elsewhere).record)
    assert found.outcome is Outcome.OTHER_HARDWARE
    assert outcomes(found)["tpot_s", "value"] == "other hardware"
    assert outcomes(found)["tpot_s", "ratio"] == "reproduced"
    assert "cpu.name" in {difference.field for difference in found.environment}
    moved = compared(pair(0).record, pair(1, speed=3.0, environment=elsewhere).record)
    assert moved.outcome is Outcome.OTHER_HARDWARE
    assert moved.reason.startswith("ratios differ there: ")
    assert "tpot_s ratio" in moved.reason
    assert outcomes(moved)["tpot_s", "ratio"] == "drifted"
    decides = {(j["metric"], j["statistic"]): j["decides"] for j in as_json(moved)["judgements"]}
    assert not decides["tpot_s", "ratio"]
    assert decides["weight_bytes", "value"]


def test_what_does_not_depend_on_the_machine_drifts_on_other_hardware_too() -> None:
    elsewhere = make_environment(cpu="Another CPU")
    fresh = pair(1, environment=elsewhere).record
    bytes_then = fresh.measurements["weight_bytes"]
    heavier = bytes_then.model_copy(update={"value": 1.0 + (bytes_then.value or 0.0)})
    measured = {**fresh.measurements, "weight_bytes": heavier}
    found = compared(pair(0).record, fresh.model_copy(update={"measurements": measured}))
    assert found.outcome is Outcome.DRIFTED
    assert found.reason.startswith("weight_bytes value")


def test_one_process_a_side_is_said_for_it_cannot_see_another() -> None:
    several = make_procedure(rounds_per_launch=1)
    both = compared(pair(0).record, pair(1).record)
    assert "(the published and the fresh run kept one process an arm" in both.reason
    launches = pair(1, procedure=several).record
    assert "(the published run kept one process an arm" in compared(pair(0).record, launches).reason
    assert "one process" not in compared(launches, launches).reason
    old = launches.model_copy(update={"sampling": None})
    assert "one process" not in compared(old, old).reason
    score = make_run(kind="accuracy").record
    assert "one process" not in compared(score, score).reason


@pytest.mark.parametrize(("launches", "n"), [(0, 40), (1, 40), (5, 5)])
def test_the_samples_of_an_interval_are_its_launches_where_there_are_several(
    launches: int, n: int
) -> None:
    comparison = next(c for c in pair(0).record.comparisons if c.metric == "tpot_s")
    found = reading_of(comparison.model_copy(update={"launches": launches, "n": 40}))
    assert isinstance(found, Reading)
    assert found.n == n


def test_a_score_is_judged_by_its_items() -> None:
    def scored(accuracy: float, number: int) -> Record:
        return make_run(kind="accuracy", accuracy=accuracy, number=number).record

    # 30, 31 and 33 of 50 items are right.
    assert compared(scored(0.60, 0), scored(0.60, 0)).outcome is Outcome.REPRODUCED
    found = compared(scored(0.60, 0), scored(0.66, 0))
    assert judgement(found, "acc").outcome is Outcome.DRIFTED
    assert found.outcome is Outcome.DRIFTED


def test_a_score_against_its_baseline_is_judged_by_the_score_alone() -> None:
    baseline = make_run(kind="accuracy")
    record = make_run(kind="accuracy", techniques=["bf16"], baseline=baseline).record
    found = compared(record, record)
    ratio = next(j for j in found.judgements if j.case.statistic == "ratio")
    assert ratio.outcome is Outcome.NOT_COMPARABLE
    assert "judged by themselves" in (ratio.reason or "")
    assert found.outcome is Outcome.REPRODUCED


def test_a_run_that_fails_now_has_drifted_and_says_why() -> None:
    failed = make_run(techniques=["bf16"], status="failed", error="out of memory").record
    found = compared(pair(0).record, failed)
    assert found.outcome is Outcome.DRIFTED
    assert found.reason == "the run was ok and is failed now: out of memory"
    refused = make_run(techniques=["bf16"], status="unsupported").record
    assert compared(refused, refused).outcome is Outcome.REPRODUCED


def test_too_few_rounds_for_an_interval_leave_nothing_to_judge() -> None:
    found = compared(pair(0).record, pair(1).record)
    bare = tuple(
        c.model_copy(update={"interval": None, "n": 4}) for c in pair(1).record.comparisons
    )
    short = pair(1).record.model_copy(update={"comparisons": bare})
    assert found.outcome is Outcome.REPRODUCED
    assert compared(pair(0).record, short).outcome is Outcome.NOT_COMPARABLE


def test_a_metric_that_is_another_statistic_now_is_not_compared() -> None:
    published = make_run().record
    tpot = published.measurements["tpot_s"].model_copy(update={"summary": "mean"})
    gone = {"rotations": tpot, "tpot_s": tpot}
    old = published.model_copy(update={"measurements": {**published.measurements, **gone}})
    found = compared(old, make_run(number=1).record)
    assert judgement(found, "tpot_s").outcome is Outcome.NOT_COMPARABLE
    assert judgement(found, "rotations").reason == "fresh: the run has no such metric"


@pytest.mark.parametrize("part", ["model", "workload"])
def test_other_weights_or_prompts_are_other_inputs(part: str) -> None:
    record = pair(0).record
    field = {"model": "content_hash", "workload": "prompts_hash"}[part]
    changed = getattr(record.cell, part).model_copy(update={field: "f" * 64})
    now = record.cell.model_copy(update={part: changed})
    assert [d.field for d in changed_inputs(record.cell, now)] == [f"{part}.{field}"]
    found = other_inputs(record, now, record.environment)
    assert found.outcome is Outcome.OTHER_INPUTS
    assert f"{part}.{field}" in found.reason
    assert found.fresh is None


def test_other_examples_in_the_prompts_are_other_inputs() -> None:
    cell = make_run(kind="accuracy").record.cell
    assert isinstance(cell, AccuracyCell)

    def prompted(**settings: str) -> AccuracyCell:
        task = cell.task.model_copy(update={"settings": {**cell.task.settings, **settings}})
        return cell.model_copy(update={"task": task})

    then, now = prompted(prompts_hash="a" * 64), prompted(prompts_hash="b" * 64)
    assert [d.field for d in changed_inputs(then, now)] == ["task.settings.prompts_hash"]
    assert changed_inputs(then, then) == changed_inputs(prompted(), now) == ()


def test_a_divergence_that_moved_is_shown_beside_scores_that_did_not() -> None:
    text: dict[str, Any] = {"kind": "accuracy", "task": "squad-passages"}
    baseline, seen = make_run(**text), answer_observation(task="squad-passages")
    near = tuple(
        replace(a, kl_nats=0.1 + i / 100, agreeing=a.tokens - i % 2, kl_rest=0.0)
        for i, a in enumerate(seen.answers)
    )
    record = make_run(
        techniques=["bf16"], baseline=baseline, observation=replace(seen, answers=near), **text
    ).record
    moved = tuple(
        c.model_copy(update={"value": 2 * c.value})
        if c.metric == "kl_to_baseline" and c.value is not None
        else c
        for c in record.comparisons
    )
    found = compared(record, record.model_copy(update={"comparisons": moved}))
    assert judgement(found, "kl_to_baseline", "difference").outcome is Outcome.DRIFTED
    assert judgement(found, "top1_agreement", "agreement").outcome is Outcome.REPRODUCED
    assert found.outcome is Outcome.REPRODUCED


def test_another_version_is_stated_and_not_an_input() -> None:
    record = pair(0).record
    backend = record.cell.backend.model_copy(update={"version": 2})
    now = pair(1).record
    now = now.model_copy(update={"cell": now.cell.model_copy(update={"backend": backend})})
    assert changed_inputs(record.cell, now.cell) == ()
    (difference,) = compared(record, now).cell
    assert (difference.field, difference.then, difference.now) == ("backend.version", 1, 2)


def test_the_report_is_json_with_every_judgement() -> None:
    found = compared(pair(0).record, pair(1).record)
    read = json.loads(json_text(as_json(found)))
    assert read["outcome"] == "reproduced"
    assert len(read["judgements"]) == len(found.judgements)
    tpot = next(j for j in read["judgements"] if (j["metric"], j["basis"]) == ("tpot_s", "ratio"))
    assert tpot["change"]["interval"]["low"] < tpot["change"]["value"]


@pytest.mark.parametrize(
    "forged", [{"low": 1.0, "high": -1.0}, {"low": 2.0, "high": 1.0}, {"level": 1 - 2**-53}]
)
def test_a_forged_interval_is_no_interval(forged: dict[str, float]) -> None:
    published = pair(0).record
    comparisons = tuple(
        c
        if c.interval is None
        else c.model_copy(update={"interval": c.interval.model_copy(update=forged)})
        for c in published.comparisons
    )
    found = compared(published.model_copy(update={"comparisons": comparisons}), pair(1).record)
    tpot = judgement(found, "tpot_s", "ratio")
    assert (tpot.outcome, tpot.reason) == (
        Outcome.NOT_COMPARABLE,
        "the interval is no interval",
    )
    assert found.outcome is Outcome.NOT_COMPARABLE
    assert json_text(as_json(found))


def test_forged_numbers_give_a_report_all_the_same() -> None:
    published = pair(0).record
    wild = {
        name: m.model_copy(update={"value": 1e308, "n": 10**40})
        for name, m in published.measurements.items()
        if m.value is not None
    }
    forged = published.model_copy(update={"measurements": {**published.measurements, **wild}})
    found = compared(forged, pair(1).record)
    assert found.outcome is Outcome.DRIFTED
    assert json_text(as_json(found))
