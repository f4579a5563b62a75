"""A record's configuration and environment as terms and texts for definition lists."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

from pydantic import BaseModel

from leanboard.leaderboard.format import number, quantity
from leanboard.leaderboard.remembered import Remembered
from leanboard.results.schema import (
    Component,
    Cpu,
    Environment,
    Gpu,
    PerformanceCell,
    Procedure,
    Record,
)

UNKNOWN = "not known"
LONGEST = 15
_SYSTEM = ("os", "kernel", "libc", "python", "git_sha", "git_dirty")
_NONE_WITHOUT = frozenset(
    {"memory_cap", "memory_limit", "cpu_limit", "limit", "virtualised", "container"}
)
_JSON = json.JSONEncoder(sort_keys=True, ensure_ascii=False)
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
    return (*settings(record), block_of(record))


def block_of(record: Record) -> Section:
    """Return the block that a run was part of."""
    return Section("Block", _terms(record.block))


def settings(record: Record) -> tuple[Section, ...]:
    """Return the parts of a run's cell."""
    cell = record.cell
    sections = [Section("Model", _part(cell.model))]
    sections += [Section(f"Technique: {t.name}", _component(t)) for t in cell.techniques]
    if not cell.techniques:
        sections.append(Section("Technique", (Term("name", "none: the reference as it is"),)))
    sections.append(Section(f"Backend: {cell.backend.name}", _component(cell.backend)))
    sections.append(Section("Device profile", _part(cell.device)))
    if isinstance(cell, PerformanceCell):
        sections.append(Section("Workload", _part(cell.workload)))
        sections.append(Section("Procedure", _procedure(cell.procedure)))
    else:
        sections.append(Section("Task", _part(cell.task)))
    return tuple(sections)


def surroundings(environment: Environment) -> tuple[Section, ...]:
    """Return the machine and the software around the run; of equal runs it is one object."""
    return _environment(environment)


def _surroundings(environment: Environment) -> tuple[Section, ...]:
    parts = {name: getattr(environment, name) for name in type(environment).model_fields}
    plain = {n: v for n, v in parts.items() if not isinstance(v, dict | tuple | BaseModel)}
    machine = {name: value for name, value in plain.items() if name not in _SYSTEM}
    sections = [Section("Processor", _device(environment.cpu))]
    sections += [
        Section(f"Accelerator {place}", _device(gpu)) for place, gpu in enumerate(environment.gpus)
    ]
    sections.append(Section("Machine", _known(machine)))
    sections.append(Section("System", _known({name: plain[name] for name in _SYSTEM})))
    titled = {**_mappings(environment.cpu, "Processor: "), **_mappings(environment)}
    sections += [Section(title, _shared(titled[title])) for title in sorted(titled)]
    return tuple(sections)


def identity(record: Record) -> tuple[Term, ...]:
    """Return the ids and hashes that tell this run from every other."""
    names = ("run_id", "cell_id", "machine_id", "software_id", "content_hash", "schema_version")
    return tuple(_term(name, getattr(record, name)) for name in names)


def facts(record: Record) -> tuple[Term, ...]:
    """Return what else the run noted, as it stands in the record."""
    return _mapping(record.facts)


def _scalars(model: BaseModel) -> dict[str, object]:
    values = {name: getattr(model, name) for name in type(model).model_fields}
    return {name: value for name, value in values.items() if not isinstance(value, dict)}


def _mappings(model: BaseModel, before: str = "") -> dict[str, Mapping[str, object]]:
    """Return the open mappings of a model that hold anything, with their titles."""
    values = {name: getattr(model, name) for name in type(model).model_fields}
    return {
        before + _words(name).capitalize(): value
        for name, value in values.items()
        if isinstance(value, dict) and value
    }


def _known(values: Mapping[str, object]) -> tuple[Term, ...]:
    """Return what is known line by line, and in one last line the names of what is not."""
    terms = [_term(name, value) for name, value in values.items()]
    unknown = ", ".join(term.name for term in terms if term.text == UNKNOWN)
    known = tuple(term for term in terms if term.text != UNKNOWN)
    return (*known, Term(UNKNOWN, unknown)) if unknown else known


def _procedure_terms(procedure: Procedure) -> tuple[Term, ...]:
    """Return the procedure's terms: what it leaves open is a limit that it does not set."""
    return tuple(
        Term(term.name, "none" if term.text == UNKNOWN else term.text) for term in _terms(procedure)
    )


def _component_terms(component: Component) -> tuple[Term, ...]:
    knobs = _mapping(component.params) or (Term("parameters", "none"),)
    version = _term("behaviour version", component.version)
    if component.calibration is None:
        return (version, *knobs)
    return (version, *knobs, Term("calibration text", component.calibration, code=True))


def _terms(model: BaseModel) -> tuple[Term, ...]:
    names = (name for name in type(model).model_fields if name != "params")
    return tuple(_term(name, getattr(model, name)) for name in names)


def _mapping(mapping: Mapping[str, object]) -> tuple[Term, ...]:
    return tuple(_term(name, mapping[name], readable=False) for name in sorted(mapping))


def _term(name: str, value: object, *, readable: bool = True) -> Term:
    code = name.endswith(("_hash", "_id", "_sha"))
    if value is None:
        bare = next((n for n in map(name.removesuffix, (*_UNITS, "_hz")) if n != name), name)
        return Term(_words(bare), "none" if bare in _NONE_WITHOUT else UNKNOWN)
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
        return _JSON.encode(value)
    return str(value)


def _words(name: str) -> str:
    return name.replace("_", " ")


def _device_terms(device: Cpu | Gpu) -> tuple[Term, ...]:
    return _known(_scalars(device))


# What many runs have in common is described once.
_part = Remembered(_terms)
_component = Remembered(_component_terms)
_procedure = Remembered(_procedure_terms)
_device = Remembered(_device_terms)
_environment = Remembered(_surroundings)
_shared = Remembered(_mapping)
