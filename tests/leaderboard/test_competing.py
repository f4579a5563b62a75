"""With what unstable runs compete: the page with JavaScript and the one without agree."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from boards import board_from, column
from demo_store import Demo
from record_factory import make_record

from leanboard.leaderboard.cells import BoardCell
from leanboard.leaderboard.competing import competing
from leanboard.metrics.front_membership import Uncertain
from leanboard.results.schema import Cause

if TYPE_CHECKING:
    from playwright.sync_api import Page

Ends = tuple[float | None, float | None]
SHOOK = "spread: it shook"

COMPETING = """([name, unstable, reach, low, high]) => {
  const place = metricPlace(name);
  LEANBOARD.texts.unstable = { texts: [unstable], rows: [0] };
  LEANBOARD.reach = [reach];
  LEANBOARD.cells[place] = { value: [3], low: [low], high: [high] };
  const found = competingOf(place, 0);
  return found && [found.value, found.low, found.high];
}"""

CASES = [
    # A stable run keeps what it has, and so do bytes and scores of any run.
    ("tpot_s", "", 1.0, (2.0, 4.0), (2.0, 4.0)),
    ("tpot_s", "", 1.0, None, (None, None)),
    ("weight_bytes", SHOOK, math.inf, None, (None, None)),
    ("accuracy", SHOOK, math.inf, (2.0, 4.0), (2.0, 4.0)),
    # What its own samples show is in the interval; what others took widens it to the better side.
    ("tpot_s", SHOOK, 1.0, (2.0, 4.0), (2.0, 4.0)),
    ("tpot_s", SHOOK, 1.3, (2.0, 4.0), (1.53846, 4.0)),
    ("decode_tokens_per_s", SHOOK, 1.3, (2.0, 4.0), (2.0, 5.2)),
    # By an unknown amount.
    ("tpot_s", SHOOK, math.inf, (2.0, 4.0), None),
    ("tpot_s", SHOOK, 1.0, None, None),
]


@pytest.mark.parametrize(("name", "unstable", "reach", "ends", "expected"), CASES)
def test_a_value_competes_with_what_is_known_of_its_run(  # noqa: PLR0917
    demo: Demo, name: str, unstable: str, reach: float, ends: Ends | None, expected: Ends | None
) -> None:
    line = replace(demo.board.lines[0], unstable=unstable, reach=reach)
    cell = BoardCell(column(demo.board, name), 3.0, *(ends or (None, None)))
    wanted = None if expected is None else Uncertain(3.0, *expected)
    assert competing(line, cell) == wanted


@pytest.mark.browser
@pytest.mark.parametrize(("name", "unstable", "reach", "ends", "expected"), CASES)
def test_in_the_browser_it_competes_with_the_same(  # noqa: PLR0917
    demo: Demo,
    page: Page,
    name: str,
    unstable: str,
    reach: float,
    ends: Ends | None,
    expected: Ends | None,
) -> None:
    page.goto(demo.address())
    known = None if math.isinf(reach) else reach
    wanted = None if expected is None else [3.0, *expected]
    given = [name, unstable, known, *(ends or (None, None))]
    assert page.evaluate(COMPETING, given) == wanted


def test_a_row_knows_how_far_others_can_have_moved_its_times() -> None:
    quiet, thrown = (
        make_record(),
        make_record(techniques=["bf16"], causes=[Cause(kind="throttling", message="it was hot")]),
    )
    lines = board_from(quiet, thrown).lines
    assert {line.label: line.reach for line in lines} == {"none": 1.0, "bf16": math.inf}
