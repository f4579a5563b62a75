"""Weights of linear layers rounded to the nearest of few levels."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import ClassVar

from leanboard.runners.techniques.base import WEIGHT_FORMAT, Target, TechniqueDefaults
from leanboard.runners.techniques.quantization.grid import Grid
from leanboard.runners.techniques.quantization.storing import (
    float_linears,
    packed_linears,
)


@dataclass(frozen=True, slots=True)
class Rtn(TechniqueDefaults):
    """Round every weight of the linear layers to the nearest level, without calibration.

    Each group of weights along a row has 2^bits evenly spaced levels with a scale and a zero
    point. Levels and zero points are stored packed without gaps and expanded at every forward:
    this saves memory, not time. Embedding and output head stay as they are. It is the control of
    every calibrated quantiser.

    Source: Nagel et al., A White Paper on Neural Network Quantization, arXiv:2106.08295 (section
    2); the baseline RTN of Frantar et al., GPTQ, arXiv:2210.17323.

    Library: leanboard's own code on torch.

    Limits: A group has to divide every row. One large weight coarsens its whole group: nothing is
    clipped or kept apart.

    Args:
        bits: of a level, 2 to 8.
        group: weights of a row that share a scale; it must divide every row. ``None``: the row.
        scales: dtype of the scales, ``float16`` or ``float32``.
    """

    version: ClassVar[int] = 1
    exclusive: ClassVar[str | None] = WEIGHT_FORMAT
    quantises: ClassVar[bool] = True
    expanded_by: ClassVar[str] = "leanboard"

    bits: int = 4
    group: int | None = 64
    scales: str = "float16"

    def __post_init__(self) -> None:
        """Check the knobs."""
        self._grid()

    def _grid(self) -> Grid:
        return Grid(self.bits, self.group, self.scales)

    def apply(self, target: Target) -> AbstractContextManager[None]:
        """Put packed layers in place; read the weights from the checkpoint again on exit."""
        grid = self._grid()
        layers = float_linears(target.model)
        for name, layer in layers.items():
            grid.width(name, layer.in_features)
        return packed_linears(
            target, lambda name, layer: grid.nearest(name, layer.weight), list(layers)
        )
