"""What tells rows apart that would read the same: sizes and knobs behind one name."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from leanboard.leaderboard.format import number, plural, quantity
from leanboard.results.schema import (
    AccuracyCell,
    Component,
    PerformanceCell,
    Procedure,
    Workload,
)
from leanboard.results.table import Row

Facets = Mapping[str, str]
Texts = tuple[str, ...]
Caps = Mapping[int | None, str]

NO_CAP = "no cap"


@dataclass(frozen=True, slots=True)
class Variant:
    """What follows each name of a row, such as `` (64 in, batch 2)``; empty where it is clear.

    ``choice`` follows the workload where a reader chooses among those of the whole board. What ends
    in ``_key`` follows a name in an address: it says all, so that other rows do not change it.
    """

    technique: str
    workload: str
    choice: str
    workload_key: str
    backend: str
    device: str
    hardware: str
    hardware_key: str


def variants(rows: Sequence[Row]) -> tuple[Variant, ...]:
    """Return what to append to the names of each row.

    Only what differs is named, and only within what a reader would compare: the work of a workload
    and the limits of a device among all rows of a machine, as models compete there; how it was
    measured among those of the same model, a technique among those of the same backend too. Hashes
    and versions come last, where nothing else tells two cells apart. Keys name all but these.
    """
    machines = [row.machine_id for row in rows]
    places = [(row.machine_id, row.model) for row in rows]
    arms = [(*place, row.backend) for place, row in zip(places, rows, strict=True)]
    names = [row.workload for row in rows]
    techniques = _differing(
        _scopes(arms, [r.label for r in rows]), [knobs_of(r.cell) for r in rows]
    )
    work, rounds = [_work(r.cell.workload) for r in rows], [_rounds(r.cell.procedure) for r in rows]
    asked = _differing(_scopes(machines, names), work)
    measured = _differing(_scopes(places, names), rounds)
    workloads = [each + how for each, how in zip(asked, measured, strict=True)]
    whole = [{**each, **how} for each, how in zip(work, rounds, strict=True)]
    choices = _differing(names, whole)
    backends = _differing(arms, [dict(params_of(row.cell.backend)) for row in rows])
    caps = _caps(rows)
    exact = {cap: _exact(cap) for cap in caps}
    devices = _differing(
        _scopes(arms, [_device(row) for row in rows]), [_limits(row, caps) for row in rows]
    )
    hardware = _differing(
        _scopes(machines, [row.device for row in rows]), [_resources(row, caps) for row in rows]
    )
    seen = _scopes(
        arms,
        [(row.label, row.workload, _device(row)) for row in rows],
        techniques,
        workloads,
        backends,
        devices,
    )
    contents = _differing(seen, [_contents(row.cell) for row in rows])
    questions = _differing(seen, [_questions(row.cell) for row in rows])
    return tuple(
        Variant(
            technique=bracketed(techniques[place] + contents[place]),
            workload=bracketed(workloads[place] + questions[place]),
            choice=bracketed(choices[place] + questions[place]),
            workload_key=bracketed((*whole[place].values(), *questions[place])),
            backend=bracketed(backends[place]),
            device=bracketed(devices[place]),
            hardware=bracketed(hardware[place]),
            hardware_key=bracketed(tuple(_resources(rows[place], exact).values())),
        )
        for place in range(len(rows))
    )


def _scopes(*parts: Sequence[Hashable]) -> list[Hashable]:
    return list(zip(*parts, strict=True))


def _differing(scopes: Sequence[Hashable], facets: Sequence[Facets]) -> list[Texts]:
    """Return each row's facets that are not the same in all rows of its scope."""
    groups: dict[Hashable, list[Facets]] = {}
    for scope, facet in zip(scopes, facets, strict=True):
        groups.setdefault(scope, []).append(facet)
    varying = {scope: _varying(group) for scope, group in groups.items()}
    return [
        tuple(text for name, text in facet.items() if name in varying[scope])
        for scope, facet in zip(scopes, facets, strict=True)
    ]


