"""Bits per layer from an integer program over measured sensitivity."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import ClassVar

from leanboard.results.errors import ConfigError
from leanboard.runners.techniques.base import WEIGHT_FORMAT, Target, TechniqueDefaults
from leanboard.runners.techniques.mixed_precision.plan import (
    Plan,
    check_calibration,
    check_widths,
    float_layers,
)
from leanboard.runners.techniques.quantization.grid import Grid
from leanboard.runners.techniques.quantization.storing import stored_linears


@dataclass(frozen=True, slots=True)
class MixedIlp(TechniqueDefaults):
    """Give each linear layer its own bits, so that the model changes least for the bytes.

    With one layer rounded at a time, the divergence of the model's predictions is measured at
    the average bits, and carried to the other widths by the layer's output error. An integer
    program then takes the bits that diverge least in sum under the budget. The budget is one of
    bytes: these layers are expanded at every forward, which takes no less time for fewer bits,
    so that a budget of time would ask for the most bits.

    Source: Yao et al., HAWQ-V3: Dyadic Neural Network Quantization, arXiv:2011.10680; there the
    sensitivity is the Hessian's trace times the squared rounding error.

    Args:
        average_bits: budget, the mean bits of a level over all weights of the layers: 4 are the
            bytes of ``rtn`` with bits=4. Between ``lowest`` and ``highest``.
        lowest: fewest bits of a layer, 2 or more.
        highest: most bits of a layer, up to 8.
        group: weights of a row that share a scale; it must divide every row. ``None``: the row.
        rounding: to the nearest (``rtn``), or as ``gptq`` does.
        samples: pieces of calibration text that sensitivity is measured on.
        tokens: of a piece.
        seed: draws the pieces.
    """

    version: ClassVar[int] = 2
    exclusive: ClassVar[str | None] = WEIGHT_FORMAT
    quantises: ClassVar[bool] = True
    expanded_by: ClassVar[str] = "leanboard"
    calibrated: ClassVar[bool] = True

    average_bits: float = 4.0
    lowest: int = 2
    highest: int = 8
    group: int | None = 64
    rounding: str = "rtn"
    samples: int = 4
    tokens: int = 64
    seed: int = 0

    def __post_init__(self) -> None:
        """Check the knobs."""
        check_widths(self.lowest, self.highest, self.group)
        check_calibration(self.rounding, self.samples, self.tokens)
        if not self.lowest <= self.average_bits <= self.highest:
            raise ConfigError(
                f"average_bits={self.average_bits} cannot be met with layers of {self.lowest} to "
                f"{self.highest} bits: choose between, or change lowest and highest."
            )

    def make(self, target: Target, folder: Path) -> Iterator[str]:
        """Measure every layer, choose the bits, store the packed layers."""
        from leanboard.runners.techniques.mixed_precision.program import cheapest_bits
        from leanboard.runners.techniques.mixed_precision.sensitivity import sensitivities

        weights = float_layers(target, self.group)
        ids = target.calibration(self.samples, self.tokens, self.seed)
        widths = range(self.lowest, self.highest + 1)
        at = Grid(int(self.average_bits), self.group)
        found = {}
        for name, each in sensitivities(target.model, list(weights), ids, at, widths):
            found[name] = each
            yield f"Sensitivity: {len(found)} of {len(weights)} layers, {each.measured_kl:.2g} nats"
        costs = {name: each.costs for name, each in found.items()}
        bits = cheapest_bits(costs, weights, self.average_bits)
        plan = Plan(
            grids={name: Grid(bits[name], self.group) for name in weights},
            rounding=self.rounding,
            seed=self.seed,
            reasons={"sensitivity": {name: asdict(each) for name, each in found.items()}},
        )
        yield from plan.write(target, folder)

    def apply(self, target: Target) -> AbstractContextManager[None]:
        """Put the stored layers in place; read the weights from the checkpoint again on exit."""
        return stored_linears(target)
