"""The command of a record runs its cell again, and executes nothing else that it says."""

from __future__ import annotations

import shlex
from typing import Any

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import given
from hypothesis import strategies as st
from omegaconf import OmegaConf
from pydantic import ValidationError
from record_factory import make_device, make_model, make_record, make_task, make_workload

from leanboard.results.command import hydra_value, reproduce_command, run_command
from leanboard.results.schema import Component, PerformanceCell
from leanboard.runners.accuracy.rolling import prepare_text
from leanboard.runners.accuracy.settings import TextConfig
from leanboard.runners.config import compose
from leanboard.runners.passages import Passage, Pool


def read_back(value: Any) -> Any:
    override = OverridesParser.create().parse_override(f"key={hydra_value(value)}")
    return OmegaConf.to_container(OmegaConf.create({"v": override.value()}), resolve=True)["v"]


def overrides(record: Any) -> dict[str, str]:
    words = shlex.split(run_command(record))
    assert words[:2] == ["leanboard", "run"]
    return dict(word.split("=", 1) for word in words[2:])


def test_a_baseline_is_asked_for_by_name() -> None:
    assert run_command(make_record()) == (
        "leanboard run model=smollm2-135m-instruct technique=none workload=chat "
        "workload.prompt_tokens=128 workload.output_tokens=32 workload.batch_size=1 "
        "workload.prompts=8 backend=transformers hardware=cpu hardware.threads=2 "
        "procedure=quickstart procedure.rounds=8 procedure.rounds_per_launch=null "
        "procedure.warmup_rounds=2 procedure.max_warmup_rounds=null procedure.max_rounds=null "
        "procedure.target_width=null procedure.time_budget_s=null 'procedure.watched=[tpot_s]' "
        "procedure.seed=0 procedure.timeout_s=300 accuracy=none"
    )


def test_a_published_record_is_reproduced_by_its_place() -> None:
    record = make_record()
    assert reproduce_command(record) == (
        f"leanboard reproduce results/records/{record.machine_id}/{record.cell_id}/"
        f"{record.run_id}.json"
    )


def test_sizes_that_were_overridden_are_asked_for_again() -> None:
    workload = make_workload(batch_size=4, prompts=16)
    cell = make_record(workload=workload).cell
    assert isinstance(cell, PerformanceCell)
    procedure = cell.procedure.model_copy(
        update={
            "rounds": 3,
            "rounds_per_launch": 1,
            "warmup_rounds": 0,
            "max_warmup_rounds": 4,
            "max_rounds": 12,
            "target_width": 0.025,
            "time_budget_s": 600.0,
            "watched": ("tpot_s", "ttft_s"),
            "seed": 7,
            "timeout_s": 0.5,
        }
    )
    changed = cell.model_copy(update={"procedure": procedure})
    line = run_command(make_record().model_copy(update={"cell": changed}))
    composed = compose(shlex.split(line)[2:])
    sizes = procedure.model_dump(mode="json", exclude={"version"})
    assert composed["procedure"].items() >= sizes.items()
    assert (composed["workload"]["batch_size"], composed["workload"]["prompts"]) == (4, 16)


def test_composed_techniques_and_their_knobs_are_spelled_out() -> None:
    knobs = {"group_size": 64, "symmetric": True, "note": None}
    record = make_record(
        techniques=[Component(name="int8-weight-only", version=1, params=knobs), "static-cache"]
    )
    asked = overrides(record)
    assert asked["technique"] == "[int8-weight-only,static-cache]"
    assert asked["++technique.int8-weight-only.group_size"] == "64"
    assert asked["++technique.int8-weight-only.symmetric"] == "true"
    assert asked["++technique.int8-weight-only.note"] == "null"


def test_an_accuracy_record_asks_for_its_task() -> None:
    asked = overrides(make_record(kind="accuracy", task=make_task("hellaswag", limit=300)))
    assert asked["accuracy.tasks"] == "[hellaswag]"
    assert asked["accuracy.limit"] == "300"
    assert "workload" not in asked


def test_a_split_that_is_not_the_first_is_asked_for_by_name() -> None:
    task = make_task("arc_easy").model_copy(update={"split": "test"})
    asked = overrides(make_record(kind="accuracy", task=task))
    assert asked["accuracy.tasks"] == "[{arc_easy:{split:test}}]"
    hub = task.model_copy(update={"data_source": "hub:allenai/ai2_arc"})
    asked = overrides(make_record(kind="accuracy", task=hub))
    assert (asked["accuracy.source"], asked["accuracy.tasks"]) == ("hub", "[arc_easy]")


def test_a_directory_of_data_is_left_to_the_reader() -> None:
    task = make_task("gsm8k").model_copy(
        update={"split": "test", "data_source": "dir:gsm8k/test.jsonl"}
    )
    asked = overrides(make_record(kind="accuracy", task=task))
    assert (asked["accuracy.source"], asked["accuracy.data_dir"]) == ("dir", "FOLDER")


