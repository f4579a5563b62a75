"""Weights of linear layers rounded by GPTQ, calibrated on text."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from leanboard.results.errors import ConfigError
from leanboard.runners.techniques.base import WEIGHT_FORMAT, Target, TechniqueDefaults
from leanboard.runners.techniques.quantization.grid import Grid
from leanboard.runners.techniques.quantization.storing import (
    float_linears,
    stored_linears,
    write_packed,
)

if TYPE_CHECKING:
    from leanboard.runners.techniques.quantization.packed import PackedWeight


@dataclass(frozen=True, slots=True)
class Gptq(TechniqueDefaults):
    """Round the weights of the linear layers so that the layers' outputs change little.

    The columns of a matrix are rounded one after another, and those not yet rounded take up the
    error as the inverse Hessian of the layer's squared output error says. Decoder layers are
    calibrated in the order of the model, each on what the quantised ones before it give; the
    matrices of one all at once, on its inputs as they are before any of them is rounded, as the
    authors' code does unless it is told to be true sequential. Made once; stored
    packed, as ``rtn`` stores it, and expanded at every forward: it saves memory, not time.

    Source: Frantar et al., GPTQ: Accurate Post-Training Quantization for Generative Pre-trained
    Transformers, arXiv:2210.17323.

    Library: leanboard's own code on torch.

    Limits: Every linear layer but the output head has to lie in the decoder layers. What a decoder
    layer is fed for all pieces of text is in memory at once while it is made.

    Args:
        bits: of a level, 2 to 8.
        group: weights of a row that share a scale; it must divide every row. ``None``: the row.
        scales: dtype of the scales, ``float16`` or ``float32``.
        act_order: round the columns with the largest inputs first, on grids fitted before.
        damp: share of the mean of the Hessian's diagonal that is added to it, above 0.
        samples: pieces of calibration text.
        tokens: of a piece.
        seed: draws the pieces.
    """

    version: ClassVar[int] = 2
    exclusive: ClassVar[str | None] = WEIGHT_FORMAT
    quantises: ClassVar[bool] = True
    expanded_by: ClassVar[str] = "leanboard"
    calibrated: ClassVar[bool] = True

    bits: int = 4
    group: int | None = 64
    scales: str = "float16"
    act_order: bool = False
    damp: float = 0.01
    samples: int = 32
    tokens: int = 512
    seed: int = 0

    def __post_init__(self) -> None:
        """Check the knobs."""
        self._grid()
        if not 0 < self.damp < 1:
            raise ConfigError(f"damp={self.damp} must be above 0 and below 1.")
        if min(self.samples, self.tokens) < 1:
            raise ConfigError(
                f"samples={self.samples} and tokens={self.tokens} must be 1 or more each."
            )

    def _grid(self) -> Grid:
        return Grid(self.bits, self.group, self.scales)

    def make(self, target: Target, folder: Path) -> Iterator[str]:
        """Quantise layer by layer and store what comes of it."""
        grid = self._grid()
        layers = float_linears(target.model)
        for name, layer in layers.items():
            grid.width(name, layer.in_features)
        packed: dict[str, PackedWeight] = {}
        for name, weight in self.quantised(target, dict.fromkeys(layers, grid)):
            packed[name] = weight
            yield f"GPTQ: {len(packed)} of {len(layers)} layers, {name}"
        write_packed(folder, packed)

    def quantised(
        self, target: Target, grids: dict[str, Grid]
    ) -> Iterator[tuple[str, PackedWeight]]:
        """Quantise layers, each to a grid of its own; yield each with its name.

        The model's weights are overwritten with the rounded ones.
        """
        from leanboard.runners.techniques.quantization.gptq_rounding import gptq_layers

        ids = target.calibration(self.samples, self.tokens, self.seed)
        yield from gptq_layers(target.model, ids, grids, damp=self.damp, act_order=self.act_order)

    def apply(self, target: Target) -> AbstractContextManager[None]:
        """Put the stored layers in place; read the weights from the checkpoint again on exit."""
        return stored_linears(target)
