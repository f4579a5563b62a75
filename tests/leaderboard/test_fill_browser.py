"""The rows of the table in two steps: those that the window shows first, the rest right after."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest
from browser_page import settled
from demo_store import Demo

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.browser

ALL = 22
STATE = "status=all&gate=all"

SORTED = """async (name) => {
  const found = () => {
    const rows = [...document.querySelectorAll("#board tbody tr")];
    const scroller = document.querySelector(".scroller:has(#board)");
    const bottom = (one) => one.getBoundingClientRect().bottom;
    return {
      names: rows.map((row) => row.querySelector("th a").href),
      fills: bottom(rows.at(-1)) >= bottom(scroller),
      busy: document.getElementById("board").ariaBusy,
      top: scroller.scrollTop,
      held: document.querySelectorAll("#board [style*=min-width]").length,
    };
  };
  document.querySelector(`#board thead button[data-sort="${name}"]`).click();
  await new Promise(requestAnimationFrame);
  const first = found();
  if (!globalThis.next) return [first];
  globalThis.next();
  return [first, found()];
}"""


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A window that shows fewer rows than the table has."""
    page = browser.new_page(viewport={"width": 1280, "height": 400})
    page.set_default_timeout(10_000)
    yield page
    page.close()


def hrefs(page: Page) -> list[str]:
    links = page.locator("#board tbody th a")
    found: list[str] = links.evaluate_all("all => all.map((one) => one.href)")
    return found


def sort(page: Page, name: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = page.evaluate(SORTED, name)
    return found


def test_the_next_frame_fills_the_window_and_the_rest_follows(demo: Demo, page: Page) -> None:
    page.goto(demo.address(state=STATE))
    (first,) = sort(settled(page), "technique")
    assert first["fills"]
    assert first["busy"] == "true"
    assert len(first["names"]) < ALL
    assert hrefs(settled(page))[: len(first["names"])] == first["names"]
    assert page.locator("#board tbody tr").count() == len(set(hrefs(page))) == ALL


def test_a_small_window_ends_with_the_rows_of_a_large_one(
    demo: Demo, browser: Browser, page: Page
) -> None:
    large = browser.new_page(viewport={"width": 1280, "height": 3000})
    for shown in (page, large):
        shown.goto(demo.address(state=STATE))
        settled(shown)
    assert sort(large, "tpot_s")[0]["busy"] is None
    assert len(sort(page, "tpot_s")[0]["names"]) < ALL
    parts = [
        settled(shown).locator("#board").evaluate("one => one.outerHTML") for shown in (page, large)
    ]
    large.close()
    assert parts[0].replace(' style=""', "") == parts[1].replace(' style=""', "")


def test_columns_keep_their_widths_until_all_rows_are_there(demo: Demo, page: Page) -> None:
    page.goto(demo.address(state=STATE))
    (first,) = sort(settled(page), "workload")
    assert first["held"] == page.locator("#board thead th").count()
    assert settled(page).locator("#board [style*=min-width]").count() == 0


def test_paper_gets_all_rows_at_once(demo: Demo, page: Page) -> None:
    page.goto(demo.address(state=STATE))
    settled(page).evaluate(
        "() => { globalThis.next = () => dispatchEvent(new Event('beforeprint')); }"
    )
    first, printed = sort(page, "technique")
    assert len(first["names"]) < len(printed["names"]) == ALL
    assert printed["busy"] is None
    assert hrefs(settled(page)) == printed["names"]


def test_what_is_asked_for_meanwhile_takes_the_place_of_the_rest(demo: Demo, page: Page) -> None:
    page.goto(demo.address(state=STATE))
    settled(page).evaluate("() => { globalThis.next = () => change({ q: 'prompt-lookup' }); }")
    sort(page, "technique")
    names = settled(page).locator("#board tbody th a").all_inner_texts()
    assert set(names) == {"prompt-lookup"}
    assert len(names) == len(set(hrefs(page)))


def test_another_order_is_read_from_its_first_row(demo: Demo, page: Page) -> None:
    page.goto(demo.address(state=STATE))
    scroller = settled(page).locator(".scroller:has(#board)")
    scroller.evaluate("one => one.scrollTo(120, 300)")
    (first,) = sort(page, "technique")
    assert first["top"] == 0
    assert [scroller.evaluate(f"one => one.scroll{side}") for side in ("Top", "Left")] == [0, 120]
