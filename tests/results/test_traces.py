"""Traces survive the trip through Parquet exactly, and a data user can read them."""

from __future__ import annotations

import math
from dataclasses import fields, replace
from io import BytesIO
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from record_factory import answer_observation, request_observation

from leanboard.metrics.trace import (
    AnswerObservation,
    AnswerTrace,
    EnergyWindow,
    ItemObservation,
    ItemTrace,
    Observation,
    Quantity,
    RequestObservation,
    RequestTrace,
    Series,
    StepTrace,
    TrainingObservation,
)
from leanboard.results.errors import RecordError
from leanboard.results.frozen import LARGEST
from leanboard.results.traces import from_parquet, kind_of, to_parquet, trace_rows
from leanboard.results.unpacking import MOST_ROWS

REAL = st.floats(allow_nan=False)
TIME = st.floats(min_value=-LARGEST, max_value=LARGEST)
WHOLE = st.integers(min_value=-(2**63), max_value=2**63 - 1)
TOKEN = st.integers(min_value=0, max_value=2**31 - 1)


def tuples(element: st.SearchStrategy[Any]) -> st.SearchStrategy[tuple[Any, ...]]:
    return st.lists(element, max_size=4).map(tuple)


REQUEST = st.builds(
    RequestTrace,
    prompt_id=st.text(),
    arm=st.text(),
    round=WHOLE,
    warmup=st.booleans(),
    batch=WHOLE,
    scheduled_s=TIME,
    sent_s=TIME,
    encoded_s=st.none() | TIME,
    token_s=tuples(TIME),
    prompt_tokens=WHOLE,
    output_ids=tuples(TOKEN),
    drafted=st.none() | WHOLE,
    accepted=st.none() | WHOLE,
    target_forwards=st.none() | WHOLE,
    error=st.none() | st.text(),
    launch=WHOLE,
    client_s=st.none() | TIME,
    tie_gap_nats=st.none() | REAL,
)
STEP = st.builds(
    StepTrace,
    step=WHOLE,
    started_s=TIME,
    ended_s=TIME,
    tokens=WHOLE,
    samples=WHOLE,
    loss=st.none() | REAL,
)
ITEM = st.builds(
    ItemTrace,
    item_id=st.text(),
    sent_s=TIME,
    done_s=TIME,
    batch=WHOLE,
    error=st.none() | st.text(),
)
ANSWER = st.builds(
    AnswerTrace,
    item_id=st.text(),
    scores=st.dictionaries(st.text(), REAL, max_size=3),
    loglikelihoods=tuples(TIME),
    tokens=WHOLE,
    text_bytes=WHOLE,
    stratum=st.text(),
    output_ids=tuples(TOKEN),
    kl_nats=st.none() | REAL,
    agreeing=st.none() | WHOLE,
    kl_rest=st.none() | REAL,
)
COMMON = {
    "series": tuples(
        st.builds(Series, time_s=tuples(REAL), value=tuples(REAL)),
    ),
    "windows": tuples(st.from_type(EnergyWindow).filter(lambda w: w == w)),  # noqa: PLR0124
    "facts": st.dictionaries(st.text(), st.builds(Quantity, value=REAL), max_size=3),
}
OBSERVATION = st.one_of(
    st.builds(RequestObservation, requests=tuples(REQUEST), **COMMON),
    st.builds(TrainingObservation, steps=tuples(STEP), **COMMON),
    st.builds(ItemObservation, items=tuples(ITEM), **COMMON),
    st.builds(AnswerObservation, answers=tuples(ANSWER), **COMMON),
)


def has_no_nan(observation: Observation) -> bool:
    return all(
        value is None or value == value  # noqa: PLR0124
        for window in observation.windows
        for value in (window.started_s, window.ended_s, window.energy_j)
    )


@settings(max_examples=60, deadline=None)
@given(OBSERVATION.filter(has_no_nan))
def test_any_observation_comes_back_equal_and_gives_the_same_bytes_again(
    observation: Observation,
) -> None:
    data = to_parquet(observation)
    back = from_parquet(data)
    assert back == observation
    assert type(back) is type(observation)
    assert to_parquet(back) == data


@pytest.mark.parametrize("time_s", [math.nan, math.inf, -1e101])
@pytest.mark.parametrize("name", ["sent_s", "encoded_s", "token_s"])
def test_times_that_cannot_be_are_refused(name: str, time_s: float) -> None:
    fair = request_observation()
    forged: Any = {name: (time_s, 1.0) if name == "token_s" else time_s}
    wild = replace(fair, requests=(*fair.requests[1:], replace(fair.requests[0], **forged)))
    with pytest.raises(RecordError, match=f"column {name} holds what is no number"):
        from_parquet(to_parquet(wild))


def test_log_likelihoods_that_cannot_be_are_refused() -> None:
    wild = AnswerObservation(answers=(AnswerTrace("0", {}, (-math.inf,), tokens=4),))
    with pytest.raises(RecordError, match="column loglikelihoods holds what is no number"):
        from_parquet(to_parquet(wild))


