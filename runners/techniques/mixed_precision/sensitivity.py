"""What it costs a model when one linear layer alone is rounded to few bits."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from leanboard.results.errors import UnsupportedError
from leanboard.runners.techniques.activations import InputSums, watched_inputs
from leanboard.runners.techniques.layerwise import LayerRun, started_at
from leanboard.runners.techniques.mixed_precision.divergence import Predictions

if TYPE_CHECKING:
    import torch

    from leanboard.runners.techniques.quantization.grid import Grid


_ROWS = 192
"""Of a matrix, about: those whose output error is computed."""


@dataclass(frozen=True, slots=True)
class Sensitivity:
    """What rounding a layer alone costs, in nats of KL a token.

    Args:
        measured_bits: at which the cost was measured; ``None`` if no width shows any.
        measured_kl: the cost there.
        costs: by bits; the measured one, and those that follow from it by the output error.
    """

    measured_bits: int | None
    measured_kl: float
    costs: dict[int, float]


def sensitivities(
    model: torch.nn.Module,
    names: Sequence[str],
    ids: torch.Tensor,
    grid: Grid,
    widths: Sequence[int],
) -> Iterator[tuple[str, Sensitivity]]:
    """Measure each layer's cost at the grid's bits; yield it with its costs at all widths.

    The KL divergence from the untouched model is measured with one layer rounded. To second order
    it grows as the layer's squared output error tr(ΔW G ΔWᵀ), G the Gram matrix of its inputs:
    so the cost at the other widths is the measured one times the ratio of the two errors, taken
    over some of the rows. A layer that the grid's bits do not change, or by so little that the
    divergence is lost in rounding, is measured at the next narrower width: or else all of its
    widths would cost nothing.

    Args:
        model: a causal language model; it is as before whenever this yields.
        names: its linear layers, all inside the decoder layers.
        ids: calibration tokens, (samples, tokens).
        grid: of the levels, with the bits that are measured.
        widths: bits.

    Raises:
        UnsupportedError: if a layer lies outside of the decoder layers.
    """
    run = LayerRun(model, ids, batch=len(ids))
    if any(not name.startswith(f"{run.name}.") for name in names):
        raise UnsupportedError(f"A linear layer lies outside of the decoder layers {run.name}.")
    before = Predictions(model, ids, batch=len(ids))
    for place in range(len(run.layers)):
        inside = [name for name in names if name.startswith(f"{run.name}.{place}.")]
        hidden = run.hidden[0]
        sums = InputSums(lambda rows: rows.T @ rows)
        with watched_inputs(model, inside, sums.see):
            run.advance(place)
        grams = sums.results(inside, lambda total, tokens: total / tokens)
        for name in inside:
            alone = _Alone(model, name, grid, grams[name])
            with started_at(run.layers, place, hidden):
                found = alone.sensitivity(before, widths)
            yield name, found


def output_error(weight: torch.Tensor, other: torch.Tensor, gram: torch.Tensor) -> float:
    """Return the mean over the tokens of |x Wᵀ - x W'ᵀ|², x the layer's inputs."""
    change = (other - weight).detach().float()
    return float(((change @ gram) * change).sum())


@dataclass(frozen=True, slots=True)
class _Alone:
    """One layer that may be rounded, all others as they are."""

    model: torch.nn.Module
    name: str
    grid: Grid
    gram: torch.Tensor

    def sensitivity(self, before: Predictions, widths: Sequence[int]) -> Sensitivity:
        weight = self.model.get_submodule(self.name).weight.detach()
        # Each row is rounded by itself: a sample of them tells the ratio of the errors.
        sampled = weight[:: max(1, len(weight) // _ROWS)]
        errors = {
            bits: output_error(sampled, self._rounded(sampled, bits), self.gram)
            for bits in {*widths, self.grid.bits}
        }
        changing = (bits for bits in errors if bits <= self.grid.bits and errors[bits] > 0)
        for bits in sorted(changing, reverse=True):
            measured = self._divergence(before, bits)
            if measured > 0:
                unit = measured / errors[bits]
                return Sensitivity(bits, measured, {w: unit * errors[w] for w in widths})
        return Sensitivity(None, 0.0, dict.fromkeys(widths, 0.0))

    def _divergence(self, before: Predictions, bits: int) -> float:
        layer = self.model.get_submodule(self.name)
        weight = layer.weight.data
        try:
            layer.weight.data = self._rounded(weight, bits)
            return before.divergence(self.model)
        finally:
            layer.weight.data = weight

    def _rounded(self, weight: torch.Tensor, bits: int) -> torch.Tensor:
        return replace(self.grid, bits=bits).rounded(self.name, weight)
