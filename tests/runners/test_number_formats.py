"""Number formats: grids against an enumeration of their codes, and what is stored of them."""

from __future__ import annotations

import random
from bisect import bisect_left
from contextlib import contextmanager
from fractions import Fraction
from itertools import pairwise

import pytest
import torch

from leanboard.metrics.trace import Provenance
from leanboard.results.errors import ConfigError, UnsupportedError
from leanboard.runners.backends.base import Device, ModelFiles, Request
from leanboard.runners.backends.torch_loading import TorchTarget, load_model
from leanboard.runners.backends.transformers import TransformersBackend
from leanboard.runners.techniques.formats.bf16 import BFloat16
from leanboard.runners.techniques.formats.fp8 import Float8
from leanboard.runners.techniques.formats.fp16 import Float16
from leanboard.runners.techniques.formats.grids import FloatGrid, IntGrid, grid_of
from leanboard.runners.techniques.formats.minifloat import Minifloat
from leanboard.runners.techniques.lowrank.random_sharing import RandomSharing
from leanboard.runners.techniques.lowrank.svd import Svd
from leanboard.runners.techniques.pruning.drop_layers import DropLayers
from leanboard.runners.techniques.pruning.mask_weights import MaskWeights
from leanboard.runners.techniques.pruning.prune_width import PruneWidth
from leanboard.runners.techniques.quantization.int8_weight_only import Int8WeightOnly

CPU = Device(kind="cpu", threads=1, reference_dtype="float32")
FLOATS = ("e4m3", "e5m2", "e3m4", "e2m5", "e3m2", "e2m3", "e2m1", "e1m2", "e1m1", "e3m1")
WEIGHTS = 2 * (64 * 64 * 2 + 64 * 32 * 2 + 3 * 64 * 128)
ROWS = 2 * (64 + 32 + 32 + 64 + 128 + 128 + 64)


def codes(name: str) -> list[tuple[Fraction, int]]:
    """Return every number of a format above or at zero with its code, in order, exactly."""
    exponent, mantissa = int(name[1]), int(name[3])
    bias = 2 ** (exponent - 1) - 1
    found = []
    for code in range(2 ** (exponent + mantissa)):
        field, part = divmod(code, 2**mantissa)
        share = Fraction(part, 2**mantissa)
        if field == 0:
            found.append((share * Fraction(2) ** (1 - bias), code))
        else:
            found.append(((1 + share) * Fraction(2) ** (field - bias), code))
    return found


def nearest(value: float, numbers: list[tuple[Fraction, int]]) -> float:
    """Return the nearest number by looking at those around it; of two, the one of even code."""
    exact = Fraction(abs(value))
    place = bisect_left(numbers, (exact, 0))
    around = numbers[max(0, place - 1) : place + 1]
    best, _ = min(around, key=lambda number: (abs(number[0] - exact), number[1] % 2))
    return float(best) if value >= 0 else -float(best)


def target_of(model: ModelFiles) -> TorchTarget:
    def read():
        return load_model(model, dtype="float32", device="cpu", attention="sdpa")

    return TorchTarget(model=read(), reload=read)


@contextmanager
def stored(model: ModelFiles, *techniques):
    """Yield the facts of a loaded model, and the trace of an answer."""
    with TransformersBackend().load(model, techniques, CPU) as engine:
        (trace,) = engine.generate([Request("a", "the rain in the main", 4)])
        yield trace, engine.facts()


def up_weight(target: TorchTarget) -> torch.Tensor:
    return target.model.model.layers[0].mlp.up_proj.weight.detach().clone()


@pytest.mark.parametrize("name", FLOATS)
def test_a_float_grid_rounds_to_the_nearest_of_all_its_codes(name: str):
    grid, numbers = grid_of(name), codes(name)
    draw = random.Random(0)
    exact = [float(number) for number, _ in numbers]
    middles = [(a + b) / 2 for a, b in pairwise(exact)]
    drawn = [draw.gauss(0, 1) * draw.choice(exact[1:]) for _ in range(400)]
    values = torch.tensor([*exact, *middles, *drawn, 1.01 * exact[-1], 7 * exact[-1]])
    values = torch.cat([values, -values])
    expected = [nearest(value, numbers) for value in values.tolist()]
    assert grid.nearest(values).tolist() == expected
    assert grid.largest == exact[-1]
    assert len(numbers) == 2 ** (grid.bits - 1)


