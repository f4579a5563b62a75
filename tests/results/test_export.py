"""Downloads are tidy, typed, reproducible to the byte, and harmless in a spreadsheet."""

from __future__ import annotations

import csv
import errno
import io
import os
import random
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from record_factory import make_environment, make_record, make_run

from leanboard.metrics.registry import METRICS
from leanboard.results.errors import LeanboardError
from leanboard.results.export import (
    _csv_lines,
    comparison_frame,
    long_frame,
    wide_frame,
    write_exports,
)
from leanboard.results.export_cells import REAL, TEXT, Block, chunks_of
from leanboard.results.identity import sealed
from leanboard.results.schema import Record
from leanboard.results.store import Entry, Loaded

FILES = [
    "comparisons.csv",
    "comparisons.parquet",
    "data-dictionary.csv",
    "results-long.csv",
    "results-long.parquet",
    "results-wide.csv",
    "results-wide.parquet",
]


def entry(record: Record) -> Entry:
    return Entry(record, "local", Path(f"{record.run_id}.json"))


@pytest.fixture(scope="module")
def entries() -> tuple[Entry, ...]:
    baseline = make_run()
    records = [
        baseline.record,
        make_record(techniques=["bf16"], baseline=baseline, warnings=["first", "second"]),
        make_record(kind="accuracy"),
        make_record(kind="accuracy", techniques=["bf16"]),
        make_record(techniques=["int4"], status="unsupported", error="=no int4 kernel, on a CPU"),
    ]
    return tuple(map(entry, records))


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_the_long_table_has_a_row_a_record_and_metric(entries: tuple[Entry, ...]) -> None:
    frame = long_frame(entries)
    measured = sum(len(e.record.measurements) for e in entries)
    assert len(frame) == measured + 1
    one = frame[(frame.metric == "tpot_s") & (frame.techniques == "bf16")].iloc[0]
    stored = entries[1].record.measurements["tpot_s"]
    assert stored.interval is not None
    assert one["value"] == stored.value
    assert (one["low"], one["high"]) == (stored.interval.low, stored.interval.high)
    assert (one["unit"], one["n"], one["provenance"]) == ("s", 8, "measured")
    assert (one["workload"], pd.isna(one["task"])) == ("chat", True)
    assert one["licence"] == "CC-BY-4.0"


def test_the_comparisons_have_a_row_a_candidate_metric_and_statistic(
    entries: tuple[Entry, ...],
) -> None:
    frame = comparison_frame(entries)
    assert len(frame) == sum(len(e.record.comparisons) for e in entries)
    one = frame[(frame.metric == "tpot_s") & (frame.statistic == "ratio")].iloc[0]
    stored = next(c for c in entries[1].record.comparisons if c.metric == "tpot_s")
    assert stored.interval is not None
    assert (one["value"], one["low"], one["high"]) == (
        stored.value,
        stored.interval.low,
        stored.interval.high,
    )
    assert (one["baseline_run"], one["verdict"]) == (entries[0].record.run_id, stored.verdict.value)
    assert (one["unit"], one["techniques"], one["workload"]) == ("1", "bf16", "chat")


def test_a_score_is_compared_with_its_interval_and_its_exact_p() -> None:
    baseline = make_run(kind="accuracy")
    compared = make_record(kind="accuracy", techniques=["bf16"], baseline=baseline, number=1)
    frame = comparison_frame([entry(baseline.record), entry(compared)])
    one = frame[(frame.metric == "acc") & (frame.statistic == "difference")].iloc[0]
    stored = compared.comparisons[0]
    assert (one["task"], one["n"], one["unit"]) == ("arc_easy", stored.n, "1")
    assert (one["p_value"], one["stderr"]) == (stored.p_value, stored.stderr)
    ratio = frame[(frame.metric == "acc") & (frame.statistic == "ratio")].iloc[0]
    assert pd.isna(ratio["p_value"])


def test_every_column_of_the_comparisons_that_is_no_identity_is_described(
    entries: tuple[Entry, ...], tmp_path: Path
) -> None:
    write_exports(Loaded(entries), tmp_path)
    described = {row["metric"] for row in rows(tmp_path / "data-dictionary.csv")}
    assert {"statistic", "baseline_run", "low", "high", "n", "stderr", "p_value", "verdict"} <= (
        described & set(comparison_frame(entries))
    )


