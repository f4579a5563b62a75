"""What axe-core finds wrong on a page. Its script comes with a package of the ``dev`` extra."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from axe_playwright_python.base import AXE_SCRIPT

if TYPE_CHECKING:
    from playwright.sync_api import Page


def violations(page: Page) -> list[str]:
    """Return every violation of axe-core's rules and best practices, a line an element."""
    page.evaluate(AXE_SCRIPT)
    found: dict[str, Any] = page.evaluate("axe.run({ resultTypes: ['violations'] })")
    return [
        f"{broken['id']} ({broken['impact']}): {' '.join(map(str, element['target']))}"
        for broken in found["violations"]
        for element in broken["nodes"]
    ]
