"""A dictionary and few coefficients an output: what is learnt, stored and multiplied."""

from __future__ import annotations

import itertools

import pytest
import torch

from leanboard.results.errors import ConfigError, UnsupportedError
from leanboard.runners.backends.base import Device, ModelFiles
from leanboard.runners.backends.transformers import TransformersBackend
from leanboard.runners.techniques.lowrank.budget import rank_for
from leanboard.runners.techniques.lowrank.cospadi import CoSpaDi
from leanboard.runners.techniques.lowrank.dictionary import Budget, Learnt, learn
from leanboard.runners.techniques.lowrank.factors import svd_factors
from leanboard.runners.techniques.lowrank.sparse_linear import (
    SparseLinear,
    pack_bits,
    unpack_bits,
)
from leanboard.runners.techniques.lowrank.whitening import cholesky

CPU = Device(kind="cpu", threads=1, reference_dtype="float32")
SHAPES = 2 * [(64, 64), (32, 64), (32, 64), (64, 64), (128, 64), (128, 64), (64, 128)]


def drawn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def planted(rows: int = 120, columns: int = 40, atoms: int = 24, nonzeros: int = 6) -> torch.Tensor:
    """Return a matrix whose rows are each of 6 of 24 atoms: no few directions hold them all."""
    places = torch.rand(rows, atoms, generator=torch.Generator().manual_seed(1)).topk(nonzeros, 1)
    codes = torch.zeros(rows, atoms).scatter(1, places.indices, drawn(rows, nonzeros, seed=2))
    return codes @ drawn(atoms, columns, seed=3)


def error(matrix: torch.Tensor, found: torch.Tensor) -> float:
    return float((matrix - found).norm() / matrix.norm())


def svd_error(matrix: torch.Tensor, rank: int) -> float:
    down, up = svd_factors(matrix)
    return error(matrix, up[:rank].T @ down[:rank])


def test_stored_bytes_by_hand():
    # 30 atoms of 40 numbers, 6 numbers in each of 120 rows, and where they belong.
    assert Budget(1.0, 2.0, masked=False).stored_bytes(120, 40, 30, 6, 4) == 4800 + 120 * (24 + 12)
    assert Budget(1.0, 2.0, masked=True).stored_bytes(120, 40, 30, 6, 4) == 4800 + 120 * (24 + 4)


@pytest.mark.parametrize("masked", [True, False])
@pytest.mark.parametrize("kept", [0.3, 0.8])
def test_the_budget_is_met_and_one_coefficient_more_would_not_fit(masked: bool, kept: float):
    budget = Budget(kept, 2.0, masked=masked)
    atoms, nonzeros = budget.fit(1536, 576, 4)
    assert atoms == 2 * nonzeros
    most = kept * 1536 * 576 * 4
    assert budget.stored_bytes(1536, 576, atoms, nonzeros, 4) <= most
    assert budget.stored_bytes(1536, 576, atoms + 2, nonzeros + 1, 4) > most


def test_places_as_bits_are_fewer_bytes_and_leave_more_coefficients():
    assert Budget(0.8, 2.0, masked=True).fit(576, 576, 4) == (300, 150)
    assert Budget(0.8, 2.0, masked=False).fit(576, 576, 4) == (262, 131)


def test_a_layer_too_small_for_its_share_is_unsupported():
    with pytest.raises(UnsupportedError, match="Keep more"):
        Budget(0.01, 2.0, masked=True).fit(32, 32, 4)


def test_bits_by_hand():
    bits = pack_bits(torch.tensor([[0, 3, 9], [1, 2, 8]]), 10)
    assert bits.tolist() == [[0b1001, 0b10], [0b110, 0b1]]
    assert bits.dtype == torch.uint8
    assert unpack_bits(bits, 3).tolist() == [[0, 3, 9], [1, 2, 8]]


def test_a_planted_dictionary_is_found_where_low_rank_fails():
    matrix = planted()
    found = learn(matrix, 24, 6, 30)
    assert found.places.shape == found.values.shape == (120, 6)
    # 24 atoms of 40 and 120 x 6 coefficients: fewer numbers than rank 11.
    assert error(matrix, found.dense()) < 0.8 * svd_error(matrix, 11)
    assert error(matrix, found.dense()) < 0.35


def test_no_round_makes_the_error_larger():
    matrix = planted()
    errors = [error(matrix, learn(matrix, 24, 6, rounds).dense()) for rounds in (1, 3, 10, 30)]
    assert all(later <= before + 1e-4 for before, later in itertools.pairwise(errors))
    assert errors[-1] < 0.9 * errors[0]


def test_all_atoms_give_the_matrix_itself():
    matrix = drawn(20, 12)
    assert error(matrix, learn(matrix, 12, 12, 2).dense()) < 1e-4


