"""A record's configuration and environment as terms and texts for definition lists."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

from pydantic import BaseModel

from leanboard.leaderboard.format import number, quantity
from leanboard.results.schema import Component, Environment, PerformanceCell, Record

UNKNOWN = "not known"
LONGEST = 15
_UNITS = {"_bytes": "B", "_s": "s", "_w": "W"}


@dataclass(frozen=True, slots=True)
class Term:
    """One line of a definition list; ``code`` for hashes and the like."""

    name: str
    text: str
    code: bool = False


@dataclass(frozen=True, slots=True)
class Section:
    """A titled definition list."""

    title: str
    terms: tuple[Term, ...]

    @property
    def long(self) -> bool:
        """Whether it is too long to stand open beside the others."""
        return len(self.terms) > LONGEST


def configuration(record: Record) -> tuple[Section, ...]:
    """Return what was run: the parts of the cell, and the block that it was part of."""
    cell = record.cell
    sections = [Section("Model", _terms(cell.model))]
    sections += [Section(f"Technique: {t.name}", _component(t)) for t in cell.techniques]
    if not cell.techniques:
        sections.append(Section("Technique", (Term("name", "none: the reference as it is"),)))
    sections.append(Section(f"Backend: {cell.backend.name}", _component(cell.backend)))
    sections.append(Section("Device profile", _terms(cell.device)))
    if isinstance(cell, PerformanceCell):
        sections.append(Section("Workload", _terms(cell.workload)))
        sections.append(Section("Procedure", _terms(cell.procedure)))
    else:
        sections.append(Section("Task", _terms(cell.task)))
    sections.append(Section("Block", _terms(record.block)))
    return tuple(sections)


def surroundings(environment: Environment) -> tuple[Section, ...]:
    """Return the machine and the software around the run."""
    machine = ("memory_bytes", "memory_limit_bytes", "cpu_limit", "power_source", "load_average")
    shared = ("steal_share", "virtualised")
    system = ("os", "kernel", "libc", "python", "git_sha", "git_dirty")
    values = {name: getattr(environment, name) for name in type(environment).model_fields}
    sections = [Section("Processor", _terms(environment.cpu))]
    sections += [
        Section(f"Accelerator {place}", _terms(gpu)) for place, gpu in enumerate(environment.gpus)
    ]
    sections.append(Section("Machine", tuple(_term(n, values[n]) for n in machine + shared)))
    sections.append(Section("System", tuple(_term(n, values[n]) for n in system)))
    for title, mapping in (
        ("Threads", environment.threads),
        ("Settings", environment.settings),
        ("Packages", environment.packages),
    ):
        if mapping:
            sections.append(Section(title, _mapping(mapping)))
    return tuple(sections)


def identity(record: Record) -> tuple[Term, ...]:
    """Return the ids and hashes that tell this run from every other."""
    names = ("run_id", "cell_id", "machine_id", "software_id", "content_hash", "schema_version")
    return tuple(_term(name, getattr(record, name)) for name in names)


def facts(record: Record) -> tuple[Term, ...]:
    """Return what else the run noted, as it stands in the record."""
    return _mapping(record.facts)


def _component(component: Component) -> tuple[Term, ...]:
    knobs = _mapping(component.params) or (Term("parameters", "none"),)
    return (_term("behaviour version", component.version), *knobs)


def _terms(model: BaseModel) -> tuple[Term, ...]:
    names = (name for name in type(model).model_fields if name != "params")
    return tuple(_term(name, getattr(model, name)) for name in names)


def _mapping(mapping: Mapping[str, object]) -> tuple[Term, ...]:
    return tuple(_term(name, mapping[name], readable=False) for name in sorted(mapping))


def _term(name: str, value: object, *, readable: bool = True) -> Term:
    code = name.endswith(("_hash", "_id", "_sha"))
    if value is None:
        bare = next((n for n in map(name.removesuffix, (*_UNITS, "_hz")) if n != name), name)
        return Term(_words(bare), "none" if bare.endswith(("cap", "limit")) else UNKNOWN)
    if readable and isinstance(value, int | float) and not isinstance(value, bool):
        for ending, unit in _UNITS.items():
            if name.endswith(ending):
                return Term(_words(name.removesuffix(ending)), quantity(float(value), unit))
        if name.endswith("_hz"):
            return Term(_words(name.removesuffix("_hz")), f"{number(value / 1e9)} GHz")
    return Term(_words(name) if readable else name, _text(value), code)


def _text(value: object) -> str:
    if value in ({}, [], ()):
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int) and abs(value) >= 10_000:
        return f"{value:,}"
    if isinstance(value, tuple) and all(isinstance(item, str) for item in value):
        return ", ".join(value) or "none"
    if isinstance(value, dict | list | tuple):
        return json.dumps(value, sort_keys=True, ensure_ascii=False)
    return str(value)


def _words(name: str) -> str:
    return name.replace("_", " ")