@pytest.mark.parametrize(
    ("name", "largest"), [("e4m3", 480), ("e3m2", 28), ("e2m3", 7.5), ("e2m1", 6), ("int4", 7)]
)
def test_the_ends_of_formats_are_those_of_their_definitions(name: str, largest: float):
    assert grid_of(name).largest == largest


def test_fp4_by_hand():
    values = torch.tensor([0.24, 0.25, 0.26, 0.75, 1.25, 2.5, 3.5, 5.0, 5.01, 60.0])
    expected = [0.0, 0.0, 0.5, 1.0, 1.0, 2.0, 4.0, 4.0, 6.0, 6.0]
    assert grid_of("e2m1").nearest(values).tolist() == expected


@pytest.mark.parametrize(
    ("name", "dtype", "end"),
    [("e4m3", torch.float8_e4m3fn, 448), ("e5m2", torch.float8_e5m2, 57344)],
)
def test_within_its_range_a_grid_rounds_as_torchs_own_float8(name: str, dtype, end: float):
    draw = torch.Generator().manual_seed(0)
    drawn = torch.randn(4000, generator=draw) * torch.exp2(
        torch.randint(-18, 9, (4000,), generator=draw).float()
    )
    every = torch.arange(256, dtype=torch.uint8).view(dtype).float()
    values = torch.cat([drawn.clamp(-end, end), every[every.isfinite()]])
    assert torch.equal(grid_of(name).nearest(values), values.to(dtype).float())


@pytest.mark.parametrize("bits", [3, 4, 6, 8])
def test_a_float_of_one_exponent_bit_is_an_integer(bits: int):
    values = torch.linspace(-1.2, 1.2, 4001)
    as_float, as_int = grid_of(f"e1m{bits - 2}"), grid_of(f"int{bits}")
    assert isinstance(as_float, FloatGrid)
    assert isinstance(as_int, IntGrid)
    floats = as_float.nearest(values * as_float.largest) / as_float.largest
    ints = as_int.nearest(values * as_int.largest) / as_int.largest
    assert (floats - ints).abs().max() <= 1e-6
    assert len(ints.unique()) == 2**bits - 1


def test_weights_are_on_the_grid_times_the_scale_of_their_row(tiny_llama: ModelFiles):
    target = target_of(tiny_llama)
    weight = up_weight(target)
    with Minifloat(format="e3m2").apply(target):
        rounded = up_weight(target)
    scale = weight.abs().amax(dim=1, keepdim=True) / 28
    numbers = codes("e3m2")
    for row in (0, 77):
        ratio = rounded[row] / scale[row]
        expected = [nearest(value, numbers) for value in (weight[row] / scale[row]).tolist()]
        assert ratio.tolist() == pytest.approx(expected, abs=1e-5)
    assert torch.equal(up_weight(target), weight)


def test_a_group_has_a_scale_of_its_own(tiny_llama: ModelFiles):
    target = target_of(tiny_llama)
    with torch.no_grad():
        target.model.model.layers[0].mlp.up_proj.weight[0, 0] = 1000.0
    weight = up_weight(target)[0]
    with Minifloat(format="int4").apply(target):
        whole = up_weight(target)[0]
    with torch.no_grad():
        target.model.model.layers[0].mlp.up_proj.weight[0, 0] = 1000.0
    with Minifloat(format="int4", group=16).apply(target):
        groups = up_weight(target)[0]
    assert not whole[1:].any(), "one large weight leaves the steps of its row too wide"
    assert not groups[1:16].any()
    assert groups[16:].any()
    assert (groups[16:] - weight[16:]).abs().max() <= weight[16:].abs().max() / 7 * 0.501


def test_a_row_of_zeros_stays_zero(tiny_llama: ModelFiles):
    for technique in (Minifloat(format="e2m1"), Float8()):
        target = target_of(tiny_llama)
        layer = target.model.model.layers[0].mlp.up_proj
        with torch.no_grad():
            layer.weight[3] = 0.0
        with technique.apply(target):
            made = target.model.model.layers[0].mlp.up_proj
            assert not made(torch.ones(1, 64))[0, 3].any()


