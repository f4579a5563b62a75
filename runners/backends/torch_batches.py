"""Which rows run together: little padding, within what memory allows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from leanboard.runners.backends.torch_plan import Row

if TYPE_CHECKING:
    import torch

CALL_COSTS = 36
"""Padding tokens that a forward less is worth: weights are read once a forward."""

MOST_ROWS = 128
"""Rows of a batch at most: more would hardly be faster, and take long to choose."""

_CPU_TOKENS, _CPU_BYTES = 1024, 256 * 2**20
_GPU_TOKENS, _GPU_BYTES = 16384, 8 * 2**30
_FLOAT32_BYTES = 4
_PATIENCE = 8
"""Batches that must go well before a larger one is tried; twice as many after each failure."""

_LIVE_ACTIVATIONS = 8
"""Tensors as wide as the hidden state that a layer holds at once."""


@dataclass(frozen=True, slots=True)
class Shape:
    """What a batch of rows looks like when it is padded.

    Args:
        rows: how many.
        stem: tokens of the longest stem.
        stems: tokens of all stems.
        tail: tokens of the longest tail.
        reads: tokens whose logits are read, of all rows.
        branches: whether a tail has any.
    """

    rows: int
    stem: int
    stems: int
    tail: int
    reads: int
    branches: bool

    @property
    def kind(self) -> tuple[bool, bool]:
        """What rows of one batch have in common: whether there are stems, and branches."""
        return self.stem > 0, self.branches

    @property
    def tokens(self) -> int:
        """Tokens that are fed, those that pad the tails included."""
        return self.stems + self.rows * self.tail

    def joined(self, other: Shape) -> Shape:
        """Return the shape of the rows of both."""
        return Shape(
            rows=self.rows + other.rows,
            stem=max(self.stem, other.stem),
            stems=self.stems + other.stems,
            tail=max(self.tail, other.tail),
            reads=self.reads + other.reads,
            branches=self.branches or other.branches,
        )


@dataclass(frozen=True, slots=True)
class Sizes:
    """Bytes that a forward needs, estimated from the model's configuration.

    Args:
        token: activations of a token that is fed.
        kept: keys and values of a token that is kept, all layers.
        seen: keys and values of a token in one layer, repeated for every head.
        mask: one entry of the attention mask.
        weight: one entry of the attention weights, all heads; 0 where they are never kept.
        logits: the logits of a token.
    """

    token: int
    kept: int
    seen: int
    mask: int
    weight: int
    logits: int

    def of(self, shape: Shape, trunk: int, most_tokens: int) -> int:
        """Return the bytes of a batch.

        Args:
            shape: of the batch.
            trunk: tokens of the trunk that it is behind.
            most_tokens: of a forward; stems of more are fed in turn (:func:`fed_together`).
        """
        before = trunk + shape.stem
        keys = before + shape.tail
        row = shape.tail * self.token + keys * self.seen + shape.tail * keys * self.weight
        if any(shape.kind):
            row += shape.tail * keys * self.mask
        needed = shape.rows * row
        if shape.stem > 0:
            # Each row's cache is a copy of its own, of the trunk too.
            cache = before * self.kept
            at_once = min(shape.rows, max(1, most_tokens // shape.stem))
            stem = shape.stem * self.token + before * self.seen + shape.stem * before * self.weight
            if at_once < shape.rows:
                # Fed apart, their caches are copied to where those of all rows are.
                stem += cache
            needed = shape.rows * cache + max(needed, at_once * stem)
        return needed + shape.reads * self.logits


def sizes_of(model: torch.nn.Module) -> Sizes:
    """Estimate the bytes of a model's forward."""
    config: Any = model.config.get_text_config()
    item = next(model.parameters()).element_size()
    heads = getattr(config, "num_attention_heads", 1)
    kv_heads = getattr(config, "num_key_value_heads", None) or heads
    head_dim = getattr(config, "head_dim", None) or config.hidden_size // heads
    inner = getattr(config, "intermediate_size", None) or 4 * config.hidden_size
    return Sizes(
        token=(_LIVE_ACTIVATIONS * config.hidden_size + 3 * inner) * item,
        kept=2 * config.num_hidden_layers * kv_heads * head_dim * item,
        seen=2 * (heads + kv_heads) * head_dim * item,
        mask=item,
        # Eager attention has them once more as float32, in which it takes the softmax.
        weight=heads * (item + _FLOAT32_BYTES) if config._attn_implementation == "eager" else 0,
        logits=config.vocab_size * item,
    )


