"""Rows that show on demand only: the page counts them, says why, and one press brings them back."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from browser_page import settled
from demo_store import Demo

from leanboard.results.schema import Status

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Page

pytestmark = pytest.mark.browser

HIDDEN = "Not shown: 2 failed the gate, 1 failed, 1 unsupported."


def names(page: Page) -> list[str]:
    return page.locator("#board tbody th a").all_inner_texts()


def test_failed_and_unsupported_runs_show_on_demand_with_their_reason(
    demo: Demo, page: Page
) -> None:
    page.goto(demo.address())
    assert "nf4" not in names(page)
    page.locator("select[name=status]").select_option("unsupported")
    assert names(page) == ["nf4"]
    assert "nf4 needs a CUDA device" in page.locator("#board tbody .reason").inner_text()


def test_the_page_says_what_it_hides_and_a_button_shows_it(
    demo: Demo, context: BrowserContext, page: Page
) -> None:
    page.goto(demo.address())
    assert settled(page).locator("#count").inner_text() == "18 of 22 rows"
    assert page.locator("#hidden-rows").inner_text() == HIDDEN
    button = page.get_by_role("button", name="Show them")
    button.focus()
    page.keyboard.press("Enter")
    assert settled(page).locator("#count").inner_text() == "22 of 22 rows"
    assert page.locator("#hidden-rows").inner_text() == ""
    assert button.is_hidden()
    assert page.evaluate("document.activeElement.ariaLabel") == "Leaderboard"
    assert page.url.endswith("status=all&gate=all")
    other = context.new_page()
    other.goto(page.url)
    assert settled(other).locator("#board").inner_text() == page.locator("#board").inner_text()
    assert other.locator("select[name=gate]").input_value() == "all"
    page.get_by_role("button", name="Reset").click()
    assert settled(page).locator("#hidden-rows").inner_text() == HIDDEN


def test_only_what_fits_the_filters_counts_as_hidden(demo: Demo, page: Page) -> None:
    counts = {
        "backend=llamacpp": "Not shown: 2 failed the gate.",
        "q=nf4": "Not shown: 1 unsupported.",
        "status=failed": "",
        "status=all": "Not shown: 2 failed the gate.",
        "gate=all": "Not shown: 1 failed, 1 unsupported.",
        "gate=pass": "",
        "q=no-such-thing": "",
    }
    for state, told in counts.items():
        page.goto("about:blank")
        page.goto(demo.address(state=state))
        assert settled(page).locator("#hidden-rows").inner_text() == told, state
        assert page.locator("#show-all").is_visible() == bool(told)


@pytest.mark.parametrize("answer", ["pass", "fail", "undecided", "none"])
def test_the_filter_by_gate_leaves_the_rows_with_that_answer(
    demo: Demo, context: BrowserContext, page: Page, answer: str
) -> None:
    page.goto(demo.address())
    page.locator("select[name=gate]").select_option(answer)
    expected = [
        line.label_text
        for line in demo.board.lines
        if line.gate.answer == answer and line.status is Status.OK
    ]
    assert names(settled(page)) == expected != []
    assert page.url.endswith(f"gate={answer}")
    other = context.new_page()
    other.goto(page.url)
    assert names(settled(other)) == expected


def test_the_default_view_has_baselines_and_rows_that_did_not_fail_the_gate(
    demo: Demo, page: Page
) -> None:
    page.goto(demo.address())
    page.evaluate("draw()")
    answers = {line.label_text: line.gate.answer for line in demo.board.lines if not line.on_demand}
    assert set(names(settled(page))) == set(answers)
    assert {answers["none"], answers["prompt-lookup"]} == {"none", "undecided"}
    assert "fail" not in answers.values()


def test_a_row_that_failed_the_gate_has_its_reason_in_words_and_no_rank(
    demo: Demo, page: Page
) -> None:
    hardware = next(row.hardware for row in demo.board.lines if row.origin == "published")
    page.goto(demo.address(state="sort=tpot_s&workload=long-prompt&gate=all"))
    page.locator("select[name=hardware]").select_option(hardware)
    rows = settled(page).locator("#board tbody tr")
    fastest = rows.first
    assert fastest.locator("th a").inner_text() == "gguf-q4_1"
    why = fastest.locator("th .why").inner_text()
    assert why.startswith("failed the gate [0.")
    assert "of the baseline's score, all of it below 0.99" in why
    assert fastest.locator(".rank").count() == 0
    assert page.locator("#board .rank").count() == rows.count() - 1
    assert rows.nth(1).locator(".rank").inner_text().startswith("1")
    assert page.locator("#board .why").count() == 1


def test_without_javascript_what_is_not_in_the_table_is_listed_with_its_reason(
    demo: Demo, browser: Browser
) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(demo.address())
    assert page.locator("#count").inner_text() == "18 of 22 rows"
    told = page.locator("#hidden-rows")
    assert told.inner_text() == f"{HIDDEN} See them"
    assert told.locator("a").get_attribute("href") == "#others"
    assert page.locator("#show-all").is_hidden()
    page.locator("#others > summary").click()
    rows = page.locator("#others tbody tr").all_inner_texts()
    assert len(rows) == 4
    for label, why, reason in (
        ("gguf-q4_1", "failed the gate", "all of it below 0.99"),
        ("nf4", "unsupported", "nf4 needs a CUDA device"),
        ("eager-all", "failed", "needs 31 GiB, there are 16"),
    ):
        assert any(row.startswith(label) and why in row and reason in row for row in rows)
    context.close()
