"""Contextual sparsity that the dense model corrects every few tokens."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import ClassVar

from leanboard.results.errors import ConfigError, UnsupportedError
from leanboard.runners.techniques.base import Target, TechniqueDefaults
from leanboard.runners.techniques.facts import generation_options
from leanboard.runners.techniques.sparsity.feed_forward import check_density, sparse_feed_forward

_NO_LIKELIHOODS = (
    "Sirius corrects tokens that were generated; a likelihood would be the sparse model's alone: "
    "score generated answers (gsm8k), or technique=contextual for the sparse model"
)


@dataclass(frozen=True, slots=True)
class Sirius(TechniqueDefaults):
    """Decode with contextual sparsity, and let the dense model correct it every few tokens.

    The prompt is computed by the dense model. The sparse one (see contextual) then writes the
    tokens of a period; the dense one reads them in one forward, which overwrites their keys and
    values, and keeps them up to the first whose probability under its own prediction (at
    temperature 0.6, as in the authors' code) lies below the threshold. It adds its own next token,
    and the rest is rolled back. Tokens count as answered when they are kept, so that those of a
    period share one time. With a threshold of 1 the output is the dense model's.

    The acceptance rate is that of sparse tokens, and tokens per step is the source's average
    advance length; a forward of the sparse model is no step.

    Source: Zhou et al., Sirius: Contextual Sparsity with Correction for Efficient LLMs,
    arXiv:2409.03856.

    Library: leanboard's own decoding loop on torch, which transformers' ``generate`` calls.

    Limits: One request at a time. A period is one chain: the source's trees of several candidates
    are left out. Only generated answers can be scored: tasks of likelihoods, and perplexity, are
    unsupported. MFU and MBU are not given: how much is computed and read differs from forward to
    forward.

    Args:
        density: share of the neurons that a token keeps, above 0 and at most 1.
        period: tokens that the dense model reads at a time, 2 or more: one of its own, the others
            written by the sparse one.
        threshold: least probability of a sparse token that is kept, 0 to 1.
    """

    version: ClassVar[int] = 2
    conflicts: ClassVar[frozenset[str]] = frozenset({"contextual", "prompt-lookup", "static-cache"})

    density: float = 0.5
    period: int = 16
    threshold: float = 0.1

    def __post_init__(self) -> None:
        """Check the knobs."""
        check_density(self.density)
        if self.period < 2:
            raise ConfigError(f"period={self.period} must be 2 or more.")
        if not 0 <= self.threshold <= 1:
            raise ConfigError(f"threshold={self.threshold} must lie between 0 and 1.")

    @contextmanager
    def apply(self, target: Target) -> Iterator[None]:
        """Let every generation be sparse and corrected."""
        from leanboard.runners.techniques.sparsity.correction import CorrectedDecoding

        if "prompt_lookup_num_tokens" in target.generation:
            raise UnsupportedError("Sirius has its own way to generate; prompt lookup has another.")
        if target.generation.get("cache_implementation") == "static":
            raise UnsupportedError("Sirius rolls its cache back, which a static one cannot.")
        with sparse_feed_forward(target, self.density) as sparse, _likelihoods_refused(target):
            loop = CorrectedDecoding(sparse, self.period, self.threshold)
            with generation_options(target, custom_generate=loop):
                yield


@contextmanager
def _likelihoods_refused(target: Target) -> Iterator[None]:
    """Let a target refuse likelihoods, which the loop has no part in, until exit."""
    before = target.no_likelihoods
    target.no_likelihoods = _NO_LIKELIHOODS
    try:
        yield
    finally:
        target.no_likelihoods = before
