"""Linear layers of bitsandbytes, hqq, optimum-quanto and torchao: their definitions, and bytes."""

from __future__ import annotations

import dataclasses
import logging
import subprocess
import sys

import pytest
import torch

from leanboard.metrics.trace import Provenance, Quantity
from leanboard.results.errors import ConfigError, MissingDependencyError, UnsupportedError
from leanboard.runners.backends.base import Device, ModelFiles, Request, Span, in_order
from leanboard.runners.backends.torch_loading import TorchTarget, load_model
from leanboard.runners.backends.transformers import TransformersBackend
from leanboard.runners.techniques.formats.bf16 import BFloat16
from leanboard.runners.techniques.quantization.bnb_int8 import BnbInt8
from leanboard.runners.techniques.quantization.bnb_nf4 import BnbNf4
from leanboard.runners.techniques.quantization.hqq import Hqq
from leanboard.runners.techniques.quantization.int8_dynamic import Int8Dynamic
from leanboard.runners.techniques.quantization.int8_weight_only import Int8WeightOnly
from leanboard.runners.techniques.quantization.quanto import Quanto

CPU = Device(kind="cpu", threads=1, reference_dtype="float32")
EXPANDED = BnbNf4(fused=False)
ALL = [BnbInt8(), BnbNf4(), EXPANDED, BnbNf4(double_quant=True, fused=False), Hqq()]
ALL += [Hqq(bits=3, axis=0), Quanto(), Quanto(bits=4), Quanto(bits=2)]
SHAPES = [(64, 64), (32, 64), (32, 64), (64, 64), (128, 64), (128, 64), (64, 128)] * 2
"""Rows and columns of the random Llama's layers."""

# Dettmers et al., QLoRA, appendix E, to seven places.
NF4 = torch.tensor(
    [
        *(-1.0, -0.6961928, -0.5250731, -0.3949175, -0.2844414, -0.1847734, -0.0910500, 0.0),
        *(0.0795803, 0.1609302, 0.2461123, 0.3379152, 0.4407098, 0.5626170, 0.7229568, 1.0),
    ]
)


class OneLayer(torch.nn.Module):
    """A linear layer, and an output projection that stays as it is."""

    def __init__(self, weight: torch.Tensor, bias: torch.Tensor | None) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None)
        self.layer.weight.data = weight.clone()
        if bias is not None:
            self.layer.bias.data = bias.clone()
        self.head = torch.nn.Linear(2, 2)

    def get_output_embeddings(self) -> torch.nn.Module:
        return self.head

    def tie_weights(self) -> None:
        """Tie nothing."""


def one_layer(weight: torch.Tensor, bias: torch.Tensor | None = None) -> TorchTarget:
    def read() -> torch.nn.Module:
        return OneLayer(weight, bias).eval()

    return TorchTarget(model=read(), reload=read)


def run(technique, weight: torch.Tensor, inputs: torch.Tensor, bias=None) -> torch.Tensor:
    target = one_layer(weight, bias)
    with torch.no_grad(), technique.apply(target):
        return target.model.layer(inputs)


def used(technique, weight: torch.Tensor) -> torch.Tensor:
    """Return the weights that the layer multiplies by."""
    return run(technique, weight, torch.eye(weight.shape[1])).T


def drawn(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(7))


def llama(tiny_llama: ModelFiles) -> TorchTarget:
    def read() -> torch.nn.Module:
        return load_model(tiny_llama, dtype="float32", device="cpu", attention="sdpa")

    return TorchTarget(model=read(), reload=read)


def logits(target: TorchTarget) -> torch.Tensor:
    with torch.no_grad():
        return target.model(torch.arange(3, 40)[None]).logits


def facts_of(tiny_llama: ModelFiles, *techniques) -> dict[str, float]:
    with TransformersBackend().load(tiny_llama, list(techniques), CPU) as engine:
        return {name: fact.value for name, fact in engine.facts().items()}


def saved(tiny_llama: ModelFiles, technique) -> int:
    """Return the bytes that the layers take, of the whole model's with and without."""
    floats = 4 * sum(rows * columns for rows, columns in SHAPES)
    whole = facts_of(tiny_llama)["weight_bytes"]
    return int(facts_of(tiny_llama, technique)["weight_bytes"] - whole + floats)


