"""Weights of linear layers as int8, activations as they are."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import ClassVar

from leanboard.runners.techniques.base import WEIGHT_FORMAT, Target, TechniqueDefaults
from leanboard.runners.techniques.quantization.torchao import quantised_linears, require_torchao


@dataclass(frozen=True, slots=True)
class Int8WeightOnly(TechniqueDefaults):
    """Store the weights of linear layers as int8, symmetric, one float32 scale an output row.

    Every forward expands them again to the dtype of the activations, so that it saves memory
    before it saves time. Rounding to the nearest, no calibration (torchao's
    ``Int8WeightOnlyConfig``, version 2, ``PerRow``).

    Source: torchao, https://github.com/pytorch/ao; Dettmers et al., LLM.int8(), arXiv:2208.07339.

    Library: torchao's ``Int8WeightOnlyConfig`` (``leanboard[transformers]``).

    Limits: Embedding and, by default, output head stay floats. A row has one scale, however long it
    is; torchao stores a zero point of one byte beside it, which is always 0.

    Args:
        lm_head: quantise the output projection too. Off, as in transformers' own torchao
            integration: where it is tied to the embedding the matrix would be stored twice.
    """

    version: ClassVar[int] = 1
    exclusive: ClassVar[str | None] = WEIGHT_FORMAT
    quantises: ClassVar[bool] = True
    expanded_by: ClassVar[str] = "torchao"

    lm_head: bool = False

    def apply(self, target: Target) -> AbstractContextManager[None]:
        """Quantise in place; read the weights from the checkpoint again on exit."""
        require_torchao()
        from torchao.quantization import Int8WeightOnlyConfig, PerRow

        # set_inductor_config would change torch's global settings for good.
        config = Int8WeightOnlyConfig(granularity=PerRow(), set_inductor_config=False, version=2)
        return quantised_linears(target, config, output_head=self.lm_head)
