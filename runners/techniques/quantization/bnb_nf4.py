"""Weights of linear layers as 4-bit NormalFloat, by bitsandbytes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from leanboard.metrics.trace import Quantity
from leanboard.results.errors import ConfigError, UnsupportedError
from leanboard.runners.techniques.base import WEIGHT_FORMAT, Target, TechniqueDefaults
from leanboard.runners.techniques.facts import BFLOAT16_LAYERS, EXPANDED_LAYERS, counted, noted
from leanboard.runners.techniques.quantization.library_linears import (
    library_linears,
    register_stored,
    require,
)

if TYPE_CHECKING:
    import torch

# From 2048 on bitsandbytes leaves its own CPU kernel, and compiles another at the first forward.
BLOCK_SIZES = (32, 64, 128, 256, 512, 1024)


@dataclass(frozen=True, slots=True)
class BnbNf4(TechniqueDefaults):
    """Store the weights of linear layers as NF4: 16 levels, at the quantiles of a normal.

    Every block of a row has a scale, its largest absolute weight: a float32, or with double
    quantisation 8 bits, which again have a float32 for 256 of them. Every forward expands the
    weights to the dtype of the activations (bitsandbytes' ``Linear4bit``). Rounding to the
    nearest, no calibration.

    On a CPU with AVX512-BF16 bitsandbytes has a fused kernel instead: it multiplies in bfloat16
    without expanding the weights first, and stores scales in bfloat16, quantised twice or not.
    The fact ``bfloat16_layers`` counts the layers that do: beside a float32 baseline, bfloat16 has
    its part in what such an arm gains and loses. ``expanded_layers`` counts those that do not, and
    the record of an arm that has them warns of its times.

    A row must be whole blocks: bitsandbytes' kernel for CPUs with AVX-512 takes the scales of
    other blocks where it is not, without a word.

    Source: Dettmers et al., QLoRA, arXiv:2305.14314; bitsandbytes,
    https://github.com/bitsandbytes-foundation/bitsandbytes.

    Library: bitsandbytes' ``Linear4bit`` (``leanboard[quantization]``).

    Limits: Embedding and, by default, output head stay floats. Without the fused kernel its times
    are those of expanding.

    Args:
        block_size: weights that share a scale: 32, 64, 128, 256, 512 or 1024.
        double_quant: whether the scales are quantised too.
        fused: whether the fused kernel runs; ``None`` lets bitsandbytes look at the CPU.
        lm_head: quantise the output projection too. Off, as in transformers' own integration:
            where it is tied to the embedding the matrix would be stored twice.
    """

    version: ClassVar[int] = 1
    exclusive: ClassVar[str | None] = WEIGHT_FORMAT
    quantises: ClassVar[bool] = True

    block_size: int = 64
    double_quant: bool = False
    fused: bool | None = None
    lm_head: bool = False

    def __post_init__(self) -> None:
        """Check the knobs."""
        if self.block_size not in BLOCK_SIZES:
            raise ConfigError(
                f"block_size={self.block_size} must be one of {', '.join(map(str, BLOCK_SIZES))}."
            )

    def import_libraries(self) -> None:
        """Import bitsandbytes."""
        require("bitsandbytes")

    @contextmanager
    def apply(self, target: Target) -> Iterator[None]:
        """Put bitsandbytes' layers in place; read the weights again on exit."""
        self.import_libraries()
        from bitsandbytes.nn import Linear4bit

        with library_linears(target, self._layer, output_head=self.lm_head):
            weights = [m.weight for m in target.model.modules() if isinstance(m, Linear4bit)]
            with noted(target, _facts(weights)):
                yield

    def _layer(self, name: str, linear: Any) -> torch.nn.Module:
        from bitsandbytes.nn import Linear4bit, Params4bit

        if linear.in_features % self.block_size != 0:
            raise UnsupportedError(
                f"{name} has rows of {linear.in_features}, which are not whole blocks of "
                f"{self.block_size}: choose a smaller block_size that divides them."
            )
        settings = {"compress_statistics": self.double_quant, "quant_type": "nf4"}
        layer = Linear4bit(
            linear.in_features, linear.out_features, bias=False, device="meta", **settings
        ).eval()
        weight = Params4bit(
            linear.weight.data, requires_grad=False, blocksize=self.block_size, **settings
        )
        layer.weight = weight.to(linear.weight.device)
        layer.bias = linear.bias
        self._pack(name, layer, linear.weight)
        register_stored(layer, _tables(layer.weight.quant_state))
        return layer

    def _pack(self, name: str, layer: Any, like: torch.Tensor) -> None:
        """Run a layer once: bitsandbytes packs it for the fused kernel as it first runs."""
        import torch

        if self.fused and not layer.support_avx512bf16_for_cpu:
            raise UnsupportedError("bitsandbytes' fused kernel needs a CPU with AVX512-BF16.")
        if self.fused is not None:
            layer.support_avx512bf16_for_cpu = self.fused
        try:
            with torch.no_grad():
                layer(torch.zeros(1, like.shape[1], dtype=like.dtype, device=like.device))
        except AssertionError as error:
            raise UnsupportedError(
                f"bitsandbytes cannot pack {name} for this CPU: {error}. fused=false can do it."
            ) from error


def _facts(weights: Sequence[Any]) -> dict[str, Quantity]:
    """Return how many layers on a CPU run the fused kernel, and how many do not."""
    packed = [
        getattr(weight.quant_state, "packing_format_for_cpu", False)
        for weight in weights
        if weight.device.type == "cpu"
    ]
    counts = {BFLOAT16_LAYERS: sum(packed), EXPANDED_LAYERS: len(packed) - sum(packed)}
    return {name: counted(count) for name, count in counts.items() if count}


def _tables(state: Any) -> dict[str, torch.Tensor]:
    """Return what bitsandbytes stores beside the packed weights."""
    tables = {"scales": state.absmax, "levels": state.code}
    if state.nested:
        tables |= {
            "offset": state.offset,
            "scales_of_scales": state.state2.absmax,
            "levels_of_scales": state.state2.code,
        }
    return tables
