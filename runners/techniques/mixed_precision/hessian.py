"""Bits per layer by Hessian and inter-layer terms, as few as a floor of fidelity admits."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from leanboard.results.errors import ConfigError, UnsupportedError
from leanboard.runners.techniques.base import WEIGHT_FORMAT, Target, TechniqueDefaults
from leanboard.runners.techniques.mixed_precision.plan import (
    Plan,
    check_calibration,
    check_widths,
    float_layers,
)
from leanboard.runners.techniques.quantization.grid import Grid
from leanboard.runners.techniques.quantization.storing import stored_linears

if TYPE_CHECKING:
    import torch


TERMS = ("trace", "own", "interlayer")


@dataclass(frozen=True, slots=True)
class MixedHessian(TechniqueDefaults):
    """Take bits from the least sensitive layers first, while predictions stay within a floor.

    A layer's sensitivity is second order: half of the trace of its block of the Hessian times the
    mean square of its rounding error ΔWᵢ (``trace``), or what that estimates, the layer's own
    half of ΔWᵢᵀ Hᵢᵢ ΔWᵢ (``own``), or that with the terms between layers, half of the sum over j
    of ΔWᵢᵀ Hᵢⱼ ΔWⱼ, which one Hessian-vector product with the rounding errors of all layers gives
    (``interlayer``). The Hessian is that of the divergence from the model's own predictions.
    Ordered by sensitivity per weight, layers are given fewer bits by bisection, as long as the
    measured divergence stays below ``max_kl``. Packed as ``rtn`` packs them, and expanded at every
    forward: it saves memory, not time.

    Source: Schaefer et al., Augmenting Hessians with Inter-Layer Dependencies for Mixed-Precision
    Post-Training Quantization, arXiv:2306.04879. There the floor is one of accuracy.

    Library: leanboard's own code on torch, whose autograd gives the Hessian-vector products.

    Limits: The floor is kept on the calibration text alone. While it searches, memory holds every
    layer twice, and the probabilities of all calibration tokens.

    Args:
        max_kl: the floor: mean KL divergence from the float model on the calibration text, in
            nats a token, above 0.
        terms: what layers are ordered by: ``trace``, ``own`` or ``interlayer``. Only between the
            last two is the difference that of the terms between layers.
        lowest: fewest bits of a layer, 2 or more; sensitivity is taken at them.
        highest: most bits of a layer, up to 8.
        group: weights of a row that share a scale; it must divide every row. ``None``: the row.
        rounding: to the nearest (``rtn``), or as ``gptq`` does. The search rounds to the nearest.
        samples: pieces of calibration text.
        tokens: of a piece.
        seed: draws the pieces, and the signs that estimate the traces and the own terms.
    """

    version: ClassVar[int] = 2
    exclusive: ClassVar[str | None] = WEIGHT_FORMAT
    quantises: ClassVar[bool] = True
    expanded_by: ClassVar[str] = "leanboard"
    calibrated: ClassVar[bool] = True

    max_kl: float = 0.05
    terms: str = "interlayer"
    lowest: int = 3
    highest: int = 8
    group: int | None = 64
    rounding: str = "rtn"
    samples: int = 8
    tokens: int = 128
    seed: int = 0

    def __post_init__(self) -> None:
        """Check the knobs."""
        check_widths(self.lowest, self.highest, self.group)
        check_calibration(self.rounding, self.samples, self.tokens)
        if self.max_kl <= 0:
            raise ConfigError(f"max_kl={self.max_kl} must be above 0.")
        if self.terms not in TERMS:
            raise ConfigError(f"terms={self.terms!r} is unknown; choose {', '.join(TERMS)}.")

    def make(self, target: Target, folder: Path) -> Iterator[str]:
        """Order the layers, search the bits, store the packed layers."""
        from leanboard.runners.techniques.mixed_precision.bisection import fewest_bits

        weights = float_layers(target, self.group)
        ids = target.calibration(self.samples, self.tokens, self.seed)
        scores = dict.fromkeys(weights, 0.0)
        for sample, terms in enumerate(self._terms(target.model, list(weights), ids), start=1):
            for name, term in terms.items():
                scores[name] += term / 2 / len(ids)
            yield f"Curvature: {sample} of {len(ids)} samples"
        order = sorted(weights, key=lambda name: (scores[name] / weights[name], name))
        trial = _Trial(target.model, ids, self.group)
        widths = range(self.highest, self.lowest - 1, -1)
        try:
            bits = fewest_bits(order, widths, lambda bits: trial.divergence(bits) <= self.max_kl)
        except UnsupportedError as error:
            raise UnsupportedError(
                f"{error} The divergence is {trial.last:.3g} nats, max_kl={self.max_kl}."
            ) from error
        yield f"Search: {trial.runs} runs of the model"
        reached = trial.divergence(bits)
        trial.put_back()
        plan = Plan(
            grids={name: Grid(bits[name], self.group) for name in weights},
            rounding=self.rounding,
            seed=self.seed,
            reasons={"sensitivity": scores, "kl": reached},
        )
        yield from plan.write(target, folder)

    def _terms(
        self, model: torch.nn.Module, names: list[str], ids: torch.Tensor
    ) -> Iterator[dict[str, float]]:
        """Yield each sample's second-order terms by layer."""
        import torch

        from leanboard.runners.techniques.mixed_precision.curvature import (
            curvature,
            random_signs,
            with_random_signs,
        )

        generator = torch.Generator().manual_seed(self.seed)
        grid = Grid(self.lowest, self.group)
        weights = {name: model.get_submodule(name).weight.detach() for name in names}
        errors = {name: grid.rounded(name, weight) - weight for name, weight in weights.items()}
        for sample in ids.to(next(model.parameters()).device).split(1):
            if self.terms == "interlayer":
                yield curvature(model, errors, sample)
            elif self.terms == "own":
                yield curvature(model, with_random_signs(errors, generator), sample)
            else:
                traces = curvature(model, random_signs(model, names, generator), sample)
                yield {
                    name: trace * float(errors[name].square().mean())
                    for name, trace in traces.items()
                }

    def apply(self, target: Target) -> AbstractContextManager[None]:
        """Put the stored layers in place; read the weights from the checkpoint again on exit."""
        return stored_linears(target)


class _Trial:
    """Measures how far a model diverges with these or those bits in its layers."""

    def __init__(self, model: torch.nn.Module, ids: torch.Tensor, group: int | None) -> None:
        from leanboard.runners.techniques.mixed_precision.divergence import Predictions

        self._model = model
        self._group = group
        self._before = Predictions(model, ids)
        self._floats: dict[str, torch.Tensor] = {}
        self._bits: dict[str, int] = {}
        self.runs = 0
        self.last = 0.0

    def divergence(self, bits: Mapping[str, int]) -> float:
        """Round the layers whose bits are others than in the trial before; measure."""
        for name, wanted in bits.items():
            if self._bits.get(name) == wanted:
                continue
            layer = self._model.get_submodule(name)
            weight = self._floats.setdefault(name, layer.weight.data)
            layer.weight.data = Grid(wanted, self._group).rounded(name, weight)
            self._bits[name] = wanted
        self.runs += 1
        self.last = self._before.divergence(self._model)
        return self.last

    def put_back(self) -> None:
        """Give the layers their float weights again."""
        for name, weight in self._floats.items():
            self._model.get_submodule(name).weight.data = weight
