"""Bits per layer: sensitivity, the integer program, curvature, the search under a floor."""

from __future__ import annotations

import itertools
import json
import math
import re
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from changed_models import CPU, prepared
from quantised_models import divergence_of, made_by, target_of

from leanboard.metrics.trace import Provenance, Quantity
from leanboard.results.errors import ConfigError, MissingDependencyError, UnsupportedError
from leanboard.runners import making
from leanboard.runners.backends.base import Device, ModelFiles
from leanboard.runners.backends.transformers import TransformersBackend
from leanboard.runners.making import made_folder
from leanboard.runners.techniques.activations import grams
from leanboard.runners.techniques.base import knobs_of
from leanboard.runners.techniques.mixed_precision import hessian, ilp
from leanboard.runners.techniques.mixed_precision.bisection import fewest_bits
from leanboard.runners.techniques.mixed_precision.curvature import (
    curvature,
    random_signs,
    with_random_signs,
)
from leanboard.runners.techniques.mixed_precision.divergence import Predictions
from leanboard.runners.techniques.mixed_precision.hessian import MixedHessian
from leanboard.runners.techniques.mixed_precision.ilp import MixedIlp
from leanboard.runners.techniques.mixed_precision.latency import (
    DecodeTimes,
    decode_times,
    predicted,
)
from leanboard.runners.techniques.mixed_precision.program import Budget, cheapest_bits
from leanboard.runners.techniques.mixed_precision.sensitivity import output_error, sensitivities
from leanboard.runners.techniques.quantization.grid import Grid
from leanboard.runners.techniques.quantization.packed import PackedLinear
from leanboard.runners.techniques.quantization.rtn import Rtn
from leanboard.runners.techniques.recovery.heal import Heal
from leanboard.runners.techniques.replacing import body_linears

IDS = torch.arange(5, 101).reshape(4, 24)
LATE = "model.layers.1.mlp.down_proj"


def plan_of(folder: Path) -> dict:
    return json.loads((folder / "plan.json").read_text())


# The integer program


COSTS = {"fragile": {2: 9.0, 4: 1.0, 8: 0.1}, "robust": {2: 0.3, 4: 0.2, 8: 0.1}}


def bits_budget(most: float, weights: dict[str, int], widths=(2, 3, 4, 6, 8)) -> Budget:
    total = sum(weights.values())
    uses = {name: {b: count * b / total for b in widths} for name, count in weights.items()}
    return Budget("average_bits", most, uses)


def test_a_program_of_two_layers_as_worked_by_hand():
    def found(average: float) -> dict[str, int]:
        return cheapest_bits(COSTS, [bits_budget(average, {"fragile": 100, "robust": 300})])

    # 4 bits each cost 1.2; 8 for the fragile hundred and 2 for the rest are 3.5 and cost 0.4.
    assert found(4.0) == {"fragile": 8, "robust": 2}
    assert found(2.5) == {"fragile": 4, "robust": 2}
    assert found(2.0) == {"fragile": 2, "robust": 2}
    assert found(8.0) == {"fragile": 8, "robust": 8}


def times_budget(most: float) -> Budget:
    """Two bits take twice as long as four, and eight as long as four."""
    uses = {name: {2: 1.0, 4: 0.5, 8: 0.5} for name in COSTS}
    return Budget("max_slowdown", most, uses)


def test_a_program_under_two_budgets_as_worked_by_hand():
    bits = bits_budget(4.0, {"fragile": 100, "robust": 300})
    # 8 and 2 take 1.5; with less time than that 4 and 4 are left, and diverge by 1.2.
    assert cheapest_bits(COSTS, [bits, times_budget(1.5)]) == {"fragile": 8, "robust": 2}
    assert cheapest_bits(COSTS, [bits, times_budget(1.4)]) == {"fragile": 4, "robust": 4}


