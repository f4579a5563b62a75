"""One front per hardware, and the controls of the Pareto page by keyboard, in a real browser."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from browser_page import chosen, settled
from demo_store import Demo
from knob_store import write_knobs

from leanboard.leaderboard.board import board_of
from leanboard.leaderboard.build import build_site
from leanboard.leaderboard.tradeoff import Tradeoff, tradeoff
from leanboard.metrics.pareto import pareto_front

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.browser

CONTROLS = (
    "x",
    "y",
    "hardware",
    "workload",
    "model",
    "backend",
    "gate",
    "per",
    "logx",
    "logy",
    "curves",
)


@pytest.fixture(scope="module")
def machines(tmp_path_factory: pytest.TempPathFactory) -> Demo:
    root = tmp_path_factory.mktemp("machines")
    loaded = write_knobs(root / "records", machines=2)
    return Demo(loaded, board_of(loaded), build_site(loaded, root / "site"))


def each_alone(site: Demo) -> dict[str, Tradeoff]:
    """The trade-off of the default axes on every hardware, as Python makes it."""
    found = {column.name: column for column in site.board.columns}
    x, y = found["tpot_s"], found["peak_memory_bytes"]
    hardware = sorted({line.hardware for line in site.board.lines})
    return {name: tradeoff(site.board, x, y, name, "chat") for name in hardware}


def hrefs(page: Page, selector: str) -> set[str | None]:
    return {mark.get_attribute("href") for mark in page.locator(selector).all()}


# One front per hardware


def test_a_front_per_hardware_opens_from_a_shared_address(machines: Demo, page: Page) -> None:
    alone = each_alone(machines)
    assert len(alone) == 2
    page.goto(machines.address("pareto.html", "per=hardware"))
    assert hrefs(settled(page), "#plot .point.front") == {
        found.line.href for drawn in alone.values() for found in drawn.front
    }
    assert page.locator("#plot .front-line").count() == 2
    assert sorted(page.locator("#front small").all_inner_texts()) == sorted(
        f"{found.line.model} on {name}; in {found.chance} of draws"
        for name, drawn in alone.items()
        for found in drawn.front
    )
    caption = page.locator("#caption").inner_text()
    assert caption.endswith("chat on all hardware, one front per hardware")
    legend = page.locator("#groups li").all_inner_texts()
    assert [text.strip().rpartition(":")[0] for text in legend] == list(alone)
    assert "all hardware count together" in page.locator("#volume-note").inner_text()
    for shape, (name, drawn) in zip(("circle", "polygon"), alone.items(), strict=True):
        titles = page.locator(f"#plot .point:has({shape}) > title").all_text_contents()
        assert len(titles) == len(drawn.plot.marks)
        assert all(f" on {name}: " in title for title in titles)


def test_runs_of_a_faster_hardware_take_no_place_on_the_front_of_another(
    machines: Demo, page: Page
) -> None:
    lines = {line.href: line for line in machines.board.lines}
    columns = [c for c in machines.board.columns if c.name in ("tpot_s", "peak_memory_bytes")]
    values = {href: [line.cell(c).value for c in columns] for href, line in lines.items()}
    together = pareto_front(values, [column.direction for column in columns]).members
    assert len({lines[href].hardware for href in together}) == 1
    page.goto(machines.address("pareto.html", "per=hardware"))
    front = hrefs(settled(page), "#plot .point.front")
    assert len({lines[href].hardware for href in front if href}) == 2


def test_a_front_per_hardware_is_in_the_address_and_gives_the_choice_of_hardware_back(
    machines: Demo, page: Page
) -> None:
    page.goto(machines.address("pareto.html"))
    hardware = settled(page).locator("select[name=hardware]")
    other = next(name for name in each_alone(machines) if name != chosen(page, "hardware"))
    hardware.select_option(other)
    page.locator("select[name=per]").select_option("hardware")
    assert settled(page).locator("select[name=hardware]").is_disabled()
    assert "per=hardware" in page.url
    shared = page.context.new_page()
    shared.goto(page.url)
    assert settled(shared).locator("#plot").inner_html() == page.locator("#plot").inner_html()
    page.locator("select[name=per]").select_option("all")
    assert settled(page).locator("select[name=hardware]").is_enabled()
    assert chosen(page, "hardware") == other
    marks = each_alone(machines)[other].plot.marks
    assert hrefs(page, "#plot .point") == {mark.href for mark in marks}
    assert page.locator("#groups").is_hidden()


def test_several_hardware_fit_on_a_phone(machines: Demo, page: Page) -> None:
    page.set_viewport_size({"width": 390, "height": 800})
    page.goto(machines.address("pareto.html", "per=hardware"))
    assert settled(page).locator("#groups li").count() == 2
    assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0


# By keyboard


def focused(page: Page) -> str:
    """The name of the control that has the focus."""
    name: str = page.evaluate("document.activeElement.name ?? ''")
    return name


def tab_to(page: Page, name: str) -> None:
    for _ in range(80):
        if focused(page) == name:
            return
        page.keyboard.press("Tab")
    pytest.fail(f"Tab does not reach {name}")


def test_tab_reaches_every_control_in_its_order_and_then_the_plot(
    machines: Demo, page: Page
) -> None:
    page.goto(machines.address("pareto.html"))
    tab_to(settled(page), "x")
    reached = []
    for _ in CONTROLS:
        reached.append(focused(page))
        outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
        assert outline != "none", reached[-1]
        page.keyboard.press("Tab")
    assert tuple(reached) == CONTROLS
    assert page.evaluate("document.activeElement.type") == "reset"
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.id") == "figure"


def test_keys_choose_fronts_axes_and_boxes_and_the_focus_stays(machines: Demo, page: Page) -> None:
    alone = each_alone(machines)
    page.goto(machines.address("pareto.html"))
    tab_to(settled(page), "per")
    page.keyboard.press("ArrowUp")
    marks = settled(page).locator("#plot .point")
    assert marks.count() == sum(len(drawn.plot.marks) for drawn in alone.values())
    assert "per=hardware" in page.url
    assert focused(page) == "per"
    for name in ("gate", "backend", "model", "workload", "y"):
        page.keyboard.press("Shift+Tab")
        assert focused(page) == name
    page.keyboard.press("Home")
    first = page.locator("select[name=y] option").first.get_attribute("value")
    assert first != "peak_memory_bytes"
    assert f"y={first}&" in settled(page).url
    tab_to(page, "logx")
    page.keyboard.press("Space")
    assert "logx=1" in settled(page).url
    tab_to(page, "curves")
    page.keyboard.press("Space")
    assert settled(page).locator("#plot .curve").count() == 0
    assert "curves=0" in page.url


def test_keys_reset_the_page_and_open_a_run(machines: Demo, page: Page) -> None:
    page.goto(machines.address("pareto.html", "per=hardware&logx=1"))
    tab_to(settled(page), "curves")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    assert settled(page).locator("select[name=per]").input_value() == "model"
    assert "#" not in page.url
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    target = page.evaluate("document.activeElement.closest('#plot a')?.getAttribute('href')")
    assert target in hrefs(page, "#plot .point")
    page.keyboard.press("Enter")
    page.wait_for_url(f"**/{target}")
    assert page.locator("h1").count() == 1
