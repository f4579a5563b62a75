"""Every page on paper: without controls, with its tables and plots, and with nothing cut off."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
from boards import fullest_place
from browser_page import settled
from demo_store import Demo

from leanboard.leaderboard.compare import MOST_RUNS, compare_href

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.browser

PAPER = 1046
"""Pixels across A4 paper, landscape, between margins of a centimetre."""

CONTROLS = """() => [...document.querySelectorAll(
  "form, nav a, .skip, .save, .pager button, .command button, .picks button",
)].filter((one) => one.checkVisibility()).map((one) => one.outerHTML)"""

PICTURES = """() => [...document.querySelectorAll("main table, main svg.plot")]
  .map((one) => one.checkVisibility() && one.getBoundingClientRect().height > 0)"""

CLOSED = """() => [...document.querySelectorAll("main details:not(.controls *) > :not(summary)")]
  .filter((one) => one.textContent.trim())
  .filter((one) => !one.checkVisibility() || one.getBoundingClientRect().height === 0)
  .map((one) => one.outerHTML.slice(0, 200))"""

CUT_OFF = """() => {
  const edge = document.documentElement.clientWidth + 1;
  const beyond = (one) => one.getBoundingClientRect().right > edge;
  const holdsBack = (one) => one instanceof HTMLElement && one.scrollWidth > one.clientWidth + 1
    && getComputedStyle(one).overflowX !== "visible";
  return [...document.querySelectorAll("body *")]
    .filter((one) => one.checkVisibility() && !one.closest(".hidden"))
    .filter((one) => beyond(one) || holdsBack(one))
    .map((one) => one.outerHTML.slice(0, 200));
}"""


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    page = browser.new_page(viewport={"width": PAPER, "height": 700})
    page.set_default_timeout(10_000)
    yield page
    page.close()


def compared(demo: Demo) -> str:
    """As many runs side by side as there can be."""
    return compare_href(line.row.record for line in fullest_place(demo.board)[:MOST_RUNS])


def test_every_page_prints_whole_and_without_controls(demo: Demo, page: Page) -> None:
    wrong: dict[str, object] = {}
    pictures = details = 0
    for name in [*demo.kinds, compared(demo), "budget.html#ttft_s=1"]:
        page.emulate_media(media="screen")
        page.goto("about:blank")
        page.goto(f"{demo.folder.as_uri()}/{name}")
        on_screen = settled(page).evaluate(PICTURES)
        page.emulate_media(media="print")
        printed = page.evaluate(PICTURES)
        found = {
            "controls": page.evaluate(CONTROLS),
            "cut off": page.evaluate(CUT_OFF),
            "gone": any(seen > kept for seen, kept in zip(on_screen, printed, strict=True)),
            "closed": page.evaluate(CLOSED),
        }
        details += page.locator("main details:not(.controls *)").count()
        pictures += sum(on_screen)
        if any(found.values()):
            wrong[name] = found
    assert wrong == {}
    assert pictures > 50
    assert details > 20


def test_paper_is_white_in_dark_mode_too(demo: Demo, page: Page) -> None:
    page.emulate_media(media="print", color_scheme="dark")
    page.goto(demo.address())
    colours = "(name) => getComputedStyle(document.documentElement)[name]"
    assert page.evaluate(colours, "backgroundColor") == "rgb(255, 255, 255)"
    page.emulate_media(media="screen")
    assert page.evaluate(colours, "backgroundColor") != "rgb(255, 255, 255)"


def test_what_is_cut_off_is_found(page: Page) -> None:
    page.set_content(
        "<p style='overflow: hidden; width: 9px'>much more than fits</p>"
        "<table style='width: 2000px'><tr><td>wide</td></tr></table><i>narrow</i>"
    )
    page.emulate_media(media="print")
    found = page.evaluate(CUT_OFF)
    assert [part[1:3] for part in found] == ["p ", "ta", "tb", "tr", "td"]
