"""Who competes for a front: the gate, values without an interval, and how points are drawn."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from boards import column, fullest_place
from demo_store import Demo

from leanboard.leaderboard import tradeoff_plot
from leanboard.leaderboard.board import Board, BoardRow
from leanboard.leaderboard.cells import BoardCell
from leanboard.leaderboard.charts import LEFT, Axis, bar_between, logarithmic, x_axis
from leanboard.leaderboard.fronts import fronts_of
from leanboard.leaderboard.gate_marks import GateMark
from leanboard.leaderboard.parallel import several
from leanboard.leaderboard.stage import Point, Stage, staged, taken_as_exact
from leanboard.leaderboard.subject_figures import figures_of
from leanboard.leaderboard.subjects import Kind, subjects_of
from leanboard.leaderboard.tradeoff import Tradeoff, tradeoff
from leanboard.leaderboard.tradeoff_plot import drawing_of
from leanboard.metrics.gate import GateVerdict
from leanboard.metrics.trace import Provenance

FAILED = GateMark(GateVerdict.FAIL, "[0.1, 0.2] of the baseline's score")
REASON = "failed the gate: [0.1, 0.2] of the baseline's score"


def with_failed(board: Board, label: str) -> Board:
    """The board as if the runs of an arm had failed the gate."""
    lines = (replace(x, gate=FAILED) if x.label == label else x for x in board.lines)
    return replace(board, lines=tuple(lines))


def place(board: Board) -> tuple[str, str]:
    line = fullest_place(board)[0]
    return line.hardware, line.workload_text


def drawn(board: Board, x: str, y: str) -> Tradeoff:
    return tradeoff(board, column(board, x), column(board, y), *place(board))


def listed(shown: Tradeoff) -> dict[str, str]:
    return {left.line.label: left.reason for left in shown.left_out}


# The gate


def test_a_run_that_failed_the_gate_is_on_no_front_and_the_list_says_by_what(demo: Demo) -> None:
    before = drawn(demo.board, "tpot_s", "peak_memory_bytes")
    (member, *_) = [x.line.label for x in before.front if x.line.row.cell.techniques]
    after = drawn(with_failed(demo.board, member), "tpot_s", "peak_memory_bytes")
    assert member not in {x.line.label for x in (*after.front, *after.maybe)}
    assert listed(after)[member] == REASON
    (mark,) = [mark for mark in after.plot.marks if mark.title.startswith(f"{member} ")]
    assert mark.css == "point hollow"
    assert ", smollm2-135m-instruct, failed the gate: TPOT " in mark.title


@pytest.mark.parametrize("y", ["accuracy", "kl_to_baseline"])
def test_where_quality_is_an_axis_the_gate_does_not_judge_and_the_run_says_that_it_failed(
    demo: Demo, y: str
) -> None:
    failed = drawn(with_failed(demo.board, "bf16"), "tpot_s", y)
    passed = drawn(demo.board, "tpot_s", y)
    assert [x.line.href for x in failed.front] == [x.line.href for x in passed.front]
    assert "bf16" not in listed(failed)
    notes = [x.note for x in (*failed.front, *failed.maybe) if x.line.label == "bf16"]
    assert all(", failed the gate" in note for note in notes)
    titles = [mark.title for mark in failed.plot.marks if mark.title.startswith("bf16 ")]
    assert all(", failed the gate: " in title for title in titles)
    assert titles


def test_a_metric_that_a_score_only_enters_leaves_the_gate_in_force(demo: Demo) -> None:
    assert column(demo.board, "compression_rate").quality
    shown = drawn(with_failed(demo.board, "bf16"), "tpot_s", "compression_rate")
    assert listed(shown)["bf16"] == REASON


def test_a_run_that_failed_the_gate_adds_nothing_to_the_volume_of_its_family(demo: Demo) -> None:
    board = with_failed(demo.board, "bf16")
    families = {f.family for f in drawn(board, "tpot_s", "peak_memory_bytes").volumes.families}
    assert "formats" in {
        f.family for f in drawn(demo.board, "tpot_s", "peak_memory_bytes").volumes.families
    }
    assert "formats" not in families


def test_the_gate_judges_the_front_of_several_metrics_too(demo: Demo) -> None:
    board = with_failed(demo.board, "bf16")
    names = ["tpot_s", "ttft_s", "weight_bytes"]
    timed = several(board, [column(board, name) for name in names], *place(board))
    assert {left.line.label: left.reason for left in timed.left_out}["bf16"] == REASON
    states = {row.point.line.label: (row.state, row.point.where) for row in timed.rows}
    assert states["bf16"] == ("shown only", "smollm2-135m-instruct, failed the gate")
    scored = several(board, [column(board, name) for name in (*names, "accuracy")], *place(board))
    assert "bf16" not in {left.line.label for left in scored.left_out}


def test_the_pictures_of_a_subject_draw_what_failed_the_gate_hollow(demo: Demo) -> None:
    board = with_failed(demo.board, "bf16")
    model = fullest_place(board)[0].model
    subject = next(s for s in subjects_of(board)[Kind.MODEL] if s.name == model)
    marks = [
        mark
        for figure in figures_of(subject, board).shown
        for mark in figure.plot.marks
        if mark.title.startswith("bf16 ")
    ]
    assert {mark.css.split()[1] for mark in marks} == {"hollow"}


# Values without an interval


def stage_of(demo: Demo, *cells: tuple[float | None, Provenance]) -> Stage:
    """A stage of one axis: each value is 1, with a lower end and a provenance."""
    axis = column(demo.board, "peak_memory_bytes")
    line = next(line for line in demo.board.lines if not line.unstable)
    high = {None: None}
    points = tuple(
        Point(line, (BoardCell(axis, value=1.0, low=low, high=high.get(low, 2.0), provenance=p),))
        for low, p in cells
    )
    return Stage((axis,), points, (), ())


def test_the_page_says_which_values_are_taken_as_exact(demo: Demo) -> None:
    measured, counted = Provenance.MEASURED, Provenance.COUNTED
    assert taken_as_exact(stage_of(demo, (0.5, measured), (None, counted))) == ""
    assert taken_as_exact(stage_of(demo, (0.5, measured), (None, measured))) == (
        "Peak memory has no interval in 1 of 2 runs: it is taken as exact there, and no share of"
        " draws says how sure it is."
    )
    shown = drawn(demo.board, "tpot_s", "peak_memory_bytes")
    competing = len(staged(demo.board, *place(demo.board), (shown.x, shown.y)).points)
    assert f"Peak memory has no interval in {competing} of {competing} runs" in shown.exact
    assert drawn(demo.board, "tpot_s", "weight_bytes").exact == ""
    for name in ("pareto.html", "parallel.html"):
        assert shown.exact in (demo.folder / name).read_text(encoding="utf-8")


# Labels and bars


def labels(board: Board, lines: tuple[BoardRow, ...]) -> set[str]:
    axes = (column(board, "tpot_s"), column(board, "peak_memory_bytes"))
    stage = staged(replace(board, lines=lines), *place(board), axes)
    marks = drawing_of(board, stage, fronts_of(stage, per_model=False)).plot.marks
    assert {mark.name for mark in marks} == {
        point.line.name for point in (*stage.points, *stage.hollow)
    }
    return {mark.label for mark in marks if mark.label}


def test_a_label_names_the_backend_only_where_the_points_have_several(demo: Demo) -> None:
    group = fullest_place(demo.board)
    both = labels(demo.board, group)
    assert both <= {f"{line.label_text} \u00b7 {line.backend_text}" for line in group}
    assert both
    torch = tuple(line for line in group if line.backend == "transformers")
    one = labels(demo.board, tuple(replace(line, unstable="it shook") for line in torch))
    assert one <= {line.label_text for line in torch}
    assert one


def test_in_a_crowd_only_the_points_that_are_named_tell_whether_backends_differ(
    demo: Demo, monkeypatch: pytest.MonkeyPatch
) -> None:
    group = fullest_place(demo.board)
    monkeypatch.setattr(tradeoff_plot, "MOST_NAMED", 1)
    front = [
        line for line in group if line.label in {"none", "bf16"} and line.backend == "transformers"
    ]
    other = next(line for line in group if line.backend == "llamacpp")
    lines = (*front, replace(other, unstable="it shook", reach=math.inf))
    found = labels(demo.board, lines)
    assert found
    assert found <= {"none", "bf16"}


def test_a_bar_that_a_logarithmic_axis_has_no_room_for_goes_to_the_edge_of_the_plot() -> None:
    linear = x_axis("", [-1.0, 10.0])
    axis = logarithmic(linear, [1.0, 10.0])
    assert bar_between(axis, -1.0, 5.0) == (LEFT, axis.at(5.0))
    assert bar_between(axis, 0.0, 5.0) == (LEFT, axis.at(5.0))
    assert bar_between(axis, 2.0, 5.0) == (axis.at(2.0), axis.at(5.0))
    assert bar_between(linear, -1.0, 5.0) == (linear.at(-1.0), linear.at(5.0))
    upright = Axis("", 0.0, 1.0, 384.0, 20.0)
    assert bar_between(upright, -1.0, 1.0) == (384.0, 20.0)