def test_budgets_that_exclude_each_other_say_how_far_each_must_be_loosened():
    weights = {"fragile": 100, "robust": 300}
    both = [bits_budget(2.3, weights, (2, 4, 8)), times_budget(1.2)]
    with pytest.raises(UnsupportedError) as refused:
        cheapest_bits(COSTS, both)
    assert str(refused.value) == (
        "No choice of bits meets average_bits=2.3 and max_slowdown=1.2. Loosen one: "
        "average_bits=4 or more with max_slowdown=1.2; or max_slowdown=2 or more with "
        "average_bits=2.3."
    )
    assert cheapest_bits(COSTS, [bits_budget(4.0, weights), both[1]])
    assert cheapest_bits(COSTS, [both[0], times_budget(2.0)])


def test_of_a_budget_that_nothing_meets_only_its_own_least_is_told():
    with pytest.raises(UnsupportedError) as refused:
        cheapest_bits(
            COSTS, [bits_budget(4.0, {"fragile": 1, "robust": 1}, (2, 4, 8)), times_budget(0.1)]
        )
    assert str(refused.value).endswith("Loosen one: max_slowdown=1 or more with average_bits=4.")


def test_a_program_finds_what_trying_every_choice_finds():
    generator = torch.Generator().manual_seed(0)
    drawn = torch.rand(5, generator=generator).tolist()
    names = [f"layer {number}" for number in range(5)]
    weights = {name: 10 * (place + 1) for place, name in enumerate(names)}
    costs = {
        name: {b: unit * 4.0**-b for b in (2, 3, 4, 6)}
        for name, unit in zip(names, drawn, strict=True)
    }
    total = sum(weights.values())

    def cost(bits: tuple[int, ...]) -> float:
        return sum(costs[name][each] for name, each in zip(names, bits, strict=True))

    def average(bits: tuple[int, ...]) -> float:
        return sum(weights[name] * each for name, each in zip(names, bits, strict=True)) / total

    for budget in (2.5, 3.3, 4.7):
        within = [b for b in itertools.product((2, 3, 4, 6), repeat=5) if average(b) <= budget]
        found = tuple(cheapest_bits(costs, [bits_budget(budget, weights)]).values())
        assert average(found) <= budget
        assert cost(found) == pytest.approx(min(map(cost, within)), rel=1e-3)


def test_a_budget_that_cannot_be_met_is_unsupported():
    with pytest.raises(UnsupportedError, match=r"average_bits=1\.5\. .*: average_bits=2 or more\."):
        cheapest_bits({"layer": {2: 1.0, 4: 0.5}}, [bits_budget(1.5, {"layer": 10})])


def test_without_scipy_the_program_says_what_to_install(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "scipy.optimize", None)
    with pytest.raises(MissingDependencyError, match=r"leanboard\[quantization\]"):
        cheapest_bits({"layer": {2: 1.0}}, [])


# Sensitivity


def test_the_divergence_is_that_of_its_definition(tiny_llama: ModelFiles):
    model, changed = target_of(tiny_llama).model, target_of(tiny_llama).model
    before = Predictions(model, IDS, batch=3)
    assert before.divergence(model) == pytest.approx(0.0, abs=1e-5)
    changed.get_submodule(LATE).weight.data *= 1.1
    expected = divergence_of(model, changed, IDS)
    assert before.divergence(changed) == pytest.approx(expected, rel=1e-3)


def test_each_layer_is_measured_alone_and_put_back(tiny_llama: ModelFiles):
    model, other = target_of(tiny_llama).model, target_of(tiny_llama).model
    names = body_linears(model)
    grid = Grid(4, 64)
    found = dict(sensitivities(model, names, IDS, grid, (2, 3, 4, 8)))
    assert list(found) == names
    for name in names:
        layer = other.get_submodule(name)
        weight = layer.weight.data
        assert torch.equal(model.get_submodule(name).weight, weight)
        layer.weight.data = grid.rounded(name, weight)
        expected = divergence_of(model, other, IDS)
        layer.weight.data = weight
        assert found[name].measured_bits == 4
        assert found[name].measured_kl == pytest.approx(expected, rel=0.02)
        assert found[name].costs[4] == pytest.approx(found[name].measured_kl)


