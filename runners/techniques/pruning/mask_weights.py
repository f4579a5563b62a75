"""Single weights set to zero by their size, or at random."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from leanboard.results.errors import ConfigError
from leanboard.runners.techniques.base import Target, TechniqueDefaults
from leanboard.runners.techniques.pruning.masks import (
    NOT_GAINED,
    check_mask_knobs,
    keep_mask,
    masked,
)
from leanboard.runners.techniques.replacing import body_linears

if TYPE_CHECKING:
    import torch

CRITERIA = ("magnitude", "random")


@dataclass(frozen=True, slots=True)
class MaskWeights(TechniqueDefaults):
    """Set the smallest weights of each row to zero, or random ones: the controls of ``wanda``.

    The same layers, rows and numbers, without calibration. The zeros are stored and multiplied,
    and save nothing.

    Source: Han et al., Learning both Weights and Connections for Efficient Neural Networks,
    arXiv:1506.02626; compared so in Sun et al., arXiv:2306.11695.

    Library: leanboard's own code on torch.

    Limits: ``2:4`` and ``4:8`` need rows that divide by 4 and by 8. Weights that are rounded,
    packed or shared cannot be masked any more: name it before.

    Args:
        sparsity: share of the weights that become zero.
        criterion: ``magnitude`` or ``random``.
        pattern: ``row`` (any weights of a row), ``2:4`` or ``4:8`` (half of each group).
        seed: of the random choice.
    """

    version: ClassVar[int] = 1
    simulates: ClassVar[frozenset[str]] = NOT_GAINED

    sparsity: float = 0.5
    criterion: str = "magnitude"
    pattern: str = "row"
    seed: int = 0

    def __post_init__(self) -> None:
        """Check the knobs."""
        check_mask_knobs(self.sparsity, self.pattern)
        if self.criterion not in CRITERIA:
            raise ConfigError(
                f"criterion={self.criterion!r} is unknown; choose {', '.join(CRITERIA)}."
            )

    @contextmanager
    def apply(self, target: Target) -> Iterator[None]:
        """Mask every linear layer but the output head; put the weights back on exit."""
        import torch

        draw = torch.Generator().manual_seed(self.seed)

        def keep(_: str, weight: torch.Tensor) -> torch.Tensor:
            if self.criterion == "random":
                scores = torch.rand(weight.shape, generator=draw).to(weight.device)
            else:
                scores = weight.abs().float()
            return keep_mask(scores, self.sparsity, self.pattern)

        with masked(target, body_linears(target.model), keep):
            yield
