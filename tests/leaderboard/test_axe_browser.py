"""Every page by axe-core: its rules and its best practices, light and wide, dark and narrow."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from statistics import median
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlencode

import pytest
from accessibility import violations
from boards import fullest_place
from browser_page import settled
from demo_store import Demo

from leanboard.leaderboard.compare import compare_href

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.browser

LOOKS = [("light", 1280), ("dark", 390)]
"""Both schemes and both widths; ``benchmarks/site_quality.py`` looks at all four pairs."""
OPEN_ALL = """() => {
  const all = [...document.querySelectorAll("details")];
  for (const one of all) one.open = true;
  return all.length;
}"""


class View(NamedTuple):
    """A page in a state that a reader may put it in, and what is to be seen there."""

    address: Callable[[Demo], str]
    shown: str


def place(demo: Demo) -> dict[str, str]:
    line = fullest_place(demo.board)[0]
    return {"hardware": line.hardware_key, "workload": line.workload_key}


def on(page: str, state: Callable[[Demo], dict[str, str]]) -> Callable[[Demo], str]:
    return lambda demo: f"{page}#{urlencode(state(demo))}"


def compared(count: int, state: str = "") -> Callable[[Demo], str]:
    return lambda demo: (
        compare_href(line.row.record for line in fullest_place(demo.board)[:count]) + state
    )


def limits(demo: Demo) -> dict[str, str]:
    """A limit that half of the runs keep."""
    found = (line.row.measurements["tpot_s"].value for line in fullest_place(demo.board))
    return {**place(demo), "tpot_s": f"{median(value for value in found if value is not None):.6g}"}


VIEWS = {
    "every status": View(
        on("index.html", lambda _: {"status": "all", "gate": "all"}), "#board .reason"
    ),
    "ranks": View(on("index.html", lambda demo: {**place(demo), "sort": "tpot_s"}), "#board .rank"),
    "no row": View(on("index.html", lambda _: {"q": "nothing-like-it"}), "#board tbody td"),
    "two runs": View(compared(2), "#metrics tbody td"),
    "three runs": View(compared(3, "&metrics=1&terms=1&log=1"), "#plots svg"),
    "limits": View(on("budget.html", limits), "#out tbody tr"),
    "a front per model": View(on("pareto.html", lambda _: {"per": "model"}), ".groups li"),
    "a price": View(on("costs.html", lambda demo: {**place(demo), "hour": "3"}), "#costs .rank"),
    "one place": View(on("efficientllm.html", place), "#readings .rank"),
}


@pytest.fixture(params=LOOKS, ids=lambda look: f"{look[0]}-{look[1]}")
def page(browser: Browser, request: pytest.FixtureRequest) -> Iterator[Page]:
    scheme, width = request.param
    context = browser.new_context(viewport={"width": width, "height": 800}, color_scheme=scheme)
    context.set_default_timeout(10_000)
    yield context.new_page()
    context.close()


def test_axe_finds_nothing_wrong(demo: Demo, page: Page) -> None:
    found = {}
    for name in demo.kinds:
        page.goto(demo.address(name))
        wrong = violations(settled(page))
        if wrong:
            found[name] = wrong
    assert found == {}


def test_axe_finds_nothing_wrong_in_other_states(demo: Demo, page: Page) -> None:
    found = {}
    for name, view in VIEWS.items():
        page.goto("about:blank")
        page.goto(f"{demo.folder.as_uri()}/{view.address(demo)}")
        settled(page).locator(view.shown).first.wait_for()
        wrong = violations(page)
        if wrong:
            found[name] = wrong
    assert found == {}


def test_axe_finds_nothing_wrong_where_all_is_unfolded(demo: Demo, page: Page) -> None:
    found, unfolded = {}, 0
    for name in demo.kinds:
        page.goto(demo.address(name))
        count = settled(page).evaluate(OPEN_ALL)
        unfolded += count
        wrong = violations(page) if count else []
        if wrong:
            found[name] = wrong
    assert found == {}
    assert unfolded > 20


def test_axe_finds_what_is_wrong(browser: Browser) -> None:
    page = browser.new_page()
    page.set_content("<main><h1>Title</h1><img src='x.png'><input></main>")
    rules = {line.split()[0] for line in violations(page)}
    page.close()
    assert {"image-alt", "label"} <= rules
