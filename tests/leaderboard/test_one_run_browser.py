"""The one page for the runs of a very large board: it shows the run that the address names."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from accessibility import violations
from demo_store import Demo
from page_elements import globals_of

from leanboard.leaderboard.board import board_of, run_place
from leanboard.leaderboard.build import build_site
from leanboard.leaderboard.quality import timed_quality
from leanboard.leaderboard.runs import neighbours_of
from leanboard.results.command import run_command
from leanboard.results.schema import Record

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.browser

MOST = 10


@pytest.fixture(scope="module")
def large(demo: Demo, tmp_path_factory: pytest.TempPathFactory) -> Demo:
    """The demo as a board with too many records for a page each."""
    folder = tmp_path_factory.mktemp("large") / "site"
    report = build_site(demo.loaded, folder, most_run_pages=MOST)
    return replace(demo, board=board_of(demo.loaded, MOST), report=report)


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    page = browser.new_page(viewport={"width": 390, "height": 860})
    page.set_default_timeout(10_000)
    yield page
    page.close()


def opened(page: Page, large: Demo, record: Record) -> None:
    """Show a run, and wait until it is drawn."""
    page.goto(large.address("run.html", f"run={run_place(record)}"))
    page.locator("#run:visible").wait_for()


def test_a_row_leads_to_its_run(large: Demo, page: Page) -> None:
    page.goto(large.address())
    row = page.locator("#board tbody tr", has_text="prompt-lookup").first
    row.locator("th a").click()
    page.locator("#run:visible").wait_for()
    assert page.locator("h1").inner_text() == "prompt-lookup \u00b7 chat"
    assert page.title().startswith("prompt-lookup")
    assert page.locator("#told").inner_text() == ""
    href = page.locator("#files a").first.get_attribute("href")
    assert href is not None
    assert (large.folder / href).is_file()


def test_every_number_of_the_record_is_there_and_every_gap_with_its_reason(
    large: Demo, page: Page
) -> None:
    line = next(line for line in large.board.lines if line.label == "bf16")
    opened(page, large, line.row.record)
    measured = {name for name, m in line.row.measurements.items() if m.value is not None}
    missed = [m for m in line.row.measurements.values() if m.value is None]
    assert set(page.locator("#measured code").all_inner_texts()) == measured
    reasons = page.locator("#missed dd").all_inner_texts()
    assert len(reasons) == len(missed)
    assert all(reasons)
    assert page.locator("#configuration .card").count() > 3
    assert page.locator("#environment .card").count() > 3


@pytest.mark.parametrize("state", ["", "run=", "run=nope", "run=../../etc/passwd", "x=1"])
def test_an_address_without_a_run_says_so(large: Demo, page: Page, state: str) -> None:
    complaints: list[str] = []
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto(large.address("run.html", state))
    page.get_by_text("The address names no run of this board").wait_for()
    assert page.locator("#run:visible").count() == 0
    assert complaints == []


def test_another_address_shows_another_run(large: Demo, page: Page) -> None:
    first, second = (entry.record for entry in large.loaded.entries[:2])
    for record in (first, second):
        page.goto(large.address("run.html", f"run={run_place(record)}"))
        page.locator(f"#files a[href$='{record.run_id}.json']").wait_for()


def test_it_fits_a_phone_and_axe_finds_nothing_wrong(large: Demo, page: Page) -> None:
    opened(page, large, large.board.lines[0].row.record)
    assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
    assert violations(page) == []


def test_no_two_of_its_scripts_declare_the_same_name(large: Demo) -> None:
    names = globals_of(large.folder / "run.html")
    assert len(names) == len(set(names)) > 50


def test_without_javascript_it_leads_to_the_downloads(large: Demo, browser: Browser) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(large.address("run.html"))
    page.locator("#told a").click()
    assert page.locator("h1").inner_text() == "Downloads"
    context.close()


def test_it_says_how_to_run_it_again_whether_it_was_stable_and_where_its_files_are(
    large: Demo, page: Page
) -> None:
    line = next(line for line in large.board.lines if line.unstable)
    opened(page, large, line.row.record)
    assert page.locator("#command").inner_text() == run_command(line.row.record)
    assert page.locator("#stability h2").inner_text() == "Stability: unstable"
    assert page.locator("#stability li").count() > 0
    assert page.locator("#failure:visible").count() == 0
    files = [link.get_attribute("href") or "" for link in page.locator("#files a").all()]
    assert files
    assert all((large.folder / href).is_file() for href in files)
    assert page.locator("#spread figure").count() > 0
    assert violations(page) == []


def test_it_has_the_scores_with_their_gates_and_says_whether_outputs_are_the_same(
    large: Demo, page: Page
) -> None:
    line = next(line for line in large.board.lines if line.label == "int8-weight-only")
    opened(page, large, line.row.record)
    found = timed_quality(line.row.record, line.row, neighbours_of(large.board).scores)
    assert found is not None
    assert found.average is not None
    assert found.sameness is not None
    scores = page.locator("#quality tbody tr").all()
    assert len(scores) == 1 + sum(len(task.lines) for task in found.tasks)
    assert found.average.score in scores[0].inner_text()
    assert line.gate.title in page.locator("#kept").inner_text()
    assert found.sameness.answer in page.locator("#same").inner_text()
    page.locator("#quality summary").click()
    assert page.locator("#quality .card").count() == len(found.scoring)
    modelled = page.locator("#measured .badge", has_text="modelled").first
    assert modelled.get_attribute("class") == "badge"
    assert violations(page) == []


def test_a_failed_run_says_why(large: Demo, page: Page) -> None:
    record = next(e.record for e in large.loaded.entries if e.record.error is not None)
    page.goto(large.address("run.html", f"run={run_place(record)}"))
    page.locator("#failure:visible").wait_for()
    assert record.error is not None
    assert record.error.message in page.locator("#failure").inner_text()
