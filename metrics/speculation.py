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


METRICS: tuple[Metric, ...] = (
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
