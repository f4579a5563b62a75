"""Client overhead: the time that leanboard's own code adds to what it measures."""

from __future__ import annotations

from leanboard.metrics.batches import Batch, ratio_per_batch
from leanboard.metrics.metric import Direction, Kind, Metric, Missing, Role, Summary
from leanboard.metrics.trace import Provenance

_REQUESTS = frozenset({Kind.REQUESTS})
_WHOSE = (
    "Leanboard's own code: from the tokenised prompt to the last token, what passes outside of the "
    "engine's library (making its input, noting times and waiting for the device before, and with "
    "llama.cpp the argmax over the logits). As with TPOT, every request of a static batch waits "
    "for all of it. What it does to the library (its lock, its caches) cannot be seen from inside."
)


def _client_s(batch: Batch) -> float | Missing:
    """Return the seconds of leanboard's own code that the requests of a batch waited for."""
    known = [r.client_s for r in batch if r.client_s is not None]
    if len(known) < len(batch):
        return Missing("the engine cannot tell leanboard's own time from its library's")
    return sum(known)


def _per_token(batch: Batch) -> tuple[float, float] | Missing:
    client_s = _client_s(batch)
    if isinstance(client_s, Missing):
        return client_s
    return client_s, float(sum(r.output_tokens for r in batch))


def _share(batch: Batch) -> tuple[float, float] | Missing:
    client_s = _client_s(batch)
    if isinstance(client_s, Missing):
        return client_s
    return client_s, sum(r.token_s[-1] - r.sent_s for r in batch if r.token_s)


overhead = ratio_per_batch(_per_token, Provenance.MEASURED, "no timed request produced a token")
share = ratio_per_batch(_share, Provenance.MEASURED, "the requests took no measurable time")


METRICS: tuple[Metric, ...] = (
    Metric(
        name="client_overhead_s",
        unit="s",
        direction=Direction.LOWER,
        role=Role.SETUP,
        label="Client overhead per token",
        doc=f"Seconds of leanboard's own code / output tokens, sums over requests. {_WHOSE}",
        source="leanboard",
        kinds=_REQUESTS,
        summary=Summary.RATIO_OF_SUMS,
        reduce=overhead,
    ),
    Metric(
        name="client_overhead_share",
        unit="1",
        direction=Direction.LOWER,
        role=Role.SETUP,
        label="Client overhead, share of latency",
        doc=f"Seconds of leanboard's own code / (tn - t0), sums over requests. {_WHOSE}",
        source="leanboard",
        kinds=_REQUESTS,
        summary=Summary.RATIO_OF_SUMS,
        reduce=share,
    ),
)
