"""Weights and activations of linear layers as int8, outlier features apart, by bitsandbytes."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from leanboard.results.errors import ConfigError
from leanboard.runners.techniques.base import WEIGHT_FORMAT, Target, TechniqueDefaults
from leanboard.runners.techniques.quantization.library_linears import (
    library_linears,
    register_stored,
    require,
)

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, slots=True)
class BnbInt8(TechniqueDefaults):
    """Multiply int8 by int8, and the few input features with large values in floating point.

    Weights have one float32 scale an output row, activations one a token, both symmetric
    (LLM.int8(), bitsandbytes' ``Linear8bitLt``). A feature in which any of the tokens that are fed
    at once reaches the threshold is multiplied by the expanded weights in the dtype of the
    activations; hence a token's output depends on the tokens beside it. Weights and activations
    pass through float16 before they are rounded. A CPU without AVX-512 multiplies the integers as
    float32.

    Source: Dettmers et al., LLM.int8(), arXiv:2208.07339; bitsandbytes,
    https://github.com/bitsandbytes-foundation/bitsandbytes.

    Library: bitsandbytes' ``Linear8bitLt`` (``leanboard[quantization]``).

    Limits: Embedding and, by default, output head stay floats. Scoring feeds texts whole: what they
    begin with in common cannot be computed once.

    Args:
        threshold: absolute value from which on an input feature is kept apart, above 0; 0 keeps
            none apart.
        lm_head: quantise the output projection too. Off, as in transformers' own integration:
            where it is tied to the embedding the matrix would be stored twice.
    """

    version: ClassVar[int] = 1
    exclusive: ClassVar[str | None] = WEIGHT_FORMAT
    quantises: ClassVar[bool] = True
    products: ClassVar[str | None] = "int8"
    shares_prefixes: ClassVar[bool] = False

    threshold: float = 6.0
    lm_head: bool = False

    def __post_init__(self) -> None:
        """Check the knobs."""
        if not 0.0 <= self.threshold < math.inf:
            raise ConfigError(f"threshold={self.threshold} must be 0 or more, and finite.")

    def import_libraries(self) -> None:
        """Import bitsandbytes."""
        require("bitsandbytes")

    @contextmanager
    def apply(self, target: Target) -> Iterator[None]:
        """Put bitsandbytes' layers in place; read the weights again on exit."""
        self.import_libraries()
        with _without_warnings(), library_linears(target, self._layer, output_head=self.lm_head):
            yield

    def _layer(self, _: str, linear: Any) -> torch.nn.Module:
        from bitsandbytes.nn import Int8Params, Linear8bitLt

        layer = Linear8bitLt(
            linear.in_features,
            linear.out_features,
            bias=False,
            has_fp16_weights=False,
            threshold=self.threshold,
            device="meta",
        ).eval()
        # From the CPU: a weight that is on a GPU already would stay as it is.
        weight = Int8Params(linear.weight.data.cpu(), requires_grad=False, has_fp16_weights=False)
        layer.weight = weight.to(linear.weight.device)
        layer.bias = linear.bias
        layer.init_8bit_state()
        register_stored(layer, {"scales": layer.state.SCB})
        return layer


@contextmanager
def _without_warnings() -> Iterator[None]:
    """Keep bitsandbytes from saying at every layer of every forward that it casts to float16."""
    logger = logging.getLogger("bitsandbytes.autograd._functions")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)
