"""Linear layers as two trained factors: one training gives every rank."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from leanboard.results.errors import ConfigError
from leanboard.runners.techniques.base import FACTORS, Target, TechniqueDefaults
from leanboard.runners.techniques.lowrank.budget import bias_of, check_kept, check_text, rank_for

if TYPE_CHECKING:
    import torch

    from leanboard.runners.techniques.lowrank.factors import Factors


@dataclass(frozen=True, slots=True)
class Maestro(TechniqueDefaults):
    """Train the factors of all layers on text, at every step cut to another rank (ordered dropout).

    The first rows of the factors must then serve every rank that is at least theirs, as singular
    vectors do: on a linear map the training finds the singular value decomposition. One training
    gives the model at every share of its bytes between ``least`` and ``most``; which one is chosen
    when it is applied.

    Three things differ from the paper, for minutes on two cores: the factors start from those of a
    decomposition rather than from chance, a step cuts all layers to the same share of their bytes
    rather than one layer, and no ranks are dropped for good by a group lasso.

    Source: Horváth et al., Maestro: Uncovering Low-Rank Structures via Trainable Decomposition,
    arXiv:2308.14929.

    Library: leanboard's own code on torch.

    Limits: While it trains, the model, float32 factors of every layer, their gradients and Adam's
    two moments are in memory together. A quantiser after it rounds the factors, whose rows are as
    long as the ranks: where its group does not divide them, ``group=null``.

    Args:
        kept: share of the bytes of each matrix that its factors take, from ``least`` to ``most``.
        least: smallest share that is trained, above 0.
        most: largest share that is trained, at most 1.
        whitened: start from the decomposition that keeps most of the layers' output on the
            calibration text; else from the plain one.
        steps: of training, 1 or more.
        batch: pieces of text a step, 1 or more.
        learning_rate: of Adam, at its highest; above 0.
        samples: pieces of calibration text, which are also what is trained on in turn.
        tokens: tokens of each piece, 2 or more.
        seed: draws the pieces and the shares.
    """

    version: ClassVar[int] = 1
    calibrated: ClassVar[bool] = True
    trained: ClassVar[bool] = True
    exclusive: ClassVar[str | None] = FACTORS
    applied_knobs: ClassVar[frozenset[str]] = frozenset({"kept"})

    kept: float = 0.8
    least: float = 0.4
    most: float = 0.9
    whitened: bool = True
    steps: int = 40
    batch: int = 2
    learning_rate: float = 0.00015
    samples: int = 64
    tokens: int = 256
    seed: int = 0

    def __post_init__(self) -> None:
        """Check the knobs."""
        check_kept(self.most)
        if not 0 < self.least <= self.most:
            raise ConfigError(
                f"least={self.least} must be above 0 and at most most={self.most}: the shares of "
                "bytes that are trained."
            )
        if not self.least <= self.kept <= self.most:
            raise ConfigError(
                f"kept={self.kept} must be a share that is trained: from least={self.least} to "
                f"most={self.most}."
            )
        check_text(self.samples, self.tokens)
        if self.steps < 1 or self.batch < 1 or not self.learning_rate > 0:
            raise ConfigError(
                f"steps={self.steps} and batch={self.batch} must be 1 or more, and "
                f"learning_rate={self.learning_rate} above 0."
            )

    def make(self, target: Target, folder: Path) -> Iterator[str]:
        """Decompose every layer, train the factors, and keep them at the largest rank trained."""
        from leanboard.runners.techniques.lowrank import factors

        ids = target.calibration(self.samples, self.tokens, self.seed)
        found: dict[str, Factors] = {}
        if self.whitened:
            yield from factors.calibrated_factors(target.model, ids, found)
        else:
            for name, weight in factors.body_weights(target.model):
                found[name] = factors.svd_factors(weight)
        yield from self._train(target.model, ids, found)
        factors.write_factors(folder, found, next(target.model.parameters()).dtype)

    def _train(
        self, model: torch.nn.Module, ids: torch.Tensor, found: dict[str, Factors]
    ) -> Iterator[str]:
        """Train the factors, which the table holds before and after; the model stays as it was."""
        import torch

        from leanboard.runners.techniques.lowrank.ordered_dropout import OrderedLinear, train
        from leanboard.runners.techniques.short_training import frozen, next_token_loss

        old = {name: model.get_submodule(name) for name in found}
        layers = {}
        for name, (down, up) in found.items():
            rank = rank_for(up.shape[1], down.shape[1], self.most)
            layers[name] = OrderedLinear((down[:rank], up[:rank]), bias_of(old[name]))
        drawn = torch.rand(self.steps, generator=torch.Generator().manual_seed(self.seed))
        shares = (self.least + (self.most - self.least) * drawn).tolist()

        def loss_of(step: int) -> torch.Tensor:
            rows = [(step * self.batch + row) % len(ids) for row in range(self.batch)]
            return next_token_loss(model, ids[rows])

        try:
            for name, layer in layers.items():
                model.set_submodule(name, layer)
            with frozen(model, but=list(layers.values())):
                yield from train(
                    list(layers.values()), shares, loss_of, self.learning_rate, self.steps
                )
        finally:
            for name, module in old.items():
                model.set_submodule(name, module)
        for name, layer in layers.items():
            found[name] = layer.down.detach(), layer.up.detach()

    def apply(self, target: Target) -> AbstractContextManager[None]:
        """Put the factors at the wanted share in the place of the layers."""
        from leanboard.runners.techniques.lowrank.factors import factorised, made_file

        return factorised(target, made_file(target), self.kept)
