"""Gated MLPs, and making them narrower: smaller matrices, not masks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from leanboard.results.errors import ConfigError, UnsupportedError
from leanboard.runners.techniques.base import Target
from leanboard.runners.techniques.facts import counted, noted
from leanboard.runners.techniques.kept import (
    KEPT_SHARE,
    of_the_whole,
    parameters_kept,
    require_float,
)
from leanboard.runners.techniques.replacing import replaced

if TYPE_CHECKING:
    import torch

GATE, UP, DOWN = "gate_proj", "up_proj", "down_proj"


def check_width_knobs(ratio: float, multiple_of: int) -> None:
    """Check the knobs that every pruning of width has.

    Raises:
        ConfigError: if one is out of range.
    """
    if not 0 < ratio < 1:
        raise ConfigError(f"ratio={ratio} must be above 0 and below 1: the share that is removed.")
    if multiple_of < 1:
        raise ConfigError(f"multiple_of={multiple_of} must be 1 or more.")


def gated_mlps(model: torch.nn.Module) -> dict[str, int]:
    """Return the names of a model's gated MLPs with their numbers of neurons, in order.

    A neuron is a row of ``gate_proj``, the same row of ``up_proj`` and a column of ``down_proj``.

    Raises:
        UnsupportedError: if there is none, or its weights are packed by a quantiser.
    """
    import torch

    found = {}
    for name, module in model.named_modules():
        parts: list[Any] = [getattr(module, part, None) for part in (GATE, UP, DOWN)]
        if not all(isinstance(part, torch.nn.Linear) for part in parts):
            continue
        require_float(module, name, "its neurons cannot be told apart")
        found[name] = int(parts[-1].in_features)
    if not found:
        raise UnsupportedError(
            f"This model has no gated MLP ({GATE}, {UP} and {DOWN} as torch.nn.Linear) whose "
            "neurons could be removed. Masks of single weights do not need one: "
            "technique=mask-weights."
        )
    return found


def width_left(neurons: int, ratio: float, multiple_of: int) -> int:
    """Return how many of an MLP's neurons are kept: the nearest multiple, one at least.

    Raises:
        UnsupportedError: if that removes none.
    """
    left = max(1, int(neurons * (1 - ratio) / multiple_of + 0.5)) * multiple_of
    if left >= neurons:
        raise UnsupportedError(
            f"ratio={ratio} with multiple_of={multiple_of} removes none of {neurons} neurons. "
            "Raise ratio or lower multiple_of."
        )
    return left


def highest(scores: torch.Tensor, count: int) -> torch.Tensor:
    """Return the places of the highest scores, ascending; of equal ones the first."""
    order = scores.argsort(descending=True, stable=True)
    return order[:count].sort().values


@contextmanager
def narrowed(target: Target, kept: Mapping[str, torch.Tensor]) -> Iterator[None]:
    """Leave each MLP its kept neurons only; put the whole ones back on exit.

    Args:
        target: whose model is changed.
        kept: places of the neurons that stay, ascending, by the name of the MLP.
    """
    mlps = gated_mlps(target.model)
    removed = sum(
        (mlps[name] - len(places)) * _neuron_parameters(target.model.get_submodule(name))
        for name, places in kept.items()
    )
    share = of_the_whole(target, sum(map(len, kept.values())) / sum(mlps[name] for name in kept))

    def narrow(name: str, module: torch.nn.Module) -> torch.nn.Module:
        mlp, _, part = name.rpartition(".")
        return _part_of(module, kept[mlp], columns=part == DOWN)

    parts = [f"{name}.{part}" for name in kept for part in (GATE, UP, DOWN)]
    left = parameters_kept(target, removed)
    facts = {KEPT_SHARE: counted(share), "parameters_kept": counted(left)}
    with noted(target, facts), replaced(target, parts, narrow):
        yield


def _neuron_parameters(mlp: Any) -> int:
    """Return how many parameters a neuron has."""
    gate, up, down = (getattr(mlp, part) for part in (GATE, UP, DOWN))
    biases = sum(part.bias is not None for part in (gate, up))
    return int(gate.in_features + up.in_features + down.out_features + biases)


def _part_of(linear: Any, places: torch.Tensor, *, columns: bool) -> torch.nn.Module:
    """Return a linear layer with some rows (outputs) of another one, or some columns (inputs)."""
    import torch

    places = places.to(linear.weight.device, torch.long)
    weight = linear.weight.detach().index_select(1 if columns else 0, places)
    part = torch.nn.Linear(weight.shape[1], weight.shape[0], bias=False, device="meta")
    part.weight = torch.nn.Parameter(weight)
    if linear.bias is not None:
        bias = linear.bias.detach().clone() if columns else linear.bias.detach()[places]
        part.bias = torch.nn.Parameter(bias)
    return part.train(linear.training)
