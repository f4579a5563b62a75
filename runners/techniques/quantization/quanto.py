"""Weights of linear layers as integers of 8, 4 or 2 bits, by optimum-quanto."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, ClassVar

from leanboard.results.errors import ConfigError
from leanboard.runners.techniques.base import WEIGHT_FORMAT, Target, TechniqueDefaults
from leanboard.runners.techniques.quantization.library_linears import library_linears, require

if TYPE_CHECKING:
    import torch

BITS = (8, 4, 2)


@dataclass(frozen=True, slots=True)
class Quanto(TechniqueDefaults):
    """Store the weights of linear layers as integers, activations as they are.

    8 bits are symmetric, with one scale an output row. 4 and 2 bits have a scale and a shift for
    every group of 128 weights of a row, or of 96, 64 or 32 where only that divides it; a row that
    none divides, or of 128 weights and fewer, is one group. Scales and shifts have the dtype of
    the model. Rounding to the nearest, no calibration. Every forward expands the weights, save
    for some shapes in bfloat16 (optimum-quanto's ``QLinear``).

    4 and 2 bits are unpacked from Python: optimum-quanto's own unpacking, the same operations,
    would be compiled in the midst of the first forward, where there is a compiler.

    Source: optimum-quanto, https://github.com/huggingface/optimum-quanto.

    Library: optimum-quanto's ``QLinear`` (``leanboard[quantization]``); the unpacking is
    leanboard's.

    Limits: Embedding and, by default, output head stay floats. The size of the groups cannot be
    chosen.

    Args:
        bits: 8, 4 or 2.
        lm_head: quantise the output projection too. Off, as in transformers' own integration:
            where it is tied to the embedding the matrix would be stored twice.
    """

    version: ClassVar[int] = 1
    exclusive: ClassVar[str | None] = WEIGHT_FORMAT
    quantises: ClassVar[bool] = True
    expanded_by: ClassVar[str] = "quanto"

    bits: int = 8
    lm_head: bool = False

    def __post_init__(self) -> None:
        """Check the knob."""
        if self.bits not in BITS:
            raise ConfigError(f"bits={self.bits} must be one of {', '.join(map(str, BITS))}.")

    def import_libraries(self) -> None:
        """Import optimum-quanto."""
        require("optimum.quanto")

    @contextmanager
    def apply(self, target: Target) -> Iterator[None]:
        """Put optimum-quanto's layers in place; read the weights again on exit."""
        self.import_libraries()
        linears = library_linears(target, self._layer, output_head=self.lm_head)
        with _unpacking_from_python(), linears:
            yield

    def _layer(self, _: str, linear: Any) -> torch.nn.Module:
        import torch
        from optimum.quanto import QLinear, qtypes

        with torch.no_grad():
            layer = QLinear.from_module(linear, weights=qtypes[f"qint{self.bits}"]).eval()
            layer.freeze()
        return layer


@contextmanager
def _unpacking_from_python() -> Iterator[None]:
    from optimum.quanto.library.extensions import get_extension

    extension = get_extension("quanto_cpp")
    library = extension._lib
    extension._lib = SimpleNamespace(unpack=_unpacked)
    try:
        yield
    finally:
        extension._lib = library


def _unpacked(packed: torch.Tensor, bits: int) -> torch.Tensor:
    """Return the integers of a packed tensor: first the lowest bits of all bytes, then the next."""
    import torch

    return torch.cat([(packed >> low) & (2**bits - 1) for low in range(0, 8, bits)])