# bitsandbytes NF4


def test_nf4_gives_the_nearest_of_the_papers_levels_times_the_largest_of_a_block():
    weight = torch.zeros(2, 32)
    weight[0, :3] = torch.tensor([2.0, -2.0, 0.5])
    weight[1, :3] = torch.tensor([-0.1, 0.03, 0.1])
    found = used(BnbNf4(block_size=32, fused=False), weight)
    # 0.5 is a quarter of 2, and 0.3 of the largest lies nearer to 0.3379 than to 0.2461.
    assert found[0, :4].tolist() == pytest.approx([2.0, -2.0, 2 * 0.2461123, 0.0])
    assert found[1, :4].tolist() == pytest.approx([-0.1, 0.1 * 0.3379152, 0.1, 0.0])


@pytest.mark.parametrize("block_size", [32, 64])
def test_nf4_blocks_lie_along_the_rows(block_size: int):
    weight = drawn(48, 192)
    blocks = weight.reshape(-1, block_size)
    largest = blocks.abs().amax(dim=1, keepdim=True)
    nearest = (blocks / largest)[..., None].sub(NF4).abs().argmin(dim=-1)
    expected = (NF4[nearest] * largest).reshape(weight.shape)
    found = used(BnbNf4(block_size=block_size, fused=False), weight)
    assert torch.allclose(found, expected, atol=1e-5)