def test_costs_follow_the_output_error(tiny_llama: ModelFiles):
    model = target_of(tiny_llama).model
    ((_, found),) = sensitivities(model, [LATE], IDS, Grid(4, 64), (3, 4, 8))
    gram = grams(model, [LATE], IDS)[LATE]
    weight = model.get_submodule(LATE).weight
    errors = {
        bits: output_error(weight, Grid(bits, 64).rounded(LATE, weight), gram) for bits in (3, 4)
    }
    assert found.costs[3] / found.costs[4] == pytest.approx(errors[3] / errors[4], rel=1e-3)
    assert found.costs[3] > found.costs[4] > found.costs[8]


def test_the_output_error_as_worked_by_hand():
    weight, other = torch.tensor([[1.0, 2.0]]), torch.tensor([[1.5, 1.0]])
    inputs = torch.tensor([[2.0, 0.0], [2.0, 4.0]])
    # Outputs 2 and 10 become 3 and 7: the squares of -1 and 3 have the mean 5.
    assert output_error(weight, other, inputs.T @ inputs / 2) == pytest.approx(5.0)


def test_a_layer_that_few_bits_hold_exactly_is_measured_where_it_changes(tiny_llama: ModelFiles):
    model = target_of(tiny_llama).model
    layer = model.get_submodule(LATE)
    layer.weight.data = Grid(3, 64).rounded(LATE, layer.weight)
    layer.weight.data = Grid(3, 64).rounded(LATE, layer.weight)
    ((_, found),) = sensitivities(model, [LATE], IDS, Grid(3, 64), (2, 3))
    assert found.measured_bits == 2
    assert found.costs[2] == pytest.approx(found.measured_kl)
    assert found.measured_kl > 0
    assert found.costs[3] == 0
    layer.weight.data.zero_()
    ((_, none),) = sensitivities(model, [LATE], IDS, Grid(3, 64), (2, 3))
    assert none.measured_bits is None
    assert none.costs == {2: 0.0, 3: 0.0}


def test_a_layer_whose_cost_is_lost_in_rounding_is_measured_at_fewer_bits(
    tiny_llama: ModelFiles, monkeypatch: pytest.MonkeyPatch
):
    measured = iter([0.0, 0.02])
    monkeypatch.setattr(Predictions, "divergence", lambda *_: next(measured))
    model = target_of(tiny_llama).model
    ((_, found),) = sensitivities(model, [LATE], IDS, Grid(4, 64), (2, 3, 4))
    assert (found.measured_bits, found.measured_kl) == (3, 0.02)
    assert found.costs[2] > found.costs[3] == pytest.approx(0.02)
    assert 0 < found.costs[4] < found.costs[3]


# Times


class Clock:
    """Each product takes as many milliseconds as its place; some rounds a hundred times that.

    Args:
        products: of a round.
        slow: rounds that something disturbed.
    """

    def __init__(self, products: int, slow: set[int]) -> None:
        self.products, self.slow = products, slow
        self.calls = 0
        self.now_s = 0.0

    def __call__(self) -> float:
        product, ends = divmod(self.calls, 2)
        self.calls += 1
        if ends:
            turn, place = divmod(product, self.products)
            self.now_s += (place + 1) * (0.1 if turn in self.slow else 0.001)
        return self.now_s


def test_a_product_gets_the_median_of_rounds_through_all_of_them(tiny_llama: ModelFiles):
    model = target_of(tiny_llama).model
    names = body_linears(model)
    # Two rounds are run before anything counts; then 3 of 15 are disturbed.
    clock = Clock(products=4 * 3, slow={0, 1, 4, 9, 12})
    times = decode_times(model, names, (2, 4), 64, clock)
    assert clock.calls == 2 * 17 * 12
    assert times.float_bits == 32
    assert times.shapes["model.layers.0.self_attn.k_proj"] == "32x64"
    assert list(times.seconds) == ["64x64", "32x64", "128x64", "64x128"]
    for number, (shape, row) in enumerate(times.seconds.items()):
        expected = {2: 3 * number + 1, 4: 3 * number + 2, 32: 3 * number + 3}
        assert {b: s * 1e3 for b, s in row.items()} == pytest.approx(expected), shape


