"""The integer program that gives each layer its bits."""

from __future__ import annotations

from collections.abc import Mapping

from leanboard.results.errors import MissingDependencyError, UnsupportedError


def cheapest_bits(
    costs: Mapping[str, Mapping[int, float]], weights: Mapping[str, int], average_bits: float
) -> dict[str, int]:
    """Return the bits by layer that cost least in sum under a budget of bits.

    Minimise the sum of the layers' costs, one width a layer, the widths' mean over all weights at
    most the budget (Yao et al., HAWQ-V3, arXiv:2011.10680, section 3.4). Zero points have as many
    bits as weights and scales always the same, so that the budget is one of bytes too.

    Args:
        costs: by layer and bits.
        weights: number of weights by layer.
        average_bits: the budget.

    Raises:
        UnsupportedError: if no choice meets the budget.
        MissingDependencyError: if scipy is not installed.
    """
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
    total = sum(weights[name] for name in costs)
    share = np.array([[weights[name] * bits / total for name, bits in choices]])
    price = np.array([costs[name][bits] for name, bits in choices])
    found = milp(
        price / max(price.max(), 1e-30),
        integrality=np.ones(len(choices)),
        bounds=Bounds(0, 1),
        constraints=[LinearConstraint(one_width, 1, 1), LinearConstraint(share, 0, average_bits)],
        options={"mip_rel_gap": 1e-4},
    )
    if found.x is None:
        raise UnsupportedError(
            f"No choice of bits has an average of {average_bits} or less: {found.message}"
        )
    return {name: bits for (name, bits), taken in zip(choices, found.x, strict=True) if taken > 0.5}
