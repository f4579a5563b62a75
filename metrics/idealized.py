"""Idealized runtime: time as a function of prompt and output length, on a stack of one's own.

T(p, o) = a + b p + c p^2 + (o - 1) t + d S, where S is the sum of the positions that the output
tokens after the first attend to. Source: Narayanan et al., Cheaply Evaluating Inference Efficiency
Metrics for Autoregressive Transformer APIs, arXiv:2305.02440: T = T_prompt(p) + (o - 1) t.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import product
from statistics import median_low
from typing import Any

import numpy as np

from leanboard.metrics.batches import NOT_REQUESTS, NOTHING_TIMED, batches
from leanboard.metrics.metric import Direction, Kind, Metric, Missing, Role, Samples, Summary
from leanboard.metrics.trace import Observation, Provenance, RequestObservation

MIN_LENGTHS = 3
"""Distinct prompt lengths that a fit needs: two to fit a line, one to check it."""

_COLUMNS = 5
# Errors that differ by less than a hundredth of a percent are a tie.
_TIE_DECIMALS = 4

Array = np.ndarray[Any, np.dtype[np.float64]]


@dataclass(frozen=True, slots=True)
class Point:
    """Median time to so many output tokens after a prompt of so many tokens."""

    prompt_tokens: int
    output_tokens: int
    time_s: float

    @property
    def columns(self) -> tuple[float, ...]:
        """What the five coefficients are multiplied with."""
        p, after = self.prompt_tokens, self.output_tokens - 1
        return 1.0, p, p * p, after, after * p + after * (after + 1) / 2


@dataclass(frozen=True, slots=True)
class Fit:
    """A fitted cost model.

    Args:
        coefficients: a (s), b (s/token), c (s/token^2), t (s/token), d (s/position); 0 where the
            term was left out.
        error: mean absolute relative error on the lengths held out.
        held_out: prompt lengths that the fit never saw.
        prompt_tokens: the reference prompt: the median of the distinct lengths (the lower one).
        output_tokens: the reference output: the longest that every length has.
    """

    coefficients: tuple[float, ...]
    error: float
    held_out: tuple[int, ...]
    prompt_tokens: int
    output_tokens: int

    def time_s(self, prompt_tokens: int, output_tokens: int) -> float:
        """Return the fitted T(p, o) in seconds."""
        columns = Point(prompt_tokens, output_tokens, 0.0).columns
        return float(np.dot(self.coefficients, columns))


def held_out(lengths: Sequence[int]) -> tuple[int, ...]:
    """Return every other one of the lengths between the shortest and the longest."""
    return tuple(sorted(set(lengths))[1:-1:2])


def points(observation: RequestObservation) -> list[Point]:
    """Return the times at four output lengths of every prompt length: 1, n/4, n/2 and n.

    Each is the median over the requests of that length, of two the shorter: contention makes
    single requests late, and never early.
    """
    seen: dict[tuple[int, int], list[float]] = {}
    for request in (request for batch in batches(observation) for request in batch):
        n = len(request.token_s)
        for tokens in {1, -(-n // 4), -(-n // 2), n} - {0}:
            elapsed_s = request.token_s[tokens - 1] - request.sent_s
            seen.setdefault((request.prompt_tokens, tokens), []).append(elapsed_s)
    return [Point(p, o, median_low(times_s)) for (p, o), times_s in sorted(seen.items())]


def fit(observation: Observation) -> Fit | Missing:
    """Fit the cost model to the timed requests and test it on lengths that it never sees.

    Least squares on relative errors. The quadratic term and the term in the context are kept only
    if they lower the error on lengths left out in turn among those that are fitted.
    """
    if not isinstance(observation, RequestObservation):
        return NOT_REQUESTS
    found = points(observation)
    if not found:
        return NOTHING_TIMED
    lengths = sorted({point.prompt_tokens for point in found})
    if len(lengths) < MIN_LENGTHS:
        return Missing(
            f"a fit over prompt lengths needs {MIN_LENGTHS} of them, there are {len(lengths)}: "
            "leanboard run workload=lengths"
        )
    longest = min(max(q.output_tokens for q in found if q.prompt_tokens == p) for p in lengths)
    if longest < 2:
        return Missing("a fit over output lengths needs at least 2 output tokens a request")
    if any(point.time_s <= 0 for point in found):
        return Missing("a request took no measurable time")
    apart = held_out(lengths)
    known = [point for point in found if point.prompt_tokens not in apart]
    coefficients = _solve(known, _best_terms(known))
    error = _error(coefficients, (point for point in found if point.prompt_tokens in apart))
    return Fit(tuple(map(float, coefficients)), error, apart, median_low(lengths), longest)


def _best_terms(known: Sequence[Point]) -> tuple[int, ...]:
    """Return the columns of the model that predicts best a length left out; at a tie the shortest.

    Lengths at the ends are never left out: a fit is for between them.
    """
    lengths = sorted({point.prompt_tokens for point in known})
    inner = lengths[1:-1]
    models = [
        (0, 1, *((2,) if quadratic else ()), 3, *((4,) if context else ()))
        for quadratic, context in product((False, True), repeat=2)
        if len(lengths) - 1 >= 2 + quadratic + context  # enough to solve with one left out
    ]
    if not inner or len(models) < 2:
        return (0, 1, 3)

    def loss(terms: tuple[int, ...]) -> float:
        errors = []
        for length in inner:
            rest = [point for point in known if point.prompt_tokens != length]
            missed = (point for point in known if point.prompt_tokens == length)
            errors.append(_error(_solve(rest, terms), missed))
        return float(np.mean(errors))

    return min(models, key=lambda terms: (round(loss(terms), _TIE_DECIMALS), len(terms)))


def _solve(known: Sequence[Point], terms: tuple[int, ...]) -> Array:
    """Return five coefficients by least squares on relative errors; 0 for terms left out."""
    times_s = np.array([point.time_s for point in known])
    rows = np.array([point.columns for point in known])[:, terms] / times_s[:, None]
    # Columns of one size: the squares of lengths would drown the rest.
    sizes = np.linalg.norm(rows, axis=0)
    solved, *_ = np.linalg.lstsq(rows / sizes, np.ones(len(known)), rcond=None)
    coefficients = np.zeros(_COLUMNS)
    coefficients[list(terms)] = solved / sizes
    return coefficients


def _error(coefficients: Array, missed: Iterable[Point]) -> float:
    return float(np.mean([abs(np.dot(coefficients, q.columns) / q.time_s - 1) for q in missed]))


def _of_fit(number: str) -> Metric:
    label, unit, doc = _NUMBERS[number]

    def reduce(observation: Observation) -> Samples | Missing:
        found = fit(observation)
        if isinstance(found, Missing):
            return found
        return Samples((_value(found, number),), Provenance.MODELLED)

    return Metric(
        name=f"idealized_{number}",
        unit=unit,
        direction=Direction.NEUTRAL if number in _COEFFICIENTS else Direction.LOWER,
        role=Role.HARDWARE,
        label=label,
        doc=doc,
        source="Narayanan et al., arXiv:2305.02440",
        kinds=frozenset({Kind.REQUESTS}),
        summary=Summary.SINGLE,
        reduce=reduce,
    )


def _value(found: Fit, number: str) -> float:
    if number == "runtime_s":
        return found.time_s(found.prompt_tokens, found.output_tokens)
    if number == "fit_error":
        return found.error
    return found.coefficients[_COEFFICIENTS.index(number)]


_COEFFICIENTS = (
    "intercept_s",
    "prompt_s_per_token",
    "prompt_s_per_token2",
    "t_out_s",
    "context_s_per_token",
)
_MODEL = "T(p, o) = a + b p + c p^2 + (o - 1) t + d S"
_NUMBERS = {
    "runtime_s": (
        "Idealized runtime",
        "s",
        f"{_MODEL}, fitted to the times of requests of several prompt lengths (least squares on "
        "relative errors, medians over the requests of a length), at the workload's median prompt "
        "length and its output length. S: positions that the output tokens after the first attend "
        "to. On one accelerator; as little contended as the machine was.",
    ),
    "fit_error": (
        "Idealized runtime, error",
        "1",
        "Mean absolute relative error of the fit on prompt lengths that it never saw: every other "
        "one between the shortest and the longest. The fit is good below 0.1.",
    ),
    "intercept_s": ("Idealized runtime, intercept", "s", f"a in {_MODEL}."),
    "prompt_s_per_token": (
        "Idealized runtime, prompt token",
        "s",
        f"b in {_MODEL}: seconds a token of the prompt.",
    ),
    "prompt_s_per_token2": (
        "Idealized runtime, prompt token squared",
        "s",
        f"c in {_MODEL}; 0 where the term did not lower the error on lengths left out in turn.",
    ),
    "t_out_s": (
        "Idealized runtime, output token",
        "s",
        f"t in {_MODEL}: seconds an output token after the first, the context apart.",
    ),
    "context_s_per_token": (
        "Idealized runtime, token of context",
        "s",
        f"d in {_MODEL}: seconds an output token for each position that it attends to; 0 where the "
        "term did not lower the error on lengths left out in turn.",
    ),
}

METRICS: tuple[Metric, ...] = tuple(_of_fit(number) for number in _NUMBERS)
