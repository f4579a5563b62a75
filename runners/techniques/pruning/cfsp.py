"""Narrower MLPs by what flows through them: coarse between layers, fine within."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from leanboard.results.errors import ArmError, ConfigError, UnsupportedError
from leanboard.runners.techniques.activations import column_norms
from leanboard.runners.techniques.base import Target, TechniqueDefaults
from leanboard.runners.techniques.pruning.blocks import layer_names, watched_cosines
from leanboard.runners.techniques.pruning.neurons import (
    DOWN,
    check_width_knobs,
    gated_mlps,
    highest,
    narrowed,
    width_left,
)

if TYPE_CHECKING:
    import torch

_NEURONS = "neurons.safetensors"
_LARGEST_EXPONENT = 700.0
"""Beyond about 709 ``exp`` overflows."""


@dataclass(frozen=True, slots=True)
class Cfsp(TechniqueDefaults):
    """Remove MLP neurons: fewer where a layer turns its stream far, and the least active first.

    Both importances come from one forward pass over calibration text. Coarse: the mean angle
    between what a layer is given and what it gives, brought between 0 and 1 by a sigmoid about
    the layers' mean; a layer keeps neurons in proportion. Fine (equation 8 of the paper): the
    norm of a neuron's activation times its share of the absolute weights of each row of the down
    projection. The equation's terms of gate and up are one for every neuron and are left out.
    (The released code normalises within a neuron instead, after which its weights cancel out.)

    The layers together keep as many neurons as ``prune-width`` with the same ratio, in whole
    multiples. The paper's fine-tune by importance is not part of it: add ``heal``.

    Source: Wang et al., CFSP: An Efficient Structured Pruning Framework for LLMs with
    Coarse-to-Fine Activation Information, arXiv:2409.13199.

    Library: leanboard's own code on torch.

    Limits: Every decoder layer needs one gated MLP (``gate_proj``, ``up_proj`` and ``down_proj``),
    all equally wide and of plain floats: name it before what packs, shares or factorises them.
    Attention, embedding and output head keep their size.

    Args:
        ratio: share of the neurons that is removed, over all layers.
        multiple_of: the number of neurons that a layer keeps is a multiple of this.
        steepness: of the sigmoid, for angles in half turns; 0 gives every layer the same. The
            default is what the released code comes to on its 128 samples of 2048 tokens.
        samples: pieces of calibration text.
        tokens: length of each.
        seed: of the choice of the text.
    """

    version: ClassVar[int] = 1
    calibrated: ClassVar[bool] = True

    ratio: float = 0.2
    multiple_of: int = 32
    steepness: float = 26.2
    samples: int = 64
    tokens: int = 128
    seed: int = 0

    def __post_init__(self) -> None:
        """Check the knobs."""
        check_width_knobs(self.ratio, self.multiple_of)
        if self.steepness < 0:
            raise ConfigError(f"steepness={self.steepness} must be 0 or more.")
        if self.samples < 1 or self.tokens < 2:
            raise ConfigError(
                f"samples={self.samples} and tokens={self.tokens} must be at least 1 and 2."
            )

    def make(self, target: Target, folder: Path) -> Iterator[str]:
        """Choose the neurons by one forward pass over calibration text."""
        from safetensors.torch import save_file

        mlps = _one_a_layer(target.model)
        width = next(iter(mlps.values()))
        left = width_left(width, self.ratio, self.multiple_of)
        ids = target.calibration(self.samples, self.tokens, self.seed)
        with watched_cosines(target.model) as cosines:
            norms = column_norms(target.model, [f"{mlp}.{DOWN}" for mlp in mlps], ids)
        angles = [mean_angle(each) for each in cosines]
        kept = shared(coarse(angles, self.steepness), left, width, self.multiple_of)
        places = {}
        for mlp, count in zip(mlps, kept, strict=True):
            down = target.model.get_submodule(f"{mlp}.{DOWN}")
            places[mlp] = highest(fine(down.weight, norms[f"{mlp}.{DOWN}"]), count).cpu()
        save_file(places, folder / _NEURONS)
        yield f"layers keep {min(kept)} to {max(kept)} of {width} neurons, {left} on average"

    @contextmanager
    def apply(self, target: Target) -> Iterator[None]:
        """Narrow every gated MLP to the neurons chosen; put the whole ones back on exit."""
        from safetensors.torch import load_file

        if target.made is None:
            raise ArmError("The neurons to keep were not chosen before: run it by leanboard run.")
        with narrowed(target, load_file(target.made / _NEURONS)):
            yield


def _one_a_layer(model: torch.nn.Module) -> dict[str, int]:
    """Return the gated MLPs, which must be one a layer and equally wide."""
    mlps, layers = gated_mlps(model), layer_names(model)
    widths = sorted(set(mlps.values()))
    if len(widths) > 1 or len(mlps) != len(layers):
        raise UnsupportedError(
            f"CFSP shares neurons among layers that are alike; this model has {len(layers)} layers "
            f"and {len(mlps)} gated MLPs of {', '.join(map(str, widths))} neurons. Without "
            "shares: technique=prune-width."
        )
    return mlps


def mean_angle(cosines: Sequence[torch.Tensor]) -> float:
    """Return the mean angle, in half turns, of cosines that came in several parts."""
    import torch

    angles = torch.cat(list(cosines)).clamp(-1, 1).double().arccos() / math.pi
    return float(angles.mean())


def coarse(angles: Sequence[float], steepness: float) -> list[float]:
    """Return the importance of each layer, between 0 and 1: a sigmoid about the mean angle."""
    mean = sum(angles) / len(angles)
    # Cut off where the sigmoid is 0 to every number that it is compared with.
    exponents = [min(-steepness * (angle - mean), _LARGEST_EXPONENT) for angle in angles]
    return [1 / (1 + math.exp(exponent)) for exponent in exponents]


def fine(down: torch.Tensor, norms: torch.Tensor) -> torch.Tensor:
    """Return the importance of each neuron of a layer.

    Args:
        down: weights of the down projection, (hidden, neurons).
        norms: L2 norm of each neuron's activation over the text, (neurons,).
    """
    weights = down.detach().abs().float()
    shares = weights / weights.sum(dim=1, keepdim=True).clamp_min(1e-30)
    return shares.sum(dim=0) * norms / norms.sum().clamp_min(1e-30)


def shared(importance: Sequence[float], left: int, whole: int, step: int) -> list[int]:
    """Return how many neurons each layer keeps: in proportion, in steps, ``left`` on average.

    Where a layer would be given more than it has, all differences shrink alike until the largest
    is whole. What rounding leaves over goes to who lost most by it.

    Args:
        importance: of each layer.
        left: neurons that a layer keeps on average; a multiple of ``step``.
        whole: neurons that each has.
        step: each keeps a multiple of this, one at least.
    """
    mean = sum(importance) / len(importance)
    wanted = [left * value / mean for value in importance]
    largest = max(wanted)
    if largest > whole:
        shrink = (whole - left) / (largest - left)
        wanted = [left + (value - left) * shrink for value in wanted]
    most, due = whole // step, len(wanted) * left // step
    steps = [min(max(1, int(value / step)), most) for value in wanted]
    while sum(steps) != due:
        up = sum(steps) < due
        able = [i for i, count in enumerate(steps) if (count < most if up else count > 1)]
        lost = {i: wanted[i] / step - steps[i] for i in able}
        chosen = max(able, key=lost.__getitem__) if up else min(able, key=lost.__getitem__)
        steps[chosen] += 1 if up else -1
    return [count * step for count in steps]