def _varying(group: Sequence[Facets]) -> set[str]:
    names = {name for facets in group for name in facets}
    return {name for name in names if len({facets.get(name) for facets in group}) > 1}


def bracketed(texts: Texts) -> str:
    """Return what follows a name; nothing for nothing."""
    return f" ({', '.join(texts)})" if texts else ""


def _device(row: Row) -> Hashable:
    return row.device, row.cell.device.threads


def params_of(component: Component, prefix: str = "") -> Iterator[tuple[str, str]]:
    """Yield the names of a component's parameters, each with its text, such as ``bits=4``."""
    for name, value in sorted(component.params.items()):
        text = value if isinstance(value, str) else json.dumps(value, sort_keys=True)
        yield prefix + name, f"{prefix}{name}={text}"


def knobs_of(cell: PerformanceCell | AccuracyCell) -> Facets:
    """Return the knobs of a cell's techniques, each with its value; of several with their names."""
    techniques = cell.techniques
    several = len(techniques) > 1
    return dict(
        pair
        for technique in techniques
        for pair in params_of(technique, f"{technique.name}." if several else "")
    )


def _work(asked: Workload) -> Facets:
    return {
        "prompt_tokens": f"{asked.prompt_tokens} in",
        "output_tokens": f"{asked.output_tokens} out",
        "batch_size": f"batch {asked.batch_size}",
        "prompts": plural(asked.prompts, "prompt"),
        "output_length": f"{asked.output_length} length",
        "shapes": _shapes(asked.shapes),
    }


def _shapes(shapes: Sequence[tuple[int, int]]) -> str:
    if not shapes:
        return "one shape"
    return f"shapes {' '.join(f'{before}+{after}' for before, after in shapes)}"


def _rounds(procedure: Procedure) -> Facets:
    return {
        "rounds": plural(procedure.rounds, "round"),
        "rounds_per_launch": _launches(procedure.rounds_per_launch),
        "max_rounds": _adaptive(procedure),
        "warmup_rounds": plural(procedure.warmup_rounds, "warm-up"),
        "seed": f"seed {procedure.seed}",
    }


def _launches(rounds: int | None) -> str:
    return "one process" if rounds is None else f"{plural(rounds, 'round')} a process"


def _adaptive(procedure: Procedure) -> str:
    most = procedure.max_rounds
    return "fixed" if most is None else f"at most {plural(most, 'round')}"


def _limits(row: Row, caps: Caps) -> Facets:
    device = row.cell.device
    cap = caps[device.memory_cap_bytes]
    return {"memory_cap_bytes": cap, "reference_dtype": device.reference_dtype}


def _resources(row: Row, caps: Caps) -> Facets:
    device = row.cell.device
    cap = caps[device.memory_cap_bytes]
    return {"threads": plural(device.threads, "thread"), "memory_cap_bytes": cap}


def _caps(rows: Sequence[Row]) -> Caps:
    """Return the text of every memory cap: to the byte where two would read the same."""
    caps = {row.cell.device.memory_cap_bytes for row in rows}
    alike = Counter(map(_cap, caps))
    return {cap: _cap(cap) if alike[_cap(cap)] == 1 else _exact(cap) for cap in caps}


def _cap(cap: int | None) -> str:
    return NO_CAP if cap is None else f"cap {quantity(cap, 'B')}"


def _exact(cap: int | None) -> str:
    return NO_CAP if cap is None else f"cap {cap:,} B"


def _contents(cell: PerformanceCell) -> Facets:
    versions = {
        part.name: f"{part.name} version {part.version}"
        for part in (*cell.techniques, cell.backend)
    }
    return {**versions, "weights": f"weights {cell.model.content_hash[:8]}"}


def _questions(cell: PerformanceCell) -> Facets:
    return {
        "prompts_hash": f"prompts {cell.workload.prompts_hash[:8]}",
        "timeout_s": f"timeout {number(cell.procedure.timeout_s, 0)} s",
        "version": f"procedure version {cell.procedure.version}",
    }
