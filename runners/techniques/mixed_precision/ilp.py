"""Bits per layer from an integer program over measured sensitivity."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from leanboard.metrics.trace import Quantity
from leanboard.results.errors import ConfigError
from leanboard.runners.techniques.base import WEIGHT_FORMAT, Target, TechniqueDefaults
from leanboard.runners.techniques.facts import noted
from leanboard.runners.techniques.mixed_precision.latency import (
    LATENCY,
    DecodeTimes,
    decode_times,
    predicted,
)
from leanboard.runners.techniques.mixed_precision.plan import (
    PLAN,
    Plan,
    check_calibration,
    check_widths,
    float_layers,
)
from leanboard.runners.techniques.mixed_precision.program import Budget, cheapest_bits
from leanboard.runners.techniques.quantization.grid import Grid
from leanboard.runners.techniques.quantization.storing import stored_linears

if TYPE_CHECKING:
    import torch

_MOST_BITS = 32
"""Of a float, which a layer may stay under a budget of time."""
_SCALE_BITS = 16


@dataclass(frozen=True, slots=True)
class MixedIlp(TechniqueDefaults):
    """Give each linear layer its own bits, so that the model changes least for the bytes.

    With one layer rounded at a time, the divergence of the model's predictions is measured at
    the average bits, and carried to the other widths by the layer's output error. An integer
    program then takes the bits that diverge least in sum under the budgets: one of bytes, and
    with ``max_slowdown`` one of time besides. These layers are expanded at every forward, so that
    packed ones take longer than floats, and some longer than others: the planes of 3, 5, 6 and 7
    bits have to be put together, 2, 4 and 8 bits are one plane. Under a budget of time a layer may
    stay as it is, for the bytes of its floats; without one of bytes all would. Times are measured
    where the plan is made, of the very layers that it installs, on the threads of the run: they
    differ from machine to machine and a little from one making to the next, and so may the plan.
    Facts of the record say what it predicts (predicted_slowdown; predicted_tpot_rise_s, to be held
    against the measured rise of TPOT), and the table of times.

    Source: Yao et al., HAWQ-V3: Dyadic Neural Network Quantization, arXiv:2011.10680; there the
    sensitivity is the Hessian's trace times the squared rounding error.

    Library: scipy's ``milp``, which is HiGHS, solves the program (``leanboard[quantization]``); all
    else is leanboard's own code on torch.

    Limits: Divergences of one layer at a time are added up: what the errors of two layers do
    together is not seen. Every linear layer but the output head has to lie in the decoder layers.
    Weights only: the source's integer arithmetic is left out.

    Args:
        average_bits: budget of bytes, the mean bits of a level over all weights of the layers: 4
            are the bytes of ``rtn`` with bits=4. From ``lowest`` to ``highest``; with
            ``max_slowdown`` up to 32.
        lowest: fewest bits of a layer, 2 or more.
        highest: most bits of a layer, up to 8.
        group: weights of a row that share a scale; it must divide every row. ``None``: the row.
        rounding: to the nearest (``rtn``), or as ``gptq`` does.
        samples: pieces of calibration text that sensitivity is measured on.
        tokens: of a piece.
        seed: draws the pieces.
        max_slowdown: budget of time, that of these layers' products for one token at batch 1, as
            a multiple of the time that they take as floats; above 0. ``None``: none.
    """

    version: ClassVar[int] = 2
    exclusive: ClassVar[str | None] = WEIGHT_FORMAT
    quantises: ClassVar[bool] = True
    expanded_by: ClassVar[str] = "leanboard"
    calibrated: ClassVar[bool] = True
    later_knobs: ClassVar[frozenset[str]] = frozenset({"max_slowdown"})
    timed_knobs: ClassVar[frozenset[str]] = frozenset({"max_slowdown"})

    average_bits: float = 4.0
    lowest: int = 2
    highest: int = 8
    group: int | None = 64
    rounding: str = "rtn"
    samples: int = 4
    tokens: int = 64
    seed: int = 0
    max_slowdown: float | None = None

    def __post_init__(self) -> None:
        """Check the knobs."""
        check_widths(self.lowest, self.highest, self.group)
        check_calibration(self.rounding, self.samples, self.tokens)
        most = self.highest if self.max_slowdown is None else _MOST_BITS
        if not self.lowest <= self.average_bits <= most:
            raise ConfigError(
                f"average_bits={self.average_bits} cannot be met with layers of {self.lowest} to "
                f"{most} bits: choose between, or change lowest and highest."
            )
        if self.max_slowdown is not None and self.max_slowdown <= 0:
            raise ConfigError(f"max_slowdown={self.max_slowdown} must be above 0, or null.")

    def make(self, target: Target, folder: Path) -> Iterator[str]:
        """Measure every layer, choose the bits, store the packed layers."""
        from leanboard.runners.techniques.mixed_precision.sensitivity import sensitivities

        weights = float_layers(target, self.group)
        ids = target.calibration(self.samples, self.tokens, self.seed)
        widths = range(self.lowest, self.highest + 1)
        at = Grid(min(int(self.average_bits), self.highest), self.group)
        found = {}
        for name, each in sensitivities(target.model, list(weights), ids, at, widths):
            found[name] = each
            yield f"Sensitivity: {len(found)} of {len(weights)} layers, {each.measured_kl:.2g} nats"
        costs = {name: each.costs for name, each in found.items()}
        times = None
        if self.max_slowdown is not None:
            times = decode_times(target.model, list(weights), widths, self.group)
            yield f"Times: {len(times.seconds)} shapes, {len(widths)} widths and floats"
            costs = {name: {**each, times.float_bits: 0.0} for name, each in costs.items()}
        bits = cheapest_bits(costs, list(self._budgets(target.model, weights, costs, times)))
        plan = Plan(
            grids={name: Grid(each, self.group) for name, each in bits.items() if each in widths},
            rounding=self.rounding,
            seed=self.seed,
            reasons={
                "sensitivity": {name: asdict(each) for name, each in found.items()},
                **({LATENCY: times.reasons(bits)} if times is not None else {}),
            },
        )
        yield from plan.write(target, folder)

    def _budgets(
        self,
        model: torch.nn.Module,
        weights: Mapping[str, int],
        choices: Mapping[str, Collection[int]],
        times: DecodeTimes | None,
    ) -> Iterator[Budget]:
        """Yield the budget of bytes, and that of time if there is one."""
        total = sum(weights.values())
        uses = {
            name: {
                bits: weights[name] * self._level_bits(model.get_submodule(name), bits) / total
                for bits in choices[name]
            }
            for name in weights
        }
        yield Budget("average_bits", self.average_bits, uses)
        if times is not None and self.max_slowdown is not None:
            yield Budget("max_slowdown", self.max_slowdown, times.slowdowns())

    def _level_bits(self, layer: torch.nn.Linear, bits: int) -> float:
        """Return the bits of a level; of floats those at which a packed layer takes their bytes.

        Zero points have as many bits as levels and scales always the same, so that a budget of
        levels is one of bytes.
        """
        if bits <= self.highest:
            return bits
        width = self.group if self.group is not None else layer.in_features
        return (bits * width - _SCALE_BITS) / (width + 1)

    @contextmanager
    def apply(self, target: Target) -> Iterator[None]:
        """Put the stored layers in place; read the weights from the checkpoint again on exit."""
        with stored_linears(target), noted(target, self._predicted(target)):
            yield

    def _predicted(self, target: Target) -> dict[str, Quantity]:
        """Return the facts of what was predicted when it was made."""
        if self.max_slowdown is None or target.made is None:
            return {}
        return predicted(json.loads((target.made / PLAN).read_text(encoding="utf-8"))[LATENCY])
