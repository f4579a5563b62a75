"""From overrides to blocks: nothing is fetched, nothing runs."""

import pytest

from leanboard.results.errors import ConfigError
from leanboard.runners.grid import blocks


def test_the_quickstart_is_two_blocks_with_nine_arms() -> None:
    torch, llama = blocks(["suite=quickstart", "hardware=cpu-1t"])
    assert [arm.label for arm in torch.arms] == [
        "none",
        "bf16",
        "int8-weight-only",
        "int8-dynamic",
        "static-cache",
        "prompt-lookup",
    ]
    assert [arm.label for arm in llama.arms] == ["none", "gguf-q8_0", "gguf-q4_1"]
    assert [workload.name for workload in llama.workloads] == ["chat", "long-prompt"]
    assert torch.procedure.rounds == llama.procedure.rounds == 8


@pytest.mark.parametrize(
    ("backend", "dtype"), [("transformers", "float32"), ("llamacpp", "float16")]
)
def test_the_baseline_runs_in_the_dtype_that_its_record_names(backend: str, dtype: str) -> None:
    (block,) = blocks([f"backend={backend}", "hardware=cpu-1t"])
    assert block.profile.reference_dtype == dtype
    assert block.device.reference_dtype == dtype


def test_one_technique_stands_beside_its_baseline() -> None:
    (block,) = blocks(["technique=[static-cache,bf16]", "hardware=cpu-1t"])
    assert [arm.label for arm in block.arms] == ["none", "static-cache+bf16"]
    assert [component.name for component in map(_component, block.arms[1].techniques)] == [
        "static-cache",
        "bf16",
    ]


def _component(technique: object) -> object:
    return technique.component()  # type: ignore[attr-defined]


def test_without_a_technique_there_is_the_baseline_alone() -> None:
    (block,) = blocks(["hardware=cpu-1t"])
    assert [arm.label for arm in block.arms] == ["none"]


def test_knobs_are_on_the_component() -> None:
    (block,) = blocks(
        ["technique=prompt-lookup", "technique.prompt-lookup.num_tokens=7", "hardware=cpu-1t"]
    )
    assert block.arms[1].techniques[0].component().params["num_tokens"] == 7


def test_a_knob_out_of_range_is_refused() -> None:
    knob = "technique.prompt-lookup.num_tokens"
    with pytest.raises(ConfigError, match="num_tokens"):
        blocks(["technique=prompt-lookup", f"{knob}=0", "hardware=cpu-1t"])
    with pytest.raises(ConfigError, match="wrong type"):
        blocks(["technique=prompt-lookup", f"{knob}=abc", "hardware=cpu-1t"])


def test_what_is_no_technique_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"technique\.nope is no technique"):
        blocks(["+technique.nope=1", "hardware=cpu-1t"])


def test_a_suite_that_lacks_a_part_says_which() -> None:
    with pytest.raises(ConfigError, match=r"suite.blocks\[0\] needs a value for 'arms'"):
        blocks(["suite={name: mine, blocks: [{workloads: [chat]}]}", "hardware=cpu-1t"])


def test_what_a_suite_sets_itself_cannot_be_overridden() -> None:
    with pytest.raises(ConfigError, match="sets backend itself"):
        blocks(["suite=quickstart", "backend=transformers"])


def test_a_suite_takes_the_model_and_the_procedure_of_the_command() -> None:
    torch, llama = blocks(
        ["suite=quickstart", "model=gemma3-270m", "procedure.rounds=2", "hardware=cpu-1t"]
    )
    assert torch.model.name == llama.model.name == "gemma3-270m"
    assert torch.procedure.rounds == 2


def test_a_model_id_alone_replaces_the_default_model() -> None:
    (block,) = blocks(["model.id=ORG/Some-Model", "hardware=cpu-1t"])
    assert block.model.name == "some-model"
    assert block.model.licence == "unknown"
