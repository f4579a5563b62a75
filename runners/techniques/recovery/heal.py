"""A short fine-tune of what the techniques before it left of the weights."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from leanboard.results.errors import ArmError, ConfigError, UnsupportedError
from leanboard.runners.techniques.base import Target, TechniqueDefaults
from leanboard.runners.techniques.facts import counted, noted
from leanboard.runners.techniques.recovery.masters import Masters
from leanboard.runners.techniques.replacing import may_change
from leanboard.runners.techniques.short_training import backward

if TYPE_CHECKING:
    import torch

_WEIGHTS = "weights.safetensors"
_WARMUP_SHARE = 0.1
_SAY_EVERY = 10


@dataclass(frozen=True, slots=True)
class Heal(TechniqueDefaults):
    """Fine-tune a compressed model on calibration text: next-token loss, AdamW, cosine schedule.

    It trains what the techniques before it left as floats that take gradients, the embedding and
    the output head apart, and stores the trained tensors; name it after pruning and before a
    quantiser. A weight of a matrix that is exactly zero stays zero, so that masks survive. No
    piece of text is seen twice. Part of what it gains is that the model gets used to the kind of
    text, which the same fine-tune of the whole model (``technique=heal`` alone) shows.

    Source: Ma et al., LLM-Pruner, arXiv:2305.11627, and Gromov et al., arXiv:2403.17887, who heal
    with low-rank adapters; here the weights themselves are trained. AdamW: Loshchilov and Hutter,
    arXiv:1711.05101.

    Library: leanboard's own code on torch (``torch.optim.AdamW``).

    Limits: While it trains, float32 weights, their gradients and AdamW's two moments are in memory
    together. Of packed or rounded layers only norms and biases are left to train: that is refused.

    Args:
        steps: of the optimiser.
        batch: pieces of text a step.
        tokens: length of a piece.
        learning_rate: at its highest, after a tenth of the steps; it falls to zero as a cosine.
        seed: of the choice of the text.
    """

    version: ClassVar[int] = 1
    calibrated: ClassVar[bool] = True
    trained: ClassVar[bool] = True

    steps: int = 60
    batch: int = 4
    tokens: int = 128
    learning_rate: float = 2e-4
    seed: int = 0

    def __post_init__(self) -> None:
        """Check the knobs."""
        for name, least in (("steps", 1), ("batch", 1), ("tokens", 2)):
            if getattr(self, name) < least:
                raise ConfigError(f"{name}={getattr(self, name)} must be {least} or more.")
        if not 0 < self.learning_rate < 1:
            raise ConfigError(
                f"learning_rate={self.learning_rate} must be above 0 and below 1; 1e-5 to 1e-3 "
                "is usual."
            )

    def make(self, target: Target, folder: Path) -> Iterator[str]:
        """Train, and store what was trained."""
        from safetensors.torch import save_file

        ids = target.calibration(self.steps * self.batch, self.tokens, self.seed)
        trained = trainable(target.model)
        for step, loss in enumerate(self._losses(target.model, trained, ids), start=1):
            if step % _SAY_EVERY == 0 or step in (1, self.steps):
                yield f"step {step} of {self.steps}: loss {loss:.3f}"
        tensors = {name: weight.detach().cpu().contiguous() for name, weight in trained.items()}
        save_file(tensors, folder / _WEIGHTS)

    @contextmanager
    def apply(self, target: Target) -> Iterator[None]:
        """Put the trained weights in place; read those of the checkpoint again on exit."""
        import torch
        from safetensors import safe_open

        if target.made is None:
            raise ArmError("Nothing was trained before: run it by leanboard run.")
        modules: dict[str, None] = {}
        count = 0
        try:
            with safe_open(target.made / _WEIGHTS, framework="pt") as file, torch.no_grad():
                for name in file.keys():  # noqa: SIM118 -- it is no dict
                    modules[name.rpartition(".")[0]] = None
                    weight = target.model.get_parameter(name)
                    weight.copy_(file.get_tensor(name))
                    count += weight.numel()
            with noted(target, {"trained_parameters": counted(count)}):
                yield
        finally:
            target.restore(list(modules))

    def _losses(
        self, model: torch.nn.Module, trained: Mapping[str, torch.nn.Parameter], ids: torch.Tensor
    ) -> Iterator[float]:
        """Yield the loss of each step, before its update."""
        masters = Masters(list(trained.values()))
        device = next(iter(trained.values())).device
        with only_trained(model, trained):
            for step, part in enumerate(ids.to(device).split(self.batch)):
                loss = model(part, labels=part, use_cache=False).loss
                backward(loss, "Name heal before it.")
                masters.step(self._rate(step))
                yield float(loss.detach())

    def _rate(self, step: int) -> float:
        """Return the learning rate of a step, counted from 0."""
        warmup = max(1, round(self.steps * _WARMUP_SHARE))
        if step < warmup:
            return self.learning_rate * (step + 1) / warmup
        share = (step - warmup) / max(1, self.steps - warmup)
        return self.learning_rate * (1 + math.cos(math.pi * share)) / 2


def trainable(model: torch.nn.Module) -> dict[str, torch.nn.Parameter]:
    """Return the parameters that can be trained, embedding and output head apart.

    Those that :func:`may_change`: what a technique rounded stays as it is.

    Raises:
        UnsupportedError: if there is none but norms and biases, which alone are no fine-tune.
    """
    interfaces: Any = (model.get_input_embeddings(), model.get_output_embeddings())
    left_out = {id(weight) for part in interfaces for weight in part.parameters()}
    found = {
        name: weight
        for name, weight in model.named_parameters()
        if may_change(weight) and id(weight) not in left_out
    }
    if all(_is_vector(name, weight) for name, weight in found.items()):
        raise UnsupportedError(
            "No weight of this model is left as floats to train, norms and biases apart. Name heal "
            "before the technique that quantises: technique=[heal,b]."
        )
    return found


def _is_vector(name: str, weight: torch.nn.Parameter) -> bool:
    """Return whether a parameter is a norm's weight or a bias; a pool of weights is not."""
    return weight.dim() < 2 and name.rpartition(".")[2] in ("weight", "bias")


@contextmanager
def only_trained(
    model: torch.nn.Module, trained: Mapping[str, torch.nn.Parameter]
) -> Iterator[None]:
    """Let gradients be taken of these parameters alone; put the flags back on exit."""
    before = [(weight, weight.requires_grad) for weight in model.parameters()]
    wanted = {id(weight) for weight in trained.values()}
    try:
        for weight, _ in before:
            if weight.is_floating_point():
                weight.requires_grad_(id(weight) in wanted)
        yield
    finally:
        for weight, flag in before:
            weight.grad = None
            if weight.is_floating_point():
                weight.requires_grad_(flag)
