"""Run the rows of a plan through a model, in batches that fit into memory."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from leanboard.runners.backends.base import Span, SpanScore
from leanboard.runners.backends.torch_batches import (
    Room,
    cut,
    fed_together,
    in_order_of_size,
    room_on,
    sizes_of,
    width,
)
from leanboard.runners.backends.torch_loading import is_out_of_memory
from leanboard.runners.backends.torch_logits import (
    Positions,
    log_softmax_rows,
    logits_at,
    read_tokens,
)
from leanboard.runners.backends.torch_plan import Group, Row, plan_whole

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray
    from transformers import Cache

_NOTHING_READ = Positions((0,), (0,))

_SHIFT = 3
"""Columns of padding before the longest row: no multiple of a block of any kernel."""


def _moved(row: Row, columns: int) -> Row:
    """Return a whole row behind some columns of padding."""
    reads = tuple(replace(r, nodes=tuple(node + columns for node in r.nodes)) for r in row.reads)
    tail = (0,) * columns + row.tail
    return Row((), tail, tuple(range(-1, len(tail) - 1)), reads)


class RowRunner:
    """Computes what a plan shares once, and reads the scores of its rows.

    Attributes:
        fed_tokens: tokens fed so far, without padding.
        room: how large batches may be; it shrinks where memory ran out.
    """

    def __init__(self, model: torch.nn.Module, room: Room | None = None) -> None:
        """Take a model.

        Args:
            model: a causal language model as it is to be scored.
            room: ``None`` takes what the model's device gives.
        """
        self._model = model
        self._device = next(model.parameters()).device
        self._sizes = sizes_of(model)
        self.room = room if room is not None else room_on(self._device)
        self.fed_tokens = 0

    def scores(self, group: Group) -> Iterator[tuple[Sequence[Row], dict[int, SpanScore]]]:
        """Yield each batch of the group's rows with the scores of its spans, by their places.

        A batch that does not fit into memory is tried again as smaller ones.
        """
        trunk = self._feed_trunk(group.trunk)
        rows = in_order_of_size(group.rows)
        done = 0
        while done < len(rows):
            for batch in cut(rows[done:], len(group.trunk), self._sizes, self.room):
                inputs = partial(self._behind, trunk, len(group.trunk), batch)
                found = self._try(batch, inputs)
                if found is None:
                    self.room.shrink()
                    break
                done += len(batch)
                yield batch, found
                if self.room.grow():
                    break

    def padded(self, rows: Sequence[Row]) -> dict[int, SpanScore]:
        """Return the scores of whole rows as one batch, padded on the left.

        Nothing is shared, so that only rounding tells them from the scores of each row alone.
        Every row, the longest too, begins some columns later than alone: a kernel that goes over
        keys in blocks adds up all of them in another order, where padding on the right would
        leave the order as it is.  Empty if the batch does not fit into memory.
        """
        columns = max(len(row.tail) for row in rows) + _SHIFT
        moved = [_moved(row, columns - len(row.tail)) for row in rows]
        found = self._try(moved, lambda: self._left_padding(rows, columns))
        self.fed_tokens -= sum(columns - len(row.tail) for row in rows) if found else 0
        return found or {}

    def table(self, span: Span) -> NDArray[np.float32]:
        """Return the log-probabilities (nats) at each token of a span: (tokens, vocabulary)."""
        import torch

        (row,) = plan_whole([span], [0]).rows
        with torch.no_grad():
            logits, _ = self._logits([row], self._behind(None, 0, [row]))
            return log_softmax_rows(logits)

    def _try(
        self, rows: Sequence[Row], inputs: Callable[[], Mapping[str, Any]]
    ) -> dict[int, SpanScore] | None:
        """Return the scores of a batch; ``None`` if smaller ones may fit into memory."""
        import torch

        try:
            with torch.no_grad():
                return self._read(rows, inputs())
        except (MemoryError, RuntimeError) as error:
            if len(rows) == 1 or not is_out_of_memory(error):
                raise
        if self._device.type == "cuda":
            torch.cuda.empty_cache()
        return None

    def _read(self, rows: Sequence[Row], inputs: Mapping[str, Any]) -> dict[int, SpanScore]:
        logits, index = self._logits(rows, inputs)
        wanted = {
            read.place: [
                (index[number, node], token)
                for node, token in zip(read.nodes, read.targets, strict=True)
            ]
            for number, row in enumerate(rows)
            for read in row.reads
        }
        tokens = read_tokens(logits, [pair for pairs in wanted.values() for pair in pairs])
        self.fed_tokens += sum(len(row.stem) + len(row.tail) for row in rows)
        return {
            place: SpanScore(
                loglikelihood=math.fsum(tokens[pair].nats for pair in pairs),
                is_greedy=all(tokens[pair].is_greedy for pair in pairs),
            )
            for place, pairs in wanted.items()
        }

    def _logits(
        self, rows: Sequence[Row], inputs: Mapping[str, Any]
    ) -> tuple[torch.Tensor, dict[tuple[int, int], int]]:
        """Return the logits that are read, and which of them belongs to a row's node."""
        read = ((n, node) for n, row in enumerate(rows) for r in row.reads for node in r.nodes)
        index = {key: place for place, key in enumerate(dict.fromkeys(read))}
        at = Positions(tuple(row for row, _ in index), tuple(node for _, node in index))
        ids = self._padded([row.tail for row in rows])
        return logits_at(self._model, ids, at, **inputs), index

    def _behind(
        self, trunk: Cache | None, trunk_tokens: int, rows: Sequence[Row]
    ) -> dict[str, Any]:
        """Return the inputs, beside ids, with which the tails continue what is before them."""
        stem, _ = width(rows)
        are_chains = stem == 0 and all(row.is_chain for row in rows)
        if are_chains and trunk is None:
            return {"use_cache": False}
        from leanboard.runners.backends import torch_prefix

        before = self._feed_stems(trunk, trunk_tokens, rows) if stem > 0 else trunk
        positions = torch_prefix.tail_positions(rows, trunk_tokens).to(self._device)
        inputs: dict[str, Any] = {"position_ids": positions, "use_cache": before is not None}
        if before is not None:
            inputs["past_key_values"] = torch_prefix.continued(before, len(rows), keep=False)
        # Behind a trunk, which has no padding, the model's own causal mask is right for a chain.
        if not are_chains:
            inputs["attention_mask"] = torch_prefix.tail_mask(self._model, rows, trunk_tokens)
        return inputs

    def _left_padding(self, rows: Sequence[Row], columns: int) -> dict[str, Any]:
        import torch

        starts = torch.tensor([[columns - len(row.tail)] for row in rows], device=self._device)
        positions = torch.arange(columns, device=self._device) - starts
        return {
            "attention_mask": (positions >= 0).long(),
            "position_ids": positions.clamp(min=0),
            "use_cache": False,
        }

    def _feed_trunk(self, trunk: Sequence[int]) -> Cache | None:
        if not trunk:
            return None
        self.fed_tokens += len(trunk)
        return self._feed(None, 0, [trunk])

    def _feed_stems(self, trunk: Cache | None, trunk_tokens: int, rows: Sequence[Row]) -> Cache:
        from leanboard.runners.backends import torch_prefix

        groups = list(fed_together(rows, self.room.tokens))
        caches = (self._feed(trunk, trunk_tokens, [r.stem for r in group]) for group in groups)
        if len(groups) == 1:
            return next(caches)
        stem, _ = width(rows)
        return torch_prefix.stacked(caches, len(rows), trunk_tokens + stem)

    def _feed(
        self, before: Cache | None, tokens_before: int, sequences: Sequence[Sequence[int]]
    ) -> Cache:
        """Feed chains, padded on the right, and return the cache that holds them."""
        import torch

        from leanboard.runners.backends import torch_prefix

        cache = torch_prefix.empty_cache()
        if before is not None:
            cache = torch_prefix.continued(before, len(sequences), keep=True)
        ids = self._padded(sequences)
        positions = torch.arange(tokens_before, tokens_before + ids.shape[1], device=ids.device)
        with torch.no_grad():
            logits_at(
                self._model,
                ids,
                _NOTHING_READ,
                position_ids=positions.expand(len(sequences), -1),
                past_key_values=cache,
                use_cache=True,
            )
        return cache

    def _padded(self, sequences: Sequence[Sequence[int]]) -> torch.Tensor:
        """Return ids (sequences, longest), filled up on the right."""
        import torch

        longest = max(map(len, sequences))
        rows = [[*sequence, *[0] * (longest - len(sequence))] for sequence in sequences]
        return torch.tensor(rows, device=self._device)
