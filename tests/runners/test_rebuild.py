"""A record is untrusted text: its cell is rebuilt by names, and nothing that it says is run."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from record_factory import make_device, make_model, make_record, make_task, make_workload

from leanboard.results.errors import ConfigError
from leanboard.results.schema import Component, ModelIdentity, Record
from leanboard.runners import grid
from leanboard.runners.rebuild import rebuild

STORE = Path("build/reproduced/records")


def technique(name: str = "int8-weight-only", **params: Any) -> Record:
    return make_record(techniques=[Component(name=name, version=1, params=params)])


def changed(record: Record, part: str, **values: Any) -> Record:
    """The record with other values in a part of its cell."""
    inner = getattr(record.cell, part).model_copy(update=values)
    return record.model_copy(update={"cell": record.cell.model_copy(update={part: inner})})


def from_source(source: str, name: str = "x") -> Record:
    model: ModelIdentity = make_model(name).model_copy(update={"source": source})
    return make_record(model=model)


def test_a_performance_record_becomes_its_block_with_the_values_of_the_record() -> None:
    sizes = {"rounds": 3, "rounds_per_launch": 1, "max_rounds": 9, "target_width": 0.5}
    record = changed(technique(lm_head=True), "procedure", seed=9, **sizes)
    record = changed(record, "device", threads=1)
    spec = rebuild(record, STORE, cache=Path("elsewhere"))
    assert [arm.label for arm in spec.arms] == ["none", "int8-weight-only"]
    assert spec.arms[1].techniques[0].component().params["lm_head"] is True
    procedure = spec.procedure
    assert (procedure.rounds, procedure.max_rounds, procedure.seed) == (3, 9, 9)
    assert (procedure.rounds_per_launch, procedure.target_width) == (1, 0.5)
    assert (spec.device.threads, spec.profile.name) == (1, "cpu")
    assert [w.name for w in spec.workloads] == ["chat"]
    assert spec.accuracy.tasks == ()
    assert (spec.store, spec.cache) == (STORE, Path("elsewhere"))


def test_a_baseline_is_run_alone() -> None:
    assert [arm.label for arm in rebuild(make_record(), STORE).arms] == ["none"]


def test_an_accuracy_record_scores_its_task_and_times_nothing() -> None:
    record = make_record(kind="accuracy", task=make_task("hellaswag", limit=30))
    spec = rebuild(record, STORE)
    assert spec.workloads == ()
    (asked,) = spec.accuracy.asked()
    assert (asked.name, spec.accuracy.limit, spec.accuracy.text) == ("hellaswag", 30, None)


def test_a_model_of_a_hub_is_fetched_with_permission_only() -> None:
    record = from_source("hub:evil/x@abc123")
    with pytest.raises(ConfigError, match="--allow-model"):
        rebuild(record, STORE)
    model = rebuild(record, STORE, allow_model=True).model
    assert (model.id, model.revision) == ("evil/x", "abc123")


@pytest.mark.parametrize(
    "place",
    [
        "../../etc/passwd",
        "/etc/passwd",
        "evil/x",
        "evil/x@a b",
        "x@1",
        "a/../b@1",
        "-x/y@1",
        "@",
        "",
    ],
)
def test_what_is_no_hub_id_is_refused_even_with_permission(place: str) -> None:
    with pytest.raises(ConfigError, match="no ORG/NAME@REVISION"):
        rebuild(from_source(f"hub:{place}"), STORE, allow_model=True)


def test_a_hub_id_that_is_a_folder_here_is_not_read_from_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "evil" / "x").mkdir(parents=True)
    with pytest.raises(ConfigError, match="folder of that name"):
        rebuild(from_source("hub:evil/x@abc"), STORE, allow_model=True)


def test_a_local_model_says_what_to_do() -> None:
    with pytest.raises(ConfigError, match=r"leanboard run model=custom model\.id=FOLDER"):
        rebuild(from_source("local"), STORE, allow_model=True)


def test_a_task_of_a_hub_needs_permission() -> None:
    task = make_task().model_copy(update={"data_source": "hub:evil/data"})
    record = make_record(kind="accuracy", task=task)
    with pytest.raises(ConfigError, match="--allow-model"):
        rebuild(record, STORE)
    assert rebuild(record, STORE, allow_model=True).accuracy.source == "hub"


HOSTILE: Mapping[str, tuple[Record, str]] = {
    "a dotted path for a technique": (technique("os.system"), "there is no technique 'os.system'"),
    "the option that makes nothing": (technique("none"), "there is no technique 'none'"),
    "a mapping among the knobs": (technique(turned={"by": 1}), "no such knob"),
    "an interpolation": (technique(lm_head="${oc.env:HOME}"), "no plain word"),
    "an endless text": (technique(lm_head="x" * 10_000), "no plain word"),
    "an endless number": (technique(lm_head=10**99), "it is not run"),
    "an unknown knob": (technique(rotations=3), "it has: lm_head"),
    "a knob out of range": (technique("prompt-lookup", num_tokens=0), "num_tokens"),
    "another backend": (
        changed(make_record(), "backend", name="subprocess"),
        "there is no backend 'subprocess'",
    ),
    "a target for the backend": (
        changed(make_record(), "backend", params={"_target_": "os.system"}),
        "no such knob",
    ),
    "a workload that is a path": (
        changed(make_record(), "workload", name="a..b"),
        "there is no workload 'a..b'",
    ),
    "a procedure": (changed(make_record(), "procedure", name="evil"), "no procedure 'evil'"),
    "hardware": (changed(make_record(), "device", name="evil"), "there is no hardware 'evil'"),
    "a model that is not of the menu": (from_source("package:evil==1", "evil"), "no model 'evil'"),
    "the model called custom": (from_source("package:evil==1", "custom"), "'custom'"),
    "a source of its own": (from_source("file:///etc/passwd"), "cannot fetch"),
    "a year of rounds": (changed(make_record(), "procedure", rounds=10**9), "procedure.rounds"),
    "a number beyond floats": (changed(make_record(), "procedure", seed=10**400), "seed"),
    "a month of waiting": (changed(make_record(), "procedure", timeout_s=1e9), "timeout_s"),
    "a disk of prompts": (
        make_record(workload=make_workload(prompts=10**12)),
        "workload.prompts",
    ),
    "a batch that fills the memory": (
        changed(make_record(), "workload", prompt_tokens=10_000, batch_size=1024, prompts=1024),
        "tokens in one batch",
    ),
    "rounds without end": (
        changed(make_record(), "procedure", rounds=10_000, rounds_per_launch=1, warmup_rounds=1000),
        "tokens in all rounds of an arm",
    ),
    "prompts without end": (
        changed(make_record(), "workload", prompt_tokens=100_000, prompts=10_000),
        "tokens in all prompts",
    ),
    "a library of examples": (
        make_record(
            kind="accuracy",
            task=make_task("hellaswag", limit=10_000).model_copy(update={"num_fewshot": 1000}),
        ),
        "examples included",
    ),
    "a metric that is none": (
        changed(make_record(), "procedure", watched=("$(reboot)",)),
        "of which no ratio to the baseline is made",
    ),
    "more threads than cores": (
        make_record(device=make_device(threads=60_000)),
        "hardware.threads is 60000",
    ),
    "a task that is not offline": (
        make_record(kind="accuracy", task=make_task("evil")),
        "no offline task 'evil'",
    ),
    "a task of a folder": (
        make_record(
            kind="accuracy",
            task=make_task("gsm8k").model_copy(update={"data_source": "dir:gsm8k/test.jsonl"}),
        ),
        "put their folder for FOLDER",
    ),
    "another text": (
        make_record(
            kind="accuracy", task=make_task("evil").model_copy(update={"harness": "leanboard"})
        ),
        "the text 'evil'",
    ),
    "a target among a task's settings": (
        make_record(
            kind="accuracy",
            task=make_task("squad-passages").model_copy(
                update={"settings": {"bytes": {"_target_": "os.system"}}}
            ),
        ),
        "has the key '_target_'",
    ),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_record_is_refused_with_a_reason_and_runs_nothing(
    name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def refuse(*_: Any, **__: Any) -> Any:
        raise AssertionError("a record made something run")

    targets: list[str] = []
    made = grid._instantiate

    def watched(target: Mapping[str, Any], where: str) -> Any:
        targets.append(target["_target_"])
        return made(target, where)

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("os.system", refuse)
    monkeypatch.setattr(subprocess, "Popen", refuse)
    monkeypatch.setattr(grid, "_instantiate", watched)
    record, message = HOSTILE[name]
    with pytest.raises(ConfigError) as raised:
        rebuild(record, STORE, allow_model=True)
    assert message in str(raised.value)
    assert all(target.startswith("leanboard.runners.") for target in targets)
    assert list(tmp_path.iterdir()) == []
