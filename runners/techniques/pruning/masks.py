"""Masks: single weights set to zero, in matrices that keep their size."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from leanboard.results.errors import ConfigError, UnsupportedError
from leanboard.runners.techniques.base import Target
from leanboard.runners.techniques.facts import counted, noted
from leanboard.runners.techniques.kept import KEPT_SHARE, of_the_whole

if TYPE_CHECKING:
    import torch

PATTERNS = ("row", "2:4", "4:8")
NOT_GAINED = frozenset({"weight_bytes", "ttft_s", "tpot_s"})
"""What zeros would save with storage and kernels for them, and do not save here."""


def check_mask_knobs(sparsity: float, pattern: str) -> None:
    """Check the knobs that every masking has.

    Raises:
        ConfigError: if one is out of range, or they contradict each other.
    """
    if pattern not in PATTERNS:
        raise ConfigError(f"pattern={pattern!r} is unknown; choose {', '.join(PATTERNS)}.")
    if not 0 < sparsity < 1:
        raise ConfigError(f"sparsity={sparsity} must be above 0 and below 1: the share of zeros.")
    if pattern != "row" and sparsity != 0.5:
        raise ConfigError(
            f"pattern={pattern} leaves half of the weights: sparsity={sparsity} must be 0.5 with "
            "it. Any other share: pattern=row."
        )


def keep_mask(scores: torch.Tensor, sparsity: float, pattern: str) -> torch.Tensor:
    """Return which weights stay: in each row, or in each group of a row, those that score highest.

    Args:
        scores: of the weights, (out features, in features).
        sparsity: share of each row that is dropped, rounded down.
        pattern: ``row``, or ``n:m`` where n of m neighbours in a row stay.

    Raises:
        UnsupportedError: if groups do not divide a row.
    """
    import torch

    rows, columns = scores.shape
    size, dropped = columns, int(columns * sparsity)
    if pattern != "row":
        stay, size = (int(number) for number in pattern.split(":"))
        dropped = size - stay
    if columns % size:
        raise UnsupportedError(f"Rows of {columns} weights do not divide into groups of {size}.")
    groups = scores.reshape(rows, columns // size, size)
    lowest = groups.topk(dropped, dim=-1, largest=False, sorted=False).indices
    keep = torch.ones_like(groups, dtype=torch.bool).scatter_(-1, lowest, value=False)
    return keep.reshape(rows, columns)


def mask_linear(model: torch.nn.Module, name: str, keep: torch.Tensor) -> None:
    """Set the weights of a linear layer to zero that do not stay."""
    import torch

    with torch.no_grad():
        model.get_submodule(name).weight.masked_fill_(~keep, 0)


@contextmanager
def masked(
    target: Target, names: Sequence[str], keep: Callable[[str, torch.Tensor], torch.Tensor]
) -> Iterator[None]:
    """Set weights of these linear layers to zero; read them from the checkpoint on exit.

    Args:
        target: whose model is changed.
        names: of linear layers.
        keep: gives the mask of those that stay, for a name and its weights.
    """
    import torch

    whole = stays = 0
    # Zeros that a mask before has set are not taken away once more.
    pruned = KEPT_SHARE in target.facts
    try:
        for name in names:
            weight = target.model.get_submodule(name).weight.detach()
            there = weight != 0 if pruned else torch.ones_like(weight, dtype=torch.bool)
            mask = keep(name, weight)
            whole, stays = whole + int(there.sum()), stays + int((mask & there).sum())
            mask_linear(target.model, name, mask)
        with noted(target, {KEPT_SHARE: counted(of_the_whole(target, stays / whole))}):
            yield
    finally:
        target.restore(list(names))