def test_a_chat_is_asked_for_with_its_system_prompt() -> None:
    settings = {"adapter": 1, "chat_template": "0" * 64, "system": "Be brief: it's ${you}."}
    task = make_task("arc_easy").model_copy(update={"settings": settings})
    asked = overrides(make_record(kind="accuracy", task=task))
    assert asked["accuracy.chat_template"] == "true"
    assert asked["accuracy.system"] == hydra_value("Be brief: it's ${you}.")
    plain = overrides(make_record(kind="accuracy", task=make_task("arc_easy")))
    assert not {"accuracy.chat_template", "accuracy.system"} & set(plain)


def test_a_stratified_choice_is_asked_for() -> None:
    task = make_task("hellaswag").model_copy(update={"settings": {"stratified": True}})
    asked = overrides(make_record(kind="accuracy", task=task))
    assert asked["accuracy.stratified"] == "true"


def test_a_text_record_asks_for_its_text_alone() -> None:
    config = TextConfig("squad-passages", bytes=300, window_bytes=256)
    pool = Pool((Passage("A title", "A text of a passage. " * 10),), "0" * 64, "package:made==1")
    task = prepare_text(config, pool).identity
    asked = overrides(make_record(kind="accuracy", task=task))
    assert asked["accuracy.tasks"] == "[]"
    assert asked["accuracy.text.name"] == "squad-passages"
    assert asked["accuracy.text.bytes"] == "300"
    assert asked["accuracy.text.window_bytes"] == "256"


def test_a_model_of_the_hub_is_asked_for_by_id_and_revision() -> None:
    model = make_model("tiny").model_copy(update={"source": "hub:org/tiny@abc123"})
    asked = overrides(make_record(model=model))
    assert (asked["model"], asked["model.revision"]) == ("custom", "abc123")
    assert asked["model.id"] == "'org/tiny'"


def test_a_local_model_leaves_its_folder_to_the_reader() -> None:
    model = make_model("tiny").model_copy(update={"source": "local"})
    assert overrides(make_record(model=model))["model.id"] == "FOLDER"


def test_a_memory_cap_is_part_of_the_command() -> None:
    device = make_device().model_copy(update={"memory_cap_bytes": 2**30})
    assert overrides(make_record(device=device))["hardware.memory_cap_bytes"] == str(2**30)


def test_the_knobs_of_the_backend_are_spelled_out() -> None:
    backend = Component(name="transformers", version=1, params={"attention": "eager"})
    cell = make_record().cell.model_copy(update={"backend": backend})
    record = make_record().model_copy(update={"cell": cell})
    assert overrides(record)["++backend.attention"] == "eager"


@pytest.mark.parametrize(
    "options",
    [
        {"techniques": ["bf16", "static-cache"], "workload": "long-prompt"},
        {"techniques": [Component(name="int8-dynamic", version=1, params={"lm_head": True})]},
        {"kind": "accuracy", "task": "hellaswag"},
        {"kind": "accuracy", "task": "squad-passages"},
    ],
)
def test_the_menu_accepts_the_command(options: dict[str, Any]) -> None:
    record = make_record(**options)
    composed = compose(shlex.split(run_command(record))[2:])
    assert list(composed["technique"]) == [t.name for t in record.cell.techniques]
    for technique in record.cell.techniques:
        assert composed["technique"][technique.name].items() >= technique.params.items()


@pytest.mark.parametrize(
    "evil", ["; rm -rf ~", "$(reboot)", "`reboot`", "a' b", "${oc.env:HOME}", "x\ny", "-v"]
)
def test_an_untrusted_string_stays_one_word_for_the_shell(evil: str) -> None:
    record = make_record(techniques=[Component(name="t", version=1, params={"knob": evil})])
    words = shlex.split(run_command(record))
    assert words[-1] == f"++technique.t.knob={hydra_value(evil)}"
    assert len(words) == len(shlex.split(run_command(make_record()))) + 1
    assert read_back(evil) == evil


@pytest.mark.parametrize(
    "params",
    [
        {"x._target_": "os.system", "x.command": "reboot"},
        {"_target_": "os.system"},
        {"bits": {"_target_": "os.system", "command": "reboot"}},
        {"bits": [1, {"_target_": "os.system"}]},
        {"bits=1 ++technique.t.x": 1},
        {"": 1},
    ],
)
def test_a_record_whose_knob_would_be_called_is_none(params: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match="is no name of a knob"):
        Component(name="bf16", version=1, params=params)


@pytest.mark.parametrize("evil", ["; rm -rf ~", "tpot_s], +x=[y", "${oc.env:HOME}"])
def test_an_untrusted_metric_to_watch_stays_text(evil: str) -> None:
    cell = make_record().cell
    assert isinstance(cell, PerformanceCell)
    procedure = cell.procedure.model_copy(update={"watched": (evil,)})
    record = make_record().model_copy(
        update={"cell": cell.model_copy(update={"procedure": procedure})}
    )
    composed = compose(shlex.split(run_command(record))[2:])
    assert composed["procedure"]["watched"] == [evil]


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**9), 10**9)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(alphabet="ab1.,:=[]{}()\\'\"$ \n-_%é", max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.from_regex(r"[a-z]{2,5}_k", fullmatch=True), inner, max_size=2)
    ),
    max_leaves=4,
)


@given(JSON)
def test_hydra_reads_any_value_back(value: Any) -> None:
    assert read_back(value) == value
