"""What every test of a page in the browser needs."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from playwright.sync_api import Page


def settled(page: Page) -> Page:
    """The page once it has loaded what was asked for last and drawn all of it."""
    page.locator("[aria-busy]").first.wait_for(state="detached")
    return page
