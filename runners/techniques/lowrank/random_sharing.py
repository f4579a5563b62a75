"""Linear layers whose weights are shared at random."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from leanboard.results.errors import ConfigError, UnsupportedError
from leanboard.runners.techniques.base import FACTORS, Target, TechniqueDefaults
from leanboard.runners.techniques.facts import counted, noted
from leanboard.runners.techniques.lowrank.budget import (
    bias_of,
    check_kept,
    float_weight,
    matrix_bytes,
)
from leanboard.runners.techniques.replacing import body_linears, replaced

if TYPE_CHECKING:
    import torch

_POOLS = ("fitted", "random")


@dataclass(frozen=True, slots=True)
class RandomSharing(TechniqueDefaults):
    """Take the weights of every linear layer from a pool of its own, by chunks and with signs.

    Which weights share a number is decided by a hash, not by what they are: the layer stays as
    wide as it was, and so does what it computes; only fewer numbers are stored. In training this
    competes with pruning. A model that was trained without it loses its way, even though
    the pool is the best there is for these places (the mean of the weights, with their signs);
    ``technique=[random-sharing,heal]`` trains the pool. At ``kept: 1`` nothing is shared and the
    model is what it was, which the mapping of ROAST does not give and that of STABLE-RPS does.

    The matrix is put together anew in every forward, which costs time in decoding.

    Source: Desai and Shrivastava, In defense of parameter sharing for model-compression
    (STABLE-RPS), arXiv:2310.11611; Desai et al., ROAST, arXiv:2207.10702.

    Library: leanboard's own layer on torch.

    Limits: How long this layer takes is no measure of the method. No quantiser goes with it, before
    or after: what is stored is no linear layer any more.

    Args:
        kept: size of the pool as a share of the matrix, above 0 and at most 1.
        chunk: weights that are taken together, 1 or more; has to divide every matrix.
        pool: ``fitted`` to the weights, or ``random`` as a control: the same places, numbers drawn
            as wide as the weights spread. These are drawn with the seed alone: layers whose pools
            are of one size get the same numbers, each in its own width, places and signs.
        seed: draws places and signs, of each layer its own, and a random pool.
    """

    version: ClassVar[int] = 1
    exclusive: ClassVar[str | None] = FACTORS
    expanded_by: ClassVar[str] = "leanboard"

    kept: float = 0.8
    chunk: int = 64
    pool: str = "fitted"
    seed: int = 0

    def __post_init__(self) -> None:
        """Check the knobs."""
        check_kept(self.kept)
        if self.chunk < 1:
            raise ConfigError(f"chunk={self.chunk} must be 1 or more.")
        if self.pool not in _POOLS:
            raise ConfigError(f"pool={self.pool!r} is unknown; choose {', '.join(_POOLS)}.")

    @contextmanager
    def apply(self, target: Target) -> Iterator[None]:
        """Put pools in the place of the matrices; read those from the checkpoint on exit."""
        names = body_linears(target.model)
        bytes_before = 0
        for name in names:
            weight = float_weight(name, target.model.get_submodule(name))
            bytes_before += weight.nbytes
            if weight.numel() % self.chunk:
                raise UnsupportedError(
                    f"The {weight.numel()} weights of {name} cannot be cut into chunks of "
                    f"{self.chunk}; choose a chunk that divides them."
                )
        with replaced(target, names, self._shared):
            stored = sum(matrix_bytes(target.model.get_submodule(name)) for name in names)
            with noted(target, {"kept_share": counted(stored / bytes_before)}):
                yield

    def _shared(self, name: str, module: torch.nn.Module) -> torch.nn.Module:
        from leanboard.runners.techniques.lowrank.shared_linear import SharedLinear

        weight = float_weight(name, module)
        rows, columns = weight.shape
        slots = int(self.kept * rows * columns / self.chunk)
        if slots < 1:
            raise UnsupportedError(
                f"{self.kept} of the weights of {name} are less than one chunk of {self.chunk}."
            )
        salt = f"{self.seed}:{name}"
        shared = SharedLinear((rows, columns), self.chunk, slots, salt, bias_of(module))
        shared = shared.to(weight.device)
        if self.pool == "fitted":
            shared.fit(weight)
        else:
            shared.draw(weight, self.seed)
        return shared.eval()
