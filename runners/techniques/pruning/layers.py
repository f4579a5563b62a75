"""Running a model without some of its decoder layers."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from leanboard.results.errors import ConfigError, UnsupportedError
from leanboard.runners.techniques.base import Target
from leanboard.runners.techniques.facts import PROMPT_BYTES, counted, noted
from leanboard.runners.techniques.kept import parameters_kept, require_float
from leanboard.runners.techniques.pruning.blocks import layer_list, layer_names

if TYPE_CHECKING:
    import torch


def check_layers_knob(layers: int) -> None:
    """Check the number of layers that is left out.

    Raises:
        ConfigError: if it is out of range.
    """
    if layers < 1:
        raise ConfigError(f"layers={layers} must be 1 or more: how many are left out.")


def require_enough_layers(model: torch.nn.Module, layers: int) -> int:
    """Return how many decoder layers a model has; of which some must stay.

    Raises:
        UnsupportedError: if none would stay, or layers depend on each other.
    """
    whole = len(layer_names(model))
    decoder: Any = model.get_decoder()
    if getattr(decoder.config, "num_kv_shared_layers", 0):
        raise UnsupportedError("Layers of this model read the keys and values of other layers.")
    if layers >= whole:
        raise UnsupportedError(
            f"layers={layers} would leave none of this model's {whole} decoder layers; "
            f"choose {whole - 1} or fewer."
        )
    return whole


@contextmanager
def without_layers(target: Target, dropped: Collection[int]) -> Iterator[None]:
    """Take these decoder layers out of the model; put them back on exit.

    Those that stay are counted anew, and the configuration says how many they are, so that a
    cache holds keys and values of these alone. What is dropped gives its memory back.

    Args:
        target: whose model is changed.
        dropped: places of the layers, from 0.

    Raises:
        UnsupportedError: if their weights are packed, or they hold a part of a learnt prompt.
    """
    import torch

    if PROMPT_BYTES in target.facts:
        raise UnsupportedError(
            "The prompt was trained for a model with these layers. Name soft-prompt after the "
            "technique that leaves them out: technique=[a,soft-prompt]."
        )
    listed = layer_list(target.model)
    whole: Any = target.model.get_submodule(listed)
    out = [whole[place] for place in sorted(dropped)]
    for layer in out:
        require_float(layer, listed, "layers cannot be left out any more")
    removed = sum(parameter.numel() for layer in out for parameter in layer.parameters())
    left = parameters_kept(target, removed)
    stays = [layer for place, layer in enumerate(whole) if place not in dropped]
    try:
        target.model.set_submodule(listed, torch.nn.ModuleList(stays))
        _number(stays)
        with _configured(target.model, dropped):
            for part in (part for layer in out for part in layer.modules()):
                part._parameters.update(dict.fromkeys(part._parameters))
            windows = _windows(target.model)
            facts = {
                "parameters_kept": counted(left),
                "layers_kept": counted(len(stays)),
                "window_layers_kept": counted(windows),
            }
            with noted(target, facts):
                yield
    finally:
        target.model.set_submodule(listed, whole)
        _number(whole)
        # Techniques that came after this one restored layers by the places they had then.
        target.restore([f"{listed}.{name}" for name, _ in whole.named_modules() if name])


def _number(layers: Collection[Any]) -> None:
    """Tell each layer its place: by it the cache knows whose keys and values are whose."""
    for place, layer in enumerate(layers):
        for part in layer.modules():
            if isinstance(getattr(part, "layer_idx", None), int):
                part.layer_idx = place


@contextmanager
def _configured(model: torch.nn.Module, dropped: Collection[int]) -> Iterator[None]:
    """Leave the layers out of the configuration; put it back on exit."""
    config: Any = model.get_decoder().config
    count, kinds = config.num_hidden_layers, getattr(config, "layer_types", None)
    try:
        config.num_hidden_layers = count - len(dropped)
        if kinds is not None:
            config.layer_types = [kind for i, kind in enumerate(kinds) if i not in dropped]
        yield
    finally:
        config.num_hidden_layers = count
        if kinds is not None:
            config.layer_types = kinds


def _windows(model: torch.nn.Module) -> int:
    """Return how many layers attend to a sliding window, by the cache that the model gets."""
    from transformers import DynamicCache

    return int(sum(DynamicCache(config=model.get_decoder().config).is_sliding))