def test_requests_are_typed_columns_for_pandas() -> None:
    observation = request_observation()
    frame = pd.read_parquet(BytesIO(to_parquet(observation)))
    assert list(frame.columns) == [field.name for field in fields(RequestTrace)]
    assert frame["token_s"][3].tolist() == list(observation.requests[3].token_s)
    assert frame["output_ids"][0].dtype == "int32"
    assert frame["sent_s"].dtype == "float64"
    assert len(frame) == trace_rows(observation) == len(observation.requests)


def test_scores_are_one_column_each_for_pandas() -> None:
    observation = answer_observation(items=7)
    frame = pd.read_parquet(BytesIO(to_parquet(observation)))
    assert frame["score.acc"].tolist() == [a.scores["acc"] for a in observation.answers]
    assert kind_of(observation) == "answers"


@pytest.mark.parametrize("keep", [0, 100, -1])
def test_a_truncated_trace_file_is_refused_with_a_record_error(keep: int) -> None:
    data = to_parquet(request_observation())
    with pytest.raises(RecordError, match="not a trace file"):
        from_parquet(data[:keep])


def test_another_parquet_file_is_not_a_trace_file() -> None:
    sink = BytesIO()
    pd.DataFrame({"a": [1]}).to_parquet(sink)
    with pytest.raises(RecordError, match="not a trace file"):
        from_parquet(sink.getvalue())


@pytest.mark.parametrize(
    ("column", "values"),
    [
        ("token_s", pa.array([None], pa.list_(pa.float64()))),
        ("sent_s", pa.array(["soon"])),
        ("round", pa.array([0.5])),
    ],
)
def test_columns_of_another_type_or_with_holes_are_refused(column: str, values: pa.Array) -> None:
    observation = RequestObservation(requests=request_observation().requests[:1])
    table = pq.read_table(BytesIO(to_parquet(observation)))
    table = table.set_column(table.column_names.index(column), column, values)
    sink = BytesIO()
    pq.write_table(table, sink)
    with pytest.raises(RecordError, match=f"column {column}"):
        from_parquet(sink.getvalue())


def rewritten(table: pa.Table) -> bytes:
    sink = BytesIO()
    pq.write_table(table, sink)
    return sink.getvalue()


@pytest.mark.parametrize(
    "column",
    ["encoded_s", "drafted", "accepted", "target_forwards", "error", "client_s", "tie_gap_nats"],
)
def test_an_optional_column_that_came_after_the_file_is_none(column: str) -> None:
    table = pq.read_table(BytesIO(to_parquet(request_observation())))
    back = from_parquet(rewritten(table.drop_columns([column])))
    assert isinstance(back, RequestObservation)
    without = [replace(r, **{column: None}) for r in request_observation().requests]
    assert list(back.requests) == without


def test_a_required_column_may_not_be_absent() -> None:
    table = pq.read_table(BytesIO(to_parquet(request_observation())))
    with pytest.raises(RecordError, match="sent_s"):
        from_parquet(rewritten(table.drop_columns(["sent_s"])))


def test_a_small_file_of_more_rows_than_anyone_measures_is_refused_unread() -> None:
    notes = pq.read_schema(pa.BufferReader(to_parquet(request_observation()))).metadata
    table = pa.table({"round": pa.repeat(0, MOST_ROWS + 1)}).replace_schema_metadata(notes)
    data = rewritten(table)
    assert len(data) < 2**20
    with pytest.raises(RecordError, match=f"{MOST_ROWS + 1} rows; at most {MOST_ROWS}"):
        from_parquet(data)


def test_a_long_text_that_is_stored_once_may_not_stand_in_every_row() -> None:
    once = pa.array(["x" * 2**20])
    everywhere = pa.DictionaryArray.from_arrays(pa.repeat(pa.scalar(0, pa.int8()), 1000), once)
    notes = pq.read_schema(pa.BufferReader(to_parquet(request_observation()))).metadata
    notes = {name: text for name, text in notes.items() if name != b"ARROW:schema"}
    sink = BytesIO()
    with pq.ParquetWriter(sink, pa.schema([("prompt_id", pa.string())], notes)) as writer:
        writer.write_table(pa.table({"prompt_id": everywhere}).cast(writer.schema))
    data = sink.getvalue()
    assert len(data) < 2**20
    with pytest.raises(RecordError, match=f"{1000 * 2**20} bytes of text"):
        from_parquet(data)


@pytest.mark.parametrize("observation", [request_observation(), answer_observation()])
def test_a_column_that_this_version_does_not_know_is_ignored(observation: Observation) -> None:
    table = pq.read_table(BytesIO(to_parquet(observation)))
    extra = pa.array([{"x": 1}] * len(table))
    assert from_parquet(rewritten(table.append_column("of_tomorrow", extra))) == observation


def test_facts_that_are_no_mapping_are_refused() -> None:
    table = pq.read_table(BytesIO(to_parquet(request_observation())))
    metadata = table.schema.metadata | {b"leanboard.facts": b"[1]"}
    sink = BytesIO()
    pq.write_table(table.replace_schema_metadata(metadata), sink)
    with pytest.raises(RecordError, match="not a trace file"):
        from_parquet(sink.getvalue())


def test_a_newer_trace_format_asks_for_an_upgrade(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("leanboard.results.traces.FORMAT_VERSION", 2)
    data = to_parquet(request_observation())
    monkeypatch.undo()
    with pytest.raises(RecordError, match="upgrade leanboard"):
        from_parquet(data)
