"""The rows and columns of the board, and the trade-off that the server draws."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from demo_store import Demo
from record_factory import make_model, make_record, make_run, request_observation

from leanboard.leaderboard.board import Board, BoardRow, board_of
from leanboard.leaderboard.cells import BoardCell
from leanboard.leaderboard.charts import bounds, x_axis
from leanboard.leaderboard.choices import choices_of
from leanboard.leaderboard.data import board_script, metric_script
from leanboard.leaderboard.format import DASH
from leanboard.leaderboard.pages import Site, leaderboard, pareto
from leanboard.leaderboard.sizes import size_of
from leanboard.leaderboard.stage import UNRANKED, UNSTABLE
from leanboard.leaderboard.tradeoff import Tradeoff, default_tradeoff, tradeoff
from leanboard.metrics.metric import Role
from leanboard.metrics.pareto import pareto_front
from leanboard.metrics.registry import METRICS
from leanboard.metrics.trace import Provenance
from leanboard.results.identity import sealed
from leanboard.results.reliability import Reliability
from leanboard.results.schema import Record, Status
from leanboard.results.store import Entry, Loaded


def line(
    board: Board, label: str, workload: str = "chat", backend: str = "transformers"
) -> BoardRow:
    return next(
        row
        for row in board.lines
        if (row.label, row.workload, row.backend, row.origin)
        == (label, workload, backend, "published")
    )


def cell(board: Board, row: BoardRow, metric: str) -> BoardCell:
    return row.cell(next(column for column in board.columns if column.name == metric))


def test_a_column_with_no_value_anywhere_is_left_out(demo: Demo) -> None:
    names = {column.name for column in demo.board.columns}
    assert "tpot_s" in names
    assert "peak_allocated_bytes" not in names


def test_a_task_has_its_own_columns_and_their_mean_leads(demo: Demo) -> None:
    quality = [c.name for c in demo.board.columns if c.role.value == "quality"]
    assert quality[0] == "accuracy"
    assert {"arc_easy.acc_norm", "hellaswag.acc", "squad-passages.bits_per_byte"} <= set(quality)


def test_what_was_not_measured_is_a_dash_with_its_reason_and_never_zero(demo: Demo) -> None:
    local = next(row for row in demo.board.lines if row.origin == "local")
    gap = cell(demo.board, local, "accuracy")
    assert (gap.value, gap.text) == (None, DASH)
    assert gap.title == "not measured: no task with accuracy was scored for this arm"


def test_modelled_joules_wear_their_badge_and_are_no_axis(demo: Demo) -> None:
    column = next(c for c in demo.board.columns if c.name == "energy_per_output_token_j")
    shown = cell(demo.board, line(demo.board, "none"), column.name)
    assert (shown.estimate, shown.bar) == ("modelled", 0.0)
    assert shown.gain is None
    assert not column.axis


def test_failed_and_unsupported_runs_are_rows_with_a_reason(demo: Demo) -> None:
    reasons = {row.label: row.reason for row in demo.board.lines if row.status is not Status.OK}
    assert set(reasons) == {"nf4", "eager-all"}
    assert "nf4 needs a CUDA device" in reasons["nf4"]


def test_the_data_scripts_are_inert_text_around_plain_json(demo: Demo) -> None:
    board = demo.board
    rows, *metrics = [board_script(board), *(metric_script(board, i) for i in range(3))]
    for script in (rows, *metrics):
        assert script.isascii()
        assert not set("<>&") & set(script)
    data = json.loads(rows.removeprefix("const LEANBOARD = ").removesuffix(";\n"))
    assert data["rows"] == len(board.lines)
    assert len(data["metrics"]) == len(board.columns)
    for place, script in enumerate(metrics):
        cells = json.loads(script.removeprefix(f"LEANBOARD.cells[{place}] = ").removesuffix(";\n"))
        assert cells["value"] == [line.cell(board.columns[place]).value for line in board.lines]


def test_sizes_are_offered_from_small_to_large() -> None:
    assert [size_of(count) for count in (134_515_008, 1_000_000_000, 7_241_732_096)] == [
        "under 1B",
        "1B to 3B",
        "3B to 10B",
    ]
    counts = (70_000_000_000, 135_000_000)
    models = [make_model(f"m{count}", parameters=count) for count in counts]
    entries = [Entry(make_run(model=model).record, "local", Path("r.json")) for model in models]
    lines = board_of(Loaded(tuple(entries))).lines
    assert tuple(choices_of(lines)["size"]) == ("under 1B", "40B and more")


def against_accuracy(demo: Demo) -> Tradeoff:
    columns = {column.name: column for column in demo.board.columns}
    shown = default_tradeoff(demo.board)
    assert shown is not None
    return tradeoff(
        demo.board, columns["tpot_s"], columns["accuracy"], shown.hardware, shown.workload
    )


def test_the_default_trade_off_is_tpot_against_memory_where_most_runs_have_both(
    demo: Demo,
) -> None:
    drawn = default_tradeoff(demo.board)
    assert drawn is not None
    assert (drawn.x.name, drawn.y.name, drawn.workload) == ("tpot_s", "peak_memory_bytes", "chat")
    assert "example-cpu" in drawn.hardware


def test_the_front_is_that_of_the_metrics_package(demo: Demo) -> None:
    drawn = against_accuracy(demo)
    rows = [
        row
        for row in demo.board.lines
        if (row.hardware, row.workload) == (drawn.hardware, drawn.workload)
        and row.ranked
        and not row.unstable
        and row.status is Status.OK
    ]
    points = {
        f"{row.label} {row.backend}": [
            cell(demo.board, row, axis.name).value for axis in (drawn.x, drawn.y)
        ]
        for row in rows
    }
    expected = pareto_front(points, (drawn.x.direction, drawn.y.direction)).members
    assert {f"{found.line.label} {found.line.backend}" for found in drawn.front} == set(expected)
    assert 1 < len(expected) < len(points)


def test_requantised_quality_is_hollow_and_stays_out_of_the_front(demo: Demo) -> None:
    drawn = against_accuracy(demo)
    hollow = {mark.title.split(" ")[0] for mark in drawn.plot.marks if "hollow" in mark.css}
    requantised = {left.line.label for left in drawn.left_out if left.reason == UNRANKED}
    assert requantised == {"int8-weight-only", "int8-dynamic", "gguf-q8_0"}
    assert requantised < hollow


def test_requantised_speed_counts(demo: Demo) -> None:
    columns = {column.name: column for column in demo.board.columns}
    first = line(demo.board, "none")
    drawn = tradeoff(
        demo.board, columns["tpot_s"], columns["ttft_s"], first.hardware, first.workload
    )
    assert [left for left in drawn.left_out if left.reason == UNRANKED] == []
    drawn_hollow = [mark.title for mark in drawn.plot.marks if "hollow" in mark.css]
    assert [title.split(" ")[0] for title in drawn_hollow] == ["gguf-q4_1"]


def test_an_unstable_run_is_drawn_hollow_and_named_and_is_on_no_front(demo: Demo) -> None:
    # It failed the gate too, which does not judge where quality is an axis.
    drawn = against_accuracy(demo)
    hollow = [mark for mark in drawn.plot.marks if "hollow" in mark.css]
    fastest = min(
        (row for row in demo.board.lines if row.workload == "chat" and row.status is Status.OK),
        key=lambda row: row.cell(drawn.x).value or 0.0,
    )
    (mark,) = [mark for mark in hollow if mark.href == fastest.href]
    assert mark.title.startswith("gguf-q4_1 \u00b7 llamacpp, unstable, ")
    assert fastest not in [found.line for found in (*drawn.front, *drawn.maybe)]
    left = next(left for left in drawn.left_out if left.line == fastest)
    assert left.reason == f"{UNSTABLE} ({fastest.unstable})"
    assert "launches: gap between" in fastest.unstable


def test_a_record_without_a_judgement_is_neither_stable_nor_unstable() -> None:
    old = sealed(make_record().model_dump() | {"sampling": None, "stability": None})
    row = of(old).lines[0]
    assert (row.stability, row.unstable) == (Reliability.UNKNOWN, "")


def test_measured_joules_compete_without_the_modelled_ones_beside_them() -> None:
    arms = ("a", "b", "c")
    runs = [
        make_run(
            techniques=[arm],
            observation=request_observation(arm=arm, energy_provenance=provenance),
        )
        for arm, provenance in zip(
            arms, (Provenance.MEASURED, Provenance.MODELLED, Provenance.SIMULATED), strict=True
        )
    ]
    board = of(*(run.record for run in runs))
    x, y = (
        next(column for column in board.columns if column.name == name)
        for name in ("tpot_s", "energy_per_output_token_j")
    )
    measured = runs[0].record.measurements["energy_per_output_token_j"]
    assert measured.interval is not None
    assert y.axis
    assert y.largest == max(measured.value or 0.0, measured.interval.high)
    drawn = tradeoff(board, x, y, board.lines[0].hardware, "chat")
    assert [found.line.label for found in drawn.front] == ["a"]
    assert len(drawn.plot.marks) == 1
    assert {left.line.label: left.reason for left in drawn.left_out} == {
        "b": "Energy per output token: modelled values are shown, never compared",
        "c": "Energy per output token: simulated values are shown, never compared",
    }


@pytest.mark.parametrize(
    ("provenances", "said"),
    [
        ((Provenance.MODELLED,), True),
        ((Provenance.MODELLED, Provenance.MEASURED), False),
        ((Provenance.SIMULATED,), False),
    ],
)
def test_the_plot_says_that_joules_are_modelled_only_where_that_keeps_them_off_the_axes(
    provenances: tuple[Provenance, ...], *, said: bool
) -> None:
    runs = [
        make_run(techniques=[p.value], observation=request_observation(energy_provenance=p))
        for p in provenances
    ]
    assert pareto(Site(of(*(run.record for run in runs)), ()))["no_energy"] is said


def test_modelled_power_that_is_never_an_axis_says_nothing_of_joules() -> None:
    record = make_record()
    joules = record.measurements["energy_per_output_token_j"]
    assert joules.provenance is Provenance.MODELLED
    energy = {metric.name for metric in METRICS if metric.role is Role.ENERGY}
    other = {n: m for n, m in record.measurements.items() if n not in energy}
    board = of(record.model_copy(update={"measurements": {**other, "idle_power_w": joules}}))
    column = next(column for column in board.columns if column.name == "idle_power_w")
    assert (column.role, column.axis) == (Role.ENERGY, False)
    assert pareto(Site(board, ()))["no_energy"] is False


def of(*records: Record) -> Board:
    return board_of(Loaded(tuple(Entry(record, "local", Path("r.json")) for record in records)))


def test_without_scores_memory_takes_the_place_of_accuracy() -> None:
    run = make_run()
    board = board_of(Loaded((Entry(run.record, "local", Path("r.json")),)))
    drawn = default_tradeoff(board)
    assert drawn is not None
    assert drawn.y.name == "peak_memory_bytes"


def test_an_empty_board_has_no_trade_off() -> None:
    assert default_tradeoff(board_of(Loaded())) is None


@pytest.mark.parametrize(
    ("values", "limits"),
    [
        ([], (0.0, 1.06)),
        ([5.0, 5.0], (2.2, 7.8)),
        ([0.0, 0.0], (-0.56, 0.56)),
        ([1.0, 2.0], (0.94, 2.06)),
        ([-1.0, 1.0], (-1.12, 1.12)),
    ],
)
def test_the_limits_of_an_axis_are_never_equal(
    values: list[float], limits: tuple[float, float]
) -> None:
    assert bounds(values) == pytest.approx(limits)


def test_ticks_are_round_and_inside_the_axis() -> None:
    axis = x_axis("t", [0.0, 10.0])
    assert [tick.text for tick in axis.ticks] == ["0", "2", "4", "6", "8", "10"]
    assert all(axis.start <= tick.at <= axis.end for tick in axis.ticks)


def test_the_summary_counts_each_technique_once_and_no_baseline() -> None:
    arms: list[list[str]] = [[], ["bf16"], ["bf16", "static-cache"]]
    entries = [Entry(make_run(techniques=arm).record, "local", Path("r.json")) for arm in arms]
    summary = leaderboard(Site(board_of(Loaded(tuple(entries))), ()))["summary"]
    assert isinstance(summary, str)
    assert " \u00b7 2 techniques \u00b7 " in summary
