"""Healing: what is trained, what stays, and that it helps what was pruned."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from changed_models import CPU, prepared

from leanboard.metrics.trace import Provenance, Quantity
from leanboard.results.errors import ConfigError, UnsupportedError
from leanboard.runners.backends.base import ModelFiles
from leanboard.runners.backends.transformers import TransformersBackend
from leanboard.runners.making import made_folder
from leanboard.runners.techniques.formats.bf16 import BFloat16
from leanboard.runners.techniques.formats.minifloat import Minifloat
from leanboard.runners.techniques.lowrank.random_sharing import RandomSharing
from leanboard.runners.techniques.pruning.drop_layers import DropLayers
from leanboard.runners.techniques.pruning.mask_weights import MaskWeights
from leanboard.runners.techniques.pruning.prune_width import PruneWidth
from leanboard.runners.techniques.quantization.int8_dynamic import Int8Dynamic
from leanboard.runners.techniques.quantization.int8_weight_only import Int8WeightOnly
from leanboard.runners.techniques.quantization.rtn import Rtn
from leanboard.runners.techniques.recovery.heal import Heal, trainable
from leanboard.runners.techniques.recovery.masters import Masters
from leanboard.runners.techniques.sparsity.contextual import ContextualSparsity
from leanboard.runners.techniques.sparsity.sirius import Sirius

SHORT = Heal(steps=4, batch=2, tokens=32)
LONG = Heal(steps=60, batch=4, tokens=32, learning_rate=3e-3)


@pytest.fixture
def apart(tiny_llama: ModelFiles, tmp_path: Path) -> ModelFiles:
    """Return the model with a cache of its own."""
    return replace(tiny_llama, made=tmp_path / "made")


def loss(model: ModelFiles, *techniques) -> float:
    """Return the loss on text that healing did not see."""
    prepared(model, techniques)
    with TransformersBackend().load(model, list(techniques), CPU) as engine, torch.no_grad():
        ids = engine._target.calibration(300, 32, 0)[-8:]
        return float(engine._target.model(ids, labels=ids).loss)


def weights(model: ModelFiles, *techniques) -> dict[str, torch.Tensor]:
    prepared(model, techniques)
    with TransformersBackend().load(model, list(techniques), CPU) as engine:
        return {name: w.detach().clone() for name, w in engine._target.model.named_parameters()}


def test_healing_lowers_the_loss_of_a_pruned_model_on_text_it_has_not_seen(apart: ModelFiles):
    pruned = PruneWidth(ratio=0.5)
    assert loss(apart, pruned, LONG) < 0.7 * loss(apart, pruned)


def test_progress_tells_the_loss_as_it_falls(apart: ModelFiles):
    lines = prepared(apart, [LONG])
    found = [re.fullmatch(r"step (\d+) of 60: loss ([\d.]+)", line) for line in lines]
    assert all(found)
    steps = [int(line[1]) for line in found if line is not None]
    losses = [float(line[2]) for line in found if line is not None]
    assert steps == [1, 10, 20, 30, 40, 50, 60]
    assert losses[-1] < 0.7 * losses[0]


def test_the_embedding_and_the_head_are_left_as_they_are_and_the_rest_is_trained(
    apart: ModelFiles,
):
    before, after = weights(apart), weights(apart, SHORT)
    unchanged = {name for name in before if torch.equal(before[name], after[name])}
    assert unchanged == {"model.embed_tokens.weight"}


def test_the_same_seed_gives_the_same_weights(tiny_llama: ModelFiles, tmp_path: Path):
    stored = []
    for place, seed in enumerate((0, 0, 1)):
        model = replace(tiny_llama, made=tmp_path / str(place))
        technique = replace(SHORT, seed=seed)
        prepared(model, [technique])
        folder = made_folder(model, [technique], "float32", CPU)
        stored.append((folder / "weights.safetensors").read_bytes())
    assert stored[0] == stored[1]
    assert stored[0] != stored[2]


def test_a_mask_survives_healing(apart: ModelFiles):
    masked = MaskWeights(sparsity=0.5)
    before, after = weights(apart, masked), weights(apart, masked, SHORT)
    linears = [name for name, weight in before.items() if "_proj" in name and weight.dim() == 2]
    assert len(linears) == 14
    for name in linears:
        assert torch.equal(before[name] == 0, after[name] == 0)
        assert not torch.equal(before[name], after[name])


def test_what_was_pruned_and_healed_can_be_quantised(apart: ModelFiles):
    techniques = [PruneWidth(ratio=0.5), SHORT, Int8WeightOnly()]
    prepared(apart, techniques)
    healed = weights(apart, *techniques[:2])["model.layers.0.mlp.up_proj.weight"]
    with TransformersBackend().load(apart, techniques, CPU) as engine:
        up = engine._target.model.model.layers[0].mlp.up_proj.weight.dequantize()
        facts = engine.facts()
    assert up.shape == (64, 64)
    step = 2 * healed.abs().amax(dim=1, keepdim=True) / 255
    assert ((up - healed).abs() <= step * 0.51).all()
    assert facts["kept_share"].value == 0.5
    # Everything but the embedding: what was pruned is not trained.
    assert facts["trained_parameters"].value == apart.parameters - 264 * 64 - 2 * 64 * 3 * 64


def test_layers_left_out_are_not_trained(apart: ModelFiles):
    techniques = [DropLayers(layers=1), SHORT]
    prepared(apart, techniques)
    with TransformersBackend().load(apart, techniques, CPU) as engine:
        layer = sum(p.numel() for p in engine._target.model.model.layers[0].parameters())
        assert engine.facts()["trained_parameters"].value == layer + 64


def test_how_long_it_took_to_make_stands_among_the_facts(apart: ModelFiles):
    techniques = [PruneWidth(ratio=0.5), SHORT]
    prepared(apart, techniques)
    note = made_folder(apart, techniques, "float32", CPU) / "took.json"
    note.write_text('{"making_s": 12.5}')
    with TransformersBackend().load(apart, techniques, CPU) as engine:
        assert engine.facts()["making_s"] == Quantity(12.5, "s", Provenance.MEASURED)
    note.unlink()
    with TransformersBackend().load(apart, techniques, CPU) as engine:
        assert "making_s" not in engine.facts(), "made by a version that did not say"


def test_bfloat16_weights_move_by_steps_smaller_than_they_resolve():
    weight = torch.nn.Parameter(torch.ones(1, 2, dtype=torch.bfloat16))
    masters = Masters([weight])
    for _ in range(10):
        weight.grad = torch.ones_like(weight)
        masters.step(learning_rate=1e-3)
    # Ten steps of 0.001 in the copy; a single one would round back to 1.
    assert weight.tolist() == [[0.98828125, 0.98828125]]


def test_the_first_step_of_adam_is_the_learning_rate_and_zeros_of_matrices_stay():
    matrix = torch.nn.Parameter(torch.tensor([[1.0, 0.0], [-1.0, 2.0]]))
    vector = torch.nn.Parameter(torch.tensor([0.0, 1.0]))
    masters = Masters([matrix, vector])
    matrix.grad, vector.grad = torch.ones(2, 2), torch.tensor([-1.0, 1.0])
    masters.step(learning_rate=0.1)
    assert matrix.detach().flatten().tolist() == pytest.approx([0.9, 0.0, -1.1, 1.9])
    assert vector.tolist() == pytest.approx([0.1, 0.9])
    assert matrix.grad is None


def test_the_learning_rate_rises_for_a_tenth_and_falls_as_a_cosine():
    rates = [Heal(steps=20, learning_rate=0.4)._rate(step) for step in range(20)]
    assert rates[:3] == pytest.approx([0.2, 0.4, 0.4])
    assert rates[11] == pytest.approx(0.2)
    assert rates[19] == pytest.approx(0.2 * (1 + math.cos(math.pi * 17 / 18)))
    assert Heal(steps=1, learning_rate=0.4)._rate(0) == 0.4


def test_a_bfloat16_model_is_healed_in_bfloat16(apart: ModelFiles):
    found = weights(apart, BFloat16(), SHORT)
    before = weights(apart, BFloat16())
    name = "model.layers.1.mlp.down_proj.weight"
    assert found[name].dtype == torch.bfloat16
    assert not torch.equal(found[name], before[name])


def test_flags_and_gradients_are_put_back(apart: ModelFiles):
    with TransformersBackend().load(apart, [], CPU) as engine:
        target = engine._target
        target.model.lm_head.weight.requires_grad_(False)
        (apart.made / "x").mkdir(parents=True)
        assert list(SHORT.make(target, apart.made / "x"))
        flags = {name for name, w in target.model.named_parameters() if not w.requires_grad}
        assert flags == {"model.embed_tokens.weight"}
        assert all(weight.grad is None for weight in target.model.parameters())


def test_weights_that_must_stay_as_they_were_made_are_not_trained(apart: ModelFiles):
    with TransformersBackend().load(apart, [], CPU) as engine:
        model = engine._target.model
        rounded = "model.layers.0.mlp.up_proj.weight"
        model.get_parameter(rounded).requires_grad_(False)
        assert set(trainable(model)) == {
            name for name, _ in model.named_parameters() if "embed" not in name and name != rounded
        }


@pytest.mark.parametrize(
    "quantiser", [Minifloat(format="e3m2"), Int8WeightOnly(), Int8Dynamic(), Rtn()]
)
def test_where_only_norms_are_left_as_floats_nothing_is_healed(quantiser, apart: ModelFiles):
    with pytest.raises(UnsupportedError, match=r"norms and biases apart\. Name heal before"):
        prepared(apart, [quantiser, SHORT])


def test_shared_weights_are_healed_in_their_pools(apart: ModelFiles):
    with TransformersBackend().load(apart, [RandomSharing()], CPU) as engine:
        assert any(name.endswith(".pool") for name in trainable(engine._target.model))


@pytest.mark.parametrize("sparse", [ContextualSparsity(), Sirius()])
def test_layers_that_are_stored_transposed_are_trained_as_others_are(sparse, apart: ModelFiles):
    name = "model.layers.1.mlp.down_proj.weight"
    found, plain = weights(apart, sparse, SHORT)[name], weights(apart, SHORT)[name]
    torch.testing.assert_close(found, plain, atol=1e-4, rtol=1e-4)


def test_a_model_without_a_float_weight_is_unsupported():
    class Packed(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.embed = torch.nn.Embedding(2, 2)
            packed = torch.zeros(2, dtype=torch.int8)
            self.packed = torch.nn.Parameter(packed, requires_grad=False)

        def get_input_embeddings(self):
            return self.embed

        get_output_embeddings = get_input_embeddings

    with pytest.raises(UnsupportedError, match="No weight of this model is left as floats"):
        trainable(Packed())


@pytest.mark.parametrize(
    ("make", "allowed"),
    [
        (lambda: Heal(steps=0), "steps=0 must be 1 or more"),
        (lambda: Heal(batch=0), "batch=0 must be 1 or more"),
        (lambda: Heal(tokens=1), "tokens=1 must be 2 or more"),
        (lambda: Heal(learning_rate=0), "above 0 and below 1"),
        (lambda: Heal(learning_rate=3), "above 0 and below 1"),
    ],
)
def test_a_knob_out_of_range_names_what_is_allowed(make, allowed: str):
    with pytest.raises(ConfigError, match=allowed):
        make()


def test_more_text_than_there_is_is_unsupported(apart: ModelFiles):
    with pytest.raises(UnsupportedError, match="The calibration text has"):
        prepared(apart, [replace(SHORT, steps=100_000)])
