"""Weights rounded to a small float or integer format, stored as before."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import ClassVar

from leanboard.metrics.trace import Provenance, Quantity
from leanboard.runners.techniques.base import WEIGHT_FORMAT, Target, TechniqueDefaults
from leanboard.runners.techniques.facts import noted
from leanboard.runners.techniques.formats.grids import (
    check_group,
    float_weight,
    grid_of,
    grouped,
    scales_of,
)
from leanboard.runners.techniques.replacing import body_linears

_SCALE_BITS = 32
_FACT = "simulated_weight_bits"


@dataclass(frozen=True, slots=True)
class Minifloat(TechniqueDefaults):
    """Round the weights of linear layers to a format of 3 to 8 bits, float or integer.

    It shows what a format costs in quality, floats against integers at equal bits and scales. The
    fact simulated_weight_bits says what a weight would take, scales of 32 bits included.

    ``eXmY`` is a sign, X bits of exponent with the bias 2^(X-1) - 1, and Y bits of mantissa, with
    subnormals. No code is infinity or NaN, so that e4m3 ends at 480 (torch's e4m3fn at 448) and
    e2m1 at 6. ``intN`` is symmetric, from -(2^(N-1) - 1) to 2^(N-1) - 1. The scale brings the
    largest magnitude of a row, or of a group of its weights, to the format's end. Rounding is to
    the nearest, ties to even, what lies beyond the end becomes it, nothing is calibrated, and the
    output head is left alone.

    Source: Aggarwal et al., Shedding the Bits: Pushing the Boundaries of Quantization with
    Minifloats on FPGAs, arXiv:2311.12359.

    Library: leanboard's own code on torch.

    Limits: Simulated. No kernel here computes in most of these formats, so that the rounded weights
    stay stored in the dtype of the model (fake quantisation): bytes and speed are the baseline's.
    Weights only; the source rounds activations too, and calibrates. A group has to divide every
    row.

    Args:
        format: ``e4m3``, ``e5m2``, ``e3m2``, ``e2m3``, ``e2m1`` ..., or ``int8`` down to ``int3``.
        group: weights of a row that share a scale; ``None`` gives each row one.
    """

    version: ClassVar[int] = 1
    simulates: ClassVar[frozenset[str]] = frozenset({"weight_bytes", "bits_per_weight"})
    quantises: ClassVar[bool] = True
    exclusive: ClassVar[str | None] = WEIGHT_FORMAT

    format: str = "e4m3"
    group: int | None = None

    def __post_init__(self) -> None:
        """Check the knobs."""
        grid_of(self.format)
        check_group(self.group)

    @contextmanager
    def apply(self, target: Target) -> Iterator[None]:
        """Round in place, for good until exit; read the weights from the checkpoint again then."""
        grid, names = grid_of(self.format), body_linears(target.model)
        layers = [target.model.get_submodule(name) for name in names]
        weights = [
            float_weight(name, layer, self.group) for name, layer in zip(names, layers, strict=True)
        ]
        count = scale_count = 0
        try:
            for layer, weight in zip(layers, weights, strict=True):
                groups = grouped(weight, self.group)
                scales = scales_of(groups, grid.largest)
                weight.copy_((grid.nearest(groups / scales) * scales).reshape(weight.shape))
                # No technique that follows may take it off the grid.
                layer.weight.requires_grad_(requires_grad=False)
                count += weight.numel()
                scale_count += scales.numel()
            bits = grid.bits + _SCALE_BITS * scale_count / count
            with noted(target, {_FACT: Quantity(bits, "bit", Provenance.SIMULATED)}):
                yield
        finally:
            target.restore(names)
