"""Single weights set to zero by weight times activation."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from leanboard.results.errors import ArmError, ConfigError
from leanboard.runners.techniques.activations import watched_inputs
from leanboard.runners.techniques.base import Target, TechniqueDefaults
from leanboard.runners.techniques.pruning.blocks import fed
from leanboard.runners.techniques.pruning.masks import (
    NOT_GAINED,
    check_mask_knobs,
    keep_mask,
    mask_linear,
    masked,
)
from leanboard.runners.techniques.replacing import body_linears

if TYPE_CHECKING:
    import torch

_NORMS = "norms.safetensors"


def wanda_scores(weight: torch.Tensor, norms: torch.Tensor) -> torch.Tensor:
    """Return |weight| times the norm of the input feature that it multiplies."""
    return weight.detach().abs().float() * norms


@dataclass(frozen=True, slots=True)
class Wanda(TechniqueDefaults):
    """Set the weights of each row to zero whose size times input norm is lowest.

    Every linear layer but the output head. Each is masked on what the layers before it, already
    masked, feed it, in one forward pass over calibration text; no weight is updated. There is no
    sparse kernel here that would pay: the zeros are stored and multiplied, and save nothing.

    Source: Sun et al., A Simple and Effective Pruning Approach for Large Language Models,
    arXiv:2306.11695.

    Library: leanboard's own code on torch.

    Limits: The authors' code takes the norms of a whole decoder layer before it masks any of its
    matrices; here those masked first are seen by the later ones. ``2:4`` and ``4:8`` need rows that
    divide by 4 and by 8. Weights that are rounded, packed or shared cannot be masked any more: name
    it before.

    Args:
        sparsity: share of the weights that become zero.
        pattern: ``row`` (any weights of a row), ``2:4`` or ``4:8`` (half of each group).
        samples: pieces of calibration text; all are in memory at once.
        tokens: length of each.
        seed: of the choice of the text.
    """

    version: ClassVar[int] = 1
    simulates: ClassVar[frozenset[str]] = NOT_GAINED
    calibrated: ClassVar[bool] = True

    sparsity: float = 0.5
    pattern: str = "row"
    samples: int = 64
    tokens: int = 128
    seed: int = 0

    def __post_init__(self) -> None:
        """Check the knobs."""
        check_mask_knobs(self.sparsity, self.pattern)
        if self.samples < 1 or self.tokens < 1:
            raise ConfigError(
                f"samples={self.samples} and tokens={self.tokens} must be 1 or more each."
            )

    def make(self, target: Target, folder: Path) -> Iterator[str]:
        """Take the norms of what each layer is fed by the masked layers before it."""
        from safetensors.torch import save_file

        names = body_linears(target.model)
        norms: dict[str, torch.Tensor] = {}

        def mask(name: str, inputs: torch.Tensor) -> None:
            norms[name] = inputs.float().flatten(0, -2).square().sum(dim=0).sqrt()
            weight = target.model.get_submodule(name).weight
            mask_linear(target.model, name, self._keep(weight, norms[name]))

        ids = target.calibration(self.samples, self.tokens, self.seed)
        with watched_inputs(target.model, names, mask):
            fed(target.model, ids, batch=self.samples)
        save_file({name: norm.cpu() for name, norm in norms.items()}, folder / _NORMS)
        yield f"{len(norms)} linear layers masked"

    @contextmanager
    def apply(self, target: Target) -> Iterator[None]:
        """Mask every linear layer but the output head; put the weights back on exit."""
        from safetensors.torch import load_file

        if target.made is None:
            raise ArmError("The norms were not taken before: run it by leanboard run.")
        norms = load_file(target.made / _NORMS)

        def keep(name: str, weight: torch.Tensor) -> torch.Tensor:
            return self._keep(weight, norms[name].to(weight.device))

        with masked(target, sorted(norms), keep):
            yield

    def _keep(self, weight: torch.Tensor, norms: torch.Tensor) -> torch.Tensor:
        return keep_mask(wanda_scores(weight, norms), self.sparsity, self.pattern)
