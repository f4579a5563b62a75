"""Latency: how long a request waits for its first token, for the next ones, and for the last."""

from __future__ import annotations

from itertools import pairwise

from leanboard.metrics.batches import (
    NOT_REQUESTS,
    NOTHING_TIMED,
    batches,
    launches_of,
    per_batch,
)
from leanboard.metrics.metric import Direction, Kind, Metric, Missing, Role, Samples, Summary
from leanboard.metrics.trace import Observation, Provenance, RequestObservation, RequestTrace

_REQUESTS = frozenset({Kind.REQUESTS})
_BATCH_NOTE = "A static batch counts once, with the mean over its requests."


def ttft_s(request: RequestTrace) -> float | None:
    """Return t1 - t0 of a request; ``None`` if it has no token."""
    return request.token_s[0] - request.sent_s if request.token_s else None


def _tpot_s(request: RequestTrace) -> float | None:
    n = len(request.token_s)
    return (request.token_s[-1] - request.token_s[0]) / (n - 1) if n >= 2 else None


def _e2e_s(request: RequestTrace) -> float | None:
    return request.token_s[-1] - request.sent_s if request.token_s else None


ttft = per_batch(ttft_s, "no timed request produced a token")
tpot = per_batch(_tpot_s, "TPOT needs at least 2 output tokens")
e2e = per_batch(_e2e_s, "no timed request produced a token")


def gaps(observation: Observation) -> Samples | Missing:
    """Return the gaps between arrivals, pooled over requests, grouped by batch or by launch.

    Tokens that arrive together are one arrival. A gap that the requests of a static batch share
    (same start, same end) counts once.
    """
    if not isinstance(observation, RequestObservation):
        return NOT_REQUESTS
    timed = batches(observation)
    if not timed:
        return NOTHING_TIMED
    values: list[float] = []
    groups: list[int] = []
    launches = launches_of(timed) or ()
    processes = len(set(launches))
    units = launches if processes > 1 else range(len(timed))
    for group, batch in zip(units, timed, strict=True):
        spans = {span for request in batch for span in pairwise(sorted(set(request.token_s)))}
        values += [end - start for start, end in sorted(spans)]
        groups += [group] * len(spans)
    if not values:
        return Missing("no timed request has two tokens that arrived apart")
    grouped_by = {0: "request", 1: "request, one process"}.get(processes, "launch")
    return Samples(tuple(values), Provenance.MEASURED, groups=tuple(groups), grouped_by=grouped_by)


def _itl(summary: Summary, *, headline: bool = False) -> Metric:
    p = summary.value
    return Metric(
        name=f"itl_{p}_s",
        unit="s",
        direction=Direction.LOWER,
        role=Role.LATENCY,
        label=f"Inter-token latency, {p}",
        doc=(
            f"{p} of the gaps t_i - t_(i-1) between the arrivals of output tokens, pooled over all "
            "timed requests; a mean would hide stalls. Tokens that arrive together (speculation) "
            "share one gap, and a gap shared by a static batch counts once. n counts gaps; the "
            "interval treats the gaps of a request as dependent, and all those of a process where "
            "a process ran several requests."
        ),
        source="Sarathi-Serve (time between tokens); interval: Woodruff 1952",
        kinds=_REQUESTS,
        summary=summary,
        reduce=gaps,
        headline=headline,
    )


METRICS: tuple[Metric, ...] = (
    Metric(
        name="ttft_s",
        unit="s",
        direction=Direction.LOWER,
        role=Role.LATENCY,
        label="Time to first token",
        doc=(
            "t1 - t0: from the request being sent as text to its first output token, tokenisation "
            f"and queueing included; median over requests. {_BATCH_NOTE}"
        ),
        source="MLPerf LoadGen; DistServe",
        kinds=_REQUESTS,
        summary=Summary.MEDIAN,
        reduce=ttft,
        headline=True,
        paired=True,
    ),
    Metric(
        name="tpot_s",
        unit="s",
        direction=Direction.LOWER,
        role=Role.LATENCY,
        label="Time per output token",
        doc=(
            "(tn - t1) / (n - 1) of a request with n >= 2 output tokens: the first token is not "
            f"in it; median over requests. {_BATCH_NOTE}"
        ),
        source="DistServe; vLLM",
        kinds=_REQUESTS,
        summary=Summary.MEDIAN,
        reduce=tpot,
        headline=True,
        paired=True,
    ),
    _itl(Summary.P50),
    _itl(Summary.P95, headline=True),
    _itl(Summary.P99),
    Metric(
        name="ttft_p95_s",
        unit="s",
        direction=Direction.LOWER,
        role=Role.LATENCY,
        label="Time to first token, p95",
        doc=f"95th percentile of ttft_s over requests; needs 100 of them. {_BATCH_NOTE}",
        source="MLPerf LoadGen; DistServe",
        kinds=_REQUESTS,
        summary=Summary.P95,
        reduce=ttft,
    ),
    Metric(
        name="tpot_p95_s",
        unit="s",
        direction=Direction.LOWER,
        role=Role.LATENCY,
        label="Time per output token, p95",
        doc=f"95th percentile of tpot_s over requests; needs 100 of them. {_BATCH_NOTE}",
        source="DistServe; vLLM",
        kinds=_REQUESTS,
        summary=Summary.P95,
        reduce=tpot,
    ),
    Metric(
        name="e2e_s",
        unit="s",
        direction=Direction.LOWER,
        role=Role.LATENCY,
        label="End-to-end latency",
        doc=(
            "tn - t0: from the request being sent to its last output token; median over requests. "
            f"{_BATCH_NOTE}"
        ),
        source="MLPerf LoadGen",
        kinds=_REQUESTS,
        summary=Summary.MEDIAN,
        reduce=e2e,
        paired=True,
    ),
)
