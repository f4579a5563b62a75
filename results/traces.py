"""Raw samples of a run as one Parquet file: rows in typed columns, the rest in its metadata.

Read it with ``pandas.read_parquet``: one row a request (or step, item, answer), times in seconds
on the run's monotonic clock, ``token_s`` and ``output_ids`` as lists. Series, energy windows and
facts are JSON under the file's metadata keys ``leanboard.series``, ``.windows`` and ``.facts``;
what was around each round (memory, load, clocks) under ``.rounds``.

A format may grow optional columns: where a file lacks one its values are ``None``, and columns
that this version does not know are ignored.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, asdict, fields
from functools import partial
from io import BytesIO
from typing import Any, TypeVar

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from leanboard.metrics.trace import (
    AnswerObservation,
    AnswerTrace,
    EnergyWindow,
    ItemObservation,
    ItemTrace,
    Observation,
    Phase,
    Provenance,
    Quantity,
    RequestObservation,
    RequestTrace,
    RoundTrace,
    Series,
    StepTrace,
    TrainingObservation,
)
from leanboard.results.errors import RecordError
from leanboard.results.frozen import LARGEST
from leanboard.results.unpacking import columns_in, opened

FORMAT_VERSION = 1
_T = TypeVar("_T", RequestTrace, StepTrace, ItemTrace)
SCORE = "score."
"""How the column of a task's score begins."""
_OPTIONAL = frozenset(
    {
        "encoded_s",
        "drafted",
        "accepted",
        "target_forwards",
        "error",
        "loss",
        "client_s",
        "launch",
        "tie_gap_nats",
        "stratum",
        "output_ids",
        "kl_nats",
        "agreeing",
        "kl_rest",
    }
)
_ANY_FLOAT = frozenset({"loss", "tie_gap_nats", "kl_nats", "kl_rest"})
"""Columns whose readers judge what is no finite number, as those of scores do."""
CORRUPT = (
    pa.ArrowException,
    AttributeError,
    KeyError,
    OSError,
    RecursionError,
    TypeError,
    ValueError,
)
"""What reading a file that is no trace file may raise."""
_FLOATS, _IDS = pa.list_(pa.float64()), pa.list_(pa.int32())
TYPES: Mapping[str, Mapping[str, pa.DataType]] = {
    "requests": {
        "prompt_id": pa.string(),
        "arm": pa.string(),
        "round": pa.int64(),
        "warmup": pa.bool_(),
        "batch": pa.int64(),
        "scheduled_s": pa.float64(),
        "sent_s": pa.float64(),
        "encoded_s": pa.float64(),
        "token_s": _FLOATS,
        "prompt_tokens": pa.int64(),
        "output_ids": _IDS,
        "drafted": pa.int64(),
        "accepted": pa.int64(),
        "target_forwards": pa.int64(),
        "error": pa.string(),
        "launch": pa.int64(),
        "client_s": pa.float64(),
        "tie_gap_nats": pa.float64(),
    },
    "steps": {
        "step": pa.int64(),
        "started_s": pa.float64(),
        "ended_s": pa.float64(),
        "tokens": pa.int64(),
        "samples": pa.int64(),
        "loss": pa.float64(),
    },
    "items": {
        "item_id": pa.string(),
        "sent_s": pa.float64(),
        "done_s": pa.float64(),
        "batch": pa.int64(),
        "error": pa.string(),
    },
    "answers": {
        "item_id": pa.string(),
        "loglikelihoods": _FLOATS,
        "tokens": pa.int64(),
        "text_bytes": pa.int64(),
        "stratum": pa.string(),
        "output_ids": _IDS,
        "kl_nats": pa.float64(),
        "agreeing": pa.int64(),
        "kl_rest": pa.float64(),
    },
}
"""The columns of each kind of samples; answers have one more for each score."""


def kind_of(observation: Observation) -> str:
    """Return ``requests``, ``steps``, ``items`` or ``answers``."""
    kinds = {
        RequestObservation: "requests",
        TrainingObservation: "steps",
        ItemObservation: "items",
        AnswerObservation: "answers",
    }
    return kinds[type(observation)]


def trace_rows(observation: Observation) -> int:
    """Return the number of rows of the observation's trace file."""
    return len(getattr(observation, kind_of(observation)))


def to_parquet(observation: Observation) -> bytes:
    """Return the Parquet file of an observation; the same observation gives the same bytes."""
    kind = kind_of(observation)
    traces = getattr(observation, kind)
    types = dict(TYPES[kind])
    columns = {name: [getattr(trace, name) for trace in traces] for name in types}
    if kind == "answers":
        for name in sorted({score for trace in traces for score in trace.scores}):
            types[SCORE + name] = pa.float64()
            columns[SCORE + name] = [trace.scores.get(name) for trace in traces]
    metadata = {
        "leanboard.kind": kind,
        "leanboard.format": str(FORMAT_VERSION),
        "leanboard.series": _json([asdict(series) for series in observation.series]),
        "leanboard.windows": _json([asdict(window) for window in observation.windows]),
        "leanboard.facts": _json({k: asdict(q) for k, q in observation.facts.items()}),
    }
    if isinstance(observation, RequestObservation):
        metadata["leanboard.rounds"] = _json([asdict(seen) for seen in observation.rounds])
    schema = pa.schema(list(types.items()), metadata=metadata)
    sink = BytesIO()
    pq.write_table(pa.table(columns, schema=schema), sink, compression="zstd", compression_level=3)
    return sink.getvalue()


