"""What a technique that leaves parts of a model out tells of what it left in."""

from __future__ import annotations

from typing import TYPE_CHECKING

from leanboard.results.errors import UnsupportedError
from leanboard.runners.techniques.base import Target
from leanboard.runners.techniques.replacing import may_change

if TYPE_CHECKING:
    import torch

KEPT_SHARE = "kept_share"
"""Fact: share of a model's weights, in the layers that are pruned, that is left."""


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


def of_the_whole(target: Target, share: float) -> float:
    """Return a share of what techniques before left as a share of what there was before them.

    Where they left out parts of other matrices than this one does, the product of their shares
    stands for all of these.
    """
    before = target.facts.get(KEPT_SHARE)
    return share if before is None else share * before.value


def require_float(module: torch.nn.Module, name: str, what: str) -> None:
    """Check that a module's weights are plain tensors of floats, and all of them parameters.

    What packs or shares weights has integers in buffers, which no count of parameters sees.

    Args:
        module: of the model.
        name: its name.
        what: what cannot be done otherwise.

    Raises:
        UnsupportedError: if some are packed, rounded or shared.
    """
    if any(map(_holds_integers, module.buffers())) or not all(map(may_change, module.parameters())):
        raise UnsupportedError(
            f"The weights of {name} are packed, rounded or shared: {what}. Name this technique "
            "before the one that does that: technique=[a,b] applies them in this order."
        )


def _holds_integers(buffer: torch.Tensor) -> bool:
    """Return whether a buffer holds integers; masks of attention, which are bools, do not."""
    import torch

    return bool(not buffer.is_floating_point() and buffer.dtype != torch.bool)
