"""What every test of a page in the browser needs."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from playwright.sync_api import Page


def settled(page: Page) -> Page:
    """The page once it has loaded what was asked for last and drawn all of it."""
    page.locator("[aria-busy]").first.wait_for(state="detached")
    return page


def chosen(page: Page, name: str) -> str:
    """The text of what is chosen in a list."""
    text: str = page.locator(f"select[name={name}]").evaluate("e => e.selectedOptions[0].text")
    return text


def asked_in_vain(page: Page) -> list[str]:
    """What the page says that a link asks for and that it does not have."""
    return page.locator("#asked p").all_inner_texts()
