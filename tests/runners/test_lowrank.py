"""Two thin factors for a matrix: the nearest of their rank, of weights or of what they give."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch
from quantised_models import made_by

from leanboard.results.errors import ConfigError, UnsupportedError
from leanboard.runners.backends.base import Device, ModelFiles
from leanboard.runners.backends.torch_loading import TorchTarget, load_model
from leanboard.runners.backends.transformers import TransformersBackend
from leanboard.runners.making import made_folder
from leanboard.runners.techniques.activations import grams
from leanboard.runners.techniques.base import MadeTechnique
from leanboard.runners.techniques.lowrank.budget import rank_for
from leanboard.runners.techniques.lowrank.factors import (
    Factors,
    output_factors,
    svd_factors,
    two_linears,
)
from leanboard.runners.techniques.lowrank.maestro import Maestro
from leanboard.runners.techniques.lowrank.svd import Svd
from leanboard.runners.techniques.lowrank.whitened_svd import WhitenedSvd
from leanboard.runners.techniques.lowrank.whitening import cholesky
from leanboard.runners.techniques.quantization.int8_weight_only import Int8WeightOnly
from leanboard.runners.techniques.recovery.soft_prompt import SoftPrompt

CPU = Device(kind="cpu", threads=1, reference_dtype="float32")
IDS = torch.arange(3, 67).reshape(2, 32)
SHAPES = 2 * [(64, 64), (32, 64), (32, 64), (64, 64), (128, 64), (128, 64), (64, 128)]
"""Of the linear layers of the random Llama."""
UP = "model.layers.1.mlp.up_proj"
TEXT: dict[str, Any] = {"samples": 4, "tokens": 64}
BARELY_TRAINED: dict[str, Any] = {**TEXT, "steps": 1, "learning_rate": 1e-9}


def loaded(model: ModelFiles) -> TorchTarget:
    def read():
        return load_model(model, dtype="float32", device="cpu", attention="sdpa")

    return TorchTarget(model=read(), reload=read)


def facts(model: ModelFiles, techniques: list) -> dict[str, float]:
    list(TransformersBackend().make(model, techniques, CPU))
    with TransformersBackend().load(model, techniques, CPU) as engine:
        return {name: fact.value for name, fact in engine.facts().items()}


def product(factors: Factors, rank: int) -> torch.Tensor:
    down, up = factors
    return up[:rank].T @ down[:rank]


def inputs_and_weight() -> tuple[torch.Tensor, torch.Tensor]:
    """Return inputs (tokens, 8) that lie mostly in two directions, and a weight (12, 8)."""
    drawn = torch.Generator().manual_seed(0)
    spread = torch.randn(8, 8, generator=drawn) @ torch.diag(
        torch.tensor([9.0, 5, 1, 1, 1, 1, 1, 1])
    )
    return torch.randn(200, 8, generator=drawn) @ spread.T, torch.randn(12, 8, generator=drawn)


def output_error(inputs: torch.Tensor, weight: torch.Tensor, other: torch.Tensor) -> float:
    return float((inputs @ (weight - other).T).square().sum().sqrt())


def test_singular_values_by_hand():
    factors = svd_factors(torch.tensor([[0.0, 2.0, 0.0], [-5.0, 0.0, 0.0]]))
    assert torch.allclose(product(factors, 1), torch.tensor([[0.0, 0, 0], [-5, 0, 0]]), atol=1e-6)
    assert torch.allclose(product(factors, 2), torch.tensor([[0.0, 2, 0], [-5, 0, 0]]), atol=1e-6)


@pytest.mark.parametrize("rank", [1, 2, 3, 5, 7])
def test_whitened_factors_are_the_closed_form_and_the_best_for_the_output(rank: int):
    inputs, weight = inputs_and_weight()
    gram = inputs.T @ inputs / len(inputs)
    found = product(output_factors(weight, cholesky(gram)), rank)
    # U_r S_r V_rᵀ L⁻¹, with L of the same Gram matrix.
    lower = torch.linalg.cholesky(gram.double())
    left, values, right = torch.linalg.svd(weight.double() @ lower, full_matrices=False)
    closed = (left[:, :rank] * values[:rank]) @ right[:rank] @ torch.linalg.inv(lower)
    assert torch.allclose(found.double(), closed, atol=1e-4)
    # No rank can do better than the values that are left out, and plain factors do worse.
    least = float(values[rank:].square().sum().sqrt()) * len(inputs) ** 0.5
    error = output_error(inputs, weight, found)
    assert error == pytest.approx(least, rel=1e-3)
    assert error < 0.95 * output_error(inputs, weight, product(svd_factors(weight), rank))


def test_a_feature_without_input_costs_nothing():
    inputs, weight = inputs_and_weight()
    inputs[:, 3:] = 0
    factors = output_factors(weight, cholesky(inputs.T @ inputs / len(inputs)))
    assert output_error(inputs, weight, product(factors, 3)) < 1e-3 * float(
        (inputs @ weight.T).norm()
    )
    assert output_error(inputs, weight, product(svd_factors(weight), 3)) > 1


def test_what_is_not_finite_is_no_gram_matrix():
    with pytest.raises(UnsupportedError, match="not finite"):
        cholesky(torch.full((2, 2), torch.nan))


def test_two_linears_are_their_product_and_keep_the_bias():
    layer = torch.nn.Linear(8, 12)
    factors = svd_factors(layer.weight.detach())
    inputs = torch.arange(16.0).reshape(2, 8) / 16
    with torch.no_grad():
        assert torch.allclose(two_linears(layer, *factors)(inputs), layer(inputs), atol=1e-5)
    cut = two_linears(layer, factors[0][:2], factors[1][:2])
    assert [tuple(p.shape) for p in cut.parameters()] == [(2, 8), (12, 2), (12,)]


def test_ranks_are_the_largest_that_fit():
    assert rank_for(576, 576, 0.8) == 230
    assert rank_for(1536, 576, 0.5) == 209
    for rows, columns, kept in ((576, 192, 0.9), (64, 128, 0.3)):
        rank = rank_for(rows, columns, kept)
        assert rank * (rows + columns) <= kept * rows * columns < (rank + 1) * (rows + columns)
    with pytest.raises(UnsupportedError, match="Keep more"):
        rank_for(64, 64, 0.01)


def test_an_applied_layer_is_the_nearest_of_its_rank_and_bytes_follow(tiny_llama: ModelFiles):
    technique = Svd(kept=0.5)
    assert all(TransformersBackend().make(tiny_llama, [technique], CPU))
    target = loaded(tiny_llama)
    weight = target.model.model.layers[1].mlp.up_proj.weight.detach().clone()
    left, values, right = torch.linalg.svd(weight)
    rank = rank_for(128, 64, 0.5)
    target.made = made_folder(tiny_llama, [technique], "float32", CPU)
    with technique.apply(target), torch.no_grad():
        layer = target.model.model.layers[1].mlp.up_proj
        nearest = left[:, :rank] @ torch.diag(values[:rank]) @ right[:rank]
        assert torch.allclose(layer[1].weight @ layer[0].weight, nearest, atol=1e-4)


@pytest.mark.parametrize(
    ("technique", "whitened"),
    [
        (WhitenedSvd(kept=0.5, **TEXT), True),
        (Maestro(kept=0.5, whitened=True, **BARELY_TRAINED), True),
        (Maestro(kept=0.5, whitened=False, **BARELY_TRAINED), False),
    ],
)
def test_an_applied_layer_is_the_best_for_its_output_if_it_is_whitened_and_else_the_nearest(
    technique: MadeTechnique, whitened: bool, tiny_llama: ModelFiles, tmp_path: Path
) -> None:
    target = made_by(technique, tiny_llama, tmp_path)
    weight = target.model.get_submodule(UP).weight.detach().clone()
    lower = cholesky(grams(target.model, [UP], target.calibration(**TEXT, seed=0))[UP])
    rank = rank_for(128, 64, 0.5)
    best, nearest = (product(f, rank) for f in (output_factors(weight, lower), svd_factors(weight)))
    with technique.apply(target), torch.no_grad():
        down, up = target.model.get_submodule(UP)
        found = up.weight @ down.weight
    assert torch.allclose(found, best if whitened else nearest, atol=1e-4)
    assert not torch.allclose(found, nearest if whitened else best, atol=0.01)
    lost = [float(((weight - other).double() @ lower).norm()) for other in (best, nearest)]
    assert lost[0] < 0.95 * lost[1]


@pytest.mark.parametrize("technique", [Svd(kept=0.6), WhitenedSvd(kept=0.6, samples=4, tokens=64)])
def test_bytes_parameters_and_ranks_are_counted(technique, tiny_llama: ModelFiles):
    plain, found = facts(tiny_llama, []), facts(tiny_llama, [technique])
    ranks = [int(0.6 * rows * columns / (rows + columns)) for rows, columns in SHAPES]
    kept = sum(rank * sum(shape) for rank, shape in zip(ranks, SHAPES, strict=True))
    whole = sum(rows * columns for rows, columns in SHAPES)
    assert found["weight_bytes"] == plain["weight_bytes"] - 4 * (whole - kept)
    assert found["parameters_kept"] == plain["weight_bytes"] / 4 - whole + kept
    assert found["kept_share"] == kept / whole
    assert found["rank"] == sum(ranks) / len(ranks)


def test_what_is_made_serves_every_share(tiny_llama: ModelFiles):
    def folder(*techniques):
        return made_folder(tiny_llama, techniques, "float32", CPU)

    assert folder(Svd(kept=0.5)) == folder(Svd(kept=0.9))
    assert folder(WhitenedSvd(kept=0.5)) == folder(WhitenedSvd())
    assert folder(WhitenedSvd(seed=1)) != folder(WhitenedSvd())
    # What comes after is made for the share that it finds.
    assert folder(Svd(kept=0.5), SoftPrompt()) != folder(Svd(kept=0.9), SoftPrompt())


def test_factors_can_be_quantised_and_the_whole_model_comes_back(tiny_llama: ModelFiles):
    both = [Svd(kept=0.5), Int8WeightOnly()]
    alone = facts(tiny_llama, both[:1])
    assert facts(tiny_llama, both)["weight_bytes"] < alone["weight_bytes"]
    target = loaded(tiny_llama)
    with torch.no_grad():
        before = target.model(IDS).logits
        target.made = made_folder(tiny_llama, both[:1], "float32", CPU)
        with both[0].apply(target), both[1].apply(target):
            assert not torch.equal(target.model(IDS).logits, before)
        assert torch.equal(target.model(IDS).logits, before)


def test_quantised_weights_are_not_factorised(tiny_llama: ModelFiles):
    with pytest.raises(UnsupportedError, match="quantise"):
        list(TransformersBackend().make(tiny_llama, [Int8WeightOnly(), Svd()], CPU))


def test_more_bytes_are_nearer_the_model(tiny_llama: ModelFiles):
    def distance(technique) -> float:
        list(TransformersBackend().make(tiny_llama, [technique], CPU))
        with TransformersBackend().load(tiny_llama, [technique], CPU) as engine:
            # On what whitening is made for: it promises nothing of other text.
            ids = engine._target.calibration(4, 64, 0)
            found = engine._target.model(ids).logits.detach()
        return float((found - loaded(tiny_llama).model(ids).logits.detach()).norm())

    for cls in (Svd, lambda kept: WhitenedSvd(kept=kept, samples=16, tokens=64)):
        distances = [distance(cls(kept=kept)) for kept in (0.2, 0.6, 1.0)]
        assert distances == sorted(distances, reverse=True)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Svd(kept=0), "kept=0 must be above 0 and at most 1"),
        (lambda: Svd(kept=1.1), "kept=1.1 must be above 0 and at most 1"),
        (lambda: WhitenedSvd(kept=-1), "kept=-1 must be above 0"),
        (lambda: WhitenedSvd(samples=0), "samples=0 must be 1 or more"),
        (lambda: WhitenedSvd(tokens=1), "tokens=1 2 or more"),
    ],
)
def test_a_knob_out_of_range_is_refused(make, said: str):
    with pytest.raises(ConfigError, match=said):
        make()


def test_less_text_than_asked_for_is_unsupported(tiny_llama: ModelFiles):
    with pytest.raises(UnsupportedError, match="calibration text has"):
        list(TransformersBackend().make(tiny_llama, [WhitenedSvd(samples=10**4)], CPU))


@pytest.mark.parametrize("cls", [Svd, WhitenedSvd, Maestro, SoftPrompt])
def test_knobs_that_only_apply_reads_are_knobs(cls):
    assert cls.applied_knobs <= {field.name for field in dataclasses.fields(cls)}
    assert cls.applied_knobs == (frozenset() if cls is SoftPrompt else {"kept"})
