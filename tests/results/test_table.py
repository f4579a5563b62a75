"""The table joins timings with the scores of the same arm, and hides nothing."""

from __future__ import annotations

import random
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from record_factory import EPOCH, make_environment, make_model, make_record, make_run

from leanboard.metrics.trace import Provenance
from leanboard.results.schema import Component, Record, Status
from leanboard.results.store import Entry, Origin
from leanboard.results.table import ELSEWHERE, Row, table

LATER = EPOCH + timedelta(hours=1)


def entry(record: Record, origin: Origin = "local") -> Entry:
    return Entry(record, origin, Path(f"{record.run_id}.json"))


def scored(task: str = "arc_easy", **options: Any) -> Record:
    return make_record(kind="accuracy", task=task, **options)


def only_row(*records: Record) -> Row:
    (row,) = table(entry(record) for record in records)
    return row


def value(row: Row, name: str) -> float:
    found = row.measurements[name].value
    assert found is not None
    return found


def test_a_row_names_what_was_run() -> None:
    row = only_row(make_record(techniques=["int8-weight-only", "static-cache"]))
    assert row.label == "int8-weight-only+static-cache"
    assert (row.model, row.backend, row.device) == ("smollm2-135m-instruct", "transformers", "cpu")
    assert (row.workload, row.status, row.origin) == ("chat", Status.OK, "local")
    assert row.machine_id == row.record.machine_id
    assert only_row(make_record()).label == "none"


def test_the_latest_run_of_a_cell_is_shown_even_if_it_failed() -> None:
    good, bad = make_record(), make_record(status="failed", started_at=LATER, number=1)
    assert only_row(bad, good).record == bad
    assert only_row(good).status is Status.OK


def test_the_same_cell_on_two_machines_is_two_rows() -> None:
    other = make_record(environment=make_environment(cpu="Another CPU"), number=1)
    assert len({row.machine_id for row in table([entry(make_record()), entry(other)])}) == 2


def test_published_and_local_runs_of_one_cell_stay_apart_and_labelled() -> None:
    local, published = make_record(number=1), make_record()
    rows = table([entry(local), entry(published, "published")])
    assert [(row.origin, row.record) for row in rows] == [
        ("local", local),
        ("published", published),
    ]


def test_published_scores_are_not_lent_to_a_local_row() -> None:
    rows = table([entry(make_record()), entry(scored(), "published")])
    assert [row.accuracy_records for row in rows] == [()]
    assert rows[0].measurements["accuracy"].value is None
    assert rows[0].measurements["accuracy"].reason is not None


def test_scores_join_by_model_techniques_backend_and_device() -> None:
    knob = Component(name="q", version=1, params={"bits": 8})
    right = scored(techniques=[knob])
    others = [
        scored(techniques=["q"], number=1),
        scored(number=2),
        scored(techniques=[knob], backend="llamacpp", number=3),
        scored(techniques=[knob], model=make_model("other"), number=4),
    ]
    row = only_row(make_record(techniques=[knob]), right, *others)
    assert row.accuracy_records == (right,)


def test_both_workloads_of_an_arm_share_its_scores() -> None:
    score = scored()
    records = [make_record(), make_record(workload="long-prompt"), score]
    rows = table(map(entry, records))
    assert [row.accuracy_records for row in rows] == [(score,), (score,)]


def test_accuracy_is_the_plain_mean_of_the_tasks_primary_scores() -> None:
    row = only_row(
        make_record(),
        scored("arc_easy", accuracy=0.6),
        scored("hellaswag", accuracy=0.3),
        scored("squad-passages"),
    )
    mean = row.measurements["accuracy"]
    parts = [value(row, "arc_easy.acc_norm"), value(row, "hellaswag.acc_norm")]
    assert mean.value == pytest.approx(sum(parts) / 2)
    assert (mean.n, mean.reason) == (100, None)
    assert mean.interval is not None
    assert mean.interval.method == "square-and-add over tasks"
    assert mean.summary == "mean of arc_easy.acc_norm, hellaswag.acc_norm"
    assert mean.provenance is Provenance.MEASURED
    assert value(row, "squad-passages.bits_per_byte") > 0
    assert "arc_easy.perplexity" not in row.measurements


def test_random_weights_have_no_accuracy() -> None:
    model = make_model("random-llama", weights_origin="random")
    row = only_row(make_record(model=model), scored(model=model))
    assert row.measurements["accuracy"].value is None
    assert row.quality_ranked is False


def test_the_latest_good_scores_win() -> None:
    early, late = scored(number=1), scored(started_at=LATER, number=2)
    broken = scored(started_at=LATER + timedelta(hours=1), number=3, status="failed")
    assert only_row(make_record(), late, broken, early).accuracy_records == (late,)


def test_scores_of_the_same_machine_are_preferred_and_others_are_said() -> None:
    here = scored(number=1)
    there = scored(number=2, started_at=LATER, environment=make_environment(cpu="Another"))
    row = only_row(make_record(), here, there)
    assert (row.accuracy_records, row.warnings) == ((here,), ())
    row = only_row(make_record(), there)
    assert (row.accuracy_records, row.warnings) == ((there,), (ELSEWHERE,))


def test_requantised_quality_is_shown_but_not_ranked() -> None:
    said = "requantised: the published weights were already quantised"
    row = only_row(make_record(warnings=[said]), scored(warnings=[said]))
    assert row.warnings == (said,)
    assert row.quality_ranked is False
    assert row.measurements["accuracy"].value is not None
    assert only_row(make_record()).quality_ranked is True


def test_a_comparison_is_found_by_its_metric() -> None:
    baseline = make_run()
    row = only_row(make_record(techniques=["bf16"], baseline=baseline))
    found = row.comparison("tpot_s")
    assert found is not None
    assert found.baseline_run == baseline.record.run_id
    assert row.comparison("no such metric") is None


def test_the_order_follows_from_the_contents_with_the_baseline_first() -> None:
    entries = [
        entry(make_record(techniques=t, workload=w, number=i))
        for i, (t, w) in enumerate(
            (t, w) for t in ([], ["bf16"], ["a"]) for w in ("chat", "long-prompt")
        )
    ]
    expected = table(entries)
    random.Random(1).shuffle(entries)
    assert table(entries) == expected
    assert [row.label for row in expected] == ["none", "a", "bf16"] * 2


def test_only_scores_make_no_row() -> None:
    assert table([entry(scored())]) == ()