def test_double_quantisation_stores_fewer_bytes_and_hardly_moves_the_scales(
    tiny_llama: ModelFiles,
):
    weight = drawn(256, 256)
    twice = BnbNf4(double_quant=True, fused=False)
    single, double = used(EXPANDED, weight), used(twice, weight)
    assert not torch.equal(single, double)
    assert (single - double).abs().mean() < 0.1 * (single - weight).abs().mean()
    blocks = [rows * columns // 64 for rows, columns in SHAPES]
    # A byte a scale; of 256 scales a float32; an offset, a table of 256 and one of 16 a layer.
    tables = 4 + 4 * 256 + 4 * 16
    expected = sum(32 * n + n + 4 * -(-n // 256) + tables for n in blocks)
    assert saved(tiny_llama, twice) == expected
    assert saved(tiny_llama, EXPANDED) == sum(32 * n + 4 * n + 4 * 16 for n in blocks)


@pytest.mark.parametrize("technique", [BnbNf4(fused=True), BnbNf4(fused=True, double_quant=True)])
def test_the_fused_kernel_multiplies_the_same_weights_in_bfloat16_or_is_refused(technique: BnbNf4):
    from bitsandbytes.functional import has_avx512bf16

    weight, inputs = drawn(96, 192), drawn(5, 192)
    if not has_avx512bf16():
        with pytest.raises(UnsupportedError, match="needs a CPU with AVX512-BF16"):
            run(technique, weight, inputs)
        return
    expanded, found = run(EXPANDED, weight, inputs), run(technique, weight, inputs)
    off = float((found - expanded).norm() / expanded.norm())
    assert 0 < off < 0.01
    target = one_layer(weight)
    with technique.apply(target):
        stored = target.facts["weight_bits"].value
        assert target.facts["bfloat16_layers"].value == 1
        assert "expanded_layers" not in target.facts
    assert target.facts == {}
    # A bfloat16 a block, and a table of 16 float32.
    assert stored == 4 + 16 / 64 + 16 * 32 / weight.numel()


def test_nf4_counts_the_layers_that_it_expands_on_a_cpu() -> None:
    target = one_layer(drawn(96, 192))
    with EXPANDED.apply(target):
        assert target.facts["expanded_layers"] == Quantity(1, "1", Provenance.COUNTED)
        assert "bfloat16_layers" not in target.facts
    assert target.facts == {}


def test_nf4_refuses_rows_that_are_not_whole_blocks_and_leaves_the_model_as_it_was(
    tiny_llama: ModelFiles,
):
    target = llama(tiny_llama)
    before = logits(target)
    with (
        pytest.raises(UnsupportedError, match=r"rows of 64, which are not whole blocks of 128"),
        BnbNf4(block_size=128).apply(target),
    ):
        pytest.fail("it applied")
    assert torch.equal(logits(target), before)
    assert target.facts == {}


# bitsandbytes int8

WHOLE = torch.tensor([[127.0, -3.0, 50.0, 8.0], [-20.0, 127.0, 0.0, -64.0]])
"""Weights that int8 holds exactly: the largest of each row is 127."""


def test_int8_is_exact_for_whole_numbers_of_which_the_largest_is_127():
    inputs = torch.tensor([[127.0, 1.0, -7.0, 90.0], [0.0, -127.0, 3.0, 3.0]])
    found = run(BnbInt8(threshold=0.0), WHOLE, inputs)
    # By hand: 127*127 - 3 - 350 + 720, and so on.
    expected = torch.tensor([[16496.0, -8173.0], [555.0, -16321.0]])
    assert torch.allclose(found, expected, rtol=1e-4)


def test_int8_rounds_activations_to_a_step_of_their_token():
    inputs = torch.tensor([[127.0, 0.4, 0.0, 0.0], [1.27, 0.004, 0.0, 0.0]])
    found = run(BnbInt8(threshold=0.0), WHOLE, inputs)
    # The second feature is less than half a step of 1, and of 0.01.
    assert torch.allclose(found, inputs[:, :1] * WHOLE[:, 0], rtol=1e-3)


def test_an_outlier_feature_is_kept_apart_and_costs_the_others_no_precision():
    inputs = torch.tensor([[5.0, -4.0, 3.0, 1000.0], [1.0, 2.0, -5.0, 0.5]])
    expected = inputs @ WHOLE.T
    apart = run(BnbInt8(threshold=6.0), WHOLE, inputs)
    together = run(BnbInt8(threshold=0.0), WHOLE, inputs)
    off = [(found - expected).abs().max() for found in (apart, together)]
    assert off[0] < 0.02 * off[1]


def test_a_token_of_int8_depends_on_the_tokens_beside_it_so_prefixes_are_not_shared():
    token = torch.tensor([[1.0, 2.0, -5.0, 0.01]])
    beside = torch.cat([token, torch.tensor([[0.0, 0.0, 0.0, 1000.0]])])
    alone, together = (run(BnbInt8(), WHOLE, inputs)[0] for inputs in (token, beside))
    # Alone, 0.01 is less than half a step of 5 / 127.
    assert (together - alone).tolist() == pytest.approx([0.01 * 8.0, 0.01 * -64.0], rel=1e-2)
    assert not BnbInt8.shares_prefixes


def test_int8_stores_a_byte_a_weight_and_a_float32_a_row(tiny_llama: ModelFiles):
    expected = sum(rows * columns + 4 * rows for rows, columns in SHAPES)
    assert saved(tiny_llama, BnbInt8()) == expected


def test_int8_says_nothing_at_every_layer_and_puts_the_logger_back(caplog):
    logger = logging.getLogger("bitsandbytes.autograd._functions")
    before = logger.level
    run(BnbInt8(), WHOLE, WHOLE)
    assert caplog.records == []
    assert logger.level == before


# hqq


def half_quadratic(weight: torch.Tensor, bits: int, group_size: int, axis: int) -> torch.Tensor:
    """Return weights quantised as the paper says, its equations 3 to 8, in float64."""
    grouped = (group_size, -1) if axis == 0 else (-1, group_size)
    weights = weight.double().reshape(grouped)
    most = 2**bits - 1
    low = weights.amin(dim=axis, keepdim=True)
    step = (weights.amax(dim=axis, keepdim=True) - low) / most
    zero = -low / step
    if bits == 4:
        zero = zero.round()
    best = torch.inf
    for _ in range(20):
        levels = (weights / step + zero).round().clamp(0, most)
        error = weights - (levels - zero) * step
        sparse = error.sign() * (error.abs() - error.abs() ** (0.7 - 1) / 10).clamp(min=0)
        zero = (levels - (weights - sparse) / step).mean(dim=axis, keepdim=True)
        if error.abs().mean() >= best:
            break
        best = error.abs().mean()
    levels = (weights / step + zero).round().clamp(0, most)
    return ((levels - zero) * step).reshape(weight.shape)


def plainly_rounded(weight: torch.Tensor, bits: int, group_size: int) -> torch.Tensor:
    groups = weight.reshape(-1, group_size)
    low = groups.amin(dim=1, keepdim=True)
    step = (groups.amax(dim=1, keepdim=True) - low) / (2**bits - 1)
    return (((groups - low) / step).round() * step + low).reshape(weight.shape)


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("bits", [8, 4, 3, 2])
def test_hqq_is_the_half_quadratic_quantisation_of_its_paper(bits: int, axis: int):
    weight = 0.05 * drawn(40, 96)
    found = used(Hqq(bits=bits, group_size=32, axis=axis), weight)
    off = (found - half_quadratic(weight, bits, 32, axis)).abs()
    # A weight between two levels may go either way.
    assert (off < 1e-5).double().mean() > 0.99


@pytest.mark.parametrize("bits", [3, 2])
def test_hqq_errs_less_by_its_own_norm_than_rounding_to_the_same_groups(bits: int):
    weight = 0.05 * drawn(64, 128)
    weight[::5, ::40] *= 8
    fitted, plain = used(Hqq(bits=bits), weight), plainly_rounded(weight, bits, 64)
    errors = [((found - weight).abs() ** 0.7).mean() for found in (fitted, plain)]
    assert errors[0] < 0.98 * errors[1]


@pytest.mark.parametrize(
    ("technique", "layer_bytes"),
    [
        (Hqq(bits=8), lambda n: n + 8 * n // 64),
        (Hqq(bits=4), lambda n: n // 2 + 8 * n // 64),
        (Hqq(bits=2, group_size=16), lambda n: n // 4 + 8 * n // 16),
        # Ten weights in four bytes, each of another group, or of another place in its group.
        (Hqq(bits=3), lambda n: 4 * 64 * -(-n // 640) + 8 * n // 64),
        (Hqq(bits=3, axis=0), lambda n: 4 * 7 * n // 64 + 8 * n // 64),
    ],
)
def test_hqq_stores_packed_weights_and_a_scale_and_a_zero_point_a_group(
    technique: Hqq, layer_bytes, tiny_llama: ModelFiles
):
    expected = sum(layer_bytes(rows * columns) for rows, columns in SHAPES)
    assert saved(tiny_llama, technique) == expected


def test_smaller_groups_take_more_bits_and_err_less():
    weight = drawn(64, 256)
    errors, bits = [], []
    for group_size in (256, 64, 16):
        technique, target = Hqq(group_size=group_size), one_layer(weight)
        with technique.apply(target):
            bits.append(target.facts["weight_bits"].value)
        errors.append(float((used(technique, weight) - weight).abs().mean()))
    assert bits == [4 + 64 / 256, 4 + 64 / 64, 4 + 64 / 16]
    assert errors == sorted(errors, reverse=True)


@pytest.mark.parametrize(
    ("technique", "layer"),
    [(Hqq(group_size=24), "q_proj has 4096"), (Hqq(bits=2, group_size=1024), "k_proj has 2048")],
)
def test_hqq_refuses_what_it_cannot_pack_and_leaves_the_model_as_it_was(
    technique: Hqq, layer: str, tiny_llama: ModelFiles
):
    target = llama(tiny_llama)
    before = logits(target)
    with pytest.raises(UnsupportedError, match=f"{layer} weights"), technique.apply(target):
        pytest.fail("it applied")
    assert torch.equal(logits(target), before)


# optimum-quanto


def test_quanto_with_8_bits_rounds_to_a_127th_of_the_largest_of_a_row():
    weight = drawn(24, 40)
    step = weight.abs().amax(dim=1, keepdim=True) / 127
    found = used(Quanto(bits=8), weight)
    assert torch.allclose(found, (weight / step).round() * step, atol=1e-6)


@pytest.mark.parametrize("bits", [4, 2])
@pytest.mark.parametrize(
    ("columns", "group_size"), [(256, 128), (192, 96), (160, 32), (100, 100), (130, 130)]
)
def test_quanto_with_fewer_bits_rounds_in_the_groups_that_it_says(
    columns: int, group_size: int, bits: int
):
    weight = drawn(12, columns)
    technique, target = Quanto(bits=bits), one_layer(weight)
    expected = plainly_rounded(weight, bits, group_size)
    assert torch.allclose(used(technique, weight), expected, atol=1e-5)
    with technique.apply(target):
        # Scales and shifts of float32, and two floats a layer for activations that it leaves.
        stored = target.facts["weight_bits"].value
    assert stored == pytest.approx(bits + 64 / group_size + 64 / weight.numel())


def test_quanto_stores_a_byte_a_weight_and_a_float32_a_row(tiny_llama: ModelFiles):
    expected = sum(rows * columns + 4 * rows + 8 for rows, columns in SHAPES)
    assert saved(tiny_llama, Quanto(bits=8)) == expected


def test_quanto_compiles_nothing_and_puts_its_extension_back():
    from optimum.quanto.library.extensions import get_extension

    extension = get_extension("quanto_cpp")
    before = extension._lib
    used(Quanto(bits=4), drawn(4, 8))
    assert extension._lib is before
    assert before is None


# torchao


@pytest.mark.parametrize(("reduced", "bits", "top"), [(False, 8, 127.0), (True, 7, 63.0)])
def test_int8_dynamic_rounds_each_row_and_each_token_by_itself_to_the_bits_that_it_says(
    reduced: bool, bits: int, top: float
) -> None:
    # The largest number of a row or token is half a step above the highest level.
    largest, row_steps, token_steps = top + 0.5, torch.tensor([1.0, 0.1]), torch.tensor([1.0, 0.01])
    rows = torch.tensor([[largest, -3.4, 49.6, 8.0], [-20.4, largest, 0.4, -60.0]])
    row_levels = torch.tensor([[top, -3.0, 50.0, 8.0], [-20.0, top, 0.0, -60.0]])
    token = torch.tensor([largest, 3.4, -6.6, 60.0])
    token_levels = torch.tensor([top, 3.0, -7.0, 60.0])
    target = one_layer(row_steps[:, None] * rows)
    with torch.no_grad(), Int8Dynamic(reduce_range=reduced).apply(target):
        found = target.model.layer(token_steps[:, None] * token)
        assert target.facts["product_bits"] == Quantity(bits, "bit", Provenance.COUNTED)
    expected = torch.outer(token_steps, row_steps * (row_levels @ token_levels))
    assert torch.allclose(found, expected, rtol=1e-4)
    assert target.facts == {}


@pytest.mark.parametrize(("reduced", "bits"), [(False, 8), (True, 7)])
def test_int8_dynamic_takes_the_bits_that_torchao_finds_safe_unless_it_is_told(
    reduced: bool, bits: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torchao.utils.should_reduce_range", lambda _: reduced)
    target = one_layer(WHOLE)
    with Int8Dynamic().apply(target):
        assert target.facts["product_bits"].value == bits
    with Int8Dynamic(reduce_range=not reduced).apply(target):
        assert target.facts["product_bits"].value == 15 - bits


# All of them


@pytest.mark.parametrize("technique", ALL, ids=str)
def test_a_bias_is_added_and_is_no_bit_of_the_weights(technique):
    weight, bias, inputs = drawn(32, 64), torch.arange(32.0), drawn(3, 64)
    without, with_bias = run(technique, weight, inputs), run(technique, weight, inputs, bias)
    assert torch.allclose(with_bias, without + bias, atol=1e-4)
    bits = []
    for target in (one_layer(weight), one_layer(weight, bias)):
        with technique.apply(target):
            bits.append(target.facts["weight_bits"].value)
        assert target.facts == {}
    assert bits[0] == bits[1]


@pytest.mark.parametrize("technique", ALL, ids=str)
def test_it_works_on_bfloat16_weights(technique, tiny_llama: ModelFiles):
    half = facts_of(tiny_llama, BFloat16())["weight_bytes"]
    with TransformersBackend().load(tiny_llama, [BFloat16(), technique], CPU) as engine:
        (trace,) = engine.generate([Request("a", "the rain in the main", 8)])
        ids = engine.encode("the rain in the main")
        (score,) = in_order(engine.loglikelihood([Span(ids[:4], ids[4:])]))
        assert engine.facts()["weight_bytes"].value < half
    assert len(trace.output_ids) == 8
    assert -1e4 < score.loglikelihood < 0


@pytest.mark.parametrize("technique", [BnbInt8(), EXPANDED, Hqq(), Quanto()], ids=str)
def test_the_output_head_is_stored_beside_the_embedding_and_tied_again(
    technique, tiny_llama: ModelFiles
):
    target, with_head = llama(tiny_llama), dataclasses.replace(technique, lm_head=True)
    with with_head.apply(target):
        assert type(target.model.lm_head) is not torch.nn.Linear
        assert target.model.model.embed_tokens.weight.dtype == torch.float32
    assert target.model.lm_head.weight is target.model.model.embed_tokens.weight
    without = facts_of(tiny_llama, technique)["weight_bytes"]
    assert facts_of(tiny_llama, with_head)["weight_bytes"] > without + 264 * 64 / 2


@pytest.mark.parametrize("technique", [*ALL, Int8WeightOnly()], ids=str)
def test_what_is_quantised_already_is_refused(technique, tiny_llama: ModelFiles):
    target = llama(tiny_llama)
    with (
        technique.apply(target),
        pytest.raises(UnsupportedError, match=r"quantised already|no linear layer"),
        BnbNf4().apply(target),
    ):
        pytest.fail("it applied")


@pytest.mark.parametrize(
    ("technique", "module"),
    [
        (BnbInt8(), "bitsandbytes"),
        (BnbNf4(), "bitsandbytes"),
        (Hqq(), "hqq.core.quantize"),
        (Quanto(), "optimum.quanto"),
    ],
)
def test_a_missing_package_names_the_extra_that_brings_it(technique, module: str, monkeypatch):
    monkeypatch.setitem(sys.modules, module, None)
    said = rf"{module}: pip install 'leanboard\[quantization\]'"
    with pytest.raises(MissingDependencyError, match=said):
        technique.import_libraries()
    with (
        pytest.raises(MissingDependencyError, match=said),
        technique.apply(one_layer(drawn(4, 8))),
    ):
        pytest.fail("it applied")


def test_the_libraries_are_imported_without_a_word():
    script = (
        "from leanboard.runners.backends.transformers import TransformersBackend\n"
        "from leanboard.runners.techniques.quantization.bnb_nf4 import BnbNf4\n"
        "from leanboard.runners.techniques.quantization.hqq import Hqq\n"
        "from leanboard.runners.techniques.quantization.quanto import Quanto\n"
        "TransformersBackend().import_libraries()\n"
        "for technique in (BnbNf4(), Hqq(), Quanto()): technique.import_libraries()\n"
    )
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize(
    ("make", "allowed"),
    [
        (lambda: BnbNf4(block_size=48), "must be one of 32, 64, 128, 256, 512, 1024"),
        (lambda: BnbNf4(block_size=2048), "must be one of 32"),
        (lambda: BnbInt8(threshold=-1.0), "threshold=-1.0 must be 0 or more"),
        (lambda: BnbInt8(threshold=float("nan")), "threshold=nan must be 0 or more"),
        (lambda: Hqq(bits=5), "bits=5 must be one of 8, 4, 3, 2"),
        (lambda: Hqq(group_size=60), "group_size=60 must be a multiple of 8"),
        (lambda: Hqq(group_size=0), "group_size=0 must be a multiple of 8"),
        (lambda: Hqq(axis=2), "axis=2 must be 0 or 1"),
        (lambda: Quanto(bits=3), "bits=3 must be one of 8, 4, 2"),
    ],
)
def test_a_knob_out_of_range_names_what_is_allowed(make, allowed: str):
    with pytest.raises(ConfigError, match=allowed):
        make()
