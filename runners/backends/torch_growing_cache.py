"""A key-value cache that is written in place: rows come and go, nothing is copied at a token.

transformers' dynamic cache copies all that it holds at every token, and its rows cannot be
exchanged. This one has room to spare. Import this module where torch is used.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from transformers import Cache, DynamicCache
from transformers.cache_utils import CacheLayerMixin, DynamicLayer, DynamicSlidingWindowLayer

from leanboard.runners.backends.torch_rope import rope_bounds

SPARE_COLUMNS = 128
"""Tokens that fit before the cache is laid out anew."""


@dataclass
class Layout:
    """Which part of the storage is in use, the same for all layers.

    All rows end at the same column; shorter ones begin later, as with padding on the left.

    Args:
        end: the column of the next token.
        starts: the column of each row's first token.
    """

    end: int = 0
    starts: list[int] = field(default_factory=list)

    @property
    def rows(self) -> int:
        """Rows in use."""
        return len(self.starts)

    @property
    def first(self) -> int:
        """The first column in use."""
        return min(self.starts, default=self.end)


class GrowingLayer(CacheLayerMixin):  # type: ignore[misc]
    """Keys and values of one layer: (rows, heads, columns, dimensions) with room to spare.

    Args:
        layout: shared by all layers; it moves on once a forward has gone through all of them.
        window: tokens that a query sees, itself included; ``None`` for all.
        columns: tokens that it has room for at first.
    """

    def __init__(self, layout: Layout, window: int | None, columns: int) -> None:
        """Begin without storage; the first keys and values say its shape."""
        super().__init__()
        self.columns = columns
        self.layout = layout
        self.window = window

    @property
    def is_sliding(self) -> bool:
        """Whether queries see a window only."""
        return self.window is not None

    def lazy_initialization(self, key_states: torch.Tensor, value_states: torch.Tensor) -> None:
        """Make storage for states of this kind."""
        self.keys = _room(key_states, self.layout.rows, self.columns)
        self.values = _room(value_states, self.layout.rows, self.columns)
        self.is_initialized = True

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *_: Any, **__: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Write the states behind what is there; return views of all that a query may see."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        held, rows = self.layout.end, self.layout.rows
        hidden = self._hidden()
        new = slice(held, held + key_states.shape[-2])
        seen = slice(self.layout.first + hidden, new.stop)
        self.keys[:rows, :, new] = key_states
        self.values[:rows, :, new] = value_states
        return self.keys[:rows, :, seen], self.values[:rows, :, seen]

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        """Return how many columns the queries are given, and how many before them they are not."""
        hidden = self._hidden()
        return self.get_seq_length() + query_length - hidden, hidden

    def _hidden(self) -> int:
        return 0 if self.window is None else max(self.get_seq_length() - self.window + 1, 0)

    def get_seq_length(self) -> int:
        """Return the tokens of the longest row."""
        return self.layout.end - self.layout.first

    def get_max_length(self) -> int:
        """Return the tokens that a query sees at most; -1 for all."""
        return -1 if self.window is None else self.window


class GrowingCache(Cache):  # type: ignore[misc]
    """A cache whose rows may be joined by others, and may leave.

    Attributes:
        layout: the part of the storage that is in use.
    """

    def __init__(self, windows: Sequence[int | None], rows: int, columns: int) -> None:
        """Begin empty, with room for so many rows of so many tokens.

        Args:
            windows: for each layer the tokens that a query sees; ``None`` for all.
            rows: rows, all in use.
            columns: tokens of a row; ``reserve`` makes room for more.
        """
        self.layout = Layout(starts=[0] * rows)
        layers = [GrowingLayer(self.layout, window, columns) for window in windows]
        super().__init__(layers=layers)

    @property
    def bytes_a_token(self) -> int:
        """Bytes that a token takes in all layers together."""
        return sum(
            tensor[0, :, 0].numel() * tensor.element_size()
            for layer in self.layers
            for tensor in (layer.keys, layer.values)
        )

    def advance(self, tokens: int) -> None:
        """Count these tokens, which a forward has written into every layer, as held."""
        self.layout.end += tokens

    def like(self) -> GrowingCache:
        """Return an empty cache for the same model, without rows."""
        fresh = GrowingCache([layer.window for layer in self.layers], 0, 0)
        for mine, other in zip(fresh.layers, self.layers, strict=True):
            mine.keys, mine.values = _room(other.keys, 0, 0), _room(other.values, 0, 0)
            mine.is_initialized = True
        return fresh

    def reserve(self, rows: int, columns: int, *, more_rows: int = 0) -> None:
        """Make room for a token behind this many rows, and for rows of this many to end there.

        Where there is none, everything moves, to where there is room for ``more_rows`` too.
        """
        layout, keys = self.layout, self.layers[0].keys
        if rows <= keys.shape[0] and columns <= layout.end < keys.shape[2]:
            return
        end = max(layout.end - layout.first, columns)
        for layer in self.layers:
            layer.keys = self._moved(layer.keys, rows + more_rows, end)
            layer.values = self._moved(layer.values, rows + more_rows, end)
        layout.starts[:] = [start + end - layout.end for start in layout.starts]
        layout.end = end

    def _moved(self, old: torch.Tensor, rows: int, end: int) -> torch.Tensor:
        layout = self.layout
        fresh = _room(old, rows, end + SPARE_COLUMNS)
        held = layout.end - layout.first
        fresh[: layout.rows, :, end - held : end] = old[: layout.rows, :, layout.first : layout.end]
        return fresh

    def branch(self, rows: int, tokens: int) -> GrowingCache:
        """Return a cache over the next free rows, which ends ``tokens`` before this one.

        Fill it and ``join`` it. There must be room (``reserve``), and this cache must not be
        changed meanwhile.
        """
        free = slice(self.layout.rows, self.layout.rows + rows)
        part = GrowingCache([layer.window for layer in self.layers], rows, 0)
        part.layout.end = self.layout.end - tokens
        part.layout.starts[:] = [part.layout.end] * rows
        for mine, whole in zip(part.layers, self.layers, strict=True):
            mine.keys, mine.values = whole.keys[free], whole.values[free]
            mine.is_initialized = True
        return part

    def join(self, part: GrowingCache) -> None:
        """Take the rows of a branch as this cache's own.

        Raises:
            ValueError: if the branch does not end where this cache ends.
        """
        if part.layout.end != self.layout.end:
            raise ValueError(f"it ends at {part.layout.end}, not at {self.layout.end}")
        self.layout.starts.extend(part.layout.starts)

    def seed(self, prefix: GrowingCache, tokens: Sequence[int]) -> None:
        """Let each row begin with so many of the first tokens of a prefix (a cache of one row).

        A negative number is padding: the row begins so many columns later than this cache ends.
        """
        end, first = self.layout.end, prefix.layout.first
        for row, count in enumerate(tokens):
            self.layout.starts[row] = end - count
            if count <= 0:
                continue
            own, shared = slice(end - count, end), slice(first, first + count)
            for mine, other in zip(self.layers, prefix.layers, strict=True):
                mine.keys[row, :, own] = other.keys[0, :, shared]
                mine.values[row, :, own] = other.values[0, :, shared]

    def keep(self, rows: Sequence[int]) -> None:
        """Keep these rows, in this order; a row may only move to where nobody stays behind it."""
        used = slice(self.layout.first, self.layout.end)
        for place, row in enumerate(rows):
            if place != row:
                for layer in self.layers:
                    layer.keys[place, :, used] = layer.keys[row, :, used]
                    layer.values[place, :, used] = layer.values[row, :, used]
        self.layout.starts[:] = [self.layout.starts[row] for row in rows]


def windows_of(config: Any) -> list[int | None] | None:
    """Return for each layer the tokens that a query sees, ``None`` for all.

    Returns ``None`` instead where a layer keeps anything but keys and values of past tokens, or
    where a row depends on the others (chunks count the padding, some rotary embeddings look at
    the longest row).
    """
    if getattr(config, "attention_chunk_size", None) is not None or rope_bounds(config):
        return None
    windows: list[int | None] = []
    for layer in DynamicCache(config=config).layers:
        if type(layer) not in (DynamicLayer, DynamicSlidingWindowLayer):
            return None
        windows.append(getattr(layer, "sliding_window", None))
    return windows


def _room(like: torch.Tensor, rows: int, columns: int) -> torch.Tensor:
    """Return zeros: what is masked must still be finite."""
    return like.new_zeros((rows, like.shape[1], columns, like.shape[3]))
