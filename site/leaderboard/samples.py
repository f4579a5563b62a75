"""Plots of a run's raw samples, drawn from its trace file."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import TypeVar

from leanboard.leaderboard.charts import (
    BOTTOM,
    TOP,
    Axis,
    Line,
    Mark,
    Plot,
    polyline,
    x_axis,
    y_axis,
)
from leanboard.leaderboard.distribution import Distribution, distribution_plot
from leanboard.leaderboard.format import number, scale_for
from leanboard.leaderboard.thinning import thinned
from leanboard.metrics.trace import (
    AnswerObservation,
    AnswerTrace,
    Observation,
    RequestObservation,
    RequestTrace,
)
from leanboard.results.errors import RecordError
from leanboard.results.frozen import LARGEST
from leanboard.results.traces import from_parquet

SMALL, MEDIUM = 240.0, 320.0
Plots = tuple[tuple[str, Plot], ...]
"""Plots with their headings."""
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Most:
    """How much of a run is drawn at most: the trace file has all of it.

    Args:
        requests: lines of gaps between tokens; beyond 64 they only cover each other.
        gaps: gaps of each of these lines.
        dots: requests, or items, with a dot each.
    """

    requests: int = 64
    gaps: int = sys.maxsize
    dots: int = sys.maxsize


FULL = Most()
FEW = Most(requests=6, gaps=40, dots=120)
"""For pictures whose points are loaded together with those of other runs."""


def observation_in(traces: Path) -> Observation:
    """Return what a trace file holds.

    Raises:
        RecordError: if the file cannot be read.
    """
    try:
        return from_parquet(traces.read_bytes())
    except OSError as error:
        message = f"the traces {traces.name} cannot be read ({error.strerror})"
        raise RecordError(message) from error


def plots_of(
    observation: Observation, latencies: Sequence[Distribution], most: Most = FULL
) -> Plots:
    """Return the plots that fit the kind of observation, with their headings.

    Args:
        observation: what was seen.
        latencies: how its latencies are spread, of which that of the gaps is drawn.
        most: how much is drawn.
    """
    if isinstance(observation, RequestObservation):
        requests = [r for r in observation.timed if r.token_s]
        return tuple(_of_requests(requests, latencies, most)) if requests else ()
    if isinstance(observation, AnswerObservation) and observation.answers:
        return _answers(observation.answers, most)
    return ()


def _of_requests(
    requests: Sequence[RequestTrace], latencies: Sequence[Distribution], most: Most
) -> Iterator[tuple[str, Plot]]:
    longer = [r for r in requests if len(r.token_s) > 1]
    if longer:
        yield "Inter-token latency of every request", _gaps(longer, len(requests), most)
        found = next((d for d in latencies if d.name == "itl"), None)
        if found is not None and found.n > 1:
            yield "Distribution of inter-token latency", distribution_plot(found)
        each = [(r.token_s[-1] - r.token_s[0]) / (len(r.token_s) - 1) for r in longer]
        yield "Time per output token of every request", _by_round(longer, each, "TPOT", most)
    first = [r.token_s[0] - r.sent_s for r in requests]
    yield "Time to first token of every request", _by_round(requests, first, "TTFT", most)


def _gaps(requests: Sequence[RequestTrace], every_request: int, most: Most) -> Plot:
    shown = _over_all(requests, most.requests)
    gaps = [[b - a for a, b in pairwise(r.token_s)] for r in shown]
    scale = scale_for("s", [gap for one in gaps for gap in one])
    scaled = [[gap * scale.factor for gap in one] for one in gaps]
    longest = max(len(one) for one in scaled)
    x = x_axis("output token", [2, max(longest + 1, 3)])
    every = [v for one in scaled for v in one]
    y = y_axis(f"gap ({scale.suffix})", every, zero=True, height=MEDIUM)
    lines = tuple(
        Line(
            polyline([(x.at(i), y.at(gap)) for i, gap in _over_all(_numbered(one), most.gaps)]),
            "sample-line",
            _place(request),
        )
        for request, one in zip(shown, scaled, strict=True)
    )
    left_out = len(shown) < len(requests)
    spread = " spread over the run, with the first and the last" if left_out else ""
    description = (
        f"{len(shown)} of {every_request} requests{spread}, one line each: seconds between "
        f"neighbouring output tokens, from {number(min(every))} to {number(max(every))} "
        f"{scale.suffix}"
    )
    if longest > most.gaps:
        description += f"; at most {most.gaps} gaps of a request are drawn"
    return Plot(x, y, description, lines=lines, height=MEDIUM)


def _numbered(gaps: Sequence[float]) -> list[tuple[int, float]]:
    """Return each gap with the place of the token that ends it."""
    return list(enumerate(gaps, start=2))


def _over_all(items: Sequence[T], most: int) -> list[T]:
    """Return what is drawn: what drifts late must be seen beside what was first."""
    if len(items) <= most:
        return list(items)
    first, *between, last = items
    return [first, *thinned(between, most - 2), last]


def _counted(of: int, most: int, what: str) -> str:
    return f"{of} {what}" if of <= most else f"{most} of {of} {what}, spread over all"


def _by_round(
    requests: Sequence[RequestTrace], times: Sequence[float], what: str, most: Most
) -> Plot:
    """Return one dot a request; a thin line stands where a new process begins."""
    scale = scale_for("s", times)
    scaled = [t * scale.factor for t in times]
    rounds = [float(r.round) for r in requests]
    x = x_axis("round", [min(rounds) - 0.5, max(rounds) + 0.5])
    y = y_axis(f"{what} ({scale.suffix})", scaled, zero=True, height=SMALL)
    marks = tuple(
        Mark(
            x.at(float(r.round)),
            y.at(t),
            "sample-dot",
            f"{_place(r)}: {number(t)} {scale.suffix}",
        )
        for r, t in _over_all(list(zip(requests, scaled, strict=True)), most.dots)
    )
    borders, told = _launches(requests, x)
    description = (
        f"{_counted(len(requests), most.dots, 'requests')}, one dot each: {what} by round, from "
        f"{number(min(scaled))} to {number(max(scaled))} {scale.suffix}. {told}"
    )
    return Plot(x, y, description, marks=marks, lines=borders, height=SMALL)


def _launches(requests: Sequence[RequestTrace], x: Axis) -> tuple[tuple[Line, ...], str]:
    """Return a line before the first round of every new process, and what they say in words."""
    first = {r.launch: r.round for r in reversed(requests)}
    rounds = {r.round for r in requests}
    if len(first) <= 1:
        return (), "One process made all rounds."
    if len(first) == len(rounds):
        return (), "Every round was made by a new process."
    starts = sorted(first.values())[1:]
    ends = SMALL - BOTTOM, TOP
    lines = tuple(
        Line(polyline([(x.at(start - 0.5), end) for end in ends]), "launch-line", "new process")
        for start in starts
    )
    return lines, f"{len(first)} processes, one after the other; a vertical line between them."


def _place(request: RequestTrace) -> str:
    return f"process {request.launch}, round {request.round}, prompt {request.prompt_id}"


def _answers(answers: Sequence[AnswerTrace], most: Most) -> Plots:
    if any(a.tokens > 0 for a in answers):
        pairs = [(i, -sum(a.loglikelihoods) / a.tokens) for i, a in enumerate(answers) if a.tokens]
        sentence = "negative log-likelihood of every text window"
        plot = _items(pairs, "nats per token", most, sentence)
        return (("Negative log-likelihood of every text window", plot),)
    names = sorted({name for answer in answers for name in answer.scores})
    return tuple(
        (
            f"Score of every item: {name}",
            _items(_drawable(answers, name), name, most),
        )
        for name in names
        if _drawable(answers, name)
    )


def _drawable(answers: Sequence[AnswerTrace], name: str) -> list[tuple[int, float]]:
    """Return the place and score of every item whose score is a number that can be drawn."""
    scores = ((i, a.scores.get(name)) for i, a in enumerate(answers))
    return [(i, score) for i, score in scores if score is not None and abs(score) <= LARGEST]


def _items(pairs: Sequence[tuple[int, float]], what: str, most: Most, sentence: str = "") -> Plot:
    values = [value for _, value in pairs]
    x = x_axis("item", [-1.0, float(max(i for i, _ in pairs) + 1)])
    y = y_axis(what, [*values, 0.0, 1.0] if not sentence else values, zero=True, height=SMALL)
    y = y if sentence else replace(y, low=-0.25, high=max(1.25, *values))
    marks = tuple(
        Mark(
            x.at(float(i)),
            y.at(value),
            "sample-dot" if value else "sample-dot miss",
            f"item {i}: {number(value)}",
        )
        for i, value in _over_all(pairs, most.dots)
    )
    mean = sum(values) / len(values)
    counted = _counted(len(values), most.dots, "items")
    description = f"{counted}: {sentence or what}, mean {number(mean)}"
    return Plot(x, y, description, marks=marks, height=SMALL)