def from_parquet(data: bytes) -> Observation:
    """Return the observation in a Parquet file.

    Raises:
        RecordError: if the bytes are not a trace file, or are of a newer format.
    """
    try:
        schema = opened(data).schema_arrow
        metadata = {key.decode(): value.decode() for key, value in (schema.metadata or {}).items()}
        if int(metadata["leanboard.format"]) > FORMAT_VERSION:
            message = "the trace file has a newer format than this leanboard: upgrade leanboard"
            raise RecordError(message)
        kind = metadata["leanboard.kind"]
        _check_types(schema, kind)
        table = columns_in(data, schema, [n for n in schema.names if is_known(n, kind)])
        _check_columns(table, kind)
        return _observation(table, metadata)
    except CORRUPT as error:
        message = f"not a trace file ({type(error).__name__}: {error}); fetch the record again"
        raise RecordError(message) from error


def is_known(column: str, kind: str) -> bool:
    """Return whether a kind of samples has a column."""
    return column in TYPES[kind] or (kind == "answers" and column.startswith(SCORE))


def _check_types(schema: pa.Schema, kind: str) -> None:
    for name in filter(partial(is_known, kind=kind), schema.names):
        expected, found = TYPES[kind].get(name, pa.float64()), schema.field(name).type
        if found != expected:
            message = f"column {name} holds {found}, not {expected}"
            raise ValueError(message)


def _check_columns(table: pa.Table, kind: str) -> None:
    for name, expected in TYPES[kind].items():
        if name in _OPTIONAL and name not in table.column_names:
            continue
        column = table.column(name)
        if column.null_count and name not in _OPTIONAL:
            message = f"column {name} has nulls"
            raise ValueError(message)
        if expected in (pa.float64(), _FLOATS) and name not in _ANY_FLOAT:
            _check_numbers(name, column)


def _check_numbers(name: str, column: pa.ChunkedArray) -> None:
    """Refuse times and log-likelihoods that nothing can be derived from, or drawn."""
    flat = pc.list_flatten(column) if column.type == _FLOATS else column
    if pc.all(pc.less_equal(pc.abs(flat), LARGEST)).as_py() is False:
        message = f"column {name} holds what is no number, or one beyond {LARGEST:g}"
        raise ValueError(message)


def _observation(table: pa.Table, metadata: Mapping[str, str]) -> Observation:
    kind = metadata["leanboard.kind"]
    common: dict[str, Any] = {
        "series": tuple(_series(s) for s in json.loads(metadata["leanboard.series"])),
        "windows": tuple(_window(w) for w in json.loads(metadata["leanboard.windows"])),
        "facts": {
            name: Quantity(q["value"], q["unit"], Provenance(q["provenance"]))
            for name, q in json.loads(metadata["leanboard.facts"]).items()
        },
    }
    rows = table.to_pylist()
    build: dict[str, Callable[[], Observation]] = {
        "requests": lambda: RequestObservation(
            requests=_traces(RequestTrace, rows),
            rounds=tuple(_round(r) for r in json.loads(metadata.get("leanboard.rounds", "[]"))),
            **common,
        ),
        "steps": lambda: TrainingObservation(steps=_traces(StepTrace, rows), **common),
        "items": lambda: ItemObservation(items=_traces(ItemTrace, rows), **common),
        "answers": lambda: AnswerObservation(answers=_answers(rows), **common),
    }
    return build[kind]()


def _traces(kind: type[_T], rows: Sequence[Mapping[str, Any]]) -> tuple[_T, ...]:
    # A column that an older file lacks leaves the field at its default, or without a value.
    absent = {f.name: None if f.default is MISSING else f.default for f in fields(kind)}
    frozen: list[dict[str, Any]] = [
        {name: _frozen(row.get(name, default)) for name, default in absent.items()} for row in rows
    ]
    return tuple(kind(**row) for row in frozen)


def _answers(rows: Sequence[Mapping[str, Any]]) -> tuple[AnswerTrace, ...]:
    return tuple(
        AnswerTrace(
            item_id=row["item_id"],
            scores={
                name.removeprefix(SCORE): value
                for name, value in row.items()
                if name.startswith(SCORE) and value is not None
            },
            loglikelihoods=tuple(row["loglikelihoods"]),
            tokens=row["tokens"],
            text_bytes=row["text_bytes"],
            stratum=row.get("stratum") or "",
            output_ids=tuple(row.get("output_ids") or ()),
            kl_nats=row.get("kl_nats"),
            agreeing=row.get("agreeing"),
            kl_rest=row.get("kl_rest"),
        )
        for row in rows
    )


def _frozen(value: object) -> object:
    return tuple(value) if isinstance(value, list) else value


def _round(fields_: Mapping[str, Any]) -> RoundTrace:
    values: dict[str, Any] = {name: _frozen(value) for name, value in fields_.items()}
    return RoundTrace(**values)


def _series(fields_: Mapping[str, Any]) -> Series:
    values: dict[str, Any] = {name: _frozen(value) for name, value in fields_.items()}
    return Series(**{**values, "provenance": Provenance(fields_["provenance"])})


def _window(fields_: Mapping[str, Any]) -> EnergyWindow:
    enums = {"phase": Phase(fields_["phase"]), "provenance": Provenance(fields_["provenance"])}
    return EnergyWindow(**{**fields_, **enums})


def _json(value: object) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
