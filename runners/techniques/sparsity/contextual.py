"""Contextual sparsity of feed-forward layers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import ClassVar

from leanboard.results.errors import ConfigError
from leanboard.runners.techniques.base import Target, TechniqueDefaults
from leanboard.runners.techniques.sparsity.feed_forward import check_density, sparse_feed_forward
from leanboard.runners.techniques.sparsity.serving import scored_as_served

PREFILLS = ("dense", "sparse")
_NOTE = (
    "a prompt is computed by the dense model and so predicts the first token of an answer; the "
    "tokens after it are predicted by the sparse one"
)


@dataclass(frozen=True, slots=True)
class ContextualSparsity(TechniqueDefaults):
    """Compute, of each token, the feed-forward neurons whose gate activation is the largest.

    The gate is computed whole; of the up and down projections a token that is decoded alone reads
    only the rows of its neurons (the down projection is stored transposed for it), so that at
    density d a share (1 + 2d) / 3 of the feed-forward weights is read. The
    choice is exact (top k, as the source's fine-grained sparsity), no predictor guesses it.

    Prompts, those of one token too, are computed by the dense model, as in the source, or as
    sparsely as the rest. A dense prompt makes scoring slow: answers are fed token by token, as they
    are served, and only what follows the first token of an answer is predicted by the sparse model.
    Name it after what prunes.

    Source: Zhou et al., Sirius: Contextual Sparsity with Correction for Efficient LLMs,
    arXiv:2409.03856; Lee et al., CATS, arXiv:2404.08763.

    Library: leanboard's own forward of the layers, on torch.

    Limits: All weights stay in memory. Single rows of plain floats are read, so that it goes with
    nothing that packs or factorises the layers, before it or after. Of tokens that are decoded
    together in a batch, each has its own neurons: these are masked, and no time is saved. MFU and
    MBU are not given: how much is computed and read differs from forward to forward.

    Args:
        density: share of the neurons that a token keeps, above 0 and at most 1.
        prefill: ``dense`` or ``sparse``: how prompts, and forwards of several tokens, are computed.
    """

    version: ClassVar[int] = 2
    conflicts: ClassVar[frozenset[str]] = frozenset({"prompt-lookup", "sirius"})

    density: float = 0.5
    prefill: str = "dense"

    def __post_init__(self) -> None:
        """Check the knobs."""
        check_density(self.density)
        if self.prefill not in PREFILLS:
            raise ConfigError(
                f"prefill={self.prefill!r} is unknown; choose {' or '.join(PREFILLS)}."
            )

    @contextmanager
    def apply(self, target: Target) -> Iterator[None]:
        """Give the gated layers a sparse forward; their own one back on exit."""
        everywhere = self.prefill == "sparse"
        with sparse_feed_forward(target, self.density, everywhere=everywhere):
            if everywhere:
                yield
                return
            with scored_as_served(target, _NOTE):
                yield
