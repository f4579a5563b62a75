"""Weights and activations of linear layers as int8."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import ClassVar

from leanboard.runners.techniques.base import WEIGHT_FORMAT, Target, TechniqueDefaults
from leanboard.runners.techniques.facts import counted, noted
from leanboard.runners.techniques.quantization.torchao import quantised_linears, require_torchao


@dataclass(frozen=True, slots=True)
class Int8Dynamic(TechniqueDefaults):
    """Multiply int8 by int8: weights per output row, activations per token as they come.

    Symmetric, rounding to the nearest, no calibration (torchao's
    ``Int8DynamicActivationInt8WeightConfig``, version 2, ``PerRow``). The fact ``product_bits``
    says how many bits of both are used.

    Source: torchao, https://github.com/pytorch/ao; Yao et al., ZeroQuant, arXiv:2206.01861.

    Library: torchao's ``Int8DynamicActivationInt8WeightConfig`` (``leanboard[transformers]``).

    Limits: Embedding and, by default, output head stay floats. No feature is kept apart, so that
    one large activation coarsens all of its token.

    Args:
        lm_head: quantise the output projection too. Off, as in transformers' own torchao
            integration: where it is tied to the embedding the matrix would be stored twice.
        reduce_range: use seven bits, so that a CPU without VNNI does not overflow; ``None`` lets
            torchao look at the CPU.
    """

    version: ClassVar[int] = 1
    exclusive: ClassVar[str | None] = WEIGHT_FORMAT
    quantises: ClassVar[bool] = True
    products: ClassVar[str | None] = "int8"

    lm_head: bool = False
    reduce_range: bool | None = None

    @contextmanager
    def apply(self, target: Target) -> Iterator[None]:
        """Quantise in place; read the weights from the checkpoint again on exit."""
        require_torchao()
        from torchao.quantization import (
            Int8DynamicActivationInt8WeightConfig,
            MappingType,
            PerRow,
        )
        from torchao.utils import should_reduce_range

        reduce_range = self.reduce_range
        if reduce_range is None:
            reduce_range = should_reduce_range(next(target.model.parameters()).device)
        # set_inductor_config would change torch's global settings for good.
        config = Int8DynamicActivationInt8WeightConfig(
            act_mapping_type=MappingType.SYMMETRIC,
            granularity=PerRow(),
            set_inductor_config=False,
            version=2,
            reduce_range=reduce_range,
        )
        bits = counted(7 if reduce_range else 8, "bit")
        with (
            quantised_linears(target, config, output_head=self.lm_head),
            noted(target, {"product_bits": bits}),
        ):
            yield
