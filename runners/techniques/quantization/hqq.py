"""Weights of linear layers in groups of 8, 4, 3 or 2 bits, by half-quadratic quantisation."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from leanboard.results.errors import ConfigError, UnsupportedError
from leanboard.runners.techniques.base import WEIGHT_FORMAT, Target, TechniqueDefaults
from leanboard.runners.techniques.quantization.library_linears import (
    library_linears,
    register_stored,
    require,
)

if TYPE_CHECKING:
    import torch

BITS = (8, 4, 3, 2)


@dataclass(frozen=True, slots=True)
class Hqq(TechniqueDefaults):
    """Round weights in groups, with zero points that are fitted to the weights alone.

    Of each group the scale is that of its range; the zero point is improved for up to 20 steps,
    so that the rounding errors are sparse: a norm of power 0.7, which forgives large errors of few
    weights. No calibration text.

    Weights are packed, 3 bits as ten in 32; scale and zero point have the dtype of the model.
    Every forward expands them to it (hqq's ``PYTORCH`` backend, the only one that runs anywhere).

    Source: Badri and Shaji, Half-Quadratic Quantization of Large Machine Learning Models, 2023,
    https://github.com/mobiusml/hqq.

    Library: hqq's ``HQQLinear`` (``leanboard[quantization]``).

    Limits: Embedding and, by default, output head stay floats. A matrix has to be whole groups. In
    a float32 model scale and zero point take 64 bits a group: 3 bits by 64 come to 4.2 a weight.

    Args:
        bits: 8, 4, 3 or 2.
        group_size: weights that share a scale and a zero point, a multiple of 8; it need not
            divide a row.
        axis: 1 groups the weights of a row that lie side by side, 0 takes them from as many places
            of the matrix, evenly spaced.
        lm_head: quantise the output projection too. Off, as in transformers' own integration:
            where it is tied to the embedding the matrix would be stored twice.
    """

    version: ClassVar[int] = 1
    exclusive: ClassVar[str | None] = WEIGHT_FORMAT
    quantises: ClassVar[bool] = True
    expanded_by: ClassVar[str] = "hqq"

    bits: int = 4
    group_size: int = 64
    axis: int = 1
    lm_head: bool = False

    def __post_init__(self) -> None:
        """Check the knobs."""
        if self.bits not in BITS:
            raise ConfigError(f"bits={self.bits} must be one of {', '.join(map(str, BITS))}.")
        if self.group_size < 8 or self.group_size % 8 != 0:
            raise ConfigError(f"group_size={self.group_size} must be a multiple of 8.")
        if self.axis not in (0, 1):
            raise ConfigError(f"axis={self.axis} must be 0 or 1.")

    def import_libraries(self) -> None:
        """Import hqq."""
        require("hqq.core.quantize")

    def apply(self, target: Target) -> AbstractContextManager[None]:
        """Put hqq's layers in place; read the weights again on exit."""
        self.import_libraries()
        return library_linears(target, self._layer, output_head=self.lm_head)

    def _layer(self, name: str, linear: Any) -> torch.nn.Module:
        import torch
        from hqq.core.quantize import HQQLinear, hqq_base_quant_config

        self._check_packs(name, linear.weight.numel())
        with torch.no_grad():
            layer = HQQLinear(
                linear,
                hqq_base_quant_config(nbits=self.bits, group_size=self.group_size, axis=self.axis),
                compute_dtype=linear.weight.dtype,
                device=str(linear.weight.device),
            ).eval()
        # Clones: what hqq fits in inference mode cannot be used everywhere.
        layer.meta |= {part: layer.meta[part].clone() for part in ("scale", "zero")}
        register_stored(layer, {part: layer.meta[part] for part in ("scale", "zero")})
        bias = layer.__dict__.pop("bias")
        layer.register_buffer("bias", bias)
        return layer

    def _check_packs(self, name: str, weights: int) -> None:
        """Refuse what cannot be packed: several groups lie in one byte, weight beside weight."""
        groups, rest = divmod(weights, self.group_size)
        side_by_side = 1 if self.axis == 0 or self.bits == 3 else 8 // self.bits
        if rest != 0 or groups % side_by_side != 0:
            raise UnsupportedError(
                f"{name} has {weights} weights, which hqq cannot pack in groups of "
                f"{self.group_size} with {self.bits} bits: choose another group_size."
            )
