"""What browser tests of the site share."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from playwright.sync_api import Page


def settled(page: Page) -> Page:
    """The page once it has loaded and drawn what was asked for last."""
    page.locator("main[aria-busy]").wait_for(state="detached")
    return page
