"""A cache of keys and values in llama.cpp with buffers to compute in: batches in, logits out."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from leanboard.results.errors import ArmError
from leanboard.runners.backends.llama_header import Batch
from leanboard.runners.backends.llama_model import LlamaModel, failure

Logits = np.ndarray[Any, np.dtype[np.float32]]

FLASH_ATTENTION = {"auto": -1, "off": 0, "on": 1}
# llama.cpp rounds a context up to a multiple of this.
CELL_BLOCK = 256


@dataclass(frozen=True, slots=True)
class ContextShape:
    """What a context is made for.

    Args:
        cells: tokens that the cache of keys and values holds; of each sequence, or with
            ``shared`` of all together.
        sequences: sequences that can be held at once.
        outputs: positions of one decode call whose logits are wanted, at most.
        shared: one cache for all sequences, so that they can share a prefix.
    """

    cells: int
    sequences: int
    outputs: int
    shared: bool = False

    def __post_init__(self) -> None:
        """Round the cells up as llama.cpp does, so that equal contexts compare equal."""
        object.__setattr__(self, "cells", -(-self.cells // CELL_BLOCK) * CELL_BLOCK)

    @property
    def all_cells(self) -> int:
        """Cells of the whole cache."""
        return self.cells if self.shared else self.cells * self.sequences

    def holds(self, other: ContextShape) -> bool:
        """Return whether a context of this shape does for the other one."""
        return self.cells >= other.cells and replace(self, cells=other.cells) == other


@dataclass(frozen=True, slots=True)
class Token:
    """One token to decode.

    Args:
        id: token id.
        position: its position in its sequences.
        sequences: the sequences that it belongs to; several that begin alike share it.
        output: whether its logits are wanted.
    """

    id: int
    position: int
    sequences: tuple[int, ...]
    output: bool = False


class CannotGoBackError(ArmError):
    """The model's memory cannot forget the last tokens of a sequence alone."""


class LlamaContext:
    """A cache of keys and values with buffers to compute in; one at a time is decoded."""

    def __init__(self, model: LlamaModel, shape: ContextShape, threads: int, flash: str) -> None:
        """Allocate it.

        Raises:
            OutOfMemoryError: if it does not fit.
        """
        self.shape = shape
        self._library = model.library
        self._vocabulary = model.vocabulary.size
        params = model.library.context_params()
        params.n_ctx = params.n_batch = shape.all_cells
        params.n_seq_max = shape.sequences
        params.n_outputs_max = shape.outputs
        params.n_outputs_max_per_seq = 0
        params.n_threads = params.n_threads_batch = threads
        params.flash_attn_type = FLASH_ATTENTION[flash]
        params.kv_unified = shape.shared
        model.library.complaints()
        self._handle: int | None = model.library.c.llama_init_from_model(model.handle, params)
        if not self._handle:
            raise failure(
                model.library, f"llama.cpp could not make a context of {shape.all_cells} tokens"
            )
        self._memory = model.library.c.llama_get_memory(self._handle)

    def close(self) -> None:
        """Free it."""
        if self._handle is not None:
            self._library.c.llama_free(self._handle)
            self._handle = None

    def clear(self, *, wipe: bool = False) -> None:
        """Forget every token; ``wipe`` overwrites what was held, too."""
        self._library.c.llama_memory_clear(self._memory, wipe)

    def fork(self, source: int, target: int, count: int = -1) -> None:
        """Let a sequence begin with the first tokens of another one, without computing them again.

        Args:
            source: sequence that holds them.
            target: sequence that is to begin with them.
            count: how many; all without it.
        """
        self._library.c.llama_memory_seq_cp(self._memory, source, target, -1, count)

    def drop(self, sequence: int) -> None:
        """Forget the tokens of a sequence."""
        self._library.c.llama_memory_seq_rm(self._memory, sequence, -1, -1)

    def cut(self, sequence: int, count: int) -> None:
        """Forget the tokens of a sequence but for its first ones.

        Raises:
            CannotGoBackError: if the model cannot (recurrent ones hold one state, not a cache).
        """
        if not self._library.c.llama_memory_seq_rm(self._memory, sequence, count, -1):
            raise CannotGoBackError(
                f"llama.cpp cannot take a sequence of this model back to its first {count} tokens."
            )

    def state_bytes(self, sequence: int) -> int:
        """Return the bytes of a sequence's keys and values, with their bookkeeping."""
        return int(self._library.c.llama_state_seq_get_size(self._handle, sequence))

    def decode(self, tokens: Sequence[Token]) -> None:
        """Feed tokens in one call.

        Raises:
            ArmError: if llama.cpp fails.
        """
        self.compute(batch_of(tokens))

    def compute(self, batch: Batch) -> None:
        """Feed a batch that has been made: the time of this call is llama.cpp's alone.

        Raises:
            ArmError: if llama.cpp fails.
        """
        if self._handle is None:
            raise ArmError("A context of llama.cpp was used after it was freed.")
        code = self._library.c.llama_decode(self._handle, batch)
        if code != 0:
            raise failure(self._library, f"llama.cpp could not decode (code {code})")

    def logits(self, index: int) -> Logits:
        """Return the logits (vocabulary,) of a token of the last call; valid until the next one.

        Raises:
            ArmError: if the token's logits were not asked for.
        """
        pointer = self._library.c.llama_get_logits_ith(self._handle, index)
        if not pointer:
            raise ArmError(f"llama.cpp has no logits for token {index} of the last call.")
        return np.ctypeslib.as_array(pointer, (self._vocabulary,))

    def rows(self, count: int) -> Logits:
        """Return all logits (count, vocabulary) of the last call; valid until the next one.

        Args:
            count: how many of its tokens wanted them; the rows are in the order of these.

        Raises:
            ArmError: if there are none.
        """
        pointer = self._library.c.llama_get_logits(self._handle)
        if not pointer:
            raise ArmError("llama.cpp has no logits of the last call.")
        return np.ctypeslib.as_array(pointer, (count, self._vocabulary))


def batch_of(tokens: Sequence[Token]) -> Batch:
    """Return the tokens as llama.cpp's arrays; ctypes keeps them alive with the batch."""
    count = len(tokens)
    integers = ctypes.c_int32 * count
    lengths = [len(token.sequences) for token in tokens]
    sequences = [
        (ctypes.c_int32 * length)(*token.sequences)
        for token, length in zip(tokens, lengths, strict=True)
    ]
    rows = [ctypes.cast(sequence, ctypes.POINTER(ctypes.c_int32)) for sequence in sequences]
    return Batch(
        n_tokens=count,
        token=integers(*[token.id for token in tokens]),
        pos=integers(*[token.position for token in tokens]),
        n_seq_id=integers(*lengths),
        seq_id=(ctypes.POINTER(ctypes.c_int32) * count)(*rows),
        logits=(ctypes.c_int8 * count)(*[int(token.output) for token in tokens]),
    )
