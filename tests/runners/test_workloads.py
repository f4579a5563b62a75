"""Workloads: what each round asks of every arm."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from leanboard import suites
from leanboard.results.errors import ConfigError
from leanboard.runners.prompts import Prompt, PromptSet
from leanboard.runners.workloads import WorkloadConfig, identity, requests

FOLDER = Path(suites.__path__[0]) / "workload"
CHAT = WorkloadConfig("chat", 128, 32, 1, 3, 0)
TURNS = WorkloadConfig("turns", 64, 16, 1, 4, 0, shapes=((64, 8), (32, 16)))


def prompt_set(timed: int, warmups: int) -> PromptSet:
    return PromptSet(
        prompts=tuple(Prompt(f"p{i}", f"text {i}") for i in range(timed)),
        warmups=tuple(Prompt(f"w{i}", f"warm {i}") for i in range(warmups)),
        sha256="c" * 64,
        source="local",
    )


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_workload_of_the_menu_can_be_built(path: Path) -> None:
    config = WorkloadConfig(**yaml.safe_load(path.read_text()))
    assert config.name == path.stem


def test_no_single_request_of_the_full_suite_repeats_a_prompt_before_the_first_look() -> None:
    suite = yaml.safe_load((FOLDER.parent / "suite" / "full.yaml").read_text())["suite"]
    rounds = yaml.safe_load((FOLDER.parent / "procedure" / "full.yaml").read_text())["rounds"]
    names = {name for block in suite["blocks"] for name in block["workloads"]}
    configs = [WorkloadConfig(**yaml.safe_load((FOLDER / f"{n}.yaml").read_text())) for n in names]
    single = {config.name: config.prompts for config in configs if config.batch_size == 1}
    assert single
    assert all(prompts >= rounds for prompts in single.values()), single


def test_each_round_takes_the_next_prompts_and_starts_over() -> None:
    prompts = prompt_set(3, 2)
    ids = [requests(prompts, CHAT, n, warmup=False)[0].prompt_id for n in range(5)]
    assert ids == ["p0", "p1", "p2", "p0", "p1"]


def test_warm_ups_have_prompts_of_their_own() -> None:
    prompts = prompt_set(3, 2)
    ids = [requests(prompts, CHAT, n, warmup=True)[0].prompt_id for n in range(3)]
    assert ids == ["w0", "w1", "w0"]


def test_a_batch_holds_distinct_prompts_of_the_fixed_output_length() -> None:
    batched = replace(CHAT, batch_size=2, prompts=4)
    batch = requests(prompt_set(4, 4), batched, 3, warmup=False)
    assert [r.prompt_id for r in batch] == ["p2", "p3"]
    assert [r.text for r in batch] == ["text 2", "text 3"]
    assert {r.output_tokens for r in batch} == {32}


def test_warm_ups_fill_two_batches() -> None:
    assert replace(CHAT, batch_size=8, prompts=16).warmup_prompts == 16


def test_the_record_says_which_prompts_and_that_the_length_is_fixed() -> None:
    workload = identity(CHAT, prompt_set(3, 2))
    assert workload.prompts_hash == "c" * 64
    assert workload.output_length == "fixed"
    assert (workload.prompt_tokens, workload.output_tokens, workload.prompts) == (128, 32, 3)


@pytest.mark.parametrize("key", ["prompt_tokens", "output_tokens", "batch_size", "prompts"])
@pytest.mark.parametrize("value", [0, -1, 1.5, "many", None, True])
def test_a_value_that_does_not_fit_is_named(key: str, value: object) -> None:
    plain = {"name": "x", "prompt_tokens": 8, "output_tokens": 8, "batch_size": 1, "prompts": 1}
    with pytest.raises(ConfigError, match=f"workload.{key} is"):
        WorkloadConfig(**{**plain, "seed": 0, key: value})


def test_prompts_must_fill_whole_batches() -> None:
    with pytest.raises(ConfigError, match=r"Try workload\.prompts=16"):
        replace(CHAT, batch_size=8, prompts=12)


def test_rounds_take_the_shapes_in_turn_also_when_prompts_start_over() -> None:
    prompts = prompt_set(4, 2)
    rounds = [requests(prompts, TURNS, n, warmup=False)[0] for n in range(6)]
    assert [r.prompt_id for r in rounds] == ["p0", "p1", "p2", "p3", "p0", "p1"]
    assert [r.output_tokens for r in rounds] == [8, 16, 8, 16, 8, 16]
    assert [TURNS.shape(n)[0] for n in range(3)] == [64, 32, 64]


def test_warm_ups_of_shapes_are_as_long_as_the_longest() -> None:
    warm = [requests(prompt_set(4, 2), TURNS, n, warmup=True)[0] for n in range(2)]
    assert [r.output_tokens for r in warm] == [16, 16]


def test_shapes_of_a_yaml_become_the_record_s() -> None:
    plain = {"prompt_tokens": 64, "output_tokens": 16, "batch_size": 1, "prompts": 4, "seed": 0}
    config = WorkloadConfig("turns", **plain, shapes=[[64, 8], [32, 16]])  # type: ignore[arg-type]
    assert config == TURNS
    assert identity(config, prompt_set(4, 2)).shapes == ((64, 8), (32, 16))


def test_a_workload_without_shapes_keeps_its_identity() -> None:
    plain = identity(CHAT, prompt_set(3, 2)).model_dump(mode="json", exclude_defaults=True)
    assert "shapes" not in plain


@pytest.mark.parametrize(
    "shapes", [None, "64,16", [64, 16], [[64]], [[64, 0]], [[64, 1.5]], [[64, True]], [["64", 16]]]
)
def test_shapes_that_are_no_pairs_of_whole_numbers_are_refused(shapes: object) -> None:
    with pytest.raises(ConfigError, match=r"workload\.shapes is .*must be a list of"):
        replace(CHAT, shapes=shapes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"prompt_tokens": 128}, r"workload\.prompt_tokens is 128; .* their largest: 64"),
        ({"output_tokens": 8}, r"workload\.output_tokens is 8; .* their largest: 16"),
        ({"prompts": 3}, r"workload\.prompts is 3; .* a multiple of 2"),
    ],
)
def test_sizes_that_do_not_fit_the_shapes_are_named(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        replace(TURNS, **changes)