def test_what_was_not_measured_is_null_with_its_reason(entries: tuple[Entry, ...]) -> None:
    frame = long_frame(entries)
    absent = frame[frame.value.isna()]
    assert len(absent) > 0
    assert absent.reason.notna().all()
    assert frame[frame.value.notna()].provenance.notna().all()


def test_a_run_that_failed_is_a_row_with_its_message(entries: tuple[Entry, ...]) -> None:
    failed = long_frame(entries).query("status == 'unsupported'")
    assert failed.reason.tolist() == ["=no int4 kernel, on a CPU"]
    assert failed.metric.isna().all()


def test_the_wide_table_has_a_row_a_cell_and_a_provenance_a_metric(
    entries: tuple[Entry, ...],
) -> None:
    frame = wide_frame(entries)
    assert frame.techniques.tolist() == ["none", "bf16", "int4"]
    row = frame.iloc[1]
    assert row["tpot_s"] == entries[1].record.measurements["tpot_s"].value
    assert row["tpot_s__provenance"] == "measured"
    assert row["energy_per_output_token_j__provenance"] == "modelled"
    assert row["arc_easy.acc_norm"] == entries[3].record.measurements["acc_norm"].value
    assert row["warnings"] == "first; second"
    assert pd.isna(frame.iloc[2]["tpot_s"])
    assert frame.iloc[2]["error"] == "=no int4 kernel, on a CPU"


def test_the_dictionary_describes_every_metric_column(
    entries: tuple[Entry, ...], tmp_path: Path
) -> None:
    write_exports(Loaded(entries), tmp_path)
    described = {row["metric"]: row for row in rows(tmp_path / "data-dictionary.csv")}
    columns = [c for c in wide_frame(entries) if f"{c}__provenance" in wide_frame(entries)]
    assert set(columns) <= set(described)
    assert {m.name for m in METRICS} <= set(described)
    assert described["tpot_s"]["unit"] == "s"
    assert described["arc_easy.acc"]["direction"] == "higher"
    assert described["arc_easy.acc"]["doc"].startswith("On arc_easy: ")


def test_the_dictionary_names_every_unit_of_a_metric_that_is_not_known(tmp_path: Path) -> None:
    def hopping(unit: str, **options: Any) -> Entry:
        fields = make_record(**options).model_dump(mode="json")
        fields["measurements"]["hops"] = {**fields["measurements"]["tpot_s"], "unit": unit}
        return entry(sealed(fields))

    found = (hopping("hop"), hopping("B", techniques=["bf16"]))
    write_exports(Loaded(found), tmp_path)
    described = {row["metric"]: row for row in rows(tmp_path / "data-dictionary.csv")}
    assert described["hops"]["unit"] == "B or hop"
    long = [row for row in rows(tmp_path / "results-long.csv") if row["metric"] == "hops"]
    assert sorted(row["unit"] for row in long) == ["B", "hop"]


def test_the_dictionary_describes_every_column_of_every_table(
    entries: tuple[Entry, ...], tmp_path: Path
) -> None:
    write_exports(Loaded(entries), tmp_path)
    described = {row["metric"]: row["doc"] for row in rows(tmp_path / "data-dictionary.csv")}
    for name in ("comparisons", "results-long", "results-wide"):
        for column in rows(tmp_path / f"{name}.csv")[0]:
            _, mark, ending = column.rpartition("__")
            assert described[f"METRIC__{ending}" if mark else column], column


def test_the_same_records_give_the_same_bytes_in_any_order(
    entries: tuple[Entry, ...], tmp_path: Path
) -> None:
    shuffled = list(entries)
    random.Random(3).shuffle(shuffled)
    first = write_exports(Loaded(entries), tmp_path / "a")
    second = write_exports(Loaded(tuple(shuffled)), tmp_path / "b")
    assert [path.name for path in first] == FILES
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]


