"""Linear layers as two thin factors, by singular values."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from leanboard.runners.techniques.base import FACTORS, Target, TechniqueDefaults
from leanboard.runners.techniques.lowrank.budget import check_kept

if TYPE_CHECKING:
    from leanboard.runners.techniques.lowrank.factors import Factors


@dataclass(frozen=True, slots=True)
class Svd(TechniqueDefaults):
    """Keep the largest singular values of every linear layer, as two factors.

    The nearest matrix of its rank in the Frobenius norm: it looks at the weights alone, not at
    what flows through them. All layers keep the same share of their bytes. The decomposition is
    made once for all shares. The embedding and a tied output projection stay as they are.

    Source: Eckart and Young, The approximation of one matrix by another of lower rank, 1936;
    Denton et al., Exploiting Linear Structure Within Convolutional Networks, arXiv:1404.0736.

    Library: leanboard's own code on torch (``torch.linalg.svd``).

    Limits: Even ``kept: 1`` is not the model: in the bytes of a square matrix two factors have half
    of its rank. A quantiser after it rounds the factors, whose rows are as long as the ranks: where
    its group does not divide them, ``group=null``.

    Args:
        kept: share of the bytes of each matrix that its factors take, above 0 and at most 1.
    """

    version: ClassVar[int] = 1
    exclusive: ClassVar[str | None] = FACTORS
    applied_knobs: ClassVar[frozenset[str]] = frozenset({"kept"})

    kept: float = 0.8

    def __post_init__(self) -> None:
        """Check the knob."""
        check_kept(self.kept)

    def make(self, target: Target, folder: Path) -> Iterator[str]:
        """Decompose every layer; keep the factors of all ranks."""
        from leanboard.runners.techniques.lowrank import factors
        from leanboard.runners.techniques.short_training import progress

        weights = factors.body_weights(target.model)
        found: dict[str, Factors] = {}
        for number, (name, weight) in enumerate(weights, start=1):
            found[name] = factors.svd_factors(weight)
            yield from progress(number, len(weights), "layers decomposed")
        factors.write_factors(folder, found, weights[0][1].dtype)

    def apply(self, target: Target) -> AbstractContextManager[None]:
        """Put the factors in the place of the layers."""
        from leanboard.runners.techniques.lowrank.factors import factorised, made_file

        return factorised(target, made_file(target), self.kept)
