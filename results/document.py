"""The JSON document of a record: one text for one record, and back with every check."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, NoReturn

from pydantic import ValidationError

from leanboard.results.errors import RecordError
from leanboard.results.identity import content_hash, sealed
from leanboard.results.schema import SCHEMA_VERSION, Record
from leanboard.results.upgrade import UPGRADERS, Upgrader, upgraded


def record_to_text(record: Record) -> str:
    """Return the JSON text of a record: keys sorted, indent 1, a newline at the end."""
    return json_text(record.model_dump(mode="json"))


def record_from_text(text: str, upgraders: Mapping[int, Upgrader] = UPGRADERS) -> Record:
    """Return the record in a JSON text, in the schema of this version.

    Raises:
        RecordError: if the text is not JSON, has a newer schema, was changed after it was
            written, or does not fit the schema.
    """
    fields = json_object(text)
    current = upgraded(fields, upgraders)
    _check_hash(fields)
    try:
        if fields["schema_version"] != SCHEMA_VERSION:
            return sealed(current)
        return Record.model_validate(current)
    except ValidationError as error:
        message = f"the record does not fit its schema: {_first(error)}; restore it from its source"
        raise RecordError(message) from error


def json_text(value: object) -> str:
    """Return JSON for a file that people read: sorted keys, indent 1, trailing newline."""
    return json.dumps(value, sort_keys=True, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def json_object(text: str) -> dict[str, Any]:
    """Return the fields in a JSON text.

    Raises:
        RecordError: if it is not JSON, or not an object.
    """
    try:
        fields = json.loads(text, parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        message = f"not valid JSON ({error}): truncated or corrupt; restore or delete the file"
        raise RecordError(message) from error
    if not isinstance(fields, dict):
        message = "the file holds JSON, but not a record; move it out of the store"
        raise RecordError(message)
    return fields


def _refuse(constant: str) -> NoReturn:
    message = f"{constant} is not a number of JSON"
    raise ValueError(message)


def _check_hash(fields: Mapping[str, Any]) -> None:
    try:
        actual = content_hash(fields)
    except (ValueError, RecursionError) as error:
        message = (
            f"the record cannot be hashed ({error}): it is corrupt; restore or delete the file"
        )
        raise RecordError(message) from error
    if fields.get("content_hash") != actual:
        message = (
            "the record was changed after it was written: its content hash does not fit; "
            "restore it from its source or measure again"
        )
        raise RecordError(message)


def _first(error: ValidationError) -> str:
    detail = error.errors(include_url=False, include_input=False)[0]
    where = ".".join(str(part) for part in detail["loc"])
    return f"{where}: {detail['msg']}"
