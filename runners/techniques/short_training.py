"""What a short training on text needs: a loss, a learning rate, parameters that stand still."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from leanboard.results.errors import UnsupportedError

if TYPE_CHECKING:
    import torch

_LEAST_RATE = 0.1
"""Share of the learning rate that is left at the end."""


def next_token_loss(model: torch.nn.Module, ids: torch.Tensor) -> torch.Tensor:
    """Return the mean negative log-likelihood (nats) of each token after the first.

    Args:
        model: a causal language model.
        ids: (samples, tokens).
    """
    from torch.nn import functional

    ids = ids.to(next(model.parameters()).device)
    logits = model(input_ids=ids, use_cache=False).logits[:, :-1]
    return functional.cross_entropy(logits.flatten(0, 1).float(), ids[:, 1:].flatten())


def backward(loss: torch.Tensor, advice: str) -> None:
    """Take the gradients.

    Args:
        loss: of the model.
        advice: what to do where they cannot be taken.

    Raises:
        UnsupportedError: if a layer that an earlier technique put in has none.
    """
    from leanboard.runners.backends.torch_loading import is_out_of_memory

    try:
        loss.backward()
    except (RuntimeError, NotImplementedError) as error:
        if is_out_of_memory(error):
            raise
        said = str(error).strip().split("\n")[0]
        raise UnsupportedError(
            f"A layer of an earlier technique cannot be trained through: {said} {advice}"
        ) from error


@contextmanager
def frozen(model: torch.nn.Module, but: Sequence[torch.nn.Module] = ()) -> Iterator[None]:
    """Let no parameter ask for a gradient but those of some modules; put that back on exit."""
    before = {parameter: parameter.requires_grad for parameter in model.parameters()}
    try:
        model.requires_grad_(requires_grad=False)
        for module in but:
            module.requires_grad_(requires_grad=True)
        yield
    finally:
        for parameter, wanted in before.items():
            parameter.requires_grad_(wanted)


def warm_cosine(step: int, steps: int) -> float:
    """Return the share of the learning rate at a step: a short rise, then half a cosine."""
    rise = max(1, steps // 10)
    if step < rise:
        return (step + 1) / rise
    gone = (step - rise) / max(1, steps - rise)
    return _LEAST_RATE + (1 - _LEAST_RATE) * (1 + math.cos(math.pi * gone)) / 2


def progress(number: int, of: int, what: str) -> Iterator[str]:
    """Yield a line at every tenth of the way."""
    if number * 10 // of > (number - 1) * 10 // of:
        yield f"{what}: {number} of {of}"
