"""What differs between two descriptions of the same kind: two cells, two environments."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from pydantic import BaseModel, JsonValue

from leanboard.results.schema import AccuracyCell, Environment, PerformanceCell

# Readings of the moment: only a coarse difference says anything.
_COARSE: Mapping[str, float] = {
    "load_average": 1.0,
    "steal_share": 0.01,
    "swap_used_bytes": 2.0**28,
    "pressure": 0.05,
    "clock_hz": 1e8,
    "frequency_hz": 1e8,
    "sm_clock_hz": 1e8,
    "sm_clock_now_hz": 1e8,
    "memory_clock_now_hz": 1e8,
    "temperature_c": 10.0,
}


@dataclass(frozen=True, slots=True)
class Difference:
    """One field with both of its values; ``None`` where a side has none.

    Args:
        field: its path, joined by dots (``packages.torch``).
    """

    field: str
    then: JsonValue
    now: JsonValue


def environment_differences(then: Environment, now: Environment) -> tuple[Difference, ...]:
    """Return what differs around two runs, sorted by field.

    A field that the older record does not hold is left out: nobody knows what it was. Of lists of
    words (CPU flags) each side shows what only it has. Readings of the moment, such as load, count
    only where they differ clearly.
    """
    return tuple(
        Difference(field, before, after)
        for field, before, after in _pairs(then, now)
        if (before is not None or _absence_says_something(field, then)) and before != after
    )


def cell_differences(
    then: PerformanceCell | AccuracyCell, now: PerformanceCell | AccuracyCell
) -> tuple[Difference, ...]:
    """Return what differs between two cells, sorted by field; defaults are spelled out."""
    return tuple(
        Difference(field, before, after)
        for field, before, after in _pairs(then, now, unset=True)
        if before != after
    )


def _absence_says_something(field: str, then: Environment) -> bool:
    """Whether a value that is not there was looked for: the record says null."""
    return field in _leaves(then.model_dump(mode="json", exclude_unset=True))


def _pairs(
    then: BaseModel, now: BaseModel, *, unset: bool = False
) -> Iterator[tuple[str, JsonValue, JsonValue]]:
    before = _leaves(then.model_dump(mode="json", exclude_unset=not unset))
    after = _leaves(now.model_dump(mode="json"))
    for field in sorted(before.keys() | after.keys()):
        yield field, *_plain(field, before.get(field), after.get(field))


def _leaves(value: JsonValue, path: str = "") -> dict[str, JsonValue]:
    """Return every value that is no mapping, and no list of mappings, by its path."""
    if isinstance(value, dict):
        parts = value.items()
    elif isinstance(value, list) and any(isinstance(item, dict) for item in value):
        parts = {str(number): item for number, item in enumerate(value)}.items()
    else:
        return {path: value}
    found: dict[str, JsonValue] = {}
    for key, item in parts:
        found |= _leaves(item, f"{path}.{key}" if path else key)
    return found


def _plain(field: str, then: JsonValue, now: JsonValue) -> tuple[JsonValue, JsonValue]:
    """Return both values as they are compared and shown."""
    if isinstance(then, list) and isinstance(now, list):
        return [x for x in then if x not in now], [x for x in now if x not in then]
    names = field.split(".")
    step = _COARSE.get(names[-1], _COARSE.get(names[0]))
    numbers = isinstance(then, int | float) and isinstance(now, int | float)
    if step is not None and numbers and abs(float(then) - float(now)) < step:  # type: ignore[arg-type]
        return now, now
    return then, now
