"""How rows continue what was computed before them: caches that are shared, masks of trees.

Imported only where a model has been loaded: it needs torch and transformers.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from transformers.cache_utils import Cache, DynamicLayer

from leanboard.runners.backends.torch_batches import width
from leanboard.runners.backends.torch_exactness import SLIDING, layer_types
from leanboard.runners.backends.torch_plan import Row

if TYPE_CHECKING:
    from numpy.typing import NDArray


class _PassingLayer(DynamicLayer):  # type: ignore[misc]
    """Gives the keys and values of before with the new ones after them, and keeps neither."""

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *_: Any, **__: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        keys = torch.cat([self.keys, key_states], dim=-2)
        return keys, torch.cat([self.values, value_states], dim=-2)


class _FirstLayer(DynamicLayer):  # type: ignore[misc]
    """Keeps the first keys and values as they come, where transformers' own copies them."""

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *_: Any, **__: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        if self.is_initialized:
            return super().update(key_states, value_states)  # type: ignore[no-any-return]
        self.lazy_initialization(key_states, value_states)
        self.keys, self.values = _alone(key_states), _alone(value_states)
        return self.keys, self.values


def _alone(states: torch.Tensor) -> torch.Tensor:
    """Return states that keep nothing else in memory, as a part of a larger product would."""
    return states if states.untyped_storage().nbytes() == states.nbytes else states.clone()


def empty_cache() -> Cache:
    """Return a cache that keeps every token in every layer, sliding ones too."""
    return Cache(layer_class_to_replicate=_FirstLayer)


def continued(cache: Cache, rows: int, *, keep: bool) -> Cache:
    """Return a cache for more rows after what another holds; that one is left as it is.

    Args:
        cache: holds one row, or as many as are asked for.
        rows: how many continue it.
        keep: whether to keep what they feed.
    """
    layers: list[DynamicLayer] = []
    for before in cache.layers:
        layer = DynamicLayer() if keep else _PassingLayer()
        layer.lazy_initialization(before.keys, before.values)
        layer.keys = before.keys.expand(rows, -1, -1, -1)
        layer.values = before.values.expand(rows, -1, -1, -1)
        layers.append(layer)
    return Cache(layers=layers)


def stacked(caches: Iterable[Cache], rows: int, tokens: int) -> Cache:
    """Return one cache with the rows of several, which are let go one by one.

    Args:
        caches: of rows in their order.
        rows: how many there are in all.
        tokens: of the longest; the others are filled up with zeros, which a mask must hide.
    """
    layers: list[DynamicLayer] = []
    start = 0
    for cache in caches:
        if not layers:
            layers = [_zeros(layer, rows, tokens) for layer in cache.layers]
        for whole, part in zip(layers, cache.layers, strict=True):
            count, _, length, _ = part.keys.shape
            whole.keys[start : start + count, :, :length] = part.keys
            whole.values[start : start + count, :, :length] = part.values
        start += count
    return Cache(layers=layers)


def _zeros(like: DynamicLayer, rows: int, tokens: int) -> DynamicLayer:
    layer = DynamicLayer()
    layer.lazy_initialization(like.keys, like.values)
    _, heads, _, size = like.keys.shape
    layer.keys = like.keys.new_zeros((rows, heads, tokens, size))
    layer.values = like.values.new_zeros((rows, like.values.shape[1], tokens, like.values.shape[3]))
    return layer


def tail_positions(rows: Sequence[Row], trunk: int) -> torch.Tensor:
    """Return the position of each token of the tails: (rows, padded tail)."""
    _, tail = width(rows)
    positions = np.zeros((len(rows), tail), dtype=np.int64)
    for number, row in enumerate(rows):
        positions[number, : len(row.tail)] = row.depths
        positions[number] += trunk + len(row.stem)
    return torch.from_numpy(positions)


def tail_mask(model: torch.nn.Module, rows: Sequence[Row], trunk: int) -> Any:
    """Return what the tails may attend to, as the model takes it.

    Returns:
        An additive mask (rows, 1, padded tail, trunk + padded stem + padded tail); a mapping by
        layer type for a model that has several.
    """
    config: Any = model.config.get_text_config()
    seen = _seen(rows, trunk)
    types = sorted(layer_types(config))
    masks = {}
    for layer_type in types:
        near = seen
        if layer_type == SLIDING and config.sliding_window is not None:
            near = seen & (_distance(rows, trunk) < config.sliding_window)
        masks[layer_type] = _additive(model, near)
    return masks if len(types) > 1 else masks[types[0]]


def _seen(rows: Sequence[Row], trunk: int) -> NDArray[np.bool_]:
    """Return (rows, tail, keys): the trunk, the row's own stem, a token's own branch."""
    stem, tail = width(rows)
    before = trunk + stem
    seen = np.zeros((len(rows), tail, before + tail), dtype=np.bool_)
    # Padding sees itself too: a softmax over nothing would be NaN.
    seen[:, range(tail), range(before, before + tail)] = True
    for number, row in enumerate(rows):
        seen[number, :, : trunk + len(row.stem)] = True
        branch = seen[number, :, before:]
        for node, parent in enumerate(row.parents):
            if parent >= 0:
                branch[node] |= branch[parent]
    return seen


def _distance(rows: Sequence[Row], trunk: int) -> NDArray[np.int64]:
    """Return (rows, tail, keys): how far a key lies before a query, in positions."""
    stem, _ = width(rows)
    queries = tail_positions(rows, trunk).numpy()
    before = np.broadcast_to(np.arange(trunk + stem), (len(rows), trunk + stem))
    keys = np.concatenate([before, queries], axis=1)
    distance: NDArray[np.int64] = queries[:, :, None] - keys[:, None, :]
    return distance


def _additive(model: torch.nn.Module, seen: NDArray[np.bool_]) -> torch.Tensor:
    embedding: Any = model.get_input_embeddings()
    hidden = torch.from_numpy(~seen)[:, None].to(embedding.weight.device)
    mask = torch.zeros(hidden.shape, dtype=embedding.weight.dtype, device=hidden.device)
    return mask.masked_fill_(hidden, torch.finfo(mask.dtype).min)
