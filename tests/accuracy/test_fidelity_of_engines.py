"""Predictions of both backends against their own, each other's and those of a rounded model."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from llama_gguf import with_gguf

from leanboard.metrics.fidelity import fidelity_comparisons
from leanboard.metrics.lossless import Parting
from leanboard.metrics.trace import AnswerObservation
from leanboard.runners.accuracy.fidelity import tie_gaps
from leanboard.runners.accuracy.rolling import TextTask, prepare_text
from leanboard.runners.accuracy.score import score
from leanboard.runners.accuracy.settings import TextConfig
from leanboard.runners.accuracy.tasks import BaselinePredictions
from leanboard.runners.backends.base import Device, Engine, ModelFiles, Span, in_order
from leanboard.runners.backends.llamacpp import LlamaCppBackend
from leanboard.runners.backends.transformers import TransformersBackend
from leanboard.runners.passages import Passage, Pool
from leanboard.runners.techniques.formats.bf16 import BFloat16

CPU = Device("cpu", 1, "float32")
PASSAGES = tuple(Passage("", f"The {n} small cats sat down.") for n in range(30))
POOL = Pool(PASSAGES, "0" * 64, "made")


@pytest.fixture(scope="module")
def task() -> TextTask:
    return prepare_text(TextConfig("made", bytes=600, window_bytes=90), POOL)


@pytest.fixture(scope="module")
def model(tiny_llama: ModelFiles, tmp_path_factory: pytest.TempPathFactory) -> ModelFiles:
    return with_gguf(tiny_llama, tmp_path_factory.mktemp("fidelity-gguf"))


@pytest.fixture(scope="module")
def torch_engine(model: ModelFiles) -> Iterator[Engine]:
    with TransformersBackend().load(model, [], CPU) as engine:
        yield engine


@pytest.fixture(scope="module")
def llama_engine(model: ModelFiles) -> Iterator[Engine]:
    with LlamaCppBackend().load(model, [], CPU) as engine:
        yield engine


@pytest.fixture(params=["torch_engine", "llama_engine"])
def engine(request: pytest.FixtureRequest) -> Engine:
    found: Engine = request.getfixturevalue(request.param)
    return found


def against(task: TextTask, engine: Engine, path: Path) -> tuple[AnswerObservation, float]:
    reading = BaselinePredictions(against=path)
    observation = score(task, engine, baseline=reading)
    assert reading.reason is None
    return observation, reading.facts["kl_error"].value


def test_an_engine_predicts_again_what_it_predicted(
    task: TextTask, engine: Engine, tmp_path: Path
) -> None:
    path = tmp_path / "reference.npz"
    baseline = score(task, engine, baseline=BaselinePredictions(keep=path))
    again, error = against(task, engine, path)
    assert error == 0.0
    kl, top1 = fidelity_comparisons(again, baseline)
    assert (kl.value, top1.value) == (0.0, 1.0)


def test_predictions_score_a_text_as_log_likelihoods_do(
    task: TextTask, engine: Engine, tmp_path: Path
) -> None:
    beside = score(task, engine, baseline=BaselinePredictions(keep=tmp_path / "reference.npz"))
    plain = score(task, engine)
    for one, other in zip(beside.answers, plain.answers, strict=True):
        assert one.loglikelihoods == pytest.approx(other.loglikelihoods, abs=1e-3)


def test_the_same_weights_in_another_library_are_near_and_rounded_ones_are_further(
    task: TextTask, model: ModelFiles, torch_engine: Engine, llama_engine: Engine, tmp_path: Path
) -> None:
    path = tmp_path / "reference.npz"
    baseline = score(task, torch_engine, baseline=BaselinePredictions(keep=path))
    near, _ = against(task, llama_engine, path)
    with TransformersBackend().load(model, [BFloat16()], CPU) as rounded:
        far, _ = against(task, rounded, path)
    same, other = (fidelity_comparisons(arm, baseline)[0].value for arm in (near, far))
    assert same is not None
    assert other is not None
    # llama.cpp attends in half precision: its log-probabilities are torch's within 0.02.
    assert 0 < same < 0.02**2 / 2
    assert other > 100 * same


def test_a_tie_is_judged_by_the_engines_own_log_probabilities(engine: Engine) -> None:
    prompt, common = "The small cats", engine.encode(" sat")
    context = engine.encode(prompt) + common
    parting = Parting("p", common, baseline_token=5, candidate_token=9)
    gap = tie_gaps(engine, [parting], {"p": prompt})[parting]
    spans = [Span(context, (token,)) for token in (5, 9)]
    theirs, ours = (found.loglikelihood for found in in_order(engine.loglikelihood(spans)))
    assert gap == pytest.approx(theirs - ours, abs=1e-3)
    assert abs(gap) > 1e-3
