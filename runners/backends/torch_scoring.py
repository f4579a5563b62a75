"""Log-likelihoods of continuations, through the same modules that generate."""

from __future__ import annotations

import inspect
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from leanboard.results.errors import ArmError
from leanboard.runners.backends.base import Span, SpanScore

if TYPE_CHECKING:
    import torch

TOKENS_A_BATCH = 2048
LOGITS_A_BATCH = 2**26


def score_spans(
    model: torch.nn.Module, spans: Sequence[Span], *, max_length: int, vocabulary: int
) -> list[SpanScore]:
    """Return the score of each span, in the order of the spans.

    Whole sequences run in batches of similar length, without a key-value cache (a technique that
    replaces the cache changes nothing here), padded on the right, where a causal model does not
    look. Logits are computed at the positions of the continuations only; log-softmax is float32.
    The same reading as lm-evaluation-harness's ``HFLM``.

    Raises:
        ArmError: if a span is longer than the context window: nothing is cut off silently.
    """
    for span in spans:
        _check(span, max_length)
    scores: dict[int, SpanScore] = {}
    for batch in _batches(spans, vocabulary):
        scores.update(zip(batch, _score(model, [spans[i] for i in batch]), strict=True))
    return [scores[i] for i in range(len(spans))]


def _check(span: Span, max_length: int) -> None:
    if not span.context or not span.continuation:
        raise ArmError("A span to score needs at least one context and one continuation token.")
    tokens = _fed(span)
    if tokens > max_length:
        raise ArmError(
            f"A span of {tokens} tokens does not fit the model's window of {max_length}. "
            "Score shorter texts, or give a smaller window."
        )


def _fed(span: Span) -> int:
    """Return how many tokens are fed: the last one is only predicted."""
    return len(span.context) + len(span.continuation) - 1


def _batches(spans: Sequence[Span], vocabulary: int) -> Iterator[list[int]]:
    """Group the spans, longest first, under a budget of tokens and of logits."""
    order = sorted(range(len(spans)), key=lambda i: (-_fed(spans[i]), i))
    batch: list[int] = []
    longest = first_kept = 0
    for i in order:
        start = len(spans[i].context) - 1
        if batch:
            rows, kept = len(batch) + 1, longest - min(first_kept, start)
            if rows * longest > TOKENS_A_BATCH or rows * kept * vocabulary > LOGITS_A_BATCH:
                yield batch
                batch = []
        if not batch:
            longest, first_kept = _fed(spans[i]), start
        batch.append(i)
        first_kept = min(first_kept, start)
    if batch:
        yield batch


def _score(model: torch.nn.Module, spans: Sequence[Span]) -> list[SpanScore]:
    import torch

    width = max(_fed(span) for span in spans)
    kept = sorted({p for span in spans for p in range(len(span.context) - 1, _fed(span))})
    rows = [(*span.context, *span.continuation)[:-1] for span in spans]
    padded = [row + (0,) * (width - len(row)) for row in rows]
    device = next(model.parameters()).device
    with torch.no_grad():
        logits = _logits(model, torch.tensor(padded, device=device), kept)
        return [
            _read(logits[row], bisect_left(kept, len(span.context) - 1), span.continuation)
            for row, span in enumerate(spans)
        ]


def _logits(model: torch.nn.Module, ids: torch.Tensor, kept: list[int]) -> torch.Tensor:
    """Return logits (batch, kept, vocabulary) at the kept positions."""
    import torch

    positions = torch.tensor(kept, device=ids.device)
    if "logits_to_keep" in inspect.signature(model.forward).parameters:
        return model(input_ids=ids, use_cache=False, logits_to_keep=positions).logits
    return model(input_ids=ids, use_cache=False).logits[:, positions]


def _read(logits: torch.Tensor, start: int, continuation: tuple[int, ...]) -> SpanScore:
    import torch

    log_probabilities = logits[start : start + len(continuation)].float().log_softmax(dim=-1)
    targets = torch.tensor(continuation, device=logits.device)
    total = log_probabilities.gather(1, targets[:, None]).double().sum()
    greedy = bool((log_probabilities.argmax(dim=-1) == targets).all())
    return SpanScore(loglikelihood=float(total), is_greedy=greedy)
