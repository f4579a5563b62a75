"""Factors trained at all ranks at once: the first rows serve every rank."""

from __future__ import annotations

import itertools

import pytest
import torch

from leanboard.results.errors import ConfigError
from leanboard.runners.backends.base import Device, ModelFiles
from leanboard.runners.backends.torch_loading import load_model, load_tokenizer
from leanboard.runners.backends.transformers import TransformersBackend
from leanboard.runners.making import calibration_pieces, made_folder
from leanboard.runners.techniques.lowrank.factors import svd_factors
from leanboard.runners.techniques.lowrank.maestro import Maestro
from leanboard.runners.techniques.lowrank.ordered_dropout import OrderedLinear, train
from leanboard.runners.techniques.short_training import frozen, next_token_loss, warm_cosine

CPU = Device(kind="cpu", threads=1, reference_dtype="float32")
ROWS, COLUMNS, RANK = 6, 5, 3
SMALL = {"steps": 2, "batch": 2, "samples": 4, "tokens": 32}


def drawn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def linear_map() -> torch.Tensor:
    """Return a matrix (6, 5) with singular values 5, 3, 2, 1, 0.5."""
    left, _ = torch.linalg.qr(drawn(ROWS, COLUMNS, seed=1))
    right, _ = torch.linalg.qr(drawn(COLUMNS, COLUMNS, seed=2))
    return left @ torch.diag(torch.tensor([5.0, 3, 2, 1, 0.5])) @ right


def share_of(rank: int) -> float:
    """Return a share of the bytes at which a layer of the map has this rank."""
    return (rank + 0.5) * (ROWS + COLUMNS) / (ROWS * COLUMNS)


def trained_on_a_linear_map(shares) -> OrderedLinear:
    """Train factors from chance on y = W x, with x of the same variance in every direction."""
    layer = OrderedLinear((0.3 * drawn(RANK, COLUMNS, seed=3), 0.3 * drawn(RANK, ROWS, seed=4)))
    weight = linear_map()

    def loss_of(_: int) -> torch.Tensor:
        made = layer(torch.eye(COLUMNS)).T
        return (weight - made).square().sum()

    assert len(list(train([layer], shares, loss_of, 0.03, 1200))) == 10
    return layer


def errors(layer: OrderedLinear) -> list[float]:
    found = []
    for rank in range(1, RANK + 1):
        layer.keep(share_of(rank))
        found.append(float((linear_map() - layer(torch.eye(COLUMNS)).T).norm().detach()))
    return found


# |W - W_r| of the nearest matrices: the roots of the squared values that are left out.
LEAST = [(9 + 4 + 1 + 0.25) ** 0.5, (4 + 1 + 0.25) ** 0.5, 1.25**0.5]


def test_ordered_dropout_finds_the_singular_value_decomposition_of_a_linear_map():
    layer = trained_on_a_linear_map(itertools.cycle([share_of(rank) for rank in (1, 3, 2)]))
    assert errors(layer) == pytest.approx(LEAST, rel=0.02)
    down, up = svd_factors(linear_map())
    for rank in range(1, RANK + 1):
        nearest = up[:rank].T @ down[:rank]
        assert torch.allclose(layer.up[:rank].T @ layer.down[:rank], nearest, atol=0.15)


def test_without_ordered_dropout_the_first_rows_serve_no_lower_rank():
    layer = trained_on_a_linear_map(itertools.repeat(share_of(RANK)))
    assert errors(layer)[-1] == pytest.approx(LEAST[-1], rel=0.02)
    assert errors(layer)[0] > 1.1 * LEAST[0]


def test_a_cut_layer_uses_its_first_rows():
    layer = OrderedLinear((drawn(4, COLUMNS), drawn(4, ROWS, seed=1)), torch.ones(ROWS))
    layer.keep(share_of(2))
    expected = layer.up[:2].T @ layer.down[:2] @ torch.ones(COLUMNS) + 1
    assert layer.rank == 2
    assert torch.allclose(layer(torch.ones(COLUMNS)), expected, atol=1e-5)
    layer.keep(share_of(7))
    assert layer.rank == 4, "there are no more"


def test_the_learning_rate_rises_and_falls():
    rates = [warm_cosine(step, 20) for step in range(20)]
    assert rates[:2] == [0.5, 1.0]
    assert rates[2:] == sorted(rates[2:], reverse=True)
    assert 0.1 <= rates[-1] < 0.12


def test_one_training_serves_every_share(tiny_llama: ModelFiles):
    def folder(**knobs):
        return made_folder(tiny_llama, [Maestro(**knobs)], "float32", CPU)

    assert folder(kept=0.5) == folder(kept=0.9)
    assert folder(steps=7) != folder()
    assert folder(least=0.3) != folder()


def test_making_leaves_the_model_as_it_was(tiny_llama: ModelFiles):
    from leanboard.runners.backends.torch_loading import TorchTarget

    def read():
        return load_model(tiny_llama, dtype="float32", device="cpu", attention="sdpa")

    target = TorchTarget(model=read(), reload=read)
    target.pieces = lambda *asked: calibration_pieces(
        load_tokenizer(tiny_llama), tiny_llama.calibration, *asked
    )
    shown, ids = repr(target.model), torch.arange(3, 40)[None]
    before = target.model(ids).logits.detach()
    folder = made_folder(tiny_llama, [Maestro(**SMALL, seed=9)], "float32", CPU)
    folder.mkdir(parents=True)
    assert all(Maestro(**SMALL, seed=9).make(target, folder))
    assert torch.equal(target.model(ids).logits, before)
    assert repr(target.model) == shown
    assert all(parameter.requires_grad for parameter in target.model.parameters())


def test_training_lowers_the_loss_at_the_share_that_is_kept(tiny_llama: ModelFiles):
    tokenizer = load_tokenizer(tiny_llama)
    text = calibration_pieces(tokenizer, tiny_llama.calibration, 16, 64, 0)

    def loss(**knobs) -> float:
        technique = Maestro(kept=0.4, samples=16, tokens=64, batch=4, **knobs)
        assert all(TransformersBackend().make(tiny_llama, [technique], CPU))
        with (
            TransformersBackend().load(tiny_llama, [technique], CPU) as engine,
            torch.no_grad(),
        ):
            return float(next_token_loss(engine._target.model, text))

    barely = loss(steps=1, learning_rate=1e-9)
    assert loss(steps=30, learning_rate=0.002) < 0.9 * barely


def test_frozen_parameters_ask_for_gradients_again_afterwards():
    model = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.Linear(2, 2))
    model[0].bias.requires_grad_(requires_grad=False)
    with frozen(model, but=[model[1]]):
        assert [p.requires_grad for p in model.parameters()] == [False, False, True, True]
    assert [p.requires_grad for p in model.parameters()] == [True, False, True, True]


@pytest.mark.parametrize(
    ("knobs", "said"),
    [
        ({"kept": 0.95}, "kept=0.95 must be a share that is trained: from least=0.4 to most=0.9"),
        ({"kept": 0.3}, "kept=0.3 must be a share that is trained"),
        ({"least": 0.95}, "least=0.95 must be above 0 and at most most=0.9"),
        ({"most": 1.5}, "kept=1.5 must be above 0 and at most 1"),
        ({"steps": 0}, "steps=0"),
        ({"batch": 0}, "batch=0"),
        ({"learning_rate": 0}, "learning_rate=0 above 0"),
        ({"tokens": 1}, "tokens=1 2 or more"),
    ],
)
def test_a_knob_out_of_range_is_refused(knobs: dict[str, float], said: str):
    with pytest.raises(ConfigError, match=said):
        Maestro(**knobs)
