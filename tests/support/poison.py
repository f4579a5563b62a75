"""Records and raw samples whose every text holds an attack, as far as their schemas admit it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from copy import deepcopy
from dataclasses import fields as fields_of
from dataclasses import is_dataclass, replace
from typing import Any

from pydantic import ValidationError
from record_factory import Run

from leanboard.results.identity import sealed
from leanboard.results.schema import Record, TraceFile
from leanboard.results.traces import to_parquet, trace_rows

Path = tuple[Any, ...]

PAYLOADS: Mapping[str, str] = {
    "attribute": "\"'><script>PWNED=1</script><img src=x onerror=PWNED=1>",
    "dialog": '"><script>alert(1)</script>',
    "scheme": "javascript:alert(1)",
    "script": "</script><svg onload=alert(1)>",
    "comment": "--><!--]]><textarea></title><base href=https://evil.example/>",
    "formula": '=HYPERLINK("x")',
    "command": "@SUM(1+1)*cmd|' /C calc'!A0",
    "path": "../../etc/x",
    "template": "{{31337*31337}}${31337*31337}{% raw %}",
    "backslash": "\\u202e\\\\u0000\\b\\\x08",
    "control": "plain\x00\x1b[31mred\u202esdrawkcab\u2066\u0085",
    "url": "//evil.example/x?y=\" onmouseover=alert(1) z='",
}
"""By name, what a record may be made to say. Whatever runs sets PWNED or opens a dialog."""

_FILLED: Mapping[Path, Any] = {
    ("facts",): {"note": "x", "kl_error": "x", "answers_cached": {"value": "x"}},
    ("cell", "backend", "params"): {"knob": "x", "deep": {"er": ["x"]}},
    ("environment", "settings"): {"setting": "x"},
    ("environment", "libraries"): {"blas": "x"},
    ("environment", "variables"): {"OMP_NUM_THREADS": "x"},
    ("environment", "cpu", "vulnerabilities"): {"spectre": "x"},
}
"""Open mappings that are often empty, with something to replace."""

_KEYED = (
    ("facts",),
    ("environment", "packages"),
    ("environment", "settings"),
    ("environment", "threads"),
    ("environment", "libraries"),
    ("environment", "variables"),
    ("environment", "cpu", "cache_bytes"),
    ("environment", "cpu", "vulnerabilities"),
    ("measurements",),
)
"""Mappings whose names are free."""


def poisoned(record: Record, payload: str) -> tuple[Record, set[str]]:
    """Return the record with the payload in every text that may be any, and where these are.

    Every field of the schema is tried, those without a value too: none is listed by name.
    """
    fields = record.model_dump(mode="json")
    for path, filled in _FILLED.items():
        _at(fields, path[:-1])[path[-1]] = deepcopy(filled)
    admitted: dict[Path, bool] = {}
    planted = set()
    for path in list(_leaves(fields)):
        pattern = _pattern(path)
        if admitted.get(pattern) is not False:
            admitted[pattern] = _plant(fields, path, payload)
        if admitted[pattern]:
            planted.add(".".join(map(str, pattern)))
    for path in _KEYED:
        _plant_name(fields, path, payload)
    return sealed(fields), planted


def poisoned_samples(run: Run, payload: str) -> Run:
    """Return the run with the payload in every text of its raw samples, the names of scores too."""
    if run.observation is None:
        return run
    seen = _attacked(run.observation, payload)
    traces = to_parquet(seen)
    named = TraceFile(sha256=hashlib.sha256(traces).hexdigest(), rows=trace_rows(seen))
    record = sealed(run.record.model_copy(update={"traces": named}).model_dump(mode="json"))
    return Run(record, seen, traces)


def _attacked(value: Any, payload: str) -> Any:
    """Return a value with the payload in the place of every text; a mapping gets a name more."""
    if type(value) is str:
        return payload
    if is_dataclass(value) and not isinstance(value, type):
        inside = {f.name: _attacked(getattr(value, f.name), payload) for f in fields_of(value)}
        return replace(value, **inside)
    if isinstance(value, tuple):
        return tuple(_attacked(item, payload) for item in value)
    if isinstance(value, Mapping) and value:
        inside = {name: _attacked(item, payload) for name, item in value.items()}
        return {**inside, payload: next(iter(inside.values()))}
    return value


def _plant(fields: dict[str, Any], path: Path, payload: str) -> bool:
    """Put the payload in a place, if the record is still one then."""
    parent, before = _at(fields, path[:-1]), _at(fields, path)
    parent[path[-1]] = payload
    try:
        Record.model_validate({**fields, "content_hash": "0" * 64})
    except ValidationError:
        parent[path[-1]] = before
        return False
    return True


def _plant_name(fields: dict[str, Any], path: Path, payload: str) -> None:
    """Give a mapping a name that is the payload, with a value that others have."""
    mapping = _at(fields, path)
    if not mapping and path == ("measurements",):
        return
    value = next(iter(mapping.values()), 2)
    mapping[payload] = value
    if path == ("measurements",):
        mapping[payload] = {**value, "unit": payload}
        mapping[f"{payload}.acc"] = {**value, "unit": "1"}


def _leaves(value: Any, path: Path = ()) -> Iterator[Path]:
    """Yield the path of every text and of every gap in a JSON value."""
    if isinstance(value, str) or value is None:
        yield path
    elif isinstance(value, dict):
        for key in value:
            yield from _leaves(value[key], (*path, key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _leaves(item, (*path, index))


def _pattern(path: Path) -> Path:
    """Return a path without numbers and names of metrics: alike places admit the same."""
    general = tuple("*" if isinstance(part, int) else part for part in path)
    return (general[0], "*", *general[2:]) if general[0] == "measurements" else general


def _at(value: Any, path: Path) -> Any:
    for key in path:
        value = value[key]
    return value
