"""GPTQ against the definition, against rounding to the nearest, and as a technique."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from quantised_models import divergence_of, logits_of, made_by, target_of

from leanboard.results.errors import ConfigError, UnsupportedError
from leanboard.runners.backends.base import ModelFiles
from leanboard.runners.techniques.activations import grams
from leanboard.runners.techniques.quantization.gptq import Gptq
from leanboard.runners.techniques.quantization.gptq_rounding import (
    gptq,
    gptq_layers,
    inverse_factor,
)
from leanboard.runners.techniques.quantization.grid import Grid
from leanboard.runners.techniques.quantization.packed import unpack
from leanboard.runners.techniques.quantization.rtn import Rtn

IDS = torch.arange(5, 101).reshape(4, 24)
SMALL = {"samples": 4, "tokens": 64}


def drawn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def correlated(columns: int, seed: int = 0) -> torch.Tensor:
    """Return inputs that are all but mixtures of a few features, (tokens, columns)."""
    mixed = drawn(2000, columns // 8, seed=seed) @ drawn(columns // 8, columns, seed=seed + 1)
    return mixed + 0.1 * drawn(2000, columns, seed=seed + 2)


def output_error(inputs: torch.Tensor, weight: torch.Tensor, rounded: torch.Tensor) -> float:
    return float((inputs @ (weight - rounded).T).square().mean())


def brain_surgeon(weight: torch.Tensor, gram: torch.Tensor, grid: Grid, damp: float):
    """Round column by column with the full inverse Hessian, downdated at each (float64)."""
    work = weight.double().clone()
    scale, zero = (part.double() for part in grid.fit(weight))
    hessian = gram.double()
    inverse = torch.linalg.inv(hessian + damp * hessian.diagonal().mean() * torch.eye(len(gram)))
    levels = torch.empty_like(work)
    for column in range(work.shape[1]):
        level = (work[:, column] / scale[:, 0] + zero[:, 0]).round().clamp(0, grid.top)
        error = work[:, column] - (level - zero[:, 0]) * scale[:, 0]
        work -= torch.outer(error, inverse[column] / inverse[column, column])
        inverse = (
            inverse - torch.outer(inverse[:, column], inverse[column]) / (inverse[column, column])
        )
        levels[:, column] = level
    return levels


def test_the_factor_is_that_of_the_damped_inverse():
    inputs = correlated(32)
    gram = inputs.T @ inputs / len(inputs)
    damped = gram + 0.01 * gram.diagonal().mean() * torch.eye(32)
    factor = inverse_factor(gram, 0.01)
    assert torch.equal(factor, factor.triu())
    torch.testing.assert_close(factor.T @ factor @ damped, torch.eye(32), atol=2e-3, rtol=0)


@pytest.mark.parametrize("act_order", [False, True])
def test_it_rounds_as_the_optimal_brain_surgeon_does_column_by_column(act_order: bool) -> None:
    weight, inputs = drawn(6, 160), correlated(160)
    gram = inputs.T @ inputs / len(inputs)
    grid = Grid(bits=4, group=None, scales="float32")
    packed = gptq("layer", weight, gram, grid, damp=0.05, act_order=act_order)
    levels = unpack(packed.levels, 4, 6 * 160).view(6, 160)
    order = gram.diagonal().argsort(descending=True) if act_order else torch.arange(160)
    expected = brain_surgeon(weight[:, order], gram[order][:, order], grid, damp=0.05)
    assert (levels[:, order] == expected).float().mean() > 0.99


@pytest.mark.parametrize("act_order", [False, True])
@pytest.mark.parametrize("bits", [2, 3, 4])
def test_outputs_of_correlated_inputs_change_less_than_with_the_nearest(bits: int, act_order: bool):
    weight, inputs = drawn(24, 128), correlated(128)
    gram = inputs.T @ inputs / len(inputs)
    grid = Grid(bits, group=32)
    packed = gptq("layer", weight, gram, grid, damp=0.01, act_order=act_order)
    nearest = grid.rounded("layer", weight)
    ours = output_error(inputs, weight, packed.expanded())
    assert ours < 0.5 * output_error(inputs, weight, nearest)
    assert packed.stored_bytes() == grid.nearest("layer", weight).stored_bytes()


@pytest.mark.parametrize("act_order", [False, True])
def test_inputs_without_correlation_leave_the_nearest(act_order: bool):
    weight = drawn(24, 128)
    variances = torch.diag(drawn(128, seed=3).square() + 0.1)
    grid = Grid(3, group=32)
    packed = gptq("layer", weight, variances, grid, damp=0.01, act_order=act_order)
    assert torch.equal(packed.expanded(), grid.rounded("layer", weight))


def test_a_feature_that_is_always_zero_is_rounded_by_itself():
    weight, inputs = drawn(8, 64), correlated(64)
    inputs[:, 5] = 0
    gram = inputs.T @ inputs / len(inputs)
    grid = Grid(4, group=None)
    packed = gptq("layer", weight, gram, grid, damp=0.01, act_order=False)
    rounded = packed.expanded()
    assert torch.isfinite(rounded).all()
    assert torch.equal(rounded[:, 5], grid.rounded("layer", weight)[:, 5])


def test_a_hessian_without_an_inverse_is_unsupported():
    with pytest.raises(UnsupportedError, match=r"damp=0.01: raise damp"):
        inverse_factor(-torch.eye(4), 0.01)


def test_layers_are_calibrated_after_the_quantised_ones_before(tiny_llama: ModelFiles):
    model, other = target_of(tiny_llama).model, target_of(tiny_llama).model
    names = [f"model.layers.{layer}.mlp.{part}" for layer in (0, 1) for part in ("up_proj",)]
    grid = Grid(2, 32)
    found = dict(gptq_layers(model, IDS, dict.fromkeys(names, grid), damp=0.01, act_order=False))
    early, late = names
    untouched = grams(other, [late], IDS)[late]
    other.get_submodule(early).weight.data = found[early].expanded()
    after = grams(other, [late], IDS)[late]
    weight = other.get_submodule(late).weight
    expected = gptq("layer", weight, after, grid, damp=0.01, act_order=False)
    naive = gptq("layer", weight, untouched, grid, damp=0.01, act_order=False)
    ours = found[late].expanded()
    assert (ours != expected.expanded()).float().mean() < 0.01
    assert (ours != naive.expanded()).float().mean() > 0.01


def test_a_layer_outside_of_the_stack_is_unsupported(tiny_llama: ModelFiles):
    model = target_of(tiny_llama).model
    with pytest.raises(UnsupportedError, match="lm_head lies outside"):
        list(gptq_layers(model, IDS, {"lm_head": Grid(4, 64)}, damp=0.01, act_order=False))


def test_predictions_diverge_less_than_with_the_nearest(tiny_llama: ModelFiles, tmp_path: Path):
    technique = Gptq(bits=3, samples=16, tokens=128)
    target = made_by(technique, tiny_llama, tmp_path / "gptq")
    plain, nearest = target_of(tiny_llama).model, target_of(tiny_llama)
    ids = target.calibration(8, 128, seed=7)
    with Rtn(bits=3).apply(nearest):
        control = divergence_of(plain, nearest.model, ids)
        bits = nearest.facts["weight_bits"]
    with technique.apply(target):
        assert divergence_of(plain, target.model, ids) < control
        assert target.facts["weight_bits"] == bits


def test_what_is_applied_is_what_calibration_left(tiny_llama: ModelFiles, tmp_path: Path):
    technique = Gptq(**SMALL)
    making = target_of(tiny_llama)
    lines = list(technique.make(making, tmp_path))
    assert len(lines) == 14
    target = target_of(tiny_llama)
    target.made = tmp_path
    with technique.apply(target):
        torch.testing.assert_close(logits_of(target.model, IDS), logits_of(making.model, IDS))


def test_the_same_seed_makes_the_same_bytes(tiny_llama: ModelFiles, tmp_path: Path):
    made = {}
    for name, seed in (("first", 0), ("again", 0), ("other", 1)):
        made_by(Gptq(**SMALL, seed=seed), tiny_llama, tmp_path / name)
        made[name] = (tmp_path / name / "packed.safetensors").read_bytes()
    assert made["first"] == made["again"]
    assert made["first"] != made["other"]


def test_the_order_of_columns_and_the_damping_change_what_is_made(
    tiny_llama: ModelFiles, tmp_path: Path
) -> None:
    knobs = {"plain": {}, "ordered": {"act_order": True}, "damped": {"damp": 0.3}}
    for name, chosen in knobs.items():
        made_by(Gptq(**SMALL, **chosen), tiny_llama, tmp_path / name)
    made = {(tmp_path / name / "packed.safetensors").read_bytes() for name in knobs}
    assert len(made) == 3


def test_what_was_not_made_or_made_for_another_model_is_unsupported(
    tiny_llama: ModelFiles, tmp_path: Path
):
    technique = Gptq(**SMALL)
    target = made_by(technique, tiny_llama, tmp_path / "gptq")
    target.model.model.layers[1].mlp = torch.nn.Identity()
    with (
        pytest.raises(UnsupportedError, match=r"model.layers.1.mlp.down_proj"),
        technique.apply(target),
    ):
        pytest.fail("it was applied")
    target.made = None
    with pytest.raises(UnsupportedError, match="were not made"), technique.apply(target):
        pytest.fail("it was applied")


def test_too_little_text_is_unsupported(tiny_llama: ModelFiles, tmp_path: Path):
    with pytest.raises(UnsupportedError, match="Ask for fewer"):
        list(Gptq(samples=100_000).make(target_of(tiny_llama), tmp_path))


@pytest.mark.parametrize(
    ("knobs", "message"),
    [
        ({"bits": 1}, "bits=1 must be 2 to 8"),
        ({"damp": 0.0}, r"damp=0.0 must be above 0 and below 1"),
        ({"samples": 0}, "samples=0 and tokens=512 must be 1 or more each"),
    ],
)
def test_a_bad_knob_of_gptq_names_what_is_allowed(knobs, message: str):
    with pytest.raises(ConfigError, match=message):
        Gptq(**knobs)
