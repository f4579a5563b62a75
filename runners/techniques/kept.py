"""What a technique that leaves parts of a model out tells of what it left in."""

from __future__ import annotations

from typing import TYPE_CHECKING

from leanboard.results.errors import UnsupportedError
from leanboard.runners.techniques.base import Target
from leanboard.runners.techniques.replacing import is_plain_float

if TYPE_CHECKING:
    import torch


def parameters_kept(target: Target, removed: int) -> float:
    """Return how many parameters a model has without these, which it still has.

    The roofline takes its FLOPs from this fact (``work.py``), not from the checkpoint's shapes.

    Args:
        target: as the techniques before left it; tied parameters count once.
        removed: parameters that will be removed.
    """
    if "parameters_kept" in target.facts:
        return target.facts["parameters_kept"].value - removed
    return float(sum(parameter.numel() for parameter in target.model.parameters()) - removed)


def require_float(module: torch.nn.Module, name: str, what: str) -> None:
    """Check that a module's parameters are plain tensors of floats.

    Args:
        module: of the model.
        name: its name.
        what: what cannot be done otherwise.

    Raises:
        UnsupportedError: if some are packed by a quantiser.
    """
    if not all(map(is_plain_float, module.parameters())):
        raise UnsupportedError(
            f"The weights of {name} are packed: {what}. Name this technique before the one that "
            "quantises: technique=[a,b] applies them in this order."
        )
