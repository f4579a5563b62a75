"""Older records are upgraded step by step; nothing is upgraded by guessing."""

from __future__ import annotations

import json
from typing import Any

import pytest
from record_factory import make_record

from leanboard.results.document import record_from_text, record_to_text
from leanboard.results.errors import RecordError
from leanboard.results.identity import content_hash
from leanboard.results.schema import SCHEMA_VERSION
from leanboard.results.upgrade import UPGRADERS, upgraded


def note_to_facts(fields: dict[str, Any]) -> dict[str, Any]:
    rest = {key: value for key, value in fields.items() if key != "note"}
    return rest | {"facts": {"note": fields["note"]}}


def old_text(**changes: Any) -> str:
    """A record of the invented schema version 0, which had ``note`` in the place of ``facts``."""
    fields = json.loads(record_to_text(make_record()))
    del fields["facts"]
    fields |= {"schema_version": 0, "note": "kept", **changes}
    return json.dumps(fields | {"content_hash": content_hash(fields)})


def test_an_old_record_is_read_in_the_schema_of_today() -> None:
    record = record_from_text(old_text(), {0: note_to_facts})
    assert record.schema_version == SCHEMA_VERSION
    assert record.facts == {"note": "kept"}
    assert record.run_id == make_record().run_id
    assert record_from_text(record_to_text(record)) == record


def test_a_changed_old_record_is_found_before_it_is_upgraded() -> None:
    fields = json.loads(old_text()) | {"note": "changed"}
    with pytest.raises(RecordError, match="changed after it was written"):
        record_from_text(json.dumps(fields), {0: note_to_facts})


def test_upgraders_run_in_order_and_leave_their_input_alone() -> None:
    steps = {1: lambda f: f | {"path": [*f["path"], 1]}, 2: lambda f: f | {"path": [*f["path"], 2]}}
    fields = {"schema_version": 1, "path": []}
    assert upgraded(fields, steps, target=3) == {"schema_version": 3, "path": [1, 2]}
    assert fields == {"schema_version": 1, "path": []}


def test_a_newer_record_asks_for_an_upgrade_of_leanboard() -> None:
    with pytest.raises(RecordError, match=r"schema version 2.*upgrade leanboard"):
        upgraded({"schema_version": 2})


def test_there_is_an_upgrader_for_every_version_that_was_ever_published() -> None:
    assert set(UPGRADERS) == set(range(1, SCHEMA_VERSION))
