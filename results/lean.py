"""Records in little memory: all that a board of many shows, without the samples behind it.

A record as pydantic makes it holds a dictionary and a set of names for each of its hundred parts,
and texts that thousands of records have in common. A lean one is a ``Record`` like any other, but

- the parts that there are most of keep their values without a dictionary each: attributes that are
  set one by one share their names with all objects of the class (PEP 412), which is a class of its
  own, as pydantic's objects do not;
- equal texts are one object, and so are parts that many runs have in common: a technique, a
  procedure, the environment of a block, the reason for a gap; of what another process has read
  (:mod:`leanboard.results.loading`), within each batch that it sends;
- ``samples``, ``weights`` and ``pairs`` are ``None``. They are in the record's file.
"""

from __future__ import annotations

import gc
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from typing import Any, TypeVar

from pydantic import BaseModel, JsonValue
from pydantic_core import to_json

from leanboard.metrics.roofline import Bound
from leanboard.metrics.trace import Provenance
from leanboard.results.schema import (
    BlockRef,
    Comparison,
    Component,
    Cpu,
    DeviceProfile,
    Environment,
    Gpu,
    Interval,
    Measurement,
    ModelIdentity,
    Procedure,
    Record,
    Sampling,
    Stability,
    Task,
    Times,
    TraceFile,
    Workload,
)

Part = TypeVar("Part", bound=BaseModel)

_COMMON = frozenset(
    {
        Component,
        Cpu,
        DeviceProfile,
        Environment,
        Gpu,
        ModelIdentity,
        Procedure,
        Sampling,
        Task,
        Workload,
    }
)
_PLAIN = frozenset({bool, float, int, type(None)})
_LEFT_OUT = frozenset({"samples", "weights", "pairs"})
_set = object.__setattr__


class _Own(BaseModel):
    """A part with a class of its own, whose values also travel between processes by themselves."""

    def __reduce__(self) -> tuple[Any, ...]:
        values = self.__dict__
        return _again, (type(self), tuple(values.values()), self.__pydantic_fields_set__)


class _Block(_Own, BlockRef):
    pass


class _Comparison(_Own, Comparison):
    pass


class _Interval(_Own, Interval):
    pass


class _Measurement(_Own, Measurement):
    pass


class _Record(_Own, Record):
    pass


class _Stability(_Own, Stability):
    pass


class _Times(_Own, Times):
    pass


class _TraceFile(_Own, TraceFile):
    pass


_OWN: Mapping[type, Any] = {
    BlockRef: _Block,
    Comparison: _Comparison,
    Interval: _Interval,
    Measurement: _Measurement,
    Record: _Record,
    Stability: _Stability,
    Times: _Times,
    TraceFile: _TraceFile,
}


def _made(kind: type[Part], values: Iterable[tuple[str, Any]], names: set[str]) -> Part:
    """Return a part whose attributes are set one by one, and the names of those it was given."""
    part = kind.__new__(kind)
    for name, value in values:
        _set(part, name, value)
    _set(part, "__pydantic_fields_set__", names)
    _set(part, "__pydantic_extra__", None)
    _set(part, "__pydantic_private__", None)
    return part


def _again(kind: type[Part], values: tuple[Any, ...], names: set[str]) -> Part:
    """Return what another process has sent."""
    return _made(kind, zip(_fields(kind), values, strict=True), names)


@cache
def _fields(kind: type[BaseModel]) -> tuple[str, ...]:
    return tuple(kind.model_fields)


