"""Who competes for a front, in a real browser: as Python says."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from boards import column, fullest_place
from browser_page import settled
from demo_store import Demo

from leanboard.leaderboard.board import Board
from leanboard.leaderboard.gate_marks import GateMark
from leanboard.leaderboard.parallel import several
from leanboard.leaderboard.stage import staged, taken_as_exact
from leanboard.leaderboard.tradeoff import tradeoff
from leanboard.metrics.gate import GateVerdict

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.browser

FAILED = GateMark(GateVerdict.FAIL, "too low")
ARM = "bf16"
FAIL = """() => {
  const { gate, gateReason, technique } = LEANBOARD.texts;
  gate.texts.push("fail");
  gateReason.texts.push("too low");
  for (let row = 0; row < LEANBOARD.rows; row += 1) {
    if (textOf(technique, row) !== "bf16") continue;
    gate.rows[row] = gate.texts.length - 1;
    gateReason.rows[row] = gateReason.texts.length - 1;
  }
}"""


def failed(board: Board) -> Board:
    lines = (replace(line, gate=FAILED) if line.label == ARM else line for line in board.lines)
    return replace(board, lines=tuple(lines))


def place(board: Board) -> tuple[str, str]:
    line = fullest_place(board)[0]
    return line.hardware, line.workload_text


@pytest.mark.parametrize(
    "names",
    [
        ("tpot_s", "peak_memory_bytes"),
        ("tpot_s", "weight_bytes"),
        ("tpot_s", "accuracy"),
        ("tpot_s", "kl_to_baseline"),
        ("tpot_s", "compression_rate"),
        ("tpot_s", "ttft_s", "peak_memory_bytes"),
        ("tpot_s", "ttft_s", "accuracy"),
    ],
)
def test_the_gate_and_values_without_an_interval_are_judged_as_in_python(
    demo: Demo, page: Page, names: tuple[str, ...]
) -> None:
    board = failed(demo.board)
    axes = [column(board, name) for name in names]
    stage = staged(board, *place(board), axes)
    several_axes = len(names) > 2
    page.goto(demo.address("parallel.html" if several_axes else "pareto.html"))
    settled(page).evaluate(FAIL)
    controls = ("m1", "m2", "m3") if several_axes else ("x", "y")
    page.evaluate(
        "state => restoreExplorer({ ...currentState(), per: 'all', ...state })",
        dict(zip(controls, names, strict=True)),
    )
    shown = (several if several_axes else tradeoff)(
        board, *([axes] if several_axes else axes), *place(board)
    )
    left = settled(page).locator("#left li").all_text_contents()
    assert left == [f"{each.line.name} {each.reason}" for each in shown.left_out]
    marks = page.locator("#plot .point, #plot .path")
    hollow = page.locator("#plot .hollow")
    assert marks.count() == len(stage.points) + len(stage.hollow)
    assert {mark.get_attribute("href") for mark in hollow.all()} == {
        point.line.href for point in stage.hollow
    }
    titles = marks.locator("title").all_text_contents()
    assert sorted(titles) == sorted(point.title for point in (*stage.points, *stage.hollow))
    assert any(", failed the gate: " in title for title in titles)
    assert page.locator("#front li").all_text_contents() == [
        f"{found.line.name} {found.note}" for found in shown.front
    ]
    assert page.locator("#exact").text_content() == taken_as_exact(stage) == shown.exact
    assert page.locator("#exact").is_hidden() == (shown.exact == "")
    families = page.locator("#families th").all_inner_texts()
    assert families == [family.family for family in shown.volumes.families]


def test_labels_leave_out_what_all_points_share_and_focus_shows_the_whole_name(
    demo: Demo, page: Page
) -> None:
    page.goto(demo.address("pareto.html"))
    for backend, ending in (("", " \u00b7 "), ("transformers", "")):
        page.locator("select[name=backend]").select_option(backend)
        points = settled(page).locator("#plot .point").all()
        for point in points:
            text, row = point.locator("text"), int(point.get_attribute("data-row") or "")
            line = demo.board.lines[row]
            label = line.label_text + (ending and ending + line.backend_text)
            spare = text.get_attribute("class") == "spare"
            assert text.text_content() == (line.name if spare else label)
        assert page.locator("#plot .point text:not(.spare)").count() > 0


def test_a_bar_that_a_logarithmic_axis_has_no_room_for_goes_to_the_edge_of_the_plot(
    demo: Demo, page: Page
) -> None:
    page.goto(demo.address("pareto.html"))
    ends = settled(page).evaluate(
        """() => {
          const place = metricPlace("tpot_s");
          LEANBOARD.metrics[place].factor = 1;
          LEANBOARD.cells[place].low[0] = -1;
          LEANBOARD.cells[place].high[0] = 5;
          const axis = makeAxis("", [1, 10], true, PLOT.left, PLOT.right);
          return [barOf(axis, place, 0), [PLOT.left, axis.at(5)]];
        }"""
    )
    assert ends[0] == pytest.approx(ends[1])