class Room:
    """How large a batch may be: what did not fit is not tried again at once.

    Attributes:
        tokens: padded tokens of a forward at most; more would not be faster.
        bytes: of a batch at most. A single row may have more of both.
    """

    def __init__(self, tokens: int, most_bytes: int) -> None:
        self.tokens = tokens
        self.bytes = most_bytes
        self._most_bytes = most_bytes
        self._patience = 0
        self._went_well = 0

    def holds(self, shape: Shape, shape_bytes: int) -> bool:
        """Return whether a batch of this shape and these bytes may be tried."""
        return shape.rows * shape.tail <= self.tokens and shape_bytes <= self.bytes

    def shrink(self) -> None:
        """Halve it: a batch ran out of memory."""
        self.bytes = max(1, self.bytes // 2)
        self._patience = max(_PATIENCE, 2 * self._patience)
        self._went_well = 0

    def grow(self) -> bool:
        """Count a batch that went well; double it after enough, and return whether it grew."""
        self._went_well += 1
        if self.bytes >= self._most_bytes or self._went_well < self._patience:
            return False
        self.bytes = min(self._most_bytes, 2 * self.bytes)
        self._went_well = 0
        return True


def room_on(device: torch.device) -> Room:
    """Return the room that a device gives: on a GPU at most half of what is free now."""
    if device.type != "cuda":
        return Room(_CPU_TOKENS, _CPU_BYTES)
    import torch

    free_bytes, _ = torch.cuda.mem_get_info(device)
    return Room(_GPU_TOKENS, min(_GPU_BYTES, free_bytes // 2))


def in_order_of_size(rows: Sequence[Row]) -> list[Row]:
    """Return the rows with those of like shape next to each other, the longest first."""
    return sorted(
        rows,
        key=lambda row: (-len(row.stem), row.is_chain, -len(row.tail), row.reads[0].place),
    )


def width(rows: Sequence[Row]) -> tuple[int, int]:
    """Return the padded lengths of stem and tail."""
    return max(len(row.stem) for row in rows), max(len(row.tail) for row in rows)


def fed_together(rows: Sequence[Row], most_tokens: int) -> Iterator[Sequence[Row]]:
    """Cut the rows of a batch into those whose stems are fed in one forward, in their order.

    Args:
        rows: of a batch, in order of size.
        most_tokens: of a forward, padding included; a single stem may have more.
    """
    start = 0
    for stop, row in enumerate(rows):
        longest = max(len(rows[start].stem), len(row.stem))
        if stop > start and (stop - start + 1) * longest > most_tokens:
            yield rows[start:stop]
            start = stop
    yield rows[start:]


def shape_of(row: Row) -> Shape:
    """Return the shape of a row alone."""
    reads = {node for read in row.reads for node in read.nodes}
    stem = len(row.stem)
    return Shape(1, stem, stem, len(row.tail), len(reads), not row.is_chain)


def cut(rows: Sequence[Row], trunk: int, sizes: Sizes, room: Room) -> list[Sequence[Row]]:
    """Cut rows, given in order of size, into batches: least padding for few forwards.

    The least cost of the first n rows follows from that of fewer (dynamic programming).
    """
    shapes = [shape_of(row) for row in rows]
    best: list[tuple[int, int]] = [(0, 0)]
    for stop in range(1, len(rows) + 1):
        shape = shapes[stop - 1]
        ways = [(best[stop - 1][0] + shape.tokens, stop - 1)]
        for start in range(stop - 2, max(-1, stop - 1 - MOST_ROWS), -1):
            shape = shape.joined(shapes[start])
            fits = room.holds(shape, sizes.of(shape, trunk, room.tokens))
            if shapes[start].kind != shapes[stop - 1].kind or not fits:
                break
            ways.append((best[start][0] + shape.tokens, start))
        cost, start = min(ways)
        best.append((cost + CALL_COSTS, start))
    batches: list[Sequence[Row]] = []
    stop = len(rows)
    while stop > 0:
        start = best[stop][1]
        batches.append(rows[start:stop])
        stop = start
    return batches[::-1]
