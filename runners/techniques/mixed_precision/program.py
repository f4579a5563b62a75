"""The integer program that gives each layer its bits."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from leanboard.results.errors import MissingDependencyError, UnsupportedError

ByLayer = Mapping[str, Mapping[int, float]]
"""Numbers by layer and bits."""


@dataclass(frozen=True, slots=True)
class Budget:
    """What the layers may use in sum.

    Args:
        knob: that sets it.
        most: its value.
        uses: of each layer with each of its bits, in the knob's unit.
    """

    knob: str
    most: float
    uses: ByLayer

    def __str__(self) -> str:
        """Return it as a knob is set."""
        return f"{self.knob}={self.most:g}"


def cheapest_bits(costs: ByLayer, budgets: Sequence[Budget]) -> dict[str, int]:
    """Return the bits by layer that cost least in sum under budgets.

    Minimise the sum of the layers' costs, one width a layer, what they use in sum at most each
    budget (Yao et al., HAWQ-V3, arXiv:2011.10680, section 3.4).

    Args:
        costs: by layer and bits.
        budgets: of the same layers and bits.

    Raises:
        UnsupportedError: if no choice meets the budgets; it says how far each must be loosened.
        MissingDependencyError: if scipy is not installed.
    """
    found = _solved(costs, budgets)
    if found is None:
        asked = " and ".join(map(str, budgets))
        raise UnsupportedError(
            f"No choice of bits meets {asked}. Loosen one: {'; or '.join(_reachable(budgets))}."
        )
    return found


def _reachable(budgets: Sequence[Budget]) -> Iterator[str]:
    """Yield the least that each budget could be, the others as they are."""
    for budget in budgets:
        others = [other for other in budgets if other is not budget]
        found = _solved(budget.uses, others)
        if found is not None:
            least = sum(budget.uses[name][bits] for name, bits in found.items())
            beside = f" with {' and '.join(map(str, others))}" if others else ""
            yield f"{budget.knob}={math.ceil(least * 100) / 100:g} or more{beside}"


def _solved(costs: ByLayer, budgets: Sequence[Budget]) -> dict[str, int] | None:
    """Return the bits by layer that cost least; ``None`` where no choice meets the budgets."""
    try:
        import numpy as np
        from scipy.optimize import (
            Bounds,
            LinearConstraint,
            milp,
        )
    except ImportError as error:
        raise MissingDependencyError(
            "The integer program needs scipy: pip install 'leanboard[quantization]'."
        ) from error
    choices = [(name, bits) for name in costs for bits in sorted(costs[name])]
    place = {name: row for row, name in enumerate(costs)}
    one_width = np.zeros((len(costs), len(choices)))
    for column, (name, _) in enumerate(choices):
        one_width[place[name], column] = 1
    constraints = [LinearConstraint(one_width, 1, 1)]
    for budget in budgets:
        used = np.array([[budget.uses[name][bits] for name, bits in choices]])
        constraints.append(LinearConstraint(used, 0, budget.most))
    price = np.array([costs[name][bits] for name, bits in choices])
    found = milp(
        price / max(price.max(), 1e-30),
        integrality=np.ones(len(choices)),
        bounds=Bounds(0, 1),
        constraints=constraints,
        options={"mip_rel_gap": 1e-4},
    )
    if found.x is None:
        return None
    return {name: bits for (name, bits), taken in zip(choices, found.x, strict=True) if taken > 0.5}
