"""What the registry says of lm-eval's definitions, against these definitions themselves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lm_eval
import pytest
import yaml
from lm_eval.tasks import TaskManager

from leanboard.runners.accuracy.registry import GROUPS, OFFLINE

# One subject stands for all: their definitions differ in the subject's name only.
NAMES = [*sorted(n for n in OFFLINE if not n.startswith("mmlu_")), "mmlu_anatomy"]


def definition(name: str) -> dict[str, Any]:
    """Return lm-eval's YAML of a task with what it includes, functions left as names."""
    folder = Path(lm_eval.__file__).parent / "tasks" / OFFLINE[name].definition
    for path in sorted(folder.glob("*.yaml")):
        plain = read(path)
        if plain.get("task") == name:
            return plain
    raise AssertionError(f"no definition of {name} in {folder.name}")


class Loader(yaml.SafeLoader):
    pass


Loader.add_constructor("!function", lambda loader, node: loader.construct_scalar(node))


def read(path: Path) -> dict[str, Any]:
    plain: dict[str, Any] = yaml.load(path.read_text(), Loader)
    included = plain.pop("include", None)
    return (read(path.parent / included) if included else {}) | plain


@pytest.mark.parametrize("name", NAMES)
def test_a_task_is_scored_in_the_place_where_lm_eval_scores_it(name: str) -> None:
    """Which examples lm-eval draws depends on whether it scores a test split."""
    own = definition(name)
    scored_as = "test_split" if own.get("test_split") is not None else "validation_split"
    assert OFFLINE[name].scored_as == scored_as
    assert own[scored_as] in {*OFFLINE[name].splits, "test"}


@pytest.mark.parametrize("name", [n for n in NAMES if OFFLINE[n].examples is not None])
def test_examples_are_drawn_from_the_split_that_lm_eval_draws_from(name: str) -> None:
    own, examples = definition(name), OFFLINE[name].examples
    assert examples is not None
    assert (own.get("fewshot_split") or own["training_split"]) == examples.split


def test_a_group_holds_the_tasks_that_lm_eval_s_group_holds() -> None:
    folder = Path(lm_eval.__file__).parent / "tasks" / OFFLINE["mmlu_anatomy"].definition
    manager = TaskManager(include_defaults=False, include_path=folder)
    theirs = {name for name in manager.all_subtasks if name.startswith("mmlu_")}
    assert set(GROUPS["mmlu"].values()) == theirs
