"""Whole decoder layers left out, chosen without looking at any text."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import ClassVar

from leanboard.results.errors import ConfigError
from leanboard.runners.techniques.base import Target, TechniqueDefaults
from leanboard.runners.techniques.pruning.layers import (
    check_layers_knob,
    require_enough_layers,
    without_layers,
)

CRITERIA = ("deepest", "random")


@dataclass(frozen=True, slots=True)
class DropLayers(TechniqueDefaults):
    """Run the model without some of its decoder layers, weights and cache of them included.

    ``deepest`` leaves out those right before the last one; the paper finds that a model cannot do
    without the last. ``random`` is a control. ``block-influence`` chooses by text instead.

    Source: Gromov et al., The Unreasonable Ineffectiveness of the Deeper Layers, arXiv:2403.17887.

    Library: leanboard's own code on torch.

    Limits: The decoder layers have to be a list that transformers calls ``layers``, none of them
    reading another's keys and values. Name it before what packs or shares weights, and before
    soft-prompt. The source's healing with low-rank adapters is not part of it: add ``heal``.

    Args:
        layers: how many are left out.
        criterion: ``deepest`` or ``random``.
        seed: of the random choice.
    """

    version: ClassVar[int] = 1

    layers: int = 4
    criterion: str = "deepest"
    seed: int = 0

    def __post_init__(self) -> None:
        """Check the knobs."""
        check_layers_knob(self.layers)
        if self.criterion not in CRITERIA:
            raise ConfigError(
                f"criterion={self.criterion!r} is unknown; choose {', '.join(CRITERIA)}."
            )

    @contextmanager
    def apply(self, target: Target) -> Iterator[None]:
        """Take the layers out; put them back on exit."""
        with without_layers(
            target, self._dropped(require_enough_layers(target.model, self.layers))
        ):
            yield

    def _dropped(self, whole: int) -> list[int]:
        import torch

        if self.criterion == "random":
            draw = torch.Generator().manual_seed(self.seed)
            order: list[int] = torch.randperm(whole, generator=draw).tolist()
            return sorted(order[: self.layers])
        return list(range(whole - 1 - self.layers, whole - 1))
