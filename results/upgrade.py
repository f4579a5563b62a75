"""Step by step from an older record schema to this one.

A new schema version adds one function here, keyed by the version that it reads. A published
record is never edited: it is upgraded in memory each time it is read.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from leanboard.results.errors import RecordError
from leanboard.results.schema import SCHEMA_VERSION

Fields = dict[str, Any]
Upgrader = Callable[[Fields], Fields]

UPGRADERS: Mapping[int, Upgrader] = {}
"""Schema version to the function that turns its fields into those of the next version."""


def upgraded(
    fields: Mapping[str, Any],
    upgraders: Mapping[int, Upgrader] = UPGRADERS,
    target: int = SCHEMA_VERSION,
) -> Fields:
    """Return a record's JSON fields in the schema version ``target``.

    Raises:
        RecordError: if the version is missing, newer than ``target``, or cannot be upgraded.
    """
    result = dict(fields)
    version = _version(result)
    if version > target:
        message = (
            f"the record has schema version {version}, this leanboard reads up to {target}: "
            "upgrade leanboard"
        )
        raise RecordError(message)
    while version < target:
        upgrader = upgraders.get(version)
        if upgrader is None:
            message = f"schema version {version} of the record is not known: it is corrupt"
            raise RecordError(message)
        result = {**upgrader(result), "schema_version": version + 1}
        version += 1
    return result


def _version(fields: Mapping[str, Any]) -> int:
    version = fields.get("schema_version")
    if not isinstance(version, int) or isinstance(version, bool):
        message = "the record names no schema version: it is corrupt, or not a leanboard record"
        raise RecordError(message)
    return version
