"""The first table in a browser: it stays as it was served until something else is asked for."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from browser_page import settled
from demo_store import Demo

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.browser

MARK = "drawn by the server"


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    page = browser.new_page(viewport={"width": 1280, "height": 860})
    page.set_default_timeout(10_000)
    yield page
    page.close()


@pytest.fixture
def address(demo: Demo, tmp_path: Path) -> str:
    """The demo site with a first row that the data do not hold."""
    site = tmp_path / "site"
    shutil.copytree(demo.folder, site)
    index = site / "index.html"
    head, body, rest = index.read_text(encoding="utf-8").partition("<tbody>")
    row = f'<tr><th scope="row"><a href="index.html">{MARK}</a></th></tr>'
    index.write_text(head + body + row + rest, encoding="utf-8")
    return index.as_uri()


def test_the_default_view_keeps_the_rows_of_the_server(address: str, page: Page) -> None:
    page.goto(address)
    rows = settled(page).locator("#board tbody tr")
    assert MARK in rows.first.inner_text()
    assert page.locator("#count").inner_text() == "18 of 22 rows"
    assert page.locator("#filters").is_visible()
    assert page.locator("#board thead button").count() > 5


@pytest.mark.parametrize(
    "state", ["sort=technique", "q=int8", "page=2", "cols=tpot_s", "sort=tpot_s"]
)
def test_any_other_view_is_drawn_anew(address: str, page: Page, state: str) -> None:
    page.goto(f"{address}#{state}")
    rows = settled(page).locator("#board tbody tr")
    assert rows.count() > 0
    assert MARK not in rows.first.inner_text()


def test_going_back_to_the_default_view_draws_it_anew(address: str, page: Page) -> None:
    page.goto(address)
    settled(page).locator("select[name=workload]").select_option("chat")
    settled(page).get_by_role("button", name="Reset").click()
    assert settled(page).locator("#board tbody tr").count() == 18
    assert MARK not in page.locator("#board tbody").inner_text()


def test_a_table_without_rows_says_so(demo: Demo, page: Page) -> None:
    page.goto(demo.address(state="status=unsupported&q=nothing-like-it"))
    assert "No row fits" in settled(page).locator("#board tbody").inner_text()