def test_as_many_coefficients_as_atoms_are_the_singular_value_decomposition():
    matrix = drawn(40, 30)
    assert error(matrix, learn(matrix, 9, 9, 1).dense()) == pytest.approx(
        svd_error(matrix, 9), rel=1e-4
    )


def test_a_matrix_with_empty_rows_can_be_learnt():
    matrix = planted()
    matrix[5:9] = 0
    found = learn(matrix, 24, 6, 3)
    assert torch.isfinite(found.dense()).all()
    assert found.dense()[5:9].abs().max() < 1e-5


def test_a_whitened_dictionary_gives_the_output_better_than_a_plain_one() -> None:
    inputs = drawn(400, 40, seed=5) * torch.linspace(4, 0.1, 40)
    weight = drawn(120, 40, seed=6)
    lower = cholesky(inputs.T @ inputs / len(inputs))
    parts = CoSpaDi(kept=0.5, atoms_per_nonzero=3.0, rounds=6)._learn(weight, lower)
    assert (len(parts["dictionary"]), parts["values"].shape[1]) == (24, 8)
    found = Learnt(parts["dictionary"], parts["places"].long(), parts["values"]).dense()
    plain = learn(weight, 24, 8, 6).dense()

    def lost(other: torch.Tensor) -> float:
        return float((inputs @ (weight - other).T).norm())

    assert lost(found) < 0.7 * lost(plain)


@pytest.mark.parametrize("masked", [True, False])
@pytest.mark.parametrize("rows", [1, 3, 40])
def test_the_layer_multiplies_by_dictionary_and_coefficients(masked: bool, rows: int):
    matrix, bias = planted(), torch.nn.Parameter(drawn(120))
    found = learn(matrix, 24, 6, 2)
    layer = SparseLinear(found.atoms, found.places, found.values, bias, masked=masked)
    inputs = drawn(rows, 2, 40)
    expected = inputs @ found.dense().T + bias
    with torch.no_grad():
        assert torch.allclose(layer(inputs), expected, atol=1e-4)
        assert torch.allclose(layer(inputs[:, :1])[:, 0], expected[:, 0], atol=1e-4)
    assert torch.allclose(layer(inputs), expected, atol=1e-4)
    layer(inputs).sum().backward()
    assert layer.values.grad is not None
    assert layer.dictionary.grad is not None


def test_a_single_token_takes_the_sparse_product(monkeypatch: pytest.MonkeyPatch):
    found = learn(planted(), 24, 6, 2)
    layer = SparseLinear(found.atoms, found.places, found.values, None, masked=True)
    monkeypatch.setattr(SparseLinear, "_dense", lambda _: pytest.fail("written out"))
    with torch.no_grad():
        layer(drawn(1, 1, 40))


@pytest.mark.parametrize("places", ["mask", "int16"])
def test_bytes_are_those_of_dictionary_coefficients_and_places(places: str, tiny_llama: ModelFiles):
    technique = CoSpaDi(kept=0.6, places=places, rounds=1, samples=4, tokens=64)
    assert all(TransformersBackend().make(tiny_llama, [technique], CPU))
    with TransformersBackend().load(tiny_llama, [], CPU) as engine:
        plain = engine.facts()["weight_bytes"].value
    with TransformersBackend().load(tiny_llama, [technique], CPU) as engine:
        facts = {name: fact.value for name, fact in engine.facts().items()}
    budget = Budget(0.6, 2.0, masked=places == "mask")
    stored = parameters = 0
    for rows, columns in SHAPES:
        atoms, nonzeros = budget.fit(rows, columns, 4)
        stored += budget.stored_bytes(rows, columns, atoms, nonzeros, 4)
        parameters += atoms * columns + rows * nonzeros
    whole = sum(rows * columns for rows, columns in SHAPES)
    assert facts["weight_bytes"] == plain - 4 * whole + stored
    assert facts["kept_share"] == stored / (4 * whole)
    assert facts["kept_share"] <= 0.6
    assert facts["parameters_kept"] == plain / 4 - whole + parameters
    assert facts["nonzeros_per_output"] < facts["dictionary_atoms"]


def test_on_equal_bytes_a_dictionary_has_more_directions_than_low_rank():
    atoms, nonzeros = Budget(0.8, 2.0, masked=True).fit(576, 576, 4)
    assert nonzeros < rank_for(576, 576, 0.8) < atoms


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: CoSpaDi(places="bits"), "places='bits' is unknown; choose int16, mask"),
        (lambda: CoSpaDi(atoms_per_nonzero=0.5), "atoms_per_nonzero=0.5 and rounds=6 must be 1"),
        (lambda: CoSpaDi(rounds=0), "rounds=0 must be 1"),
        (lambda: CoSpaDi(kept=0), "kept=0 must be above 0"),
        (lambda: CoSpaDi(samples=0), "samples=0 must be 1 or more"),
    ],
)
def test_a_knob_out_of_range_is_refused(make, said: str):
    with pytest.raises(ConfigError, match=said):
        make()
