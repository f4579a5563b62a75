"""Weights from a pool: who shares with whom, what the pool holds, what it takes."""

from __future__ import annotations

import pytest
import torch

from leanboard.results.errors import ConfigError, UnsupportedError
from leanboard.runners.backends.base import Device, ModelFiles
from leanboard.runners.backends.torch_loading import TorchTarget, load_model
from leanboard.runners.backends.transformers import TransformersBackend
from leanboard.runners.techniques.lowrank.random_sharing import RandomSharing
from leanboard.runners.techniques.lowrank.shared_linear import SharedLinear

CPU = Device(kind="cpu", threads=1, reference_dtype="float32")
IDS = torch.arange(3, 40)[None]
SHAPES = 2 * [(64, 64), (32, 64), (32, 64), (64, 64), (128, 64), (128, 64), (64, 128)]


def drawn(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


def loaded(model: ModelFiles) -> TorchTarget:
    def read():
        return load_model(model, dtype="float32", device="cpu", attention="sdpa")

    return TorchTarget(model=read(), reload=read)


@pytest.mark.parametrize("slots", [1, 3, 7, 12, 20])
def test_every_slot_serves_as_many_chunks_as_any_other_give_or_take_one(slots: int):
    places, signs = SharedLinear((8, 10), 4, slots, "salt").places()
    uses = torch.bincount(places, minlength=slots)
    assert uses.max() - uses.min() <= 1
    assert uses.sum() == 20
    assert set(signs.tolist()) == {1, -1}
    # Those of a fold differ: no slot is taken twice before all are taken once.
    assert len(set(places[:slots].tolist())) == slots


def test_the_pool_is_the_least_squares_fit():
    weight = drawn(6, 8)
    layer = SharedLinear((6, 8), 2, 7, "salt")
    layer.fit(weight)
    places, signs = layer.places()
    # Every weight is a sign times one number of the pool: a linear system, solved apart.
    system = torch.zeros(48, 14)
    for number in range(48):
        chunk, within = divmod(number, 2)
        system[number, int(places[chunk]) * 2 + within] = float(signs[chunk])
    expected = torch.linalg.lstsq(system, weight.flatten()[:, None]).solution[:, 0]
    assert torch.allclose(layer.pool, expected, atol=1e-5)
    assert torch.allclose(layer.weight_of().flatten(), system @ expected, atol=1e-5)


def test_a_shared_number_is_the_mean_of_what_it_stands_for_by_hand():
    layer = SharedLinear((1, 4), 1, 1, "salt")
    signs = layer.places()[1].tolist()
    weight = torch.tensor([[2.0, 4.0, 6.0, 8.0]])
    layer.fit(weight)
    mean = sum(sign * value for sign, value in zip(signs, (2, 4, 6, 8), strict=True)) / 4
    assert layer.pool.tolist() == [mean]
    assert layer.weight_of().tolist() == [[sign * mean for sign in signs]]


def test_a_pool_as_large_as_the_model_is_the_model(tiny_llama: ModelFiles):
    target = loaded(tiny_llama)
    with torch.no_grad():
        before = target.model(IDS).logits
        with RandomSharing(kept=1.0).apply(target):
            assert torch.equal(target.model(IDS).logits, before)
        with RandomSharing(kept=0.9).apply(target):
            assert not torch.equal(target.model(IDS).logits, before)


def test_a_fitted_pool_is_nearer_than_a_random_one_and_more_bytes_are_nearer(
    tiny_llama: ModelFiles,
):
    def distance(**knobs) -> float:
        target = loaded(tiny_llama)
        weight = target.model.model.layers[0].mlp.up_proj.weight.detach().clone()
        with RandomSharing(**knobs).apply(target), torch.no_grad():
            layer = target.model.model.layers[0].mlp.up_proj
            return float((layer.weight_of() - weight).norm() / weight.norm())

    fitted = [distance(kept=kept) for kept in (0.3, 0.6, 0.9)]
    assert fitted == sorted(fitted, reverse=True)
    # Independent numbers, of which a share of 1 - kept of the variance goes.
    assert fitted == pytest.approx([0.7**0.5, 0.4**0.5, 0.1**0.5], rel=0.1)
    assert distance(kept=0.6, pool="random") > 2 * fitted[1]


def test_bytes_are_those_of_the_pools_and_of_how_they_are_read(tiny_llama: ModelFiles):
    def facts(techniques: list) -> dict[str, float]:
        with TransformersBackend().load(tiny_llama, techniques, CPU) as engine:
            return {name: fact.value for name, fact in engine.facts().items()}

    plain, found = facts([]), facts([RandomSharing(kept=0.4, chunk=32)])
    stored = 0
    for rows, columns in SHAPES:
        chunks = rows * columns // 32
        slots = int(0.4 * chunks)
        folds = -(-chunks // slots)
        stored += 4 * 32 * slots + 8 * 2 * folds + 8 * 2
    whole = 4 * sum(rows * columns for rows, columns in SHAPES)
    assert found["weight_bytes"] == plain["weight_bytes"] - whole + stored
    assert found["kept_share"] == stored / whole
    assert "parameters_kept" not in found, "it multiplies by as many weights as before"


def test_places_follow_from_the_seed_and_the_layer():
    def places(salt: str) -> list[int]:
        return SharedLinear((8, 10), 4, 7, salt).places()[0].tolist()

    assert places("0:a") == places("0:a")
    assert places("0:a") != places("1:a")
    assert places("0:a") != places("0:b")


def test_the_technique_draws_slots_and_signs_of_each_layer_with_its_seed(
    tiny_llama: ModelFiles,
) -> None:
    def found(seed: int) -> list[list[int]]:
        target = loaded(tiny_llama)
        with RandomSharing(kept=0.5, seed=seed).apply(target):
            layers = [layer.self_attn.q_proj for layer in target.model.model.layers]
            return [part.tolist() for layer in layers for part in layer.places()]

    first, again, other = (found(seed) for seed in (0, 0, 1))
    assert first == again
    assert all(one != two for one, two in zip(first, other, strict=True))
    assert all(one != two for one, two in zip(first[:2], first[2:], strict=True))


def test_the_pool_can_be_trained():
    layer = SharedLinear((6, 8), 2, 7, "salt")
    layer.draw(drawn(6, 8), 0)
    layer(drawn(3, 8)).square().sum().backward()
    assert layer.pool.grad is not None
    assert layer.pool.grad.abs().min() > 0


def test_a_bias_stays(tiny_llama: ModelFiles):
    target = loaded(tiny_llama)
    target.model.model.layers[0].mlp.up_proj.bias = torch.nn.Parameter(torch.ones(128))
    with RandomSharing(kept=1.0).apply(target), torch.no_grad():
        layer = target.model.model.layers[0].mlp.up_proj
        assert torch.equal(layer(torch.zeros(1, 64)), torch.ones(1, 128))


def test_a_chunk_that_does_not_divide_a_layer_is_unsupported(tiny_llama: ModelFiles):
    with (
        pytest.raises(UnsupportedError, match="cannot be cut into chunks of 48"),
        RandomSharing(chunk=48).apply(loaded(tiny_llama)),
    ):
        pytest.fail("it was applied")


def test_a_pool_of_less_than_a_chunk_is_unsupported(tiny_llama: ModelFiles):
    with (
        pytest.raises(UnsupportedError, match="less than one chunk of 1024"),
        RandomSharing(kept=0.2, chunk=1024).apply(loaded(tiny_llama)),
    ):
        pytest.fail("it was applied")


@pytest.mark.parametrize(
    ("knobs", "said"),
    [
        ({"kept": 0}, "kept=0 must be above 0"),
        ({"chunk": 0}, "chunk=0 must be 1 or more"),
        ({"pool": "mean"}, "pool='mean' is unknown; choose fitted, random"),
    ],
)
def test_a_knob_out_of_range_is_refused(knobs: dict[str, object], said: str):
    with pytest.raises(ConfigError, match=said):
        RandomSharing(**knobs)
