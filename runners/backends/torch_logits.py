"""Logits at chosen positions only, and what is read off them."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray

_ROWS_AT_ONCE = 64
"""Positions whose log-probabilities are in memory at once, in float32."""


@dataclass(frozen=True, slots=True)
class Positions:
    """Positions of a batch: for each a row, and a column of that row."""

    rows: tuple[int, ...]
    columns: tuple[int, ...]


def logits_at(
    model: torch.nn.Module, ids: torch.Tensor, at: Positions, **inputs: Any
) -> torch.Tensor:
    """Run a forward and return the logits at some positions: (positions, vocabulary).

    The output head sees these positions only. What the model does to its logits afterwards
    (scaling, soft capping) is its own code.
    """
    with _only(model, at) as chosen:
        logits: torch.Tensor = model(input_ids=ids, **inputs).logits
    return logits[0] if chosen else logits[list(at.rows), list(at.columns)]


@contextmanager
def _only(model: torch.nn.Module, at: Positions) -> Iterator[list[bool]]:
    """Hand the output head these positions only; the list is not empty once that was done."""
    done: list[bool] = []
    find = getattr(model, "get_output_embeddings", None)
    head = find() if find is not None else None
    if head is None:
        yield done
        return

    def choose(_: torch.nn.Module, given: tuple[Any, ...]) -> tuple[Any, ...]:
        done.append(True)
        return (given[0][list(at.rows), list(at.columns)][None], *given[1:])

    hook = head.register_forward_pre_hook(choose)
    try:
        yield done
    finally:
        hook.remove()


@dataclass(frozen=True, slots=True)
class TokenScore:
    """Log-probability (nats) of a token, and whether it was the likeliest."""

    nats: float
    is_greedy: bool


def read_tokens(
    logits: torch.Tensor, wanted: Sequence[tuple[int, int]]
) -> dict[tuple[int, int], TokenScore]:
    """Return the score of each wanted (position, token); log-softmax in float32.

    Args:
        logits: (positions, vocabulary).
        wanted: pairs; a position may be asked for several tokens.
    """
    import torch

    ordered = sorted(set(wanted))
    nats: list[float] = []
    greedy: list[bool] = []
    for start in range(0, logits.shape[0], _ROWS_AT_ONCE):
        stop = start + _ROWS_AT_ONCE
        asked = ordered[bisect_left(ordered, (start,)) : bisect_left(ordered, (stop,))]
        part = logits[start:stop].float()
        at = torch.tensor([position - start for position, _ in asked], device=logits.device)
        tokens = torch.tensor([token for _, token in asked], device=logits.device)
        nats += part.log_softmax(dim=-1)[at, tokens].tolist()
        greedy += _are_greedy(part, at, tokens)
    scores = map(TokenScore, nats, greedy)
    return dict(zip(ordered, scores, strict=True))


def _are_greedy(part: torch.Tensor, at: torch.Tensor, tokens: torch.Tensor) -> list[bool]:
    """Return whether each token is the argmax; the first of equal logits is."""
    largest = part[at, tokens] >= part.amax(dim=-1)[at]
    # argmax is slow: only where it can be true.
    largest[largest.clone()] = part[at[largest]].argmax(dim=-1) == tokens[largest]
    found: list[bool] = largest.tolist()
    return found


def log_softmax_rows(logits: torch.Tensor) -> NDArray[np.float32]:
    """Return the log-probabilities (nats) of all tokens: (positions, vocabulary), float32.

    Not by ``log_softmax``, which on a CPU adds up the probabilities of a row one after the other:
    of a vocabulary of 262,144 they sum to 1 within 1e-4 only. ``logsumexp`` adds them by pairs.
    """
    import numpy as np

    table = np.empty(tuple(logits.shape), dtype=np.float32)
    for start in range(0, logits.shape[0], _ROWS_AT_ONCE):
        part = logits[start : start + _ROWS_AT_ONCE].float()
        nats = part - part.logsumexp(dim=-1, keepdim=True)
        table[start : start + _ROWS_AT_ONCE] = nats.cpu().numpy()
    return table