def test_what_is_timed_are_the_layers_of_a_plan_and_the_models_own(
    tiny_llama: ModelFiles, monkeypatch: pytest.MonkeyPatch
):
    model = target_of(tiny_llama, "bfloat16").model
    forward, seen = PackedLinear.forward, []

    def noted(layer: PackedLinear, inputs: torch.Tensor) -> torch.Tensor:
        seen.append((layer.bits, inputs.shape, inputs.dtype))
        return forward(layer, inputs)

    monkeypatch.setattr(PackedLinear, "forward", noted)
    times = decode_times(model, [LATE], (3, 8), None)
    # A copy, and the layer itself, in each of 17 rounds.
    assert seen == [(b, (1, 1, 128), torch.bfloat16) for b in (3, 3, 8, 8)] * 17
    assert times.float_bits == 16
    assert all(each > 0 for each in times.seconds["64x128"].values())


def test_a_slowdown_is_relative_to_all_layers_as_floats():
    row = {4: 3.0, 32: 1.0}
    times = DecodeTimes(
        {"a": "1x1", "b": "1x1", "c": "2x1"}, {"1x1": row, "2x1": {4: 6.0, 32: 2.0}}, 32
    )
    assert times.linears_s() == 4.0
    assert times.linears_s({"a": 4, "b": 32, "c": 4}) == 10.0
    assert times.slowdowns() == {
        "a": {4: 0.75, 32: 0.25},
        "b": {4: 0.75, 32: 0.25},
        "c": {4: 1.5, 32: 0.5},
    }
    facts = predicted(times.reasons({"a": 4, "b": 32, "c": 4}))
    assert facts["predicted_slowdown"] == Quantity(2.5, "1", Provenance.MODELLED)
    assert facts["predicted_tpot_rise_s"] == Quantity(6.0, "s", Provenance.MODELLED)
    assert facts["layers_left_as_floats"].value == 1
    assert facts["product_2x1_32bit_s"] == Quantity(2.0, "s", Provenance.MEASURED)


# Curvature


class Softmax(torch.nn.Module):
    """A linear layer that reads the ids themselves as features."""

    def __init__(self, weight: torch.Tensor) -> None:
        super().__init__()
        self.only = torch.nn.Linear(*reversed(weight.shape), bias=False)
        self.only.weight.data = weight

    def forward(self, ids, use_cache):
        self.logits = self.only(ids.float())
        return self


def test_the_curvature_of_a_softmax_is_the_covariance_of_its_probabilities():
    weight = torch.tensor([[0.1, 0.2], [0.3, -0.1], [0.0, 0.4]])
    vector = torch.tensor([[1.0, 0.0], [0.0, -1.0], [0.5, 0.5]])
    features = torch.tensor([[1, 2], [3, 1]])
    expected = 0.0
    for row in features.float():
        p = (weight @ row).softmax(0)
        slope = vector @ row
        expected += float((p * slope.square()).sum() - (p * slope).sum() ** 2) / 2
    found = curvature(Softmax(weight), {"only": vector}, features)
    assert found["only"] == pytest.approx(expected, rel=1e-4)


def test_curvature_adds_up_to_twice_the_divergence_of_a_small_change(tiny_llama: ModelFiles):
    model, changed = target_of(tiny_llama).model, target_of(tiny_llama).model
    names = body_linears(model)
    vectors = {}
    for name in names:
        weight = model.get_submodule(name).weight.detach()
        vectors[name] = Grid(8, 64).rounded(name, weight) - weight
        changed.get_submodule(name).weight.data += vectors[name]
    terms = curvature(model, vectors, IDS)
    assert list(terms) == names
    assert sum(terms.values()) / 2 == pytest.approx(divergence_of(model, changed, IDS), rel=0.1)