def test_parquet_and_csv_hold_the_same_numbers(entries: tuple[Entry, ...], tmp_path: Path) -> None:
    write_exports(Loaded(entries), tmp_path)
    frames = {
        "comparisons": comparison_frame(entries),
        "results-long": long_frame(entries),
        "results-wide": wide_frame(entries),
    }
    for name, frame in frames.items():
        pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / f"{name}.parquet"), frame)
        text = rows(tmp_path / f"{name}.csv")
        assert list(text[0]) == list(frame.columns)
        for column in frame.select_dtypes("float64"):
            numbers = [float(row[column]) if row[column] else None for row in text]
            assert numbers == [None if pd.isna(v) else v for v in frame[column]]


def test_an_export_of_nothing_has_headers_and_no_rows(tmp_path: Path) -> None:
    write_exports(Loaded(), tmp_path)
    assert rows(tmp_path / "results-long.csv") == []
    assert "run_id" in (tmp_path / "results-wide.csv").read_text()
    assert len(pd.read_parquet(tmp_path / "results-wide.parquet")) == 0


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r"])
def test_text_is_never_a_formula_in_a_spreadsheet(tmp_path: Path, start: str) -> None:
    evil = f'{start}HYPERLINK("http://x.example")'
    model = make_record().cell.model.model_copy(update={"licence": evil})
    record = make_record(model=model, status="failed", error=evil, suite=evil)
    write_exports(Loaded((entry(record),)), tmp_path)
    (long,), (wide,) = rows(tmp_path / "results-long.csv"), rows(tmp_path / "results-wide.csv")
    assert (long["reason"], wide["error"], long["suite"]) == (f"'{evil}",) * 3
    assert pd.read_parquet(tmp_path / "results-long.parquet").reason[0] == evil


def test_the_lines_are_those_of_the_csv_module(tmp_path: Path) -> None:
    texts = ["plain", "", None, 'a "quote"', "a, comma", "two\nlines", "\u00e9\u2028", " room "]
    numbers = [0.0, -1.5, None, 1e-7, 1e22, 12, True, 0.1]
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\n").writerows(zip(texts, numbers, texts, strict=True))
    chunk = {"a": texts, "b": numbers, "c": texts}
    lines = _csv_lines(chunk, {"a": TEXT, "b": REAL, "c": TEXT})
    assert lines.decode() == text.getvalue()


def test_negative_numbers_stay_numbers(tmp_path: Path) -> None:
    fields = make_record().model_dump()
    fields["measurements"]["tpot_s"]["value"] = -1.5
    write_exports(Loaded((entry(sealed(fields)),)), tmp_path)
    assert rows(tmp_path / "results-wide.csv")[0]["tpot_s"] == "-1.5"


@pytest.mark.parametrize("name", ["run_id", "status", "tpot_s__provenance"])
def test_a_metric_cannot_hide_another_column(name: str) -> None:
    fields = make_record().model_dump()
    fields["measurements"][name] = fields["measurements"]["tpot_s"]
    record = sealed(fields)
    frame = wide_frame([entry(record)])
    assert frame.run_id[0] == record.run_id
    assert frame.status[0] == "ok"
    assert frame.tpot_s__provenance[0] == "measured"


def test_records_of_two_machines_stay_apart() -> None:
    other = make_record(environment=make_environment(gpu="Example GPU"), number=1)
    assert wide_frame([entry(make_record()), entry(other)]).machine.nunique() == 2


def test_an_export_onto_a_full_disk_says_so(
    entries: tuple[Entry, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(handle: int) -> None:
        raise OSError(errno.ENOSPC, f"No space left on device {handle}")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(LeanboardError, match="no space left"):
        write_exports(Loaded(entries), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_rows_are_cut_into_chunks_across_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("leanboard.results.export_cells.CHUNK_ROWS", 2)
    blocks = [
        Block({"run": "a"}, {"metric": ["x", "y", "z"]}, 3),
        Block({"run": "b", "reason": "failed"}),
    ]
    assert list(chunks_of(["run", "metric", "reason"], blocks)) == [
        {"run": ["a", "a"], "metric": ["x", "y"], "reason": [None, None]},
        {"run": ["a", "b"], "metric": ["z", None], "reason": [None, "failed"]},
    ]
    assert list(chunks_of(["run"], [])) == [{"run": []}]
