"""Who is who: the identity of a cell, a block, a machine and a piece of software."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from typing import Any

from leanboard.results.schema import AccuracyCell, Environment, PerformanceCell, Record

# Labels: they say how a thing is called, not what it is.
_LABELS = {
    "model": ("name", "source", "licence", "family"),
    "device": ("name",),
    "workload": ("name", "prompts_source"),
    "procedure": ("name",),
    "task": ("data_source",),
}


_CANONICAL = json.JSONEncoder(
    sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
)


def canonical_json(value: object) -> bytes:
    """Return the one JSON text of a value: keys sorted, no spaces, UTF-8."""
    return _CANONICAL.encode(value).encode()


def digest(value: object) -> str:
    """Return the sha256 (hex) of a value's canonical JSON."""
    return hashlib.sha256(canonical_json(value)).hexdigest()


def cell_id(cell: PerformanceCell | AccuracyCell) -> str:
    """Return 16 hex digits that identify what is measured.

    The suite, paths, human labels and the machine are not part of it. A field that holds its
    default is left out: the schema may grow optional fields, and cells keep their identity.
    """
    payload = cell.model_dump(mode="json", exclude_defaults=True)
    payload |= {"identity_version": cell.identity_version, "kind": cell.kind}
    for part, labels in _LABELS.items():
        if part in payload:
            payload[part] = {k: v for k, v in payload[part].items() if k not in labels}
    return digest(payload)[:16]


def machine_id(environment: Environment) -> str:
    """Return a readable slug with a fingerprint of the hardware, free of personal data."""
    hardware = {
        "cpu": environment.cpu.name,
        "flags": list(environment.cpu.flags),
        "cores": environment.cpu.logical_cores,
        "cpu_limit": environment.cpu_limit,
        "memory_gib": round(environment.memory_bytes / 2**30),
        "gpus": [gpu.name for gpu in environment.gpus],
    }
    words = [gpu.name for gpu in environment.gpus[:1]] or [environment.cpu.name]
    words += [f"{environment.cpu.logical_cores}c", f"{hardware['memory_gib']}gib"]
    slug = re.sub(r"[^a-z0-9]+", "-", " ".join(words).lower()).strip("-")
    return f"{slug[:48]}-{digest(hardware)[:8]}"


def software_id(environment: Environment) -> str:
    """Return 16 hex digits over everything installed that a number may depend on."""
    software = {
        "python": environment.python,
        "packages": environment.packages,
        "kernel": environment.kernel,
        "git": environment.git_sha,
        "dirty": environment.git_dirty,
    }
    return digest(software)[:16]


def content_hash(fields: Mapping[str, Any]) -> str:
    """Return the sha256 of a record's JSON fields, its own ``content_hash`` left out."""
    return digest({key: value for key, value in fields.items() if key != "content_hash"})


def sealed(fields: Mapping[str, Any]) -> Record:
    """Build a record from its fields and stamp it with its content hash."""
    draft = Record.model_validate({**fields, "content_hash": "0" * 64})
    stamp = content_hash(draft.model_dump(mode="json"))
    return draft.model_copy(update={"content_hash": stamp})
