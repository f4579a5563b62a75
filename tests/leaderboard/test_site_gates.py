"""Accuracy, its gate, KL and agreement on the board: what shows, and what stands for a gap."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from demo_store import Demo
from markupsafe import escape
from record_factory import answer_observation, make_model, make_run, request_observation

from leanboard.leaderboard.board import Board, BoardRow, board_of, on_demand_counts
from leanboard.leaderboard.cells import BoardCell
from leanboard.leaderboard.columns import Column, label_of
from leanboard.leaderboard.divergence import LOWER_BOUND, bound, bounds, fact
from leanboard.leaderboard.doubt import in_one_process, launches_of
from leanboard.leaderboard.format import DASH
from leanboard.leaderboard.gate_marks import (
    NEAR_CHANCE,
    NO_COMPARISON,
    GateMark,
    gate_mark,
    task_gate,
)
from leanboard.leaderboard.ranks import ranks_of, standing_of, winner_of
from leanboard.metrics.gate import Gate, GateVerdict
from leanboard.results.derived_columns import DERIVED
from leanboard.results.schema import Comparison, Interval, Measurement, Record
from leanboard.results.store import Entry, Loaded
from leanboard.results.task_scores import TaskScore, task_scores


def of(*records: Record) -> Board:
    return board_of(Loaded(tuple(Entry(record, "local", Path("r.json")) for record in records)))


def line(board: Board, label: str, backend: str = "transformers") -> BoardRow:
    wanted = (label, "chat", backend, "published")
    return next(r for r in board.lines if (r.label, r.workload, r.backend, r.origin) == wanted)


def column(board: Board, name: str) -> Column:
    return next(column for column in board.columns if column.name == name)


def cell(board: Board, row: BoardRow, name: str) -> BoardCell:
    return row.cell(column(board, name))


def test_accuracy_divergence_and_agreement_show_unasked_and_single_scores_do_not(
    demo: Demo,
) -> None:
    quality = [c.name for c in demo.board.columns if c.shown and c.role.value == "quality"]
    assert quality == ["accuracy", "kl_to_baseline", "top1_agreement"]
    offered = {c.name for c in demo.board.columns}
    assert {"compression_rate", "dsi", "arc_easy.acc", "squad-passages.bits_per_byte"} <= offered


def test_a_derived_column_is_what_its_definition_says(demo: Demo) -> None:
    shown = {c.name: c for c in demo.board.columns if c.name in DERIVED}
    assert len(shown) > 8
    for name, found in shown.items():
        meaning = DERIVED[name]
        assert (found.unit, found.direction, found.role, found.doc) == (
            meaning.unit,
            meaning.direction,
            meaning.role,
            meaning.doc,
        )
        assert found.label.startswith(meaning.label)


def test_a_divergence_is_labelled_as_the_lower_bound_that_it_is(demo: Demo) -> None:
    found = column(demo.board, "kl_to_baseline")
    assert (found.short, found.scale.suffix) == ("KL, at least", "nat")
    assert found.label == label_of("kl_to_baseline") == "KL divergence from the baseline, at least"


def test_values_below_zero_have_no_bar(demo: Demo) -> None:
    below, above = (column(demo.board, n) for n in ("accuracy_difference", "accuracy"))
    assert below.largest == 0.0
    row = line(demo.board, "gguf-q4_1", "llamacpp")
    assert cell(demo.board, row, "accuracy_difference").bar == 0.0
    assert above.largest == pytest.approx(max(c.high or 0.0 for c in accuracies(demo.board)))


def accuracies(board: Board) -> list[BoardCell]:
    return [cell(board, row, "accuracy") for row in board.lines]


@pytest.mark.parametrize(
    ("arm", "text", "css", "reason"),
    [
        (("bf16", "transformers"), "\u2713 pass", "good", "all of it at 0.99 or more"),
        (("static-cache", "transformers"), "\u2713 pass", "good", "all of it at 0.99 or more"),
        (("prompt-lookup", "transformers"), "\u25d0 undecided", "plain", "which holds 0.99"),
        (("gguf-q4_1", "llamacpp"), "\u2717 fail", "bad", "all of it below 0.99"),
        (("int8-dynamic", "transformers"), "", "", "requantised: the weights were published"),
        (("none", "llamacpp"), "", "", "it is the baseline"),
    ],
)
def test_a_gate_is_a_sign_and_a_word_with_its_reason(
    demo: Demo, arm: tuple[str, str], text: str, css: str, reason: str
) -> None:
    row = line(demo.board, *arm)
    assert (row.gate.text, row.gate.css) == (text, css)
    assert reason in row.gate.reason
    assert cell(demo.board, row, "accuracy").title.endswith(f"; {row.gate.title}")
    assert row.gate.title == f"gate: {text}, {row.gate.reason}" or not text
    assert text or row.gate.title == f"no gate: {row.gate.reason}"


def test_the_mark_stands_beside_the_accuracy_and_nothing_stands_for_no_gate(demo: Demo) -> None:
    html = (demo.folder / "index.html").read_text(encoding="utf-8")
    table = html[html.index('<table id="board"') : html.index("</table>")]
    judged = [row for row in demo.board.lines if row.gate.text and not row.on_demand]
    assert len(judged) > 4
    for row in judged:
        mark = f'<span class="badge {row.gate.css}" title="{escape(row.gate.title)}">'
        assert f'{mark}{row.gate.text}</span> <span class="value">' in table
    # In the title of the cell, in that of the mark, and in the mark.
    assert sum(table.count(sign) for sign in ("\u2713", "\u2717", "\u25d0")) == 3 * len(judged)


def test_rows_that_failed_the_gate_stand_below_the_table_with_what_did_not_run(demo: Demo) -> None:
    html = (demo.folder / "index.html").read_text(encoding="utf-8")
    table = html[html.index('<table id="board"') : html.index("</table>")]
    others = html[html.index('<details id="others"') :]
    failed = [row for row in demo.board.lines if row.failed_gate]
    assert {row.label for row in failed} == {"gguf-q4_1"}
    for row in failed:
        assert row.href not in table
        assert row.href in others
        assert str(escape(row.gate.reason)) in others
    told = on_demand_counts(demo.board.lines)
    assert told == "2 failed the gate, 1 failed, 1 unsupported"
    assert f"<summary>Not in the table: {told}</summary>" in others
    assert on_demand_counts([row for row in demo.board.lines if not row.on_demand]) == ""


def test_baselines_and_rows_that_may_yet_pass_stay_in_the_table(demo: Demo) -> None:
    shown = {row.gate.answer for row in demo.board.lines if not row.on_demand}
    assert shown == {"pass", "undecided", "none"}
    assert not any(row.on_demand for row in demo.board.lines if row.baseline)


def test_what_did_not_run_did_not_fail_a_gate_but_says_how_it_ended(demo: Demo) -> None:
    row = next(row for row in demo.board.lines if row.label == "nf4")
    fallen = replace(row, gate=GateMark(GateVerdict.FAIL, "too low"))
    assert (fallen.failed_gate, fallen.on_demand) == (False, "unsupported")


def test_a_row_that_failed_the_gate_has_no_rank_and_takes_no_medal() -> None:
    runs = [
        make_run(
            techniques=[arm],
            speed=speed,
            observation=request_observation(arm=arm, speed=speed, rounds=16),
        )
        for arm, speed in (("lossy", 4.0), ("fair", 2.0), ("slow", 1.0))
    ]
    board = of(*(run.record for run in runs))
    by = column(board, "tpot_s")
    lines = {row.label: row for row in board.lines}
    lines["lossy"] = replace(lines["lossy"], gate=GateMark(GateVerdict.FAIL, "too low"))
    peers = [(lines[arm], lines[arm].cell(by)) for arm in ("lossy", "fair", "slow")]
    assert standing_of(*peers[0]) is None
    ranks = ranks_of(peers, by.direction)
    assert [rank and (rank.text, rank.medal) for rank in ranks] == [
        None,
        ("1", "gold"),
        ("2", "silver"),
    ]
    winner = winner_of(peers, by.direction)
    assert winner is not None
    assert (winner.line.label, winner.rivals) == ("fair", ())
    assert winner_of(peers[:1], by.direction) is None


def test_an_accuracy_has_its_interval_and_a_bar(demo: Demo) -> None:
    shown = cell(demo.board, line(demo.board, "bf16"), "accuracy")
    assert shown.value is not None
    assert shown.low is not None
    assert shown.high is not None
    assert shown.low < shown.value < shown.high
    assert shown.span
    assert shown.bar > 0


def test_random_weights_have_neither_accuracy_nor_gate() -> None:
    model = make_model("tiny-random", weights_origin="random")
    runs = [make_run(model=model, kind=kind).record for kind in ("performance", "accuracy")]
    timed = make_run(model=model, techniques=["bf16"]).record
    board = of(timed, *runs)
    assert "accuracy" not in {c.name for c in board.columns}
    assert {row.gate.title for row in board.lines} == {"no gate: the weights are random"}


def test_a_divergence_tells_how_far_it_may_be_off_and_a_baseline_has_none(demo: Demo) -> None:
    shown = cell(demo.board, line(demo.board, "bf16"), "kl_to_baseline")
    assert shown.text == "0.0240"
    assert shown.span
    assert shown.title.endswith(
        f"; {LOWER_BOUND}; the 512 likeliest of each prediction are kept; "
        "against whole predictions on 256 tokens it is 0.000400 nat too low"
    )
    for name in ("kl_to_baseline", "top1_agreement"):
        gap = cell(demo.board, line(demo.board, "none"), name)
        assert (gap.value, gap.text, gap.title) == (None, DASH, "not measured: it is the baseline")


def test_the_quality_of_weights_quantised_twice_is_shown_and_not_ranked(demo: Demo) -> None:
    row = line(demo.board, "int8-dynamic")
    for name in ("accuracy", "kl_to_baseline", "time_per_correct_s", "compression_rate"):
        shown = cell(demo.board, row, name)
        assert shown.value is not None
        assert shown.unranked


def text_run(number: int = 0, task: str = "squad-passages") -> Record:
    seen = answer_observation(task="squad-passages")
    near = tuple(replace(a, kl_nats=1.0, agreeing=500, kl_rest=0.1) for a in seen.answers)
    baseline = make_run(kind="accuracy", task=task, observation=seen)
    return make_run(
        kind="accuracy",
        techniques=["bf16"],
        task=task,
        observation=replace(seen, answers=near),
        baseline=baseline,
        number=number,
    ).record


def test_without_facts_a_divergence_is_only_called_a_lower_bound() -> None:
    record = text_run()
    assert bound(record) == bounds([record]) == LOWER_BOUND
    assert bounds([make_run(kind="accuracy").record]) == ""
    both = [record, text_run(task="other-text")]
    assert bounds(both) == f"squad-passages: {LOWER_BOUND}; other-text: {LOWER_BOUND}"


@pytest.mark.parametrize(
    "noted",
    [None, "0.1", 0.1, [0.1], {}, {"value": None}, {"value": "0.1"}, {"value": True}],
)
def test_a_fact_that_is_no_number_is_not_known(noted: object) -> None:
    facts = {} if noted is None else {"kl_error": noted}
    assert fact(facts, "kl_error") is None  # type: ignore[arg-type]
    assert fact({"kl_error": {"value": 0}}, "kl_error") == 0.0


def comparison(**changes: object) -> Comparison:
    fields: dict[str, object] = {
        "metric": "acc",
        "statistic": "ratio",
        "baseline_run": "20261120T120000Z-00000000",
        "value": 0.995,
        "interval": Interval(low=0.992, high=1.001, method="drawn"),
        "n": 50,
        "verdict": "no difference shown",
        "provenance": "measured",
        "method_version": 1,
        "stderr": 0.002,
    }
    return Comparison.model_validate(fields | changes)


def test_the_ratio_of_a_score_is_over_items_and_of_no_launch() -> None:
    scored, timed = comparison(), comparison(stderr=None)
    assert (launches_of(scored), launches_of(timed)) == (0, 1)
    assert (in_one_process(scored), in_one_process(timed)) == (False, True)


def a_task(ratio: Comparison | None, *, low: float = 0.5) -> TaskScore:
    found = task_scores([make_run(kind="accuracy").record], {})["arc_easy"]
    interval = Interval(low=low, high=0.7, method="wilson")
    baseline: Measurement = found.score.model_copy(update={"interval": interval})
    return replace(found, ratio=ratio, baseline=baseline)


@pytest.mark.parametrize(
    ("score", "barred", "verdict", "reason"),
    [
        (a_task(comparison()), "", GateVerdict.PASS, "[0.992, 1.001] of the baseline's score"),
        (a_task(comparison()), "random", None, "random"),
        (a_task(None), "", None, NO_COMPARISON),
        (a_task(comparison(interval=None, reason="few items")), "", None, "few items"),
        (a_task(comparison(interval=None)), "", None, "its ratio has no interval"),
        (a_task(comparison(), low=0.25), "", GateVerdict.UNDECIDED, NEAR_CHANCE),
    ],
)
def test_a_task_is_judged_by_the_ratio_that_its_record_holds(
    score: TaskScore, barred: str, verdict: GateVerdict | None, reason: str
) -> None:
    found = task_gate(score, barred)
    assert found.verdict is verdict
    assert found.reason.startswith(reason)


def test_every_verdict_has_a_mark_of_its_own() -> None:
    marks = [gate_mark(Gate(verdict, "why")) for verdict in GateVerdict]
    assert len({mark.text for mark in marks}) == len({mark.css for mark in marks}) == 3
    assert [mark.text.split()[1] for mark in marks] == [verdict.value for verdict in GateVerdict]
