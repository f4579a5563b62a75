"""Throughput: tokens a second of prefill, of decode, and of a round as a whole."""

from __future__ import annotations

from leanboard.metrics.batches import (
    NOT_REQUESTS,
    NOTHING_TIMED,
    Batch,
    batches,
    launches_of,
    ratio_per_batch,
)
from leanboard.metrics.metric import Direction, Kind, Metric, Missing, Role, Samples, Summary
from leanboard.metrics.trace import Observation, Provenance, RequestObservation

_REQUESTS = frozenset({Kind.REQUESTS})


def _prefill_parts(batch: Batch) -> tuple[float, float] | Missing:
    encoded = [r.encoded_s for r in batch if r.encoded_s is not None]
    if len(encoded) < len(batch):
        return Missing("the engine does not tell when tokenisation ended")
    if not all(r.token_s for r in batch):
        return Missing("a request produced no token")
    span_s = max(r.token_s[0] for r in batch) - max(encoded)
    if span_s <= 0:
        return Missing("prefill took no measurable time")
    return float(sum(r.prompt_tokens for r in batch)), span_s


def _decode_parts(batch: Batch) -> tuple[float, float] | Missing:
    decoding = [r.token_s for r in batch if len(r.token_s) >= 2]
    if not decoding:
        return Missing("decode needs at least 2 output tokens")
    span_s = max(times[-1] for times in decoding) - min(times[0] for times in decoding)
    if span_s <= 0:
        return Missing("all output tokens arrived at once")
    return float(sum(len(times) - 1 for times in decoding)), span_s


prefill = ratio_per_batch(_prefill_parts, Provenance.MEASURED, "prefill took no time")
decode = ratio_per_batch(_decode_parts, Provenance.MEASURED, "decode took no time")


def output(observation: Observation) -> Samples | Missing:
    """Return, for each round, the output tokens and the wall time from first send to last token."""
    if not isinstance(observation, RequestObservation):
        return NOT_REQUESTS
    rounds: dict[int, list[Batch]] = {}
    for batch in batches(observation):
        if all(r.token_s for r in batch):
            rounds.setdefault(batch[0].round, []).append(batch)
    if not rounds:
        return NOTHING_TIMED
    tokens: list[float] = []
    spans_s: list[float] = []
    for members in rounds.values():
        requests = [request for batch in members for request in batch]
        tokens.append(float(sum(r.output_tokens for r in requests)))
        spans_s.append(max(r.token_s[-1] for r in requests) - min(r.sent_s for r in requests))
    return Samples(
        tuple(tokens),
        Provenance.MEASURED,
        weights=tuple(spans_s),
        groups=launches_of([members[0] for members in rounds.values()]),
    )


METRICS: tuple[Metric, ...] = (
    Metric(
        name="prefill_tokens_per_s",
        unit="tok/s",
        direction=Direction.HIGHER,
        role=Role.THROUGHPUT,
        label="Prefill throughput",
        doc=(
            "Sum of the prompt tokens / sum of the prefill times. The prefill of a static batch "
            "runs from its last prompt being tokenised to the last of its first tokens, so that "
            "tokenisation is left out. n counts batches."
        ),
        source="llama-bench (pp)",
        kinds=_REQUESTS,
        summary=Summary.RATIO_OF_SUMS,
        reduce=prefill,
        paired=True,
    ),
    Metric(
        name="decode_tokens_per_s",
        unit="tok/s",
        direction=Direction.HIGHER,
        role=Role.THROUGHPUT,
        label="Decode throughput",
        doc=(
            "Output tokens after each request's first / decode time, both summed over batches: "
            "batch x (n - 1) / (tn - t1) for a static batch of equal lengths. n counts batches."
        ),
        source="llama-bench (tg)",
        kinds=_REQUESTS,
        summary=Summary.RATIO_OF_SUMS,
        reduce=decode,
        headline=True,
        paired=True,
    ),
    Metric(
        name="output_tokens_per_s",
        unit="tok/s",
        direction=Direction.HIGHER,
        role=Role.THROUGHPUT,
        label="Output throughput",
        doc=(
            "All output tokens / wall time, prefill and tokenisation included. The window is a "
            "round: from its first request sent to its last token. n counts rounds."
        ),
        source="vLLM benchmark_serving; GuideLLM",
        kinds=_REQUESTS,
        summary=Summary.RATIO_OF_SUMS,
        reduce=output,
    ),
)
