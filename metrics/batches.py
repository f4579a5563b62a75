"""The independent units of a request observation: its static batches.

A request that ran alone is a batch of one. The requests of a static batch share every forward
pass, so that together they are one sample.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from leanboard.metrics.intervals import mean
from leanboard.metrics.metric import Missing, Reduce, Samples
from leanboard.metrics.trace import Observation, Provenance, RequestObservation, RequestTrace

Batch = tuple[RequestTrace, ...]

NOT_REQUESTS = Missing("the observation holds no generation requests")
NOTHING_TIMED = Missing("no timed request succeeded")


def batches(observation: RequestObservation) -> tuple[Batch, ...]:
    """Return the timed static batches, in the order of their first request.

    Requests that share (round, batch) are one static batch. A batch in which a request failed is
    left out as a whole: what the others took then says nothing about a batch of that size.
    """
    grouped: dict[tuple[int, int], list[RequestTrace]] = {}
    for request in observation.requests:
        if not request.warmup:
            grouped.setdefault((request.round, request.batch), []).append(request)
    return tuple(
        tuple(members)
        for members in grouped.values()
        if all(request.error is None for request in members)
    )


def launches_of(units: Sequence[Batch]) -> tuple[int, ...] | None:
    """Return the launch of each batch where that groups them; ``None`` where it does not.

    Batches of one process share its fate (where its memory lies, what its threads do), so that
    together they are one independent unit. Where each ran in a process of its own, there is
    nothing to group.
    """
    return shared(tuple(batch[0].launch for batch in units))


def launches_of_rounds(observation: Observation, numbers: Iterable[int]) -> tuple[int, ...]:
    """Return the launch of each of these timed rounds; 0, as in older records, if untold."""
    if not isinstance(observation, RequestObservation):
        return tuple(0 for _ in numbers)
    launch = {seen.round: seen.launch for seen in observation.rounds if not seen.warmup}
    launch |= {r.round: r.launch for r in observation.requests if not r.warmup}
    return tuple(launch.get(number, 0) for number in numbers)


def shared(launches: tuple[int, ...]) -> tuple[int, ...] | None:
    """Return the launches of some units if units share one; ``None`` if each has its own."""
    return launches if len(set(launches)) < len(launches) else None


def per_batch(value: Callable[[RequestTrace], float | None], nothing: str) -> Reduce:
    """Make the reduction that gives one value a batch: the mean over its requests.

    Args:
        value: the request's value; ``None`` where it is not defined for the request.
        nothing: the reason given where it is defined for no request.
    """

    def reduce(observation: Observation) -> Samples | Missing:
        if not isinstance(observation, RequestObservation):
            return NOT_REQUESTS
        timed = batches(observation)
        if not timed:
            return NOTHING_TIMED
        drawn = [(batch, [v for r in batch if (v := value(r)) is not None]) for batch in timed]
        found = [(batch, mean(members)) for batch, members in drawn if members]
        if not found:
            return Missing(nothing)
        units, values = zip(*found, strict=True)
        return Samples(values, Provenance.MEASURED, groups=launches_of(units))

    return reduce


def ratio_per_batch(
    parts: Callable[[Batch], tuple[float, float] | Missing], provenance: Provenance, nothing: str
) -> Reduce:
    """Make the reduction whose samples are a numerator and a denominator for each batch.

    Args:
        parts: numerator and denominator of a batch, or why it has none.
        provenance: the weakest provenance of the inputs.
        nothing: the reason given where the denominators sum to 0.
    """

    def reduce(observation: Observation) -> Samples | Missing:
        if not isinstance(observation, RequestObservation):
            return NOT_REQUESTS
        timed = batches(observation)
        if not timed:
            return NOTHING_TIMED
        drawn = [(batch, parts(batch)) for batch in timed]
        found = [(batch, *pair) for batch, pair in drawn if not isinstance(pair, Missing)]
        if not found:
            return next(pair for _, pair in drawn if isinstance(pair, Missing))
        units, numerators, denominators = zip(*found, strict=True)
        if sum(denominators) <= 0:
            return Missing(nothing)
        return Samples(numerators, provenance, weights=denominators, groups=launches_of(units))

    return reduce
