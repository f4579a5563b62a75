"""Narrower MLPs, the neurons chosen by their weights alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from leanboard.results.errors import ConfigError
from leanboard.runners.techniques.base import Target, TechniqueDefaults
from leanboard.runners.techniques.pruning.neurons import (
    check_width_knobs,
    gated_mlps,
    highest,
    narrowed,
    width_left,
)

if TYPE_CHECKING:
    import torch


def maw(gate: torch.Tensor, up: torch.Tensor, _: torch.Tensor) -> torch.Tensor:
    """Return for each neuron how far its weights reach, up and down, in gate and up together."""
    gate_reach = gate.amax(dim=1) + gate.amin(dim=1).abs()
    up_reach = up.amax(dim=1) + up.amin(dim=1).abs()
    return gate_reach + up_reach


def magnitude(gate: torch.Tensor, up: torch.Tensor, down: torch.Tensor) -> torch.Tensor:
    """Return for each neuron the L2 norm of its weights in the three matrices together."""
    rows = gate.square().sum(dim=1) + up.square().sum(dim=1)
    return (rows + down.square().sum(dim=0)).sqrt()


Score = Callable[["torch.Tensor", "torch.Tensor", "torch.Tensor"], "torch.Tensor"]
_SCORES: dict[str, Score] = {"maw": maw, "magnitude": magnitude}
CRITERIA = (*_SCORES, "random")


@dataclass(frozen=True, slots=True)
class PruneWidth(TechniqueDefaults):
    """Remove the MLP neurons that score lowest, the same number in every layer.

    A neuron's row of the gate, row of the up and column of the down projection go together, so
    that the matrices are really smaller. Nothing is calibrated and nothing is trained.

    ``maw`` is the criterion of maximum absolute weight as its library has it: highest plus
    absolute lowest weight of the neuron's gate row, and the same of its up row. (A later version
    of the paper calls this, more exactly, peak-to-peak magnitude.) ``magnitude`` (the L2 norm of
    all of a neuron's weights) and ``random`` are controls.

    Source: Martra, Fragile Knowledge, Robust Instruction-Following: The Width Pruning Dichotomy in
    Llama-3.2, arXiv:2512.22671; OptiPFair, https://github.com/peremartra/optipfair.

    Library: leanboard's own code on torch; OptiPFair's criterion, not its package.

    Limits: Needs gated MLPs (``gate_proj``, ``up_proj`` and ``down_proj``) of plain floats: name it
    before what packs, shares or factorises them.

    Args:
        ratio: share of the neurons that is removed.
        criterion: ``maw``, ``magnitude`` or ``random``.
        multiple_of: the number of neurons left is a multiple of this; kernels and quantisers by
            groups are at their best with whole blocks.
        seed: of the random choice.
    """

    version: ClassVar[int] = 1

    ratio: float = 0.2
    criterion: str = "maw"
    multiple_of: int = 32
    seed: int = 0

    def __post_init__(self) -> None:
        """Check the knobs."""
        check_width_knobs(self.ratio, self.multiple_of)
        if self.criterion not in CRITERIA:
            raise ConfigError(
                f"criterion={self.criterion!r} is unknown; choose {', '.join(CRITERIA)}."
            )

    @contextmanager
    def apply(self, target: Target) -> Iterator[None]:
        """Narrow every gated MLP; put the whole ones back on exit."""
        import torch

        draw = torch.Generator().manual_seed(self.seed)
        kept = {}
        for name, neurons in gated_mlps(target.model).items():
            left = width_left(neurons, self.ratio, self.multiple_of)
            if self.criterion == "random":
                scores = torch.rand(neurons, generator=draw)
            else:
                scores = self._scores(target.model.get_submodule(name))
            kept[name] = highest(scores, left)
        with narrowed(target, kept):
            yield

    def _scores(self, mlp: Any) -> torch.Tensor:
        weights = (mlp.gate_proj.weight, mlp.up_proj.weight, mlp.down_proj.weight)
        return _SCORES[self.criterion](*(weight.detach().float() for weight in weights))
