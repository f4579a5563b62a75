"""Scores stand side by side only where every arm was asked the same."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from record_factory import EPOCH, make_model, make_record, make_task, sha

from leanboard.results.schema import Record, Task
from leanboard.results.store import Entry, Origin
from leanboard.results.table import Row, table

ARMS = ("none", "bf16", "static-cache")


def later(hours: int) -> datetime:
    return EPOCH + timedelta(hours=hours)


def task_of(name: str = "arc_easy", limit: int = 50) -> Task:
    data = {"data_hash": sha(f"{limit} items of {name}")}
    return make_task(name, limit=limit).model_copy(update=data)


def scored(arm: str, task: Task | str, **options: Any) -> Record:
    task = task_of(task) if isinstance(task, str) else task
    techniques = [] if arm == "none" else [arm]
    return make_record(kind="accuracy", techniques=techniques, task=task, **options)


def rows(*scores: Record, arms: tuple[str, ...] = ARMS, **options: Any) -> dict[str, Row]:
    timed = [make_record(techniques=[] if a == "none" else [a], **options) for a in arms]
    return by_arm(*timed, *scores)


def by_arm(*records: Record, origin: Origin = "local") -> dict[str, Row]:
    entries = [Entry(record, origin, Path(f"{record.run_id}.json")) for record in records]
    return {row.label: row for row in table(entries)}


def test_the_items_that_most_arms_have_are_shown_for_all() -> None:
    short = [scored(arm, "arc_easy") for arm in ARMS]
    long = [scored(arm, task_of(limit=300), started_at=later(1)) for arm in ("none", "bf16")]
    found = rows(*short, *long)
    assert [found[arm].accuracy_records for arm in ARMS] == [(score,) for score in short]


def test_the_newest_items_are_shown_where_as_many_arms_have_them() -> None:
    short = [scored(arm, "arc_easy") for arm in ARMS]
    long = [scored(arm, task_of(limit=300), started_at=later(1)) for arm in ARMS]
    found = rows(*short, *long)
    assert [found[arm].accuracy_records for arm in ARMS] == [(score,) for score in long]


def test_an_arm_with_other_items_shows_a_gap_and_its_reason() -> None:
    long = task_of(limit=300)
    found = rows(scored("none", "arc_easy"), scored("bf16", "arc_easy"), scored(ARMS[2], long))
    row = found["static-cache"]
    gap = row.measurements["arc_easy.acc_norm"]
    assert (gap.value, gap.n, gap.provenance) == (None, 0, None)
    assert gap.reason == "scored on other items: limit 300, the others 50"
    assert row.accuracy_records == ()
    mean = row.measurements["accuracy"]
    assert mean.value is None
    assert mean.reason == "this arm lacks arc_easy on the items of the others"
    assert found["bf16"].measurements["accuracy"].value is not None


def test_texts_of_other_sizes_are_not_joined() -> None:
    text = task_of("squad-passages")
    longer = text.model_copy(update={"settings": {"bytes": 9}, "data_hash": sha("longer")})
    small = text.model_copy(update={"settings": {"bytes": 3}})
    found = rows(scored("none", small), scored("bf16", small), scored(ARMS[2], longer))
    gap = found["static-cache"].measurements["squad-passages.bits_per_byte"]
    assert (gap.value, gap.reason) == (None, "scored on other items: bytes 9, the others 3")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"data_hash": sha("x")}, "scored on other items: the data differ"),
        ({"seed": 1}, "scored on other items: seed 1, the others 0"),
        ({"num_fewshot": 5}, "scored another way: num_fewshot 5, the others 0"),
        ({"settings": {"adapter": 2}}, "scored another way: adapter 2, the others None"),
        ({"harness_version": "0.5"}, "scored another way: harness_version 0.5, the others 0.4.13"),
    ],
)
def test_whatever_changes_a_score_keeps_it_apart(change: dict[str, Any], reason: str) -> None:
    odd = task_of().model_copy(update=change)
    found = rows(scored("none", "arc_easy"), scored("bf16", "arc_easy"), scored(ARMS[2], odd))
    assert found["static-cache"].measurements["arc_easy.acc"].reason == reason


def test_where_the_data_were_taken_from_keeps_nothing_apart() -> None:
    hub = task_of().model_copy(update={"data_source": "hub:org/data@1"})
    found = rows(scored("none", "arc_easy"), scored("bf16", hub), arms=("none", "bf16"))
    assert all(row.measurements["accuracy"].value is not None for row in found.values())


def test_failed_scores_do_not_vote() -> None:
    long = [scored(a, task_of(limit=300), status="failed", started_at=later(1)) for a in ARMS]
    short = scored("none", "arc_easy")
    assert rows(short, *long)["none"].accuracy_records == (short,)


def test_the_mean_needs_every_task_of_the_baseline() -> None:
    both = [scored(arm, task) for arm in ("none", "bf16") for task in ("arc_easy", "hellaswag")]
    found = rows(*both, scored("static-cache", "arc_easy"))
    row = found["static-cache"]
    assert row.measurements["arc_easy.acc_norm"].value is not None
    mean = row.measurements["accuracy"]
    assert mean.value is None
    assert mean.reason == "this arm lacks hellaswag on the items of the others"
    assert found["bf16"].measurements["accuracy"].summary == (
        "mean of arc_easy.acc_norm, hellaswag.acc_norm"
    )


def test_a_task_that_few_arms_were_asked_is_shown_but_not_in_the_mean() -> None:
    others = ("static-cache", "int8-dynamic", "fp8")
    asked = [scored(arm, task) for arm in ("none", "bf16") for task in ("arc_easy", "hellaswag")]
    found = rows(
        *asked, *(scored(arm, "arc_easy") for arm in others), arms=("none", "bf16", *others)
    )
    means = {row.measurements["accuracy"].summary for row in found.values()}
    assert means == {"mean of arc_easy.acc_norm"}
    assert all(row.measurements["accuracy"].value is not None for row in found.values())
    assert found["bf16"].measurements["hellaswag.acc_norm"].value is not None


def test_a_task_that_the_baseline_lacks_is_shown_but_not_in_the_mean() -> None:
    found = rows(
        scored("none", "arc_easy"), scored("bf16", "arc_easy"), scored("bf16", "hellaswag")
    )
    row = found["bf16"]
    assert row.measurements["hellaswag.acc_norm"].value is not None
    assert row.measurements["accuracy"].value == row.measurements["arc_easy.acc_norm"].value
    assert row.measurements["accuracy"].summary == "mean of arc_easy.acc_norm"


def test_without_a_baseline_the_most_complete_arm_says_what_the_mean_is_over() -> None:
    found = rows(
        scored("bf16", "arc_easy"), scored("bf16", "hellaswag"), scored(ARMS[2], "arc_easy")
    )
    assert found["bf16"].measurements["accuracy"].value is not None
    assert "hellaswag" in (found["static-cache"].measurements["accuracy"].reason or "")
    assert "arc_easy, hellaswag" in (found["none"].measurements["accuracy"].reason or "")


def test_other_models_and_backends_choose_for_themselves() -> None:
    model = make_model("other")
    llama = scored("none", task_of(limit=300), backend="llamacpp")
    other = scored("none", task_of(limit=10), model=model)
    mine = scored("none", "arc_easy")
    for score, options in (
        (mine, {}),
        (llama, {"backend": "llamacpp"}),
        (other, {"model": model}),
    ):
        found = rows(mine, llama, other, arms=("none",), **options)
        assert found["none"].accuracy_records == (score,)
