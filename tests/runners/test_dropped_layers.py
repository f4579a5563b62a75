"""Leaving out decoder layers: the rest is a model of fewer layers, cache and all."""

from __future__ import annotations

import itertools
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from changed_models import CPU, IDS, changed, divergence, logits, prepared

from leanboard.results.errors import ConfigError, UnsupportedError
from leanboard.runners.backends.base import ModelFiles, Request
from leanboard.runners.backends.torch_loading import TorchTarget, load_model
from leanboard.runners.backends.transformers import TransformersBackend
from leanboard.runners.techniques.cache.static_cache import StaticCache
from leanboard.runners.techniques.formats.fp8 import Float8
from leanboard.runners.techniques.lowrank.random_sharing import RandomSharing
from leanboard.runners.techniques.pruning.block_influence import BlockInfluence
from leanboard.runners.techniques.pruning.blocks import layer_names
from leanboard.runners.techniques.pruning.drop_layers import DropLayers
from leanboard.runners.techniques.pruning.prune_width import PruneWidth
from leanboard.runners.techniques.quantization.int8_weight_only import Int8WeightOnly
from leanboard.runners.techniques.quantization.rtn import Rtn
from leanboard.runners.techniques.recovery.soft_prompt import SoftPrompt

LAYER = 64 * 64 * 2 + 64 * 32 * 2 + 3 * 64 * 128 + 2 * 64


@pytest.fixture
def four_layers(tiny_llama: ModelFiles, tmp_path: Path) -> ModelFiles:
    return changed(tiny_llama, tmp_path, lambda _: None, layers=4)


@pytest.fixture
def idle_second(tiny_llama: ModelFiles, tmp_path: Path) -> ModelFiles:
    """Return four layers of which the second adds next to nothing."""

    def idle(model) -> None:
        model.model.layers[1].self_attn.o_proj.weight *= 1e-3
        model.model.layers[1].mlp.down_proj.weight *= 1e-3

    return changed(tiny_llama, tmp_path, idle, layers=4)


def answered(model: ModelFiles, *techniques) -> dict[str, float]:
    with TransformersBackend().load(model, list(techniques), CPU) as engine:
        (trace,) = engine.generate([Request("a", "the rain in the main", 8)])
        assert trace.output_tokens == 8
        return {name: fact.value for name, fact in engine.facts().items()}


def test_what_is_left_answers_as_a_model_of_the_other_layers(four_layers: ModelFiles):
    with TransformersBackend().load(four_layers, [], CPU) as engine, torch.no_grad():
        model = engine._target.model
        stream = model.model.embed_tokens(IDS)
        places = torch.arange(IDS.shape[1])[None]
        turns = model.model.rotary_emb(stream, places)
        for place in (0, 3):
            stream = model.model.layers[place](
                stream, position_embeddings=turns, position_ids=places
            )
        expected = model.lm_head(model.model.norm(stream))
    found = logits(four_layers, [DropLayers(layers=2)])
    assert torch.allclose(found, expected, atol=1e-4)


@pytest.mark.parametrize("layers", [1, 2, 3])
def test_dropped_layers_have_no_weights_and_no_cache(layers: int, four_layers: ModelFiles):
    plain, dropped = answered(four_layers), answered(four_layers, DropLayers(layers=layers))
    assert dropped["weight_bytes"] == plain["weight_bytes"] - 4 * layers * LAYER
    assert dropped["kv_bytes"] == plain["kv_bytes"] * (4 - layers) / 4
    assert dropped["parameters_kept"] == four_layers.parameters - layers * LAYER
    assert (dropped["layers_kept"], dropped["window_layers_kept"]) == (4 - layers, 0)


def test_a_static_cache_has_room_for_the_layers_left_alone(four_layers: ModelFiles):
    whole = answered(four_layers, StaticCache())
    left = answered(four_layers, DropLayers(layers=1), StaticCache())
    per_layer = whole["kv_bytes"] / 4
    assert left["kv_bytes"] == pytest.approx(3 * per_layer, rel=0.01)


def test_answers_with_and_without_a_cache_agree(four_layers: ModelFiles):
    with TransformersBackend().load(four_layers, [DropLayers(layers=2)], CPU) as engine:
        (trace,) = engine.generate([Request("a", "the rain in the main", 6)])
        ids = [*engine.encode("the rain in the main")]
        for answer in trace.output_ids:
            with torch.no_grad():
                plain = engine._target.model(torch.tensor([ids]), use_cache=False).logits
            assert int(plain[0, -1].argmax()) == answer
            ids.append(answer)


def test_layers_with_a_window_are_counted_apart(tmp_path: Path, tiny_llama: ModelFiles):
    from transformers import Gemma3ForCausalLM, Gemma3TextConfig

    kinds = ["sliding_attention", "sliding_attention", "full_attention", "sliding_attention"]
    config = Gemma3TextConfig(
        vocab_size=264,
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=16,
        layer_types=kinds,
        sliding_window=16,
        max_position_embeddings=512,
    )
    shutil.copytree(tiny_llama.folder, tmp_path / "gemma")
    Gemma3ForCausalLM(config).save_pretrained(tmp_path / "gemma")
    model = replace(tiny_llama, folder=tmp_path / "gemma")
    facts = answered(model, DropLayers(layers=2))
    assert (facts["layers_kept"], facts["window_layers_kept"]) == (2, 2)