@pytest.mark.parametrize(
    ("technique", "bits"),
    [
        (Minifloat(format="e4m3"), 8 + 32 * ROWS / WEIGHTS),
        (Minifloat(format="int4"), 4 + 32 * ROWS / WEIGHTS),
        (Minifloat(format="e2m1", group=16), 4 + 32 / 16),
    ],
)
def test_a_simulated_format_stores_what_the_baseline_does_and_says_what_it_would_take(
    technique, bits: float, tiny_llama: ModelFiles
):
    with stored(tiny_llama) as (_, facts):
        plain = facts["weight_bytes"].value
    with stored(tiny_llama, technique) as (_, facts):
        assert facts["weight_bytes"].value == plain
        assert facts["simulated_weight_bits"].value == pytest.approx(bits)
        assert facts["simulated_weight_bits"].provenance is Provenance.SIMULATED
    assert technique.simulates == {"weight_bytes", "bits_per_weight"}


@pytest.mark.parametrize(("group", "scales"), [(None, ROWS), (32, WEIGHTS // 32)])
def test_float8_stores_a_byte_a_weight_and_its_scales(
    group: int | None, scales: int, tiny_llama: ModelFiles
):
    with stored(tiny_llama) as (_, facts):
        plain = facts["weight_bytes"].value
    with stored(tiny_llama, Float8(group=group)) as (_, facts):
        assert facts["weight_bytes"].value == plain - 3 * WEIGHTS + 4 * scales
    assert Float8.simulates == frozenset()


@pytest.mark.parametrize("group", [None, 16])
@pytest.mark.parametrize(("name", "end"), [("e4m3fn", 448.0), ("e5m2", 57344.0)])
def test_a_float8_layer_multiplies_by_torchs_rounding_of_its_weight(
    name: str, end: float, group: int | None, tiny_llama: ModelFiles
):
    target = target_of(tiny_llama)
    weight, x = up_weight(target), torch.randn(5, 64, generator=torch.Generator().manual_seed(0))
    with Float8(format=name, group=group).apply(target):
        found = target.model.model.layers[0].mlp.up_proj(x)
    parts = weight.reshape(128, -1, group or 64)
    scale = parts.abs().amax(dim=2, keepdim=True) / end
    codes_of = (parts / scale).clamp(-end, end).to(getattr(torch, f"float8_{name}"))
    expected = x @ (codes_of.float() * scale).reshape(128, 64).T
    assert torch.isfinite(found).all()
    torch.testing.assert_close(found, expected)
    assert (expected - x @ weight.T).abs().max() > 1e-3


@pytest.mark.parametrize("group", [None, 16])
@pytest.mark.parametrize("name", ["e4m3fn", "e5m2"])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_a_float8_layer_of_a_half_precision_model_multiplies_by_weights_scaled_in_float32(
    dtype: torch.dtype, name: str, group: int | None
):
    from leanboard.runners.techniques.formats.float8_linear import Float8Linear

    draw = torch.Generator().manual_seed(0)
    linear = torch.nn.Linear(64, 8)
    with torch.no_grad():
        linear.weight.copy_(0.02 * torch.randn(8, 64, generator=draw))
    linear, x = linear.to(dtype), torch.randn(5, 64, generator=draw).to(dtype)
    made = Float8Linear(linear, name, group)
    scaled = made.weight.float().reshape(8, -1, group or 64) * made.scales[..., None]
    expected = x.float() @ scaled.reshape(8, 64).T + linear.bias.float()
    found = made(x)
    assert found.dtype == dtype
    # Products of codes up to 57,344 overflow float16, and scales of 1e-6 lose their digits in it.
    error = (found.float() - expected).abs().max()
    assert error <= 4 * torch.finfo(dtype).eps


@pytest.mark.parametrize("half", [Float16, BFloat16])
@pytest.mark.parametrize("name", ["e4m3fn", "e5m2"])
def test_float8_in_a_half_precision_model_is_finite(name: str, half, tiny_llama: ModelFiles):
    with (
        TransformersBackend().load(tiny_llama, [half(), Float8(format=name)], CPU) as engine,
        torch.no_grad(),
    ):
        logits = engine._target.model(torch.arange(3, 40)[None]).logits
    assert torch.isfinite(logits).all()


def test_a_bias_is_kept_beside_a_float8_weight():
    from leanboard.runners.techniques.formats.float8_linear import Float8Linear

    linear, x = torch.nn.Linear(32, 8), torch.randn(3, 32)
    for group in (None, 8):
        made = Float8Linear(linear, "e4m3fn", group)
        torch.testing.assert_close(made(x), linear(x), atol=0.1, rtol=0.1)
        assert made.bias is linear.bias


def test_fewer_bits_lose_more_of_normal_weights():
    weight = torch.randn(64, 256, generator=torch.Generator().manual_seed(0))

    def loss(name: str) -> float:
        grid = grid_of(name)
        scale = weight.abs().amax(dim=1, keepdim=True) / grid.largest
        return float((grid.nearest(weight / scale) * scale - weight).square().mean())

    for formats in (("e4m3", "e3m2", "e2m1"), ("int8", "int6", "int4", "int3")):
        losses = [loss(name) for name in formats]
        assert losses == sorted(losses)
    assert loss("int8") < loss("e4m3"), "eight bits are fine enough without an exponent"


def test_float16_halves_weights_and_cache_and_runs_on_the_cpu(tiny_llama: ModelFiles):
    with stored(tiny_llama) as (_, facts):
        plain = {name: fact.value for name, fact in facts.items()}
    with stored(tiny_llama, Float16()) as (trace, facts):
        assert facts["weight_bytes"].value * 2 == plain["weight_bytes"]
        assert facts["kv_bytes"].value * 2 == plain["kv_bytes"]
        assert trace.output_tokens == 4


@pytest.mark.parametrize(
    ("technique", "dtype"), [(Float16(), torch.float16), (BFloat16(), torch.bfloat16)]
)
def test_a_half_precision_model_has_the_dtype_of_its_name_throughout(
    technique: Float16 | BFloat16, dtype: torch.dtype, tiny_llama: ModelFiles
) -> None:
    with TransformersBackend().load(tiny_llama, [technique], CPU) as engine:
        model = engine._target.model
        assert {parameter.dtype for parameter in model.parameters()} == {dtype}
        assert model(torch.arange(3, 40)[None]).logits.dtype == dtype


@pytest.mark.parametrize("technique", [Minifloat(), Float8()])
def test_what_is_quantised_already_is_not_rounded_again(technique, tiny_llama: ModelFiles):
    target = target_of(tiny_llama)
    with (
        Int8WeightOnly().apply(target),
        pytest.raises(UnsupportedError, match="are quantised already"),
        technique.apply(target),
    ):
        pytest.fail("it was rounded twice")


@pytest.mark.parametrize(
    "technique", [Svd(), RandomSharing(), MaskWeights(), PruneWidth(), DropLayers(layers=1)]
)
def test_what_changes_weights_does_not_follow_a_simulated_rounding_either(
    technique, tiny_llama: ModelFiles
):
    with pytest.raises(UnsupportedError, match=r"quantised already|packed, rounded or shared"):
        assert all(TransformersBackend().make(tiny_llama, [Minifloat(), technique], CPU))
    with (
        pytest.raises(UnsupportedError, match=r"quantised already|packed, rounded or shared"),
        TransformersBackend().load(tiny_llama, [Minifloat(), technique], CPU),
    ):
        pytest.fail("rounded weights were changed")


def test_weights_may_be_changed_again_once_they_are_rounded_no_more(tiny_llama: ModelFiles):
    target = target_of(tiny_llama)
    with Minifloat().apply(target):
        pass
    assert all(weight.requires_grad for weight in target.model.parameters())
    with Minifloat().apply(target):
        pass


@pytest.mark.parametrize("cls", [Minifloat, Float8])
def test_a_group_that_does_not_divide_the_rows_is_unsupported(cls, tiny_llama: ModelFiles):
    target = target_of(tiny_llama)
    with (
        pytest.raises(UnsupportedError, match="which 48 does not divide"),
        cls(group=48).apply(target),
    ):
        pytest.fail("it was applied")


@pytest.mark.parametrize(
    ("make", "allowed"),
    [
        (lambda: Minifloat(format="e0m3"), "choose eXmY"),
        (lambda: Minifloat(format="e4m4"), "3 to 8 bits"),
        (lambda: Minifloat(format="int2"), "3 to 8 bits"),
        (lambda: Minifloat(format="fp8"), "e4m3, e3m2, e2m1, int8, int4"),
        (lambda: Minifloat(group=0), "group=0 must be null"),
        (lambda: Float8(format="e4m3"), "choose e4m3fn, e5m2"),
        (lambda: Float8(group=-1), "group=-1 must be null"),
    ],
)
def test_a_knob_out_of_range_names_what_is_allowed(make, allowed: str):
    with pytest.raises(ConfigError, match=allowed):
        make()
