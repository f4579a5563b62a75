"""Removing MLP neurons: which ones, how many, and that the matrices are really smaller."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from changed_models import CPU, IDS, changed, divergence, logits, prepared

from leanboard.results.errors import ConfigError, UnsupportedError
from leanboard.runners.backends.base import ModelFiles
from leanboard.runners.backends.transformers import TransformersBackend
from leanboard.runners.techniques.base import Technique
from leanboard.runners.techniques.pruning.cfsp import Cfsp, coarse, fine, mean_angle, shared
from leanboard.runners.techniques.pruning.neurons import gated_mlps, highest, width_left
from leanboard.runners.techniques.pruning.prune_width import PruneWidth, magnitude, maw
from leanboard.runners.techniques.quantization.int8_weight_only import Int8WeightOnly

NEURON = 3 * 64
"""Weights of a neuron of the random Llama."""
HALF = slice(0, 64)
"""Neurons that the planted examples leave without effect; the other 64 of 128 matter."""


def facts(model: ModelFiles, *techniques: Technique) -> dict[str, float]:
    prepared(model, techniques)
    with TransformersBackend().load(model, list(techniques), CPU) as engine:
        return {name: fact.value for name, fact in engine.facts().items()}


def planted(model: ModelFiles, folder: Path, plant) -> ModelFiles:
    """Return the model with a function run on every MLP."""
    return changed(model, folder, lambda m: [plant(layer.mlp) for layer in m.model.layers])


def flat_without_effect(mlp) -> None:
    """Let half of the neurons have many middling weights and no output, the others one large."""
    signs = torch.tensor([1.0, -1.0]).repeat(32)
    for part in (mlp.gate_proj, mlp.up_proj):
        part.weight[HALF] = 0.4 * signs
        part.weight[64:] = 2.0 * torch.eye(64)
    mlp.down_proj.weight[:, HALF] = 1e-4


def large_but_silent(mlp) -> None:
    """Let half of the neurons have large weights and a gate that is always shut."""
    mlp.gate_proj.weight[HALF] = 0.0
    mlp.up_proj.weight[HALF] *= 5.0
    mlp.down_proj.weight[:, HALF] *= 5.0


def test_maximum_absolute_weight_is_the_reach_of_the_gate_row_and_of_the_up_row():
    gate = torch.tensor([[1.0, -3.0], [0.5, 0.25], [-1.0, -2.0]])
    up = torch.tensor([[2.0, 0.0], [0.0, 0.0], [1.0, 1.0]])
    # Highest plus absolute lowest: (1 + 3) + (2 + 0), (0.5 + 0.25) + 0, (-1 + 2) + (1 + 1).
    assert maw(gate, up, torch.zeros(2, 3)).tolist() == [6.0, 0.75, 3.0]


def test_magnitude_is_the_norm_over_all_three_matrices():
    gate, up = torch.tensor([[2.0, 1.0], [0.0, 0.0]]), torch.tensor([[0.0, 2.0], [3.0, 0.0]])
    down = torch.tensor([[4.0, 0.0], [0.0, 4.0]])
    assert magnitude(gate, up, down).tolist() == [5.0, 5.0]


@pytest.mark.parametrize(
    ("neurons", "ratio", "multiple_of", "left"),
    [(1536, 0.1, 32, 1376), (1536, 0.5, 32, 768), (1536, 0.1, 1, 1382), (128, 0.99, 32, 32)],
)
def test_the_width_left_is_the_nearest_multiple(neurons, ratio, multiple_of, left):
    assert width_left(neurons, ratio, multiple_of) == left


def test_a_ratio_that_removes_nothing_is_unsupported():
    with pytest.raises(UnsupportedError, match="removes none of 128 neurons"):
        width_left(128, 0.05, 32)


def test_the_places_of_the_highest_scores_come_in_order_and_of_equal_ones_the_first():
    assert highest(torch.tensor([1.0, 5.0, 1.0, 9.0]), 3).tolist() == [0, 1, 3]


@pytest.mark.parametrize("criterion", ["maw", "magnitude", "random"])
def test_a_narrower_mlp_answers_as_one_whose_other_neurons_are_cut_off(
    criterion: str, tiny_llama: ModelFiles, tmp_path: Path
):
    technique = PruneWidth(ratio=0.5, criterion=criterion)
    with TransformersBackend().load(tiny_llama, [technique], CPU) as engine:
        kept = [layer.mlp.down_proj.weight.clone() for layer in engine._target.model.model.layers]
        with torch.no_grad():
            found = engine._target.model(IDS).logits
    with TransformersBackend().load(tiny_llama, [], CPU) as engine, torch.no_grad():
        for layer, columns in zip(engine._target.model.model.layers, kept, strict=True):
            down = layer.mlp.down_proj.weight
            stays = (down[:, :, None] == columns[:, None, :]).all(dim=0).any(dim=1)
            assert int(stays.sum()) == 64
            down[:, ~stays] = 0
        assert torch.allclose(engine._target.model(IDS).logits, found, atol=1e-4)


def test_removed_neurons_are_bytes_and_parameters_less(tiny_llama: ModelFiles):
    plain, pruned = facts(tiny_llama), facts(tiny_llama, PruneWidth(ratio=0.25))
    removed = 2 * 32 * NEURON
    assert pruned["weight_bytes"] == plain["weight_bytes"] - 4 * removed
    assert pruned["parameters_kept"] == tiny_llama.parameters - removed
    assert pruned["kept_share"] == 0.75
    assert not {"kept_share", "parameters_kept"} & set(plain)


def test_pruned_twice_counts_both(tiny_llama: ModelFiles):
    twice = facts(tiny_llama, PruneWidth(ratio=0.25), PruneWidth(ratio=1 / 3))
    assert twice["parameters_kept"] == tiny_llama.parameters - 2 * 64 * NEURON
    assert twice["kept_share"] == pytest.approx(0.5), "of the 128 that there were"


def test_a_quantiser_after_pruning_packs_what_is_left(tiny_llama: ModelFiles):
    both = facts(tiny_llama, PruneWidth(ratio=0.5), Int8WeightOnly())
    weights = 2 * (64 * 64 * 2 + 64 * 32 * 2 + 3 * 64 * 64)
    rows = 2 * (64 + 32 + 32 + 64 + 64 + 64 + 64)
    assert both["weight_bytes"] == 4 * (264 * 64 + 5 * 64) + weights + rows * (4 + 1)


def test_pruning_after_a_quantiser_says_in_which_order(tiny_llama: ModelFiles):
    with (
        pytest.raises(UnsupportedError, match="before the one that does that"),
        TransformersBackend().load(tiny_llama, [Int8WeightOnly(), PruneWidth()], CPU),
    ):
        pytest.fail("it loaded")


def test_a_model_without_a_gated_mlp_is_unsupported():
    with pytest.raises(UnsupportedError, match="no gated MLP"):
        gated_mlps(torch.nn.Sequential(torch.nn.Linear(4, 4)))


def test_maximum_absolute_weight_beats_magnitude_and_random_where_reach_is_what_matters(
    tiny_llama: ModelFiles, tmp_path: Path
):
    model = planted(tiny_llama, tmp_path, flat_without_effect)
    found, by_norm, by_chance = (
        divergence(model, PruneWidth(ratio=0.5, criterion=c))
        for c in ("maw", "magnitude", "random")
    )
    assert found < 1e-3
    assert found * 100 < min(by_norm, by_chance)


@pytest.mark.parametrize("control", ["maw", "magnitude", "random"])
def test_cfsp_beats_what_looks_at_weights_alone_where_large_neurons_are_silent(
    control: str, tiny_llama: ModelFiles, tmp_path: Path
):
    model = planted(tiny_llama, tmp_path, large_but_silent)
    found = divergence(model, Cfsp(ratio=0.5, steepness=0, samples=8, tokens=64))
    assert found < 1e-6
    assert divergence(model, PruneWidth(ratio=0.5, criterion=control)) > 0.01


def test_cfsp_takes_its_neurons_from_the_layer_that_does_least(
    tiny_llama: ModelFiles, tmp_path: Path
):
    def idle(model) -> None:
        layer = model.model.layers[1]
        layer.self_attn.o_proj.weight *= 0.01
        layer.mlp.down_proj.weight *= 0.01

    model = changed(tiny_llama, tmp_path, idle)
    shares = Cfsp(ratio=0.5, samples=8, tokens=64)
    with_shares, alike = (
        divergence(model, shares),
        divergence(model, Cfsp(ratio=0.5, steepness=0, samples=8, tokens=64)),
    )
    assert with_shares < 0.7 * alike
    with TransformersBackend().load(model, [shares], CPU) as engine:
        widths = list(gated_mlps(engine._target.model).values())
    assert widths == [96, 32]
    assert facts(model, shares)["kept_share"] == 0.5


def test_the_fine_importance_is_activity_times_the_share_of_each_output():
    down = torch.tensor([[1.0, -3.0], [2.0, 2.0]])
    # Shares of the rows: 1/4 and 3/4, 1/2 and 1/2; norms 2 and 6 are shares 1/4 and 3/4.
    assert fine(down, torch.tensor([2.0, 6.0])).tolist() == [0.75 * 0.25, 1.25 * 0.75]


def test_the_coarse_importance_is_a_sigmoid_about_the_mean_angle():
    low, high = coarse([0.1, 0.3], steepness=10)
    assert low == pytest.approx(1 / (1 + math.e))
    assert high == pytest.approx(math.e / (1 + math.e))
    assert coarse([0.1, 0.3], steepness=0) == [0.5, 0.5]


@pytest.mark.parametrize("steepness", [1e4, 1e300])
def test_a_very_steep_sigmoid_is_a_step(steepness: float):
    low, high = coarse([0.1, 0.3], steepness)
    assert 0 < low < 1e-300
    assert high == 1
    assert shared([low, high], left=64, whole=128, step=32) == [32, 96]
    # Angles that are alike but for rounding leave shares that can be divided by their mean.
    alike = coarse([0.1, 0.1, 0.1], steepness)
    assert shared(alike, left=64, whole=128, step=32) == [64, 64, 64]


def test_angles_are_in_half_turns_and_means_over_tokens():
    assert mean_angle([torch.tensor([1.0, 0.0]), torch.tensor([-1.0])]) == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("importance", "left", "whole", "step", "kept"),
    [
        ([1, 1], 64, 128, 32, [64, 64]),
        ([3, 1], 64, 128, 32, [96, 32]),
        # 144 wanted of 128: differences shrink by 64 / 80 to 128, 32 and 32.
        ([9, 1.5, 1.5], 64, 128, 32, [128, 32, 32]),
        # 48, 48 and 96 wanted: one step each and three; the step left goes to the first.
        ([1, 1, 2], 64, 128, 32, [64, 32, 96]),
        # Nothing is left of none: one step at least.
        ([1, 1e-9], 64, 128, 32, [96, 32]),
    ],
)
def test_neurons_are_shared_in_proportion_in_whole_steps(importance, left, whole, step, kept):
    found = shared(importance, left, whole, step)
    assert found == kept
    assert sum(found) == left * len(importance)


def test_cfsp_keeps_the_neurons_that_an_independent_count_of_activity_keeps(
    tiny_llama: ModelFiles,
):
    technique = Cfsp(ratio=0.5, steepness=0, samples=4, tokens=32, seed=3)
    prepared(tiny_llama, [technique])
    with TransformersBackend().load(tiny_llama, [], CPU) as engine, torch.no_grad():
        ids = engine._target.calibration(4, 32, 3)
        mlp = engine._target.model.model.layers[0].mlp
        fed = []
        handle = mlp.register_forward_pre_hook(lambda _, inputs: fed.append(inputs[0]))
        engine._target.model(ids)
        handle.remove()
        active = torch.nn.functional.silu(fed[0] @ mlp.gate_proj.weight.T)
        active = (active * (fed[0] @ mlp.up_proj.weight.T)).flatten(0, 1)
        down = mlp.down_proj.weight.abs()
        scores = active.norm(dim=0) * (down / down.sum(dim=1, keepdim=True)).sum(dim=0)
        whole = mlp.up_proj.weight[scores.topk(64).indices.sort().values].clone()
    with TransformersBackend().load(tiny_llama, [technique], CPU) as engine:
        assert torch.equal(engine._target.model.model.layers[0].mlp.up_proj.weight, whole)


def test_the_random_choice_follows_its_seed(tiny_llama: ModelFiles):
    first, again, other = (
        logits(tiny_llama, [PruneWidth(ratio=0.5, criterion="random", seed=seed)])
        for seed in (0, 0, 1)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@pytest.mark.parametrize(
    ("make", "allowed"),
    [
        (lambda: PruneWidth(ratio=0), "above 0 and below 1"),
        (lambda: PruneWidth(ratio=1), "above 0 and below 1"),
        (lambda: PruneWidth(criterion="best"), "choose maw, magnitude, random"),
        (lambda: PruneWidth(multiple_of=0), "multiple_of=0 must be 1 or more"),
        (lambda: Cfsp(ratio=1.5), "above 0 and below 1"),
        (lambda: Cfsp(steepness=-1), "steepness=-1 must be 0 or more"),
        (lambda: Cfsp(samples=0), "samples=0 and tokens=128 must be at least 1 and 2"),
    ],
)
def test_a_knob_out_of_range_names_what_is_allowed(make, allowed: str):
    with pytest.raises(ConfigError, match=allowed):
        make()
