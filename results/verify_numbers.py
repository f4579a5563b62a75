"""Checking a record's numbers against the same ones derived again from its raw samples."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import TypeVar

from leanboard.metrics.intervals import METHOD_VERSION
from leanboard.metrics.trace import Observation, RequestObservation
from leanboard.results.measure import bounds, measurements, stability
from leanboard.results.schema import (
    Comparison,
    Interval,
    Measurement,
    PerformanceCell,
    Record,
    Status,
)

TOLERANCE = 1e-9
"""Largest relative difference between a stored number and the same one derived again."""

LASTING = frozenset({"n", "unit", "provenance", "samples", "weights", "pairs"})
"""Parts of a number that follow from the raw samples, whatever statistics are made of them."""


def older_numbers(record: Record) -> Counter[int]:
    """Return how many values, comparisons and judgements are of each older method.

    Of such a number only ``LASTING`` can be compared, of a judgement nothing.
    """
    older = Counter(
        number.method_version
        for number in _numbers(record)
        if number.value is not None and number.method_version < METHOD_VERSION
    )
    if record.stability is not None and older:
        older[max(older)] += 1
    return older


def of_newer_method(record: Record) -> bool:
    """Whether a number was made by a method that this leanboard does not know."""
    return any(number.method_version > METHOD_VERSION for number in _numbers(record))


def of_present_method(record: Record) -> bool:
    """Whether all numbers, if there are any, were made by the present method."""
    return {number.method_version for number in _numbers(record)} <= {METHOD_VERSION}


def method_messages(record: Record) -> Iterator[str]:
    """Yield what is wrong with the methods that a record says its numbers were made by."""
    versions = sorted({number.method_version for number in _numbers(record)})
    if of_newer_method(record):
        yield (
            f"numbers of the newer method {versions[-1]} (this leanboard has {METHOD_VERSION}) "
            "cannot be checked: upgrade leanboard"
        )
    if len(versions) > 1:
        named = " and ".join(map(str, versions))
        yield f"its numbers are of the methods {named}, but a run has one"


def number_messages(observation: Observation, record: Record) -> Iterator[str]:
    """Yield where facts, measurements and stability differ from what the raw samples give."""
    ok = record.status is Status.OK
    if ok:
        yield from _fact_messages(observation, record)
    if of_newer_method(record):
        return
    complete = ok and of_present_method(record)
    derived = measurements(observation)
    yield from _measurement_messages(record.measurements, derived, complete=complete)
    if complete:
        yield from _bound_messages(record, derived)
    if complete and isinstance(observation, RequestObservation):
        yield from _stability_messages(observation, record)


def missing(names: Iterable[str]) -> Iterator[str]:
    """Yield what is said of numbers that the raw samples give and a record lacks."""
    for name in sorted(names):
        yield f"{name} is missing, but it follows from the raw samples"


_Derived = TypeVar("_Derived", Measurement, Comparison)


def differences(name: str, stored: _Derived, derived: _Derived) -> Iterator[str]:
    """Yield the parts in which a stored number differs from the one derived again."""
    # A field that came after the record was written is not in its JSON and says nothing; what the
    # present method compares has every field.
    parts = set(stored.model_fields_set)
    if stored.method_version < METHOD_VERSION:
        parts &= LASTING
    elif isinstance(stored, Comparison):
        parts = set(Comparison.model_fields)
    for part in sorted(parts):
        was, again = getattr(stored, part), getattr(derived, part)
        if part == "reason":  # its wording may improve; whether there is one may not change
            was, again = was is None, again is None
        if not _equal(was, again):
            yield f"{name}: its {part} is {_shown(was)}, but the raw samples give {_shown(again)}"


def _numbers(record: Record) -> tuple[Measurement | Comparison, ...]:
    return (*record.measurements.values(), *record.comparisons)


def _fact_messages(observation: Observation, record: Record) -> Iterator[str]:
    stored = record.facts
    derived = {
        name: {"value": fact.value, "unit": fact.unit, "provenance": fact.provenance.value}
        for name, fact in observation.facts.items()
    }
    for name in sorted(stored):
        if name not in derived:
            yield f"the fact {name} does not follow from the raw samples"
        elif stored[name] != derived[name]:
            yield f"the fact {name} is {stored[name]}, but the raw samples give {derived[name]}"
    yield from missing(f"the fact {name}" for name in derived.keys() - stored.keys())


def _measurement_messages(
    stored: Mapping[str, Measurement], derived: Mapping[str, Measurement], *, complete: bool
) -> Iterator[str]:
    for name in sorted(stored):
        if name not in derived:
            yield f"{name} does not follow from the raw samples"
        else:
            yield from differences(name, stored[name], derived[name])
    if complete:
        yield from missing(derived.keys() - stored.keys())


def _bound_messages(record: Record, derived: Mapping[str, Measurement]) -> Iterator[str]:
    again = bounds(derived)
    for phase in sorted(record.bounds.keys() | again.keys()):
        was, now = (found.get(phase, "not told") for found in (record.bounds, again))
        if was != now:
            yield f"what bounds {phase} is {was}, but the raw samples give {now}"


def _stability_messages(observation: RequestObservation, record: Record) -> Iterator[str]:
    if isinstance(record.cell, PerformanceCell) and record.sampling is None:
        yield "it does not say how many samples were taken"
    if record.stability is None:
        yield "it does not say whether it was stable"
        return
    stored, derived = record.stability, stability(observation)
    if stored.stable != derived.stable:
        yield f"stable is {stored.stable}, but the raw samples give {derived.stable}"
    was, again = ([cause.kind for cause in seen.causes] for seen in (stored, derived))
    if was != again:
        yield f"its causes of instability are {was}, but the raw samples give {again}"
    for name in sorted(stored.figures):
        if name not in derived.figures:
            yield f"{name} does not follow from the raw samples"
        elif not _equal(stored.figures[name], derived.figures[name]):
            figures = (_shown(seen.figures[name]) for seen in (stored, derived))
            yield "{}: the figure is {}, but the raw samples give {}".format(name, *figures)
    yield from missing(derived.figures.keys() - stored.figures.keys())


def _equal(a: object, b: object) -> bool:
    if isinstance(a, Interval) and isinstance(b, Interval):
        return all(_equal(getattr(a, part), getattr(b, part)) for part in a.model_fields_set)
    if isinstance(a, tuple) and isinstance(b, tuple):
        return len(a) == len(b) and all(map(_equal, a, b))
    if isinstance(a, float) and isinstance(b, float):
        return math.isclose(a, b, rel_tol=TOLERANCE)
    return a == b


def _shown(value: object) -> str:
    if isinstance(value, Interval):
        return f"[{value.low}, {value.high}]"
    return f"{len(value)} values" if isinstance(value, tuple) else str(value)
