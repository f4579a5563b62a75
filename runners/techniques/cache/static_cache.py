"""A key-value cache of fixed size."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import ClassVar

from leanboard.results.errors import ConfigError, UnsupportedError
from leanboard.runners.techniques.base import Target, TechniqueDefaults
from leanboard.runners.techniques.facts import generation_options


@dataclass(frozen=True, slots=True)
class StaticCache(TechniqueDefaults):
    """Allocate keys and values once for the whole request, and write into them.

    The dynamic cache grows by copying itself at every token; the static one does not, but
    attention reads all of its slots, empty ones too. Fixed shapes are what lets a forward be
    compiled.

    Source: transformers' ``StaticCache``, https://huggingface.co/docs/transformers/kv_cache.

    Library: transformers' ``StaticCache``, which ``generate`` makes.

    Limits: Only answers that are generated go through it: texts are scored without it. It cannot be
    cut back, so that nothing which drafts tokens and drops some goes with it.

    Args:
        compile: let transformers compile the forward, which it does for this cache on a GPU.
        max_cache_len: slots to allocate at least; ``None`` allocates what the request needs.
    """

    version: ClassVar[int] = 1
    conflicts: ClassVar[frozenset[str]] = frozenset({"prompt-lookup", "sirius"})
    lossless: ClassVar[bool] = True

    compile: bool = False
    max_cache_len: int | None = None

    def __post_init__(self) -> None:
        """Check the knobs."""
        if self.max_cache_len is not None and self.max_cache_len < 1:
            raise ConfigError(f"max_cache_len={self.max_cache_len} must be null, or 1 or more.")

    def apply(self, target: Target) -> AbstractContextManager[None]:
        """Let every generation use a static cache."""
        if "prompt_lookup_num_tokens" in target.generation:
            raise UnsupportedError(
                "transformers says: assisted generate is not supported with Static cache classes."
            )
        options = {} if self.max_cache_len is None else {"max_cache_len": self.max_cache_len}
        return generation_options(
            target,
            cache_implementation="static",
            disable_compile=not self.compile,
            **options,
        )
