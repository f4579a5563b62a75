"""Every page by axe-core: its rules and its best practices, in light and dark, wide and narrow."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from accessibility import violations
from demo_store import Demo

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = pytest.mark.browser


def kinds(demo: Demo) -> list[str]:
    """Every page but those of runs, of which one of each kind stands for the others."""
    pages = [name for name in demo.report.pages if not name.startswith("runs/")]
    runs: dict[tuple[object, ...], str] = {}
    for entry in demo.loaded.entries:
        record = entry.record
        name = f"runs/{record.machine_id}/{record.cell_id}/{record.run_id}.html"
        kind = record.cell.kind, record.status, record.block.baseline, record.stability is None
        runs.setdefault(kind, name)
    return [*pages, *runs.values()]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_axe_finds_nothing_wrong(demo: Demo, browser: Browser, width: int, scheme: str) -> None:
    context = browser.new_context(viewport={"width": width, "height": 800}, color_scheme=scheme)
    page = context.new_page()
    found = {}
    views = [(name, "") for name in kinds(demo)]
    for name, state in [*views, ("index.html", "status=all&gate=all")]:
        page.goto("about:blank")
        page.goto(demo.address(name, state))
        page.locator("main[aria-busy]").wait_for(state="detached")
        wrong = violations(page)
        if wrong:
            found[f"{name} {state}"] = wrong
    context.close()
    assert found == {}


def test_axe_finds_what_is_wrong(browser: Browser) -> None:
    page = browser.new_page()
    page.set_content("<main><h1>Title</h1><img src='x.png'><input></main>")
    rules = {line.split()[0] for line in violations(page)}
    page.close()
    assert {"image-alt", "label"} <= rules
