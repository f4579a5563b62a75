"""Stability and sampling as columns of the downloads."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import get_args

import pandas as pd
import pytest
from record_factory import make_procedure, make_record

from leanboard.results.export import long_frame, wide_frame, write_exports
from leanboard.results.identity import sealed
from leanboard.results.reliability import (
    COLUMNS,
    DOCS,
    Reliability,
    causes,
    reliability_cells,
    reliability_of,
)
from leanboard.results.schema import Cause, Record, Sampling, Stability
from leanboard.results.store import Entry, Loaded
from leanboard.results.table import table

STEAL = Cause(kind="steal", message="9.0% of the CPU's time, the limit is 2.0%")
LOAD = Cause(kind="load", message="0.50 cores, the limit is 0.10")


def entry(record: Record) -> Entry:
    return Entry(record, "local", Path(f"{record.run_id}.json"))


def test_a_run_is_stable_unstable_or_unknown() -> None:
    record = make_record()
    assert reliability_of(record) is Reliability.STABLE
    assert reliability_of(make_record(causes=[STEAL])) is Reliability.UNSTABLE
    for silent in (None, Stability(stable=None)):
        unjudged = record.model_copy(update={"stability": silent})
        assert reliability_of(unjudged) is Reliability.UNKNOWN


def test_causes_are_one_line() -> None:
    assert causes(make_record()) == ""
    assert causes(make_record(causes=[STEAL, LOAD])) == (
        "steal: 9.0% of the CPU's time, the limit is 2.0%; load: 0.50 cores, the limit is 0.10"
    )


def test_a_row_knows_whether_its_run_was_stable() -> None:
    (row,) = table([entry(make_record(causes=[STEAL]))])
    assert (row.stability, row.causes) == (Reliability.UNSTABLE, f"steal: {STEAL.message}")


@pytest.mark.parametrize("frame_of", [long_frame, wide_frame])
def test_downloads_say_how_a_run_was_sampled(frame_of: object) -> None:
    record = make_record(procedure=make_procedure(rounds_per_launch=2), causes=[STEAL])
    assert callable(frame_of)
    row = frame_of([entry(record)]).iloc[0]
    assert [row[name] for name in COLUMNS] == [
        "unstable",
        f"steal: {STEAL.message}",
        4,
        8,
        "fixed",
    ]


def test_what_an_old_record_does_not_tell_is_null_and_its_stability_unknown() -> None:
    old = sealed(make_record().model_dump() | {"sampling": None, "stability": None})
    row = long_frame([entry(old)]).iloc[0]
    assert row["stability"] == "unknown"
    assert row[["stability_causes", "launches", "rounds", "stopped_by"]].isna().all()


def test_the_dictionary_names_every_reason_to_stop() -> None:
    reasons = get_args(Sampling.model_fields["stopped_by"].annotation)
    assert all(f"{reason} (" in DOCS["stopped_by"] for reason in reasons)


def test_a_scoring_run_has_no_stability() -> None:
    assert set(reliability_cells(make_record(kind="accuracy")).values()) == {None}
    assert pd.isna(long_frame([entry(make_record(kind="accuracy"))]).iloc[0]["stability"])


def test_the_dictionary_describes_these_columns(tmp_path: Path) -> None:
    write_exports(Loaded((entry(make_record()),)), tmp_path)
    with (tmp_path / "data-dictionary.csv").open(newline="", encoding="utf-8") as file:
        described = {row["metric"]: row["doc"] for row in csv.DictReader(file)}
    assert all(described[name] for name in COLUMNS)
    assert described["stability"] == DOCS["stability"]
    assert "An unstable run competes by its intervals" in described["stability"]
    assert "verdicts on them are in doubt" in described["stability"]
