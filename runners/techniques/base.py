"""What a technique is."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

if TYPE_CHECKING:
    import torch
    from transformers import Cache


@dataclass(frozen=True, slots=True)
class LoadOptions:
    """What a technique asks of the backend before the weights are read.

    Args:
        dtype: dtype of the float weights (``bfloat16``); ``None`` keeps the reference dtype.
        gguf_type: tensor type of the GGUF file that llama.cpp loads (``q8_0``).
    """

    dtype: str | None = None
    gguf_type: str | None = None


class Target(Protocol):
    """What a technique may change: the loaded module and how it generates."""

    model: torch.nn.Module
    generation: dict[str, Any]
    """Keyword arguments that every ``generate`` call receives."""
    new_cache: Callable[[], Cache] | None
    """Gives the empty key-value cache that spans are scored through, token by token.

    For a technique whose effect is only in its cache (rounding, dropping); else ``None``.
    """

    def restore(self, names: list[str]) -> None:
        """Read these modules' parameters again from the checkpoint, replacing what is there.

        So that a technique need not hold the originals while its memory is measured.
        """


class Technique(Protocol):
    """A small frozen dataclass; its fields are its knobs.

    Attributes:
        version: behaviour version; raised whenever the same knobs would give other numbers.
        backends: names of the backends that can do it.
        conflicts: names of techniques that it cannot be combined with.
        simulates: metrics that it only simulates and must not be credited with.
        quantises: whether it rounds the weights (a quantised origin then warns ``requantised``).
        shares_prefixes: whether keys and values of tokens that several texts begin with may be
            computed once; no, where they depend on what follows, or on how many were fed at once.
    """

    version: ClassVar[int]
    backends: ClassVar[frozenset[str]]
    conflicts: ClassVar[frozenset[str]]
    simulates: ClassVar[frozenset[str]]
    quantises: ClassVar[bool]
    shares_prefixes: ClassVar[bool]

    def load_options(self) -> LoadOptions:
        """Return what the backend must know before it loads."""

    def apply(self, target: Target) -> AbstractContextManager[None]:
        """Change the target for real; put everything back on exit.

        Raises:
            UnsupportedError: if this model, device or installation cannot do it.
        """