def test_random_signs_estimate_the_trace():
    weight = torch.tensor([[0.1, 0.2], [0.3, -0.1], [0.0, 0.4]])
    model, features = Softmax(weight), torch.tensor([[1, 2]])
    p = (weight @ features[0].float()).softmax(0)
    trace = float((p * (1 - p)).sum()) * 5
    generator = torch.Generator().manual_seed(0)
    draws = [random_signs(model, ["only"], generator) for _ in range(300)]
    assert all((draw["only"].abs() == 1).all() for draw in draws)
    found = [curvature(model, draw, features)["only"] for draw in draws]
    assert sum(found) / len(found) == pytest.approx(trace, rel=0.15)


def test_layers_with_random_signs_estimate_their_own_terms(tiny_llama: ModelFiles):
    model = target_of(tiny_llama).model
    names = body_linears(model)[:4]
    vectors = {}
    for name in names:
        weight = model.get_submodule(name).weight.detach()
        vectors[name] = Grid(2, 64).rounded(name, weight) - weight
    own = {name: curvature(model, {name: vectors[name]}, IDS)[name] for name in names}
    generator = torch.Generator().manual_seed(0)
    draws = [with_random_signs(vectors, generator) for _ in range(60)]
    for name in names:
        assert all(torch.equal(draw[name].abs(), vectors[name].abs()) for draw in draws)
    found = [curvature(model, draw, IDS) for draw in draws]
    together = curvature(model, vectors, IDS)
    for name in names:
        mean = sum(terms[name] for terms in found) / len(found)
        assert abs(mean - own[name]) < max(0.35 * own[name], abs(together[name] - own[name]))


def test_an_unknown_order_of_layers_is_refused():
    with pytest.raises(ConfigError, match="choose trace, own, interlayer"):
        MixedHessian(terms="fisher")


# The search


def test_bisection_takes_the_longest_runs_that_keep_the_floor():
    order = [f"layer {number}" for number in range(7)]
    seen = []

    def keeps(bits) -> bool:
        seen.append(bits)
        return sum((8 - bits[name]) * (place + 1) for place, name in enumerate(order)) <= 40

    # Down to 6 bits: 2 a layer, sums 2, 6, 12, 20, 30, 42: five layers, 30 of 40. Down to 4, 2
    # more a layer, 32, 36, 42: two layers.
    assert list(fewest_bits(order, (8, 6, 4), keeps).values()) == [4, 4, 6, 6, 6, 8, 8]
    assert len(seen) < 8


def test_bisection_gives_the_fewest_bits_to_all_where_all_keep_it():
    assert fewest_bits(["a", "b"], (8, 4, 3), lambda bits: True) == {"a": 3, "b": 3}
    kept = fewest_bits(["a", "b"], (8, 4), lambda bits: set(bits.values()) == {8})
    assert kept == {"a": 8, "b": 8}


def test_a_floor_that_the_most_bits_do_not_keep_is_unsupported():
    with pytest.raises(UnsupportedError, match="Even 8 bits in every layer do not keep the floor"):
        fewest_bits(["a", "b"], (8, 4), lambda bits: False)


# The techniques


def test_the_program_diverges_less_than_uniform_bits_at_no_more_bytes(
    tiny_llama: ModelFiles, tmp_path: Path
):
    technique = MixedIlp(average_bits=3.0)
    target = made_by(technique, tiny_llama, tmp_path / "ilp")
    plain, uniform = target_of(tiny_llama).model, target_of(tiny_llama)
    ids = target.calibration(8, 128, seed=7)
    with Rtn(bits=3).apply(uniform):
        control = divergence_of(plain, uniform.model, ids)
        most = uniform.facts["weight_bits"].value
    with technique.apply(target):
        assert target.facts["weight_bits"].value <= most
        assert divergence_of(plain, target.model, ids) < control
    assert len(set(plan_of(tmp_path / "ilp")["bits"].values())) > 1


