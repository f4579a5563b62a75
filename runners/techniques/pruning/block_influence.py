"""Whole decoder layers left out: those that change least of what they pass on."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from leanboard.results.errors import ArmError, ConfigError
from leanboard.runners.techniques.base import Target, TechniqueDefaults
from leanboard.runners.techniques.pruning.blocks import fed, watched_cosines
from leanboard.runners.techniques.pruning.layers import (
    check_layers_knob,
    require_enough_layers,
    without_layers,
)

_LAYERS = "layers.json"


@dataclass(frozen=True, slots=True)
class BlockInfluence(TechniqueDefaults):
    """Run the model without the decoder layers of least block influence.

    The influence of a layer is one minus the cosine between what it is given and what it gives,
    in the mean over the tokens of a calibration text. All are chosen at once, from one forward
    pass of the whole model.

    Source: Men et al., ShortGPT: Layers in Large Language Models are More Redundant Than You
    Expect, arXiv:2403.03853.

    Library: leanboard's own code on torch.

    Limits: The decoder layers have to be a list that transformers calls ``layers``, none of them
    reading another's keys and values. Name it before what packs or shares weights, and before
    soft-prompt.

    Args:
        layers: how many are left out.
        samples: pieces of calibration text.
        tokens: length of each.
        seed: of the choice of the text.
    """

    version: ClassVar[int] = 1
    calibrated: ClassVar[bool] = True

    layers: int = 4
    samples: int = 64
    tokens: int = 128
    seed: int = 0

    def __post_init__(self) -> None:
        """Check the knobs."""
        check_layers_knob(self.layers)
        if self.samples < 1 or self.tokens < 2:
            raise ConfigError(
                f"samples={self.samples} and tokens={self.tokens} must be at least 1 and 2."
            )

    def make(self, target: Target, folder: Path) -> Iterator[str]:
        """Choose the layers by one forward pass over calibration text."""
        import torch

        require_enough_layers(target.model, self.layers)
        ids = target.calibration(self.samples, self.tokens, self.seed)
        with watched_cosines(target.model) as cosines:
            fed(target.model, ids)
        influence = [1 - float(torch.cat(each).double().mean()) for each in cosines]
        order = sorted(range(len(influence)), key=influence.__getitem__)
        dropped = sorted(order[: self.layers])
        written = {"influence": influence, "dropped": dropped}
        (folder / _LAYERS).write_text(json.dumps(written, indent=2) + "\n", encoding="utf-8")
        yield f"layers {', '.join(map(str, dropped))} (from 0) have the least influence"

    @contextmanager
    def apply(self, target: Target) -> Iterator[None]:
        """Take the layers out; put them back on exit."""
        if target.made is None:
            raise ArmError("The layers to drop were not chosen before: run it by leanboard run.")
        chosen = json.loads((target.made / _LAYERS).read_text(encoding="utf-8"))
        with without_layers(target, chosen["dropped"]):
            yield