@contextmanager
def no_collections() -> Iterator[None]:
    """Put off the collection of garbage while many objects are made that stay."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


class Lean:
    """Makes lean copies; what those of one maker have in common is one object."""

    def __init__(self) -> None:
        """Begin with nothing in common."""
        self._texts: dict[str, str] = {}
        self._names: dict[frozenset[str], set[str]] = {}
        self._whole: dict[type, set[str]] = {}
        self._tuples: dict[tuple[str, ...], tuple[str, ...]] = {}
        self._parts: dict[tuple[type, str], Any] = {}
        self._gaps: dict[tuple[Any, ...], Measurement] = {}
        self._mappings: dict[bytes, Any] = {}

    def record(self, record: Record) -> Record:
        """Return a lean copy of a record."""
        return self._copy(
            record,
            measurements=self.measurements(record.measurements),
            facts={self._text(name): self._fact(fact) for name, fact in record.facts.items()},
        )

    def measurements(self, found: Mapping[str, Measurement]) -> dict[str, Measurement]:
        """Return lean copies of measurements by name; gaps that say the same are one object."""
        return {
            self._text(name): self._copy(one) if one.value is not None else self._gap(one)
            for name, one in found.items()
        }

    def named(self, found: Mapping[str, Measurement]) -> dict[str, Measurement]:
        """Return the same measurements under names that are held once."""
        return {self._text(name): one for name, one in found.items()}

    def _copy(self, part: Part, **changes: Any) -> Part:
        kind: type[Part] = _OWN.get(type(part), type(part))
        return _made(kind, self._attributes(part, changes), self._given(kind, part))

    def _attributes(self, part: BaseModel, changes: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
        texts = self._texts
        for name, value in part.__dict__.items():
            kind = type(value)
            if name in _LEFT_OUT:
                yield name, None
            elif name in changes:
                yield name, changes[name]
            elif kind in _PLAIN:
                yield name, value
            elif kind is str:
                yield name, texts.setdefault(value, value)
            else:
                yield name, self._value(value)

    def _given(self, kind: type[BaseModel], part: BaseModel) -> set[str]:
        """Return the names of the fields that a part was given: one set for all alike."""
        given = part.__pydantic_fields_set__
        if len(given) == len(_fields(kind)):
            if kind not in self._whole:
                self._whole[kind] = set(given)
            return self._whole[kind]
        names = frozenset(given)
        return self._names.setdefault(names, set(names))

    def _value(self, value: Any) -> Any:
        kind = type(value)
        if kind is str:
            return self._text(value)
        if kind is tuple:
            return self._tuple(value)
        if kind is dict:
            return self._mapping(value)
        if kind in _COMMON:
            return self._common(value)
        # Asking every number for its base classes would take longer than all the rest.
        return value if kind in _PLAIN or not isinstance(value, BaseModel) else self._copy(value)

    def _text(self, text: str) -> str:
        return self._texts.setdefault(text, text)

    def _tuple(self, values: tuple[Any, ...]) -> tuple[Any, ...]:
        lean = tuple(map(self._value, values))
        texts = all(type(value) is str for value in lean)
        return self._tuples.setdefault(lean, lean) if texts else lean

    def _mapping(self, mapping: dict[str, Any]) -> dict[str, Any]:
        """Return an equal mapping; those without figures are shared, which are a run's own."""
        if any(isinstance(value, float | Bound) for value in mapping.values()):
            return {self._value(name): value for name, value in mapping.items()}
        found: dict[str, Any] = self._mappings.setdefault(to_json(mapping), mapping)
        return found

    def _fact(self, fact: JsonValue) -> JsonValue:
        """Return an equal fact: what was counted is the same in every run of a cell."""
        if isinstance(fact, dict) and fact.get("provenance") == Provenance.COUNTED:
            shared: JsonValue = self._mappings.setdefault(to_json(fact), fact)
            return shared
        return fact

    def _common(self, part: Part) -> Part:
        key = type(part), part.model_dump_json()
        if key not in self._parts:
            self._parts[key] = self._copy(part)
        found: Part = self._parts[key]
        return found

    def _gap(self, gap: Measurement) -> Measurement:
        key = tuple(value for name, value in gap.__dict__.items() if name not in _LEFT_OUT)
        if key not in self._gaps:
            self._gaps[key] = self._copy(gap)
        return self._gaps[key]
