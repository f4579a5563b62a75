"""From overrides to blocks: nothing is fetched, nothing runs."""

from dataclasses import replace

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


@pytest.mark.parametrize(
    ("knob", "given", "allowed"),
    [
        ("prompt-lookup.num_tokens", "abc", "a whole number"),
        ("rtn.bits", "4.5", "a whole number"),
        ("rtn.bits", "true", "a whole number"),
        ("rtn.group", "'64'", "a whole number, null"),
        ("drop-layers.layers", "2.5", "a whole number"),
        ("int8-weight-only.lm_head", "no", "true, false"),
        ("maestro.whitened", "off", "true, false"),
        ("maestro.whitened", "1", "true, false"),
        ("maestro.learning_rate", "inf", "a finite number"),
        ("bnb-nf4.fused", "maybe", "true, false, null"),
        ("cfsp.steepness", "nan", "a finite number"),
        ("cospadi.atoms_per_nonzero", "-inf", "a finite number"),
        ("cospadi.kept", "true", "a finite number"),
        ("mixed-hessian.max_kl", "nan", "a finite number"),
        ("mixed-hessian.max_kl", "1" + 400 * "0", "a finite number"),
        ("minifloat.format", "8", "text"),
    ],
)
def test_a_knob_of_the_wrong_type_says_what_it_can_be(knob: str, given: str, allowed: str):
    name = knob.partition(".")[0]
    with pytest.raises(ConfigError, match=rf"technique\.{knob} is .*; it can be: {allowed}\."):
        blocks([f"technique={name}", f"technique.{knob}={given}", "hardware=cpu-1t"])


@pytest.mark.parametrize(
    ("knob", "given", "kept"),
    [
        ("int8-weight-only.lm_head", "True", True),
        ("rtn.group", "null", None),
        ("bnb-nf4.fused", "null", None),
        ("cospadi.atoms_per_nonzero", "2", 2),
        ("heal.learning_rate", "1e-4", 0.0001),
    ],
)
def test_a_knob_takes_every_value_of_its_type(knob: str, given: str, kept: object):
    name, _, key = knob.partition(".")
    (block,) = blocks([f"technique={name}", f"technique.{knob}={given}", "hardware=cpu-1t"])
    assert block.arms[1].techniques[0].component().params[key] == kept


@pytest.mark.parametrize(
    ("knob", "given", "most"),
    [
        ("static-cache.max_cache_len", 10**9, 10**6),
        ("cospadi.rounds", 10**9, 10**6),
        ("rtn.bits", -(10**9), 10**6),
        ("mixed-ilp.seed", 2**64, 2**63 - 1),
    ],
)
def test_a_number_larger_than_anything_is_refused_before_it_is_used(
    knob: str, given: int, most: int
):
    name = knob.partition(".")[0]
    with pytest.raises(ConfigError, match=rf"technique\.{knob} is {given}; .* {most} at most\."):
        blocks([f"technique={name}", f"technique.{knob}={given}", "hardware=cpu-1t"])


def test_a_seed_may_be_as_large_as_generators_take():
    seed = f"technique.random-sharing.seed={2**63 - 1}"
    assert blocks(["technique=random-sharing", seed, "hardware=cpu-1t"])


def test_a_knob_that_came_later_is_in_the_component_where_it_is_set():
    def params(*set_: str) -> dict[str, object]:
        (block,) = blocks(["technique=mixed-ilp", *set_, "hardware=cpu-1t"])
        return dict(block.arms[1].techniques[0].component().params)

    assert "max_slowdown" not in params()
    assert params("technique.mixed-ilp.max_slowdown=2.5")["max_slowdown"] == 2.5


def test_a_knob_that_does_not_exist_is_refused():
    with pytest.raises(ConfigError, match=r"technique\.rtn has no key 'bit'; it has: bits, group"):
        blocks(["technique=rtn", "+technique.rtn.bit=3", "hardware=cpu-1t"])


@pytest.mark.parametrize(
    ("knob", "given"),
    [
        ("++technique.bf16.x", "{_target_: os.getcwd}"),
        ("++technique.bf16.x._target_", "os.getcwd"),
        ("++technique.bf16.x", "[{_target_: os.getcwd}]"),
    ],
)
def test_a_knob_is_a_value_and_nothing_to_call(knob: str, given: str):
    with pytest.raises(ConfigError, match=r"technique\.bf16\.x.* has a _target_"):
        blocks(["technique=bf16", f"{knob}={given}"])


