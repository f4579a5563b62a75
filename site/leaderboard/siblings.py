"""Rows that belong together: a candidate and its baseline, and runs that differ in one knob."""

from __future__ import annotations

import json
import re
from collections.abc import Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from leanboard.leaderboard.board import BoardRow
from leanboard.leaderboard.families import code_of
from leanboard.results.schema import Component, Status
from leanboard.results.table import Row

_CHANCE = "seed"
"""A knob of numbers that are no more or less of anything."""


@dataclass(frozen=True, slots=True)
class Curve:
    """Runs of one technique that differ in nothing but how far one knob is turned.

    Args:
        rows: places of two or more among the board's rows, in the order of the knob.
        title: the technique, the knob and its values.
    """

    rows: tuple[int, ...]
    title: str


@dataclass(frozen=True, slots=True)
class _Setting:
    """One run on a curve: its place among the rows, its technique, and the knob's value."""

    place: int
    technique: Component
    knob: str

    @property
    def value(self) -> Any:
        return self.technique.params[self.knob]


def curves_of(lines: Sequence[BoardRow]) -> tuple[Curve, ...]:
    """Return every curve of the board, in the order of their first rows.

    Names that stand for the same code (``gguf-q8_0``, ``gguf-q4_1``) are one technique. A run with
    several knobs is on a curve for each of them that has an order: numbers, and texts that hold
    one. A line between two criteria, or two seeds, would show a way where there is none.
    """
    groups: dict[Hashable, list[_Setting]] = {}
    for place, line in enumerate(lines):
        if line.status is Status.OK:
            for scope, setting in _settings(place, line.row):
                groups.setdefault(scope, []).append(setting)
    several = (group for group in groups.values() if len({_order(s.value) for s in group}) > 1)
    return tuple(_curve(group) for group in several)


def baselines_of(lines: Sequence[BoardRow]) -> tuple[int | None, ...]:
    """Return for each row the place of its baseline; ``None`` for baselines and where none is."""
    scopes = [_scope(line.row) for line in lines]
    places = {
        scope: place
        for place, (line, scope) in enumerate(zip(lines, scopes, strict=True))
        if line.status is Status.OK and not line.row.cell.techniques
    }
    return tuple(
        places.get(scope) if line.row.cell.techniques else None
        for line, scope in zip(lines, scopes, strict=True)
    )


def peers_of(lines: Sequence[BoardRow], some: Iterable[BoardRow]) -> list[BoardRow]:
    """Return the rows among which are all siblings of some: those on their hardware and workload.

    Runs that belong together share both, whatever else tells one size of a workload from another.
    """
    places = {(line.hardware, line.workload) for line in some}
    return [line for line in lines if (line.hardware, line.workload) in places]


def _scope(row: Row) -> Hashable:
    """Return what rows share that differ in nothing but their techniques."""
    cell = row.cell
    return (
        row.origin,
        row.machine_id,
        cell.model.name,
        cell.model.content_hash,
        cell.device,
        cell.workload,
        cell.procedure,
        _text([cell.backend.name, cell.backend.version, cell.backend.params]),
    )


def _settings(place: int, row: Row) -> Iterator[tuple[Hashable, _Setting]]:
    """Yield each knob of a run with what all runs on its curve share."""
    techniques = row.cell.techniques
    if not any(technique.params for technique in techniques):
        return
    shared = _scope(row)
    for number, technique in enumerate(techniques):
        for knob in filter(partial(_has_order, technique), technique.params):
            parts = [
                _identity(other, without=knob if i == number else None)
                for i, other in enumerate(techniques)
            ]
            yield (shared, number, knob, _text(parts)), _Setting(place, technique, knob)


def _identity(technique: Component, without: str | None) -> list[Any]:
    params = {name: value for name, value in technique.params.items() if name != without}
    return [code_of(technique).name, technique.version, technique.calibration, params]


def _curve(group: Sequence[_Setting]) -> Curve:
    ordered = sorted(group, key=lambda setting: (_order(setting.value), setting.place))
    names = {setting.technique.name for setting in group}
    code = code_of(group[0].technique).name
    name = names.pop() if len(names) == 1 else code.partition(".")[0]
    values = (s.value if isinstance(s.value, str) else _text(s.value) for s in ordered)
    title = f"{name}, {group[0].knob} = {', '.join(values)}"
    return Curve(tuple(setting.place for setting in ordered), title)


def _has_order(technique: Component, knob: str) -> bool:
    """Tell whether a run stands further along a knob, or less far, than another."""
    value = technique.params[knob]
    if isinstance(value, str):
        return any(sign.isdecimal() for sign in value)
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return number and knob != _CHANCE


def _order(value: Any) -> tuple[bool, Any]:
    """Return a key by which values of a knob sort: numbers, then texts by the numbers in them."""
    return isinstance(value, str), _natural(value) if isinstance(value, str) else value


def _natural(text: str) -> tuple[Any, ...]:
    """Return a text as words and numbers in turn, so that ``q10`` comes after ``q9``.

    Numbers compare by their length first: they may be too long to convert.
    """
    words = re.split(r"([0-9]+)", text)
    digits = [word.lstrip("0") for word in words[1::2]]
    numbers = [(len(number), number) for number in digits]
    return (*zip(words[::2], [*numbers, (0, "")], strict=True),)


def _text(value: Any) -> str:
    return json.dumps(value, sort_keys=True)
