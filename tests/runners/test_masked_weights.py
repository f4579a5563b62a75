"""Masks: which weights become zero, and that nothing is claimed for it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from changed_models import CPU, changed, divergence, prepared

from leanboard.results.errors import ConfigError, UnsupportedError
from leanboard.runners.backends.base import ModelFiles
from leanboard.runners.backends.transformers import TransformersBackend
from leanboard.runners.techniques.activations import column_norms
from leanboard.runners.techniques.pruning.mask_weights import MaskWeights
from leanboard.runners.techniques.pruning.masks import keep_mask
from leanboard.runners.techniques.pruning.prune_width import PruneWidth
from leanboard.runners.techniques.pruning.wanda import Wanda, wanda_scores
from leanboard.runners.techniques.quantization.int8_weight_only import Int8WeightOnly
from leanboard.runners.techniques.replacing import body_linears

SMALL = {"samples": 4, "tokens": 32}


def uneven_inputs(model) -> None:
    """Make half of the input features large and their weights small by as much.

    The model computes what it did before: a size that is made up for.
    """
    for layer in model.model.layers:
        for norm, parts in (
            (layer.input_layernorm, [getattr(layer.self_attn, f"{p}_proj") for p in "qkv"]),
            (layer.post_attention_layernorm, [layer.mlp.gate_proj, layer.mlp.up_proj]),
        ):
            norm.weight[::2] *= 100.0
            for part in parts:
                part.weight[:, ::2] /= 100.0


def test_wanda_scores_are_sizes_times_input_norms():
    weight = torch.tensor([[1.0, -2.0], [0.0, 4.0]])
    assert wanda_scores(weight, torch.tensor([3.0, 0.5])).tolist() == [[3.0, 1.0], [0.0, 2.0]]


def test_a_row_keeps_its_highest_whatever_other_rows_have():
    scores = torch.tensor([[1.0, 2.0, 3.0, 4.0], [40.0, 30.0, 20.0, 10.0]])
    keep = keep_mask(scores, 0.5, "row")
    assert keep.tolist() == [[False, False, True, True], [True, True, False, False]]
    assert keep_mask(scores, 0.3, "row").sum(dim=1).tolist() == [3, 3]


def test_a_pattern_keeps_half_of_each_group():
    scores = torch.tensor([[9.0, 8.0, 7.0, 6.0, 1.0, 4.0, 3.0, 2.0]])
    assert keep_mask(scores, 0.5, "2:4").int().tolist() == [[1, 1, 0, 0, 0, 1, 1, 0]]
    assert keep_mask(scores, 0.5, "4:8").int().tolist() == [[1, 1, 1, 1, 0, 0, 0, 0]]


def test_rows_that_do_not_divide_into_groups_are_unsupported():
    with pytest.raises(UnsupportedError, match="Rows of 6 weights do not divide into groups of 4"):
        keep_mask(torch.ones(2, 6), 0.5, "2:4")


@pytest.mark.parametrize("pattern", ["row", "2:4", "4:8"])
@pytest.mark.parametrize("kind", [Wanda, MaskWeights])
def test_half_of_every_row_is_zero_and_stays_stored(kind, pattern: str, tiny_llama: ModelFiles):
    technique = kind(pattern=pattern, **(SMALL if kind is Wanda else {}))
    prepared(tiny_llama, [technique])
    with TransformersBackend().load(tiny_llama, [], CPU) as engine:
        plain = engine.facts()["weight_bytes"]
    with TransformersBackend().load(tiny_llama, [technique], CPU) as engine:
        model = engine._target.model
        for name in body_linears(model):
            zeros = model.get_submodule(name).weight == 0
            assert (zeros.sum(dim=1) == zeros.shape[1] // 2).all()
            if pattern != "row":
                groups = zeros.reshape(len(zeros), -1, int(pattern[-1]))
                assert (groups.sum(dim=-1) == groups.shape[-1] // 2).all()
        assert engine.facts()["weight_bytes"] == plain
        assert engine.facts()["kept_share"].value == 0.5
        assert "parameters_kept" not in engine.facts()
    assert {"weight_bytes", "tpot_s", "ttft_s"} <= technique.simulates


def kept_share(model: ModelFiles, *techniques) -> float:
    prepared(model, techniques)
    with TransformersBackend().load(model, techniques, CPU) as engine:
        return engine.facts()["kept_share"].value


def test_two_masks_keep_what_both_keep(tiny_llama: ModelFiles):
    half, quarter = MaskWeights(sparsity=0.5), MaskWeights(sparsity=0.75)
    # The smallest half of a row is among its smallest three quarters.
    assert kept_share(tiny_llama, half, quarter) == 0.25
    assert kept_share(tiny_llama, quarter, half) == 0.25
    assert kept_share(tiny_llama, half, half) == 0.5


def test_a_mask_of_what_pruning_left_keeps_a_share_of_it(tiny_llama: ModelFiles):
    assert kept_share(tiny_llama, PruneWidth(ratio=0.25), MaskWeights(sparsity=0.5)) == 0.375
    assert kept_share(tiny_llama, MaskWeights(sparsity=0.5), PruneWidth(ratio=0.25)) == 0.375


def test_wanda_weighs_each_layer_by_what_the_masked_layers_before_it_feed(tiny_llama: ModelFiles):
    technique = Wanda(**SMALL, seed=2)
    prepared(tiny_llama, [technique])
    with TransformersBackend().load(tiny_llama, [], CPU) as engine:
        model = engine._target.model
        whole = {n: model.get_submodule(n).weight.clone() for n in body_linears(model)}
        ids = engine._target.calibration(4, 32, 2)
    with TransformersBackend().load(tiny_llama, [technique], CPU) as engine:
        model = engine._target.model
        norms = column_norms(model, list(whole), ids)
        for name, weight in whole.items():
            order = (weight.abs() * norms[name]).argsort(dim=1)
            half = order[:, weight.shape[1] // 2 :].sort(dim=1).values
            kept = (model.get_submodule(name).weight != 0).nonzero()[:, 1].reshape(half.shape)
            # Sums are not taken in the same order: a tie may fall otherwise.
            assert (kept != half).float().mean() < 0.01


def test_wanda_beats_magnitude_and_random_where_small_weights_meet_large_inputs(
    tiny_llama: ModelFiles, tmp_path: Path
):
    model = changed(tiny_llama, tmp_path, uneven_inputs)
    found = divergence(model, Wanda(**SMALL))
    assert found < 0.8 * divergence(model, MaskWeights())
    assert found < 0.8 * divergence(model, MaskWeights(criterion="random"))


def test_the_random_mask_follows_its_seed(tiny_llama: ModelFiles):
    masks = []
    for seed in (0, 0, 1):
        technique = MaskWeights(criterion="random", seed=seed)
        with TransformersBackend().load(tiny_llama, [technique], CPU) as engine:
            masks.append(engine._target.model.model.layers[0].mlp.up_proj.weight.clone())
    assert torch.equal(masks[0], masks[1])
    assert not torch.equal(masks[0], masks[2])


def test_masks_after_a_quantiser_say_in_which_order(tiny_llama: ModelFiles):
    with (
        pytest.raises(UnsupportedError, match="name what quantises after all that changes weights"),
        TransformersBackend().load(tiny_llama, [Int8WeightOnly(), MaskWeights()], CPU),
    ):
        pytest.fail("it loaded")


@pytest.mark.parametrize(
    ("make", "allowed"),
    [
        (lambda: Wanda(sparsity=0), "above 0 and below 1"),
        (lambda: Wanda(sparsity=0.6, pattern="2:4"), "sparsity=0.6 must be 0.5"),
        (lambda: Wanda(pattern="1:4"), "choose row, 2:4, 4:8"),
        (lambda: Wanda(samples=0), "samples=0 and tokens=128 must be 1 or more"),
        (lambda: MaskWeights(criterion="wanda"), "choose magnitude, random"),
        (lambda: MaskWeights(sparsity=1.0), "above 0 and below 1"),
    ],
)
def test_a_knob_out_of_range_names_what_is_allowed(make, allowed: str):
    with pytest.raises(ConfigError, match=allowed):
        make()