def test_everything_is_put_back_whatever_came_after(four_layers: ModelFiles):
    def read():
        return load_model(four_layers, dtype="float32", device="cpu", attention="sdpa")

    target = TorchTarget(model=read(), reload=read)
    state = {name: weight.clone() for name, weight in target.model.state_dict().items()}
    config = target.model.config.to_dict()
    dropped, pruned = DropLayers(layers=2), PruneWidth(ratio=0.5)
    with dropped.apply(target), pruned.apply(target), Int8WeightOnly().apply(target):
        assert target.model.config.num_hidden_layers == 2
        indices = [layer.self_attn.layer_idx for layer in target.model.model.layers]
        assert indices == [0, 1]
    assert target.model.config.to_dict() == config
    assert [layer.self_attn.layer_idx for layer in target.model.model.layers] == [0, 1, 2, 3]
    after = target.model.state_dict()
    assert after.keys() == state.keys()
    assert all(torch.equal(after[name], weight) for name, weight in state.items())
    assert target.facts == {}


def test_the_layer_of_least_influence_is_the_one_that_adds_nothing(idle_second: ModelFiles):
    technique = BlockInfluence(layers=1, samples=4, tokens=32)
    assert prepared(idle_second, [technique]) == ["layers 1 (from 0) have the least influence"]
    found = divergence(idle_second, technique)
    assert found < 1e-3
    assert divergence(idle_second, DropLayers(layers=1)) > 100 * found
    other = next(s for s in range(9) if DropLayers(1, "random", s)._dropped(4) != [1])
    assert divergence(idle_second, DropLayers(1, "random", other)) > 100 * found


def test_the_influence_of_a_layer_is_one_minus_the_cosine_across_it(idle_second: ModelFiles):
    import json

    technique = BlockInfluence(layers=2, samples=2, tokens=16, seed=5)
    prepared(idle_second, [technique])
    with TransformersBackend().load(idle_second, [technique], CPU) as engine:
        written = json.loads((engine._target.made / "layers.json").read_text())
        ids = engine._target.calibration(2, 16, 5)
    with TransformersBackend().load(idle_second, [], CPU) as engine, torch.no_grad():
        body = engine._target.model.model
        # The last of the hidden states is normalised: only what enters each layer is taken.
        states = body(ids, output_hidden_states=True).hidden_states[:4]
    for place, (given, gives) in enumerate(itertools.pairwise(states)):
        cosine = (given * gives).sum(-1) / (given.norm(dim=-1) * gives.norm(dim=-1))
        assert written["influence"][place] == pytest.approx(1 - float(cosine.mean()), abs=1e-5)
    assert sorted(written["influence"])[:2] == sorted(
        written["influence"][place] for place in written["dropped"]
    )


def test_the_deepest_are_those_before_the_last_and_random_ones_follow_their_seed():
    assert DropLayers(layers=3)._dropped(10) == [6, 7, 8]
    chosen = DropLayers(layers=3, criterion="random")._dropped(10)
    assert chosen == DropLayers(layers=3, criterion="random")._dropped(10)
    others = [DropLayers(layers=3, criterion="random", seed=s)._dropped(10) for s in range(5)]
    assert len({tuple(places) for places in others}) > 1
    assert all(len(set(places)) == 3 for places in others)


def test_a_model_needs_a_layer_left(tiny_llama: ModelFiles):
    with (
        pytest.raises(UnsupportedError, match="leave none of this model's 2 decoder layers"),
        TransformersBackend().load(tiny_llama, [DropLayers(layers=2)], CPU),
    ):
        pytest.fail("it loaded")


@pytest.mark.parametrize("before", [Rtn(), Float8(), RandomSharing(), Int8WeightOnly()])
def test_layers_of_packed_or_shared_weights_are_not_left_out(before, four_layers: ModelFiles):
    # Their parameters do not say how many weights they multiply by, nor hold all their bytes.
    with (
        pytest.raises(UnsupportedError, match=r"packed, rounded or shared: .* before the one that"),
        TransformersBackend().load(four_layers, [before, DropLayers(layers=1)], CPU),
    ):
        pytest.fail("it loaded")


@pytest.mark.parametrize("after", [Rtn(), Float8(), RandomSharing(), Int8WeightOnly()])
def test_the_parameters_left_are_those_of_the_layers_left_whatever_packs_them(
    after, four_layers: ModelFiles
):
    facts = answered(four_layers, DropLayers(layers=1), after)
    assert facts["parameters_kept"] == four_layers.parameters - LAYER


def test_layers_that_hold_a_learnt_prompt_are_not_left_out(four_layers: ModelFiles):
    prompt = SoftPrompt(prompt_tokens=2, steps=1, batch=1, tokens=8)
    prepared(four_layers, [prompt])
    with pytest.raises(UnsupportedError, match="Name soft-prompt after the technique that leaves"):
        answered(four_layers, prompt, DropLayers(layers=1))
    prepared(four_layers, [DropLayers(layers=1), prompt])
    facts = answered(four_layers, DropLayers(layers=1), prompt)
    # Three layers, keys and values, two heads of 16, two tokens, four bytes.
    assert facts["prompt_bytes"] == 3 * 2 * 2 * 16 * 2 * 4


def test_a_model_whose_layers_are_elsewhere_is_unsupported():
    class Other(torch.nn.Module):
        def get_decoder(self):
            return self

    with pytest.raises(UnsupportedError, match="elsewhere than in `layers`"):
        layer_names(Other())


@pytest.mark.parametrize(
    ("make", "allowed"),
    [
        (lambda: DropLayers(layers=0), "layers=0 must be 1 or more"),
        (lambda: DropLayers(criterion="first"), "choose deepest, random"),
        (lambda: BlockInfluence(layers=0), "layers=0 must be 1 or more"),
        (lambda: BlockInfluence(tokens=1), "samples=64 and tokens=1 must be at least 1 and 2"),
    ],
)
def test_a_knob_out_of_range_names_what_is_allowed(make, allowed: str):
    with pytest.raises(ConfigError, match=allowed):
        make()
