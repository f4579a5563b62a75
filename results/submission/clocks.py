"""Whether the raw samples of requests can be: the order of their times, and what adds up."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from leanboard.metrics.trace import Phase, RequestObservation, RequestTrace
from leanboard.results.schema import Record, Times
from leanboard.results.submission.finding import Finding

_AS_WRITTEN = "submit the raw samples as leanboard wrote them, or measure again"


def clock_findings(observation: RequestObservation, record: Record) -> Iterator[Finding]:
    """Yield where times run backwards, exceed the run, or counts do not fit one another."""
    for request in observation.requests:
        yield from _request_findings(request)
    yield from _window_findings(observation)
    yield from _length_findings(observation, record)


def _request_findings(request: RequestTrace) -> Iterator[Finding]:
    for (before, early), (after, late) in pairwise(_marks(request)):
        if late < early:
            yield Finding(
                f"{_named(request)}: its {after} is {late:.9g} s, before its {before}, which is "
                f"{early:.9g} s",
                _AS_WRITTEN,
            )
            break
    if request.error is None and len(request.token_s) != request.output_tokens:
        yield Finding(
            f"{_named(request)}: token_s has {len(request.token_s)} times, but output_ids has "
            f"{request.output_tokens} tokens",
            _AS_WRITTEN,
        )
    drafted, accepted = request.drafted, request.accepted
    if drafted is not None and accepted is not None and not 0 <= accepted <= drafted:
        yield Finding(
            f"{_named(request)}: accepted is {accepted}, but drafted is {drafted}", _AS_WRITTEN
        )


def _marks(request: RequestTrace) -> Iterator[tuple[str, float]]:
    """Yield the times of a request in the order in which they must come."""
    yield "scheduled_s", request.scheduled_s
    yield "sent_s", request.sent_s
    if request.encoded_s is not None:
        yield "encoded_s", request.encoded_s
    for number, time_s in enumerate(request.token_s, start=1):
        yield f"token_s of token {number}", time_s


def _named(request: RequestTrace) -> str:
    kind = "warm-up round" if request.warmup else "round"
    return f"request {request.prompt_id} of {kind} {request.round}"


def _window_findings(observation: RequestObservation) -> Iterator[Finding]:
    """Yield where joules are not those of the requests that they are shared among."""
    rounds: dict[int, list[RequestTrace]] = {}
    for request in observation.requests:
        if not request.warmup:
            rounds.setdefault(request.round, []).append(request)
    for window in observation.windows:
        if window.phase is not Phase.MIXED or window.energy_j is None:
            continue
        ran = rounds.get(window.round, [])
        tokens = sum(request.output_tokens for request in ran)
        if (window.requests, window.output_tokens) != (len(ran), tokens):
            yield Finding(
                f"the energy window of round {window.round} counts {window.requests} requests and "
                f"{window.output_tokens} tokens, but the round has {len(ran)} and {tokens}",
                _AS_WRITTEN,
            )
        times = [time for request in ran for time in (request.sent_s, *request.token_s)]
        if times and not window.started_s <= min(times) <= max(times) <= window.ended_s:
            yield Finding(
                f"the energy window of round {window.round} lasts from {window.started_s:.9g} to "
                f"{window.ended_s:.9g} s, but its requests from {min(times):.9g} to "
                f"{max(times):.9g} s",
                _AS_WRITTEN,
            )


def _length_findings(observation: RequestObservation, record: Record) -> Iterator[Finding]:
    """Yield where the rounds together last longer than the run that they are part of."""
    spent_s = sum(seen.duration_s for seen in observation.rounds)
    if any(seen.duration_s < 0 for seen in observation.rounds):
        yield Finding("a round ends before it starts (ended_s, started_s)", _AS_WRITTEN)
    limits = {
        "times.measure_s": record.times.measure_s,
        "times.finished_at - times.started_at": _wall_s(record.times),
    }
    for name, limit_s in limits.items():
        if limit_s is not None and spent_s > limit_s:
            yield Finding(
                f"its rounds last {spent_s:.6g} s together, but {name} is {limit_s:.6g} s",
                _AS_WRITTEN,
            )


def _wall_s(times: Times) -> float:
    """Return how long a run took."""
    return (times.finished_at - times.started_at).total_seconds()
