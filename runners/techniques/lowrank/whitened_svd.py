"""Linear layers as two thin factors that keep most of the layer's output on real text."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from leanboard.runners.techniques.base import FACTORS, Target, TechniqueDefaults
from leanboard.runners.techniques.lowrank.budget import check_kept, check_text

if TYPE_CHECKING:
    from leanboard.runners.techniques.lowrank.factors import Factors


@dataclass(frozen=True, slots=True)
class WhitenedSvd(TechniqueDefaults):
    """Factorise every linear layer so that its output on calibration text changes least.

    The inputs are whitened by the Cholesky factor of their Gram matrix before the singular value
    decomposition: then the value that is left out is the error that the output gets. This is the
    best that any factors of this rank can do for one layer given its float inputs; the layers are
    not adapted to the errors of those before them. The decomposition is made once for all shares.

    Source: Wang et al., SVD-LLM: Truncation-aware Singular Value Decomposition for Large Language
    Model Compression, arXiv:2403.07378 (its whitening; not its update of the layers in sequence).

    Library: leanboard's own code on torch (``torch.linalg.cholesky``, ``torch.linalg.svd``).

    Limits: The Gram matrices of all layers' inputs are in memory at once while it is made. Even
    ``kept: 1`` is not the model: in the bytes of a square matrix two factors have half of its rank.
    A quantiser after it rounds the factors, whose rows are as long as the ranks: where its group
    does not divide them, ``group=null``.

    Args:
        kept: share of the bytes of each matrix that its factors take, above 0 and at most 1.
        samples: pieces of calibration text, 1 or more.
        tokens: tokens of each piece, 2 or more.
        seed: draws the pieces.
    """

    version: ClassVar[int] = 1
    calibrated: ClassVar[bool] = True
    exclusive: ClassVar[str | None] = FACTORS
    applied_knobs: ClassVar[frozenset[str]] = frozenset({"kept"})

    kept: float = 0.8
    samples: int = 32
    tokens: int = 512
    seed: int = 0

    def __post_init__(self) -> None:
        """Check the knobs."""
        check_kept(self.kept)
        check_text(self.samples, self.tokens)

    def make(self, target: Target, folder: Path) -> Iterator[str]:
        """Gather the Gram matrices and decompose every layer; keep the factors of all ranks."""
        from leanboard.runners.techniques.lowrank import factors

        ids = target.calibration(self.samples, self.tokens, self.seed)
        found: dict[str, Factors] = {}
        yield from factors.calibrated_factors(target.model, ids, found)
        dtype = next(target.model.parameters()).dtype
        factors.write_factors(folder, found, dtype)

    def apply(self, target: Target) -> AbstractContextManager[None]:
        """Put the factors in the place of the layers."""
        from leanboard.runners.techniques.lowrank.factors import factorised, made_file

        return factorised(target, made_file(target), self.kept)
