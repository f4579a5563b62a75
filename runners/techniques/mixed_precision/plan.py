"""A plan of bits by layer: its knobs, and the packed layers that are made after it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from leanboard.results.errors import ConfigError, UnsupportedError
from leanboard.runners.techniques.quantization.gptq import Gptq
from leanboard.runners.techniques.quantization.grid import Grid
from leanboard.runners.techniques.quantization.storing import float_linears, write_packed

if TYPE_CHECKING:
    from leanboard.runners.techniques.base import Target

ROUNDINGS = ("rtn", "gptq")
PLAN = "plan.json"
"""File of the bits by layer, and of what led to them."""


def check_widths(lowest: int, highest: int, group: int | None) -> None:
    """Check the range of bits that layers may be given.

    Raises:
        ConfigError: if it is none, or a bound is no number of bits.
    """
    Grid(lowest, group)
    Grid(highest, group)
    if lowest >= highest:
        raise ConfigError(f"lowest={lowest} must be below highest={highest}.")


def check_calibration(rounding: str, samples: int, tokens: int) -> None:
    """Check the rounding, and how much text is read.

    Raises:
        ConfigError: if one is out of range.
    """
    if rounding not in ROUNDINGS:
        raise ConfigError(f"rounding={rounding!r} is unknown; choose {', '.join(ROUNDINGS)}.")
    if min(samples, tokens) < 1:
        raise ConfigError(f"samples={samples} and tokens={tokens} must be 1 or more each.")


def float_layers(target: Target, group: int | None) -> dict[str, int]:
    """Return the layers that can be packed, with their numbers of weights.

    Raises:
        UnsupportedError: if there is none, or rows do not divide into groups.
    """
    layers = float_linears(target.model)
    for name, layer in layers.items():
        Grid(8, group).width(name, layer.in_features)
    return {name: layer.weight.numel() for name, layer in layers.items()}


@dataclass(frozen=True, slots=True)
class Plan:
    """Which grid each layer is rounded to, and how.

    Args:
        grids: by layer.
        rounding: ``rtn``, or ``gptq``, calibrated as the technique ``gptq`` is by default.
        seed: draws the calibration text of ``gptq``.
        reasons: what led to it, as JSON.
    """

    grids: Mapping[str, Grid]
    rounding: str
    seed: int
    reasons: Mapping[str, Any]

    def write(self, target: Target, folder: Path) -> Iterator[str]:
        """Round the layers, store them, and the plan beside them; yield progress.

        Args:
            target: whose model is read; ``gptq`` overwrites its weights.
            folder: receives the packed layers and ``plan.json``.

        Raises:
            UnsupportedError: if there is no layer to pack.
        """
        if not self.grids:
            raise UnsupportedError("Every layer may stay as floats: lower the budget of bytes.")
        bits = {name: grid.bits for name, grid in self.grids.items()}
        text = json.dumps({"bits": bits, **self.reasons}, indent=2, sort_keys=True)
        (folder / PLAN).write_text(f"{text}\n", encoding="utf-8")
        if self.rounding == "gptq":
            packed = {}
            for name, weight in Gptq(seed=self.seed).quantised(target, dict(self.grids)):
                packed[name] = weight
                yield f"GPTQ: {len(packed)} of {len(bits)} layers, {name}"
        else:
            packed = {
                name: grid.nearest(name, target.model.get_submodule(name).weight)
                for name, grid in self.grids.items()
            }
        write_packed(folder, packed)
        yield f"Bits of a layer: {min(bits.values())} to {max(bits.values())}"
