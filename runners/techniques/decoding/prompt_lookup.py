"""Speculation with drafts that are looked up in the prompt."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import ClassVar

from leanboard.results.errors import ConfigError, UnsupportedError
from leanboard.runners.techniques.base import Target, TechniqueDefaults
from leanboard.runners.techniques.facts import generation_options


@dataclass(frozen=True, slots=True)
class PromptLookup(TechniqueDefaults):
    """Draft what followed the same last tokens earlier in the text; one forward checks it.

    Greedy output stays what it was; it pays where answers repeat their prompt. One request at a
    time only.

    Source: Saxena, Prompt Lookup Decoding, 2023, https://github.com/apoorvumang/prompt-lookup-decoding.

    Library: transformers' ``generate`` with ``prompt_lookup_num_tokens``.

    Limits: Texts are scored without it, as nothing is drafted there. The model's state must be one
    that can be cut back: transformers refuses recurrent ones.

    Args:
        num_tokens: tokens drafted at most, 1 or more.
        max_ngram_size: length of the longest run of last tokens that is looked up, 1 or more.
    """

    version: ClassVar[int] = 1
    conflicts: ClassVar[frozenset[str]] = frozenset({"contextual", "sirius", "static-cache"})
    lossless: ClassVar[bool] = True

    num_tokens: int = 5
    max_ngram_size: int = 2

    def __post_init__(self) -> None:
        """Check the knobs."""
        for knob in ("num_tokens", "max_ngram_size"):
            if getattr(self, knob) < 1:
                raise ConfigError(f"{knob}={getattr(self, knob)} must be 1 or more.")

    def apply(self, target: Target) -> AbstractContextManager[None]:
        """Let every generation speculate."""
        if target.generation.get("cache_implementation") == "static":
            raise UnsupportedError(
                "transformers says: assisted generate is not supported with Static cache classes."
            )
        return generation_options(
            target,
            prompt_lookup_num_tokens=self.num_tokens,
            max_matching_ngram_size=self.max_ngram_size,
        )