WIDE = MixedIlp(average_bits=12.0, max_slowdown=1.27, samples=2, tokens=32)


@pytest.fixture
def known_times(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let packed layers take as much longer than floats as bits have planes."""
    planes = {2: 1.5, 3: 2.5, 4: 1.5, 5: 2.5, 6: 2.5, 7: 3.5, 8: 1.3}

    def times(model, names, widths, group):
        shapes = {n: "x".join(map(str, model.get_submodule(n).weight.shape)) for n in names}
        areas = {shape: math.prod(map(int, shape.split("x"))) for shape in shapes.values()}
        seconds = {s: {**{b: planes[b] * a for b in widths}, 32: a} for s, a in areas.items()}
        return DecodeTimes(shapes, seconds, 32)

    monkeypatch.setattr(ilp, "decode_times", times)


@pytest.mark.usefixtures("known_times")
@pytest.mark.parametrize("rounding", ["rtn", "gptq"])
def test_under_a_budget_of_time_layers_get_quick_bits_or_stay_as_floats(
    rounding: str, tiny_llama: ModelFiles, tmp_path: Path
):
    target = made_by(replace(WIDE, rounding=rounding), tiny_llama, tmp_path / "plan")
    plan = plan_of(tmp_path / "plan")
    left = plan["latency"]["left_as_floats"]
    names = body_linears(target.model)
    assert left
    assert set(plan["bits"]) == set(names) - set(left)
    weights = {name: target.model.get_submodule(name).weight.numel() for name in names}
    with WIDE.apply(target):
        facts = {name: fact.value for name, fact in target.facts.items()}
        assert body_linears(target.model) == left
    stored = {n: (plan["bits"][n] * 65 + 16) / 64 if n in plan["bits"] else 32 for n in names}
    bits = sum(weights[n] * stored[n] for n in names) / sum(weights.values())
    assert facts["weight_bits"] == pytest.approx(bits)
    assert facts["weight_bits"] <= 12 + 28 / 64, "the bytes of twelve bits in every layer"
    assert facts["predicted_slowdown"] <= 1.27
    assert facts["layers_left_as_floats"] == len(left)
    assert facts["product_64x64_8bit_s"] == 1.3 * 64 * 64
    assert target.facts == {}


@pytest.mark.usefixtures("known_times")
def test_budgets_that_cannot_both_be_met_name_what_can(tiny_llama: ModelFiles, tmp_path: Path):
    asked = replace(WIDE, average_bits=3.0, max_slowdown=1.2)
    with pytest.raises(UnsupportedError, match=r"average_bits=3 and max_slowdown=1\.2") as refused:
        list(asked.make(target_of(tiny_llama), tmp_path))
    bits, slowdown = (float(n) for n in re.findall(r"=([0-9.]+) or more", str(refused.value)))
    for loosened in (replace(asked, average_bits=bits), replace(asked, max_slowdown=slowdown)):
        assert list(loosened.make(target_of(tiny_llama), tmp_path))


@pytest.mark.usefixtures("known_times")
def test_a_budget_in_which_all_layers_stay_as_floats_is_unsupported(
    tiny_llama: ModelFiles, tmp_path: Path
):
    with pytest.raises(UnsupportedError, match="may stay as floats: lower the budget of bytes"):
        list(replace(WIDE, average_bits=32).make(target_of(tiny_llama), tmp_path))


def test_without_a_budget_of_time_nothing_is_timed(
    tiny_llama: ModelFiles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(ilp, "decode_times", None)
    target = made_by(MixedIlp(samples=2, tokens=32), tiny_llama, tmp_path / "plan")
    assert set(plan_of(tmp_path / "plan")) == {"bits", "sensitivity"}
    with MixedIlp().apply(target):
        assert set(target.facts) == {"weight_bits"}


def test_a_plan_by_measured_times_keeps_to_its_budget(tiny_llama: ModelFiles, tmp_path: Path):
    model = replace(tiny_llama, made=tmp_path / "made")
    technique = MixedIlp(max_slowdown=1e6, samples=2, tokens=32)
    prepared(model, [technique])
    with TransformersBackend().load(model, [technique], CPU) as engine:
        facts = engine.facts()
    assert 0 < facts["predicted_slowdown"].value <= 1e6
    assert len([name for name in facts if name.startswith("product_")]) == 4 * 8
    assert facts["weight_bits"].value <= 4 + 20 / 64


def test_measured_times_serve_the_machine_and_the_threads_they_were_measured_on(
    tiny_llama: ModelFiles, monkeypatch: pytest.MonkeyPatch
):
    one, two = (Device("cpu", threads, "float32") for threads in (1, 2))

    def folders(technique: MixedIlp) -> set[Path]:
        there = {made_folder(tiny_llama, [technique], "float32", each) for each in (one, two)}
        with monkeypatch.context() as elsewhere:
            elsewhere.setattr(making, "cpu_limit", lambda: 0.5)
            return there | {made_folder(tiny_llama, [technique], "float32", one)}

    assert len(folders(MixedIlp())) == 1
    assert len(folders(MixedIlp(max_slowdown=2.0))) == 3
    after = [MixedIlp(max_slowdown=2.0), Heal()]
    assert made_folder(tiny_llama, after, "float32", one) != made_folder(
        tiny_llama, after, "float32", two
    )


def test_a_knob_that_came_later_is_in_no_identity_at_its_default():
    knobs = {
        **{"average_bits": 4.0, "lowest": 2, "highest": 8, "group": 64, "rounding": "rtn"},
        **{"samples": 4, "tokens": 64, "seed": 0},
    }
    assert knobs_of(MixedIlp()) == knobs, "those of the records published before max_slowdown"
    assert knobs_of(MixedIlp(max_slowdown=2.0)) == {**knobs, "max_slowdown": 2.0}


def by_sensitivity(plan: dict, model: torch.nn.Module) -> list[str]:
    """Return the layers of a plan, those first whose weights are the least sensitive."""
    sizes = {name: model.get_submodule(name).weight.numel() for name in plan["bits"]}
    return sorted(sizes, key=lambda name: (plan["sensitivity"][name] / sizes[name], name))


@pytest.mark.parametrize("terms", hessian.TERMS)
def test_layers_give_up_bits_in_the_order_of_their_sensitivity_per_weight(
    terms: str, tiny_llama: ModelFiles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def divergence(_: object, bits: dict[str, int]) -> float:
        return float(sum(8 - each for each in bits.values()))

    monkeypatch.setattr(hessian._Trial, "divergence", divergence)
    technique = MixedHessian(max_kl=5.0, terms=terms, lowest=7, samples=2, tokens=32)
    target = made_by(technique, tiny_llama, tmp_path)
    plan = plan_of(tmp_path)
    order = by_sensitivity(plan, target.model)
    assert [plan["bits"][name] for name in order] == 5 * [7] + 9 * [8]


def test_each_kind_of_terms_is_a_sensitivity_of_its_own(
    tiny_llama: ModelFiles, tmp_path: Path
) -> None:
    found = {}
    for terms in hessian.TERMS:
        technique = MixedHessian(max_kl=9.0, terms=terms, samples=2, tokens=32)
        target = made_by(technique, tiny_llama, tmp_path / terms)
        found[terms] = plan_of(tmp_path / terms)["sensitivity"]
    assert all(found[one] != found[other] for one, other in itertools.combinations(found, 2))
    errors = {}
    for name in body_linears(target.model):
        weight = target.model.get_submodule(name).weight.detach()
        errors[name] = Grid(3, 64).rounded(name, weight) - weight
    whole = curvature(target.model, errors, target.calibration(2, 32, seed=0))
    halves = {name: term / 2 for name, term in whole.items()}
    close = pytest.approx(halves, rel=1e-3, abs=1e-4 * max(halves.values()))
    assert found["interlayer"] == close


@pytest.mark.parametrize("terms", ["trace", "own", "interlayer"])
def test_the_search_keeps_its_floor_and_a_wider_one_takes_fewer_bits(
    terms: str, tiny_llama: ModelFiles, tmp_path: Path
):
    stored = []
    for max_kl in (0.1, 1.0):
        technique = MixedHessian(max_kl=max_kl, terms=terms, samples=4, tokens=64)
        target = made_by(technique, tiny_llama, tmp_path / str(max_kl))
        plain = target_of(tiny_llama).model
        with technique.apply(target):
            kl = divergence_of(plain, target.model, target.calibration(4, 64, seed=0))
            stored.append(target.facts["weight_bits"].value)
        plan = plan_of(tmp_path / str(max_kl))
        assert kl <= max_kl
        assert kl == pytest.approx(plan["kl"], rel=1e-2)
        bits = [plan["bits"][name] for name in by_sensitivity(plan, plain)]
        assert bits == sorted(bits)
    assert stored[1] < stored[0]


def test_a_floor_that_cannot_be_kept_is_unsupported(tiny_llama: ModelFiles, tmp_path: Path):
    technique = MixedHessian(max_kl=1e-9, highest=4, samples=2, tokens=32)
    with pytest.raises(UnsupportedError, match=r"Even 4 bits .* max_kl=1e-09"):
        list(technique.make(target_of(tiny_llama), tmp_path))


@pytest.mark.parametrize("technique", [MixedIlp, MixedHessian])
def test_a_plan_can_be_rounded_as_gptq_does(technique, tiny_llama: ModelFiles, tmp_path: Path):
    small = {"samples": 2, "tokens": 32, "lowest": 3}
    floor = {} if technique is MixedIlp else {"max_kl": 1.0}
    target = made_by(technique(**small, **floor), tiny_llama, tmp_path / "rtn")
    other = made_by(technique(**small, **floor, rounding="gptq"), tiny_llama, tmp_path / "gptq")
    assert plan_of(tmp_path / "rtn")["bits"] == plan_of(tmp_path / "gptq")["bits"]
    plain = target_of(tiny_llama).model
    ids = target.calibration(8, 128, seed=7)
    with technique().apply(target), technique().apply(other):
        assert target.facts == other.facts
        assert divergence_of(plain, other.model, ids) < divergence_of(plain, target.model, ids)


@pytest.mark.parametrize("technique", [MixedIlp(samples=2, tokens=32), MixedHessian(max_kl=0.5)])
def test_the_same_seed_makes_the_same_plan(technique, tiny_llama: ModelFiles, tmp_path: Path):
    for name in ("first", "again"):
        made_by(technique, tiny_llama, tmp_path / name)
    assert plan_of(tmp_path / "first") == plan_of(tmp_path / "again")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: MixedIlp(average_bits=1.5), "average_bits=1.5 cannot be met with layers of 2 to"),
        (lambda: MixedIlp(average_bits=9), "average_bits=9 cannot be met"),
        (lambda: MixedIlp(average_bits=33, max_slowdown=2.0), "layers of 2 to 32 bits"),
        (lambda: MixedIlp(max_slowdown=0.0), "max_slowdown=0.0 must be above 0, or null"),
        (lambda: MixedIlp(lowest=1), "bits=1 must be 2 to 8"),
        (lambda: MixedIlp(lowest=4, highest=4), "lowest=4 must be below highest=4"),
        (lambda: MixedIlp(rounding="floor"), "rounding='floor' is unknown; choose rtn, gptq"),
        (lambda: MixedIlp(samples=0), "samples=0 and tokens=64 must be 1 or more each"),
        (lambda: MixedHessian(max_kl=0), "max_kl=0 must be above 0"),
        (lambda: MixedHessian(highest=9), "bits=9 must be 2 to 8"),
    ],
)
def test_a_bad_knob_of_mixed_precision_names_what_is_allowed(make, message: str):
    with pytest.raises(ConfigError, match=message):
        make()
