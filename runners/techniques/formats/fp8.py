"""Weights stored as eight-bit floats."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from leanboard.results.errors import ConfigError
from leanboard.runners.techniques.base import WEIGHT_FORMAT, Target, TechniqueDefaults
from leanboard.runners.techniques.formats.grids import check_group, float_weight
from leanboard.runners.techniques.replacing import body_linears, replaced

if TYPE_CHECKING:
    import torch

FORMATS = ("e4m3fn", "e5m2")


@dataclass(frozen=True, slots=True)
class Float8(TechniqueDefaults):
    """Store the weights of linear layers as float8, with a float32 scale a row or a group.

    torch's own formats: e4m3fn ends at 448 and has one NaN, e5m2 ends at 57,344 and keeps the
    codes of IEEE 754 for infinities and NaN. The scale brings the largest magnitude to the end;
    rounding is torch's, to the nearest, ties to even. The output head is left alone.

    Source: Micikevicius et al., FP8 Formats for Deep Learning, arXiv:2209.05433.

    Library: leanboard's own layer on torch's ``float8_e4m3fn`` and ``float8_e5m2``.

    Limits: Every forward expands the weights to the dtype of the activations first, since no kernel
    here multiplies float8: it saves memory, not time. A group has to divide every row.

    Args:
        format: ``e4m3fn`` or ``e5m2``.
        group: weights of a row that share a scale; ``None`` gives each row one.
    """

    version: ClassVar[int] = 1
    quantises: ClassVar[bool] = True
    expanded_by: ClassVar[str] = "leanboard"
    exclusive: ClassVar[str | None] = WEIGHT_FORMAT

    format: str = "e4m3fn"
    group: int | None = None

    def __post_init__(self) -> None:
        """Check the knobs."""
        if self.format not in FORMATS:
            raise ConfigError(
                f"format={self.format!r} is none of torch's; choose {', '.join(FORMATS)}."
            )
        check_group(self.group)

    def apply(self, target: Target) -> AbstractContextManager[None]:
        """Put a layer of float8 in the place of each linear one."""
        from leanboard.runners.techniques.formats.float8_linear import Float8Linear

        names = body_linears(target.model)
        for name in names:
            float_weight(name, target.model.get_submodule(name), self.group)

        def make(_: str, module: torch.nn.Module) -> torch.nn.Module:
            return Float8Linear(module, self.format, self.group)

        return replaced(target, names, make)