def test_a_setting_of_the_backend_is_checked_as_a_knob_is():
    with pytest.raises(ConfigError, match=r"backend\.attention is 3; it can be: text\."):
        blocks(["backend.attention=3", "hardware=cpu-1t"])


def test_an_arm_of_a_suite_can_set_a_knob_to_null():
    arms = "[none, {technique: rtn, set: {rtn.group: null}, label: rows}]"
    (block,) = blocks(
        [f"suite={{name: mine, blocks: [{{workloads: [chat], arms: {arms}}}]}}", "hardware=cpu-1t"]
    )
    assert block.arms[1].techniques[0].component().params["group"] is None


def test_what_is_no_technique_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"technique\.nope is no technique"):
        blocks(["+technique.nope=1", "hardware=cpu-1t"])


def test_a_suite_that_lacks_a_part_says_which() -> None:
    with pytest.raises(ConfigError, match=r"suite.blocks\[0\] needs a value for 'arms'"):
        blocks(["suite={name: mine, blocks: [{workloads: [chat]}]}", "hardware=cpu-1t"])


def test_the_latency_suite_asks_for_a_hundred_requests_a_cell_and_three_batch_sizes() -> None:
    llama, torch = blocks(["suite=latency", "hardware=cpu-1t"])
    assert [arm.label for arm in llama.arms] == ["none", "gguf-q8_0", "gguf-q4_1"]
    assert [(w.name, w.batch_size) for w in llama.workloads] == [
        ("short", 1),
        ("short-b4", 4),
        ("short-b16", 16),
    ]
    assert [workload.name for workload in torch.workloads] == ["short"]
    for block in (llama, torch):
        assert block.procedure.rounds == 100
        assert block.procedure.max_rounds is None
        assert block.accuracy.sizes() == ()


def test_no_request_of_the_latency_suite_that_runs_alone_repeats_a_prompt() -> None:
    for block in blocks(["suite=latency", "hardware=cpu-1t"]):
        alone = [workload for workload in block.workloads if workload.batch_size == 1]
        assert alone
        assert all(workload.prompts >= block.procedure.rounds for workload in alone)


@pytest.mark.parametrize("batch_size", [4, 16])
def test_the_batch_axis_is_one_workload_whichever_way_it_is_asked_for(batch_size: int) -> None:
    (by_name,) = blocks([f"workload=short-b{batch_size}", "hardware=cpu-1t"])
    (by_knob,) = blocks(["workload=short", f"workload.batch_size={batch_size}", "hardware=cpu-1t"])
    assert by_name.workloads == (replace(by_knob.workloads[0], name=f"short-b{batch_size}"),)


@pytest.mark.parametrize(
    ("workloads", "arms", "twice"),
    [("[chat,chat]", "[none]", "workload 'chat'"), ("[chat]", "[none,bf16,bf16]", "arm 'bf16'")],
)
def test_a_suite_that_names_something_twice_in_a_block_is_refused(
    workloads: str, arms: str, twice: str
) -> None:
    suite = f"suite={{name: mine, blocks: [{{workloads: {workloads}, arms: {arms}}}]}}"
    with pytest.raises(ConfigError, match=f"names {twice} twice"):
        blocks([suite, "hardware=cpu-1t"])


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


def test_arms_that_are_only_scored_need_no_workload() -> None:
    (scored,) = blocks(["suite=instructions", "hardware=cpu-1t"])
    assert scored.workloads == ()
    assert {size.task for size in scored.accuracy.sizes()} == {"ifeval", "truthfulqa_mc2"}


def test_a_block_with_nothing_to_time_and_nothing_to_score_is_refused() -> None:
    with pytest.raises(ConfigError, match="a block needs a workload, or tasks or text to score"):
        blocks(["suite=instructions", "accuracy.tasks=[]", "hardware=cpu-1t"])


def test_a_block_starts_with_the_baseline() -> None:
    override = "suite.blocks=[{workloads: [chat], arms: [bf16]}]"
    with pytest.raises(ConfigError, match="the first arm of a block must be 'none'"):
        blocks(["suite=quickstart", override, "hardware=cpu-1t"])
