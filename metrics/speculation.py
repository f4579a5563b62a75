"""Speculative decoding: how much of a draft is kept, and how far a forward pass gets."""

from __future__ import annotations

from leanboard.metrics.batches import Batch, ratio_per_batch
from leanboard.metrics.metric import Direction, Kind, Metric, Missing, Role, Summary
from leanboard.metrics.trace import Provenance

_REQUESTS = frozenset({Kind.REQUESTS})


def _acceptance_parts(batch: Batch) -> tuple[float, float] | Missing:
    if any(r.drafted is None or r.accepted is None for r in batch):
        return Missing("the arm does not speculate, or its engine does not count drafts")
    drafted = sum(r.drafted for r in batch if r.drafted is not None)
    accepted = sum(r.accepted for r in batch if r.accepted is not None)
    return float(accepted), float(drafted)


def _step_parts(batch: Batch) -> tuple[float, float] | Missing:
    if any(r.target_forwards is None for r in batch):
        return Missing("the engine does not count forward passes of the target model")
    forwards = sum(r.target_forwards for r in batch if r.target_forwards is not None)
    return float(sum(r.output_tokens for r in batch)), float(forwards)


_GRAM_TOKENS = 4


def _repetition_parts(batch: Batch) -> tuple[float, float] | Missing:
    """Return repeated and all runs of four output tokens, summed over the batch's requests."""
    repeated = total = 0
    for request in batch:
        ids = request.output_ids
        grams = [ids[i : i + _GRAM_TOKENS] for i in range(len(ids) - _GRAM_TOKENS + 1)]
        total += len(grams)
        repeated += len(grams) - len(set(grams))
    return float(repeated), float(total)


METRICS: tuple[Metric, ...] = (
    Metric(
        name="output_repetition_share",
        unit="1",
        direction=Direction.NEUTRAL,
        role=Role.SPECULATION,
        label="Repetition",
        doc=(
            "Share of the output's runs of four tokens that occurred before in the same output. "
            "Loops are easy to draft: a high share flatters speculation."
        ),
        source="leanboard; sequence repetition (seq-rep-4) of Welleck et al., arXiv 1908.04319",
        kinds=_REQUESTS,
        summary=Summary.RATIO_OF_SUMS,
        reduce=ratio_per_batch(
            _repetition_parts, Provenance.COUNTED, "no output was four tokens long"
        ),
    ),
    Metric(
        name="acceptance_rate",
        unit="1",
        direction=Direction.HIGHER,
        role=Role.SPECULATION,
        label="Acceptance rate",
        doc="Accepted / drafted tokens, both summed over requests.",
        source="SpecBench",
        kinds=_REQUESTS,
        summary=Summary.RATIO_OF_SUMS,
        reduce=ratio_per_batch(_acceptance_parts, Provenance.COUNTED, "nothing was drafted"),
    ),
    Metric(
        name="tokens_per_step",
        unit="1",
        direction=Direction.HIGHER,
        role=Role.SPECULATION,
        label="Tokens per step",
        doc=(
            "Output tokens / forward passes of the target model, both summed over requests, the "
            "prefill and its token included: exactly 1 without speculation. A forward pass of a "
            "static batch counts once for each of its requests."
        ),
        source="Medusa; SpecBench",
        kinds=_REQUESTS,
        summary=Summary.RATIO_OF_SUMS,
        reduce=ratio_per_batch(_step_parts, Provenance.COUNTED, "no forward pass was counted"),
    ),
)
