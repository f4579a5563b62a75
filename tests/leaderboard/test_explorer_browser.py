"""The explorer in a real browser: the same as Python draws, and what only the browser does."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING

import browser_page
import pytest
from browser_page import settled
from demo_store import Demo
from knob_store import MODELS, write_knobs

from leanboard.leaderboard.board import Board, board_of
from leanboard.leaderboard.build import build_site
from leanboard.leaderboard.columns import Column
from leanboard.leaderboard.parallel import Several, several
from leanboard.leaderboard.stage import MOST_BEATEN, staged
from leanboard.leaderboard.thinning import thinned
from leanboard.leaderboard.volumes import VolumeTable, volume_table
from leanboard.metrics.front_membership import (
    DRAWS,
    MOST_DRAWN,
    Uncertain,
    contenders,
    membership,
)
from leanboard.metrics.hypervolume import MOST_RANGED, against_baseline, hypervolume
from leanboard.metrics.metric import Direction
from leanboard.metrics.pareto import pareto_front
from leanboard.results.schema import Status

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Locator, Page

pytestmark = pytest.mark.browser

LOWER, HIGHER = Direction.LOWER, Direction.HIGHER


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    context = browser.new_context(viewport={"width": 1280, "height": 860})
    context.set_default_timeout(10_000)
    yield context.new_page()
    context.close()


@pytest.fixture
def plain(browser: Browser) -> Iterator[Page]:
    """A page without JavaScript."""
    context = browser.new_context(java_script_enabled=False)
    yield context.new_page()
    context.close()


@pytest.fixture(scope="module")
def knobs(tmp_path_factory: pytest.TempPathFactory) -> Demo:
    root = tmp_path_factory.mktemp("knobs")
    loaded = write_knobs(root / "records")
    return Demo(loaded, board_of(loaded), build_site(loaded, root / "site"))


def columns(board: Board, *names: str) -> list[Column]:
    found = {column.name: column for column in board.columns}
    return [found[name] for name in names]


def place(page: Page) -> tuple[str, str]:
    """The hardware and the workload that are chosen."""
    hardware, workload = (browser_page.chosen(page, name) for name in ("hardware", "workload"))
    return hardware, workload


def texts(page: Page, *selectors: str) -> list[list[str]]:
    return [page.locator(selector).all_inner_texts() for selector in selectors]


def drawn(marks: Locator) -> set[tuple[str | None, str | None]]:
    return {(mark.get_attribute("class"), mark.get_attribute("href")) for mark in marks.all()}


def table_of(volumes: VolumeTable) -> list[list[str]]:
    return [[f.family, f.covered, f.range, f.beyond, f.basis] for f in volumes.families]


def shown_table(page: Page) -> list[list[str]]:
    rows = page.locator("#families tr").all()
    script = "row => [...row.cells].flatMap(c => [...c.childNodes].map(n => n.textContent))"
    return [row.evaluate(script) for row in rows]


# Volumes


def ratios(chance: random.Random, count: int, axes: int) -> dict[str, list[Uncertain]]:
    found = {}
    for number in range(count):
        values = [math.exp(chance.uniform(-1, 1)) for _ in range(axes)]
        found[f"runs/m/{number}.html"] = [
            Uncertain(v, v * 0.9, v * 1.2) if chance.random() < 0.8 else Uncertain(v)
            for v in values
        ]
    return found


@pytest.mark.parametrize("axes", [1, 2, 3, 4])
def test_volumes_are_the_very_ones_of_the_metrics_package(
    knobs: Demo, page: Page, axes: int
) -> None:
    chance = random.Random(axes)
    metrics, directions = list("abcd")[:axes], [LOWER, HIGHER, LOWER, HIGHER][:axes]
    given = ratios(chance, 12, axes)
    expected = asdict(against_baseline(given, metrics, directions))
    page.goto(knobs.address("pareto.html"))
    found = page.evaluate(
        "args => againstBaseline(...args)",
        [
            [{"name": n, "values": [asdict(v) for v in values]} for n, values in given.items()],
            metrics,
            [direction.value for direction in directions],
            DRAWS,
            MOST_RANGED,
        ],
    )
    assert found == pytest.approx(expected, rel=1e-9)
    points = [[chance.uniform(-2, 3) for _ in range(axes)] for _ in range(40)]
    reference = [-1.0] * axes
    assert page.evaluate("args => hypervolume(...args)", [points, reference]) == pytest.approx(
        hypervolume(points, reference), rel=1e-12
    )


@pytest.mark.parametrize("store", ["demo", "knobs"])
def test_the_table_of_volumes_is_pythons_for_every_pair_of_axes(
    request: pytest.FixtureRequest, page: Page, store: str
) -> None:
    site: Demo = request.getfixturevalue(store)
    page.goto(site.address("pareto.html"))
    names = ["tpot_s", "peak_memory_bytes", "weight_bytes", "itl_p95_s", "accuracy"]
    offered = {column.name for column in site.board.columns if column.axis}
    empty = 0
    for x, y in combinations([name for name in names if name in offered], 2):
        page.locator("select[name=x]").select_option(x)
        page.locator("select[name=y]").select_option(y)
        stage = staged(site.board, *place(settled(page)), columns(site.board, x, y))
        expected = volume_table(site.board, stage)
        assert shown_table(page) == table_of(expected)
        assert page.locator("#volume-note").inner_text() == expected.note
        assert page.locator("#volumes .scroller").is_visible() == bool(expected.families)
        empty += not expected.families
    assert empty > 0


# How sure a place is


@pytest.mark.parametrize("axes", [1, 2, 3, 4])
def test_places_are_as_sure_as_those_of_the_metrics_package(
    knobs: Demo, page: Page, axes: int
) -> None:
    metrics, directions = list("abcd")[:axes], [LOWER, HIGHER, LOWER, HIGHER][:axes]
    given = ratios(random.Random(axes), 40, axes)
    expected = membership(given, metrics, directions)
    assert expected.shares is not None
    page.goto(knobs.address("pareto.html"))
    arguments = [
        [{"name": n, "values": [asdict(v) for v in values]} for n, values in given.items()],
        metrics,
        [direction.value for direction in directions],
        DRAWS,
    ]
    script = "args => frontMembership(...args)"
    found = page.evaluate(script, arguments)
    assert found == {"contenders": expected.contenders, "shares": list(expected.shares.values())}
    crowded = page.evaluate(script, [*arguments, 1])
    assert crowded == {"contenders": expected.contenders, "shares": None}


def test_where_too_many_runs_are_in_dispute_the_page_says_so_and_how_many(
    knobs: Demo, page: Page
) -> None:
    page.goto(knobs.address("parallel.html"))
    front = settled(page).locator("#front li")
    assert page.locator("#untold").is_hidden()
    assert all("% of draws" in text for text in front.all_inner_texts())
    axes = columns(knobs.board, "tpot_s", "ttft_s", "peak_memory_bytes")
    stage = staged(knobs.board, *place(page), axes)
    points = {
        f"{point.line.href}?{copy}": point.uncertain
        for copy in range(100)
        for point in stage.points
    }
    able = contenders(points, [column.direction for column in axes])
    assert len(able) > MOST_DRAWN
    page.evaluate(GROW, [100, 0])
    told = settled(page).locator("#untold").inner_text()
    assert f"{len(able):,} runs may be on it, and draws of more than {MOST_DRAWN} runs" in told
    assert not any("% of draws" in text for text in front.all_inner_texts())
    assert page.locator("#maybe-section").is_hidden()
    page.locator("select[name=m2]").select_option("tpot_s")
    assert settled(page).locator("#untold").is_hidden()
    assert "% of draws" in front.first.inner_text()


# One front per ...


def test_a_front_per_model_is_that_of_its_own_runs(knobs: Demo, page: Page) -> None:
    page.goto(knobs.address("pareto.html"))
    page.locator("select[name=per]").select_option("all")
    together = settled(page).locator("#plot .point.front").count()
    page.locator("select[name=per]").select_option("model")
    axes = columns(knobs.board, "tpot_s", "peak_memory_bytes")
    members: set[str] = set()
    for model in MODELS:
        points = {
            line.href: [line.cell(column).value for column in axes]
            for line in knobs.board.lines
            if line.model == model and not line.unstable
        }
        members |= set(pareto_front(points, [column.direction for column in axes]).members)
    marks = settled(page).locator("#plot .point.front")
    assert {mark.get_attribute("href") for mark in marks.all()} == members
    assert len(members) > together
    assert page.locator("#front li").count() == len(members)


def test_fronts_of_models_read_the_same_with_and_without_javascript(
    knobs: Demo, page: Page, plain: Page
) -> None:
    for shown in (page, plain):
        shown.goto(knobs.address("pareto.html"))
    assert page.locator("select[name=per]").input_value() == "model"
    assert "#" not in settled(page).url
    marks, edges = (
        [p.locator(f"#plot .{css}") for p in (page, plain)] for css in ("point", "front-line")
    )
    assert drawn(marks[0]) == drawn(marks[1])
    assert drawn(edges[0]) == drawn(edges[1])
    assert page.locator("#plot .front-line").count() == len(MODELS)
    titles = [edge.locator("title").all_text_contents() for edge in edges]
    assert titles[0] == titles[1] == [f"front of {model}" for model in MODELS]
    shapes = ("#plot .point polygon", "#front svg polygon", "#front svg circle", "#groups svg g")
    for selector in shapes:
        assert page.locator(selector).count() == plain.locator(selector).count() > 0
    lists = ("#groups li", "#front li", "#maybe li", "#left li", "#caption", "#untold", "#exact")
    assert texts(page, *lists) == texts(plain, *lists)
    assert "one front per model" in page.locator("#caption").inner_text()


def test_groups_differ_in_shape_and_are_named_and_are_in_the_address(
    knobs: Demo, page: Page
) -> None:
    page.goto(knobs.address("pareto.html"))
    legend = settled(page).locator("#groups li").all_inner_texts()
    assert [text.strip().split(":")[0] for text in legend] == list(MODELS)
    for shape, model in zip(("circle", "polygon"), MODELS, strict=True):
        titles = page.locator(f"#plot .point:has({shape}) > title").all_text_contents()
        assert len(titles) == 5
        assert all(f", {model}: " in title for title in titles)
    page.locator("select[name=per]").select_option("all")
    assert settled(page).locator("#groups").is_hidden()
    assert page.locator("#plot polygon").count() == 0
    assert page.locator("#plot .front-line").count() == 1
    assert "front per" not in page.locator("#caption").inner_text()
    shared = page.context.new_page()
    shared.goto(page.url)
    assert settled(shared).locator("#plot").inner_html() == page.locator("#plot").inner_html()
    page.locator("select[name=per]").select_option("model")
    assert "#" not in settled(page).url


def test_more_groups_than_shapes_are_still_told_apart(knobs: Demo, page: Page) -> None:
    page.goto(knobs.address("pareto.html"))
    shapes = page.evaluate("[...SHAPES.keys()].map(i => shapeAt(i, 0, 0).outerHTML)")
    assert len(set(shapes)) == len(shapes) == 8
    page.evaluate(
        """() => {
          LEANBOARD.texts.model = { texts: [], rows: LEANBOARD.href.map((_, row) => row) };
          LEANBOARD.texts.model.texts = LEANBOARD.href.map((_, row) => `model ${row}`);
        }"""
    )
    page.evaluate("restoreExplorer({})")
    legend = settled(page).locator("#groups li").all_inner_texts()
    assert len(legend) == 11
    assert legend[-1].startswith("Shapes repeat")


# Curves


def test_curves_are_pythons_and_a_box_in_the_address_takes_them_away(
    knobs: Demo, page: Page, plain: Page
) -> None:
    titles = "#plot .curve title"
    plain.goto(knobs.address("pareto.html"))
    page.goto(knobs.address("pareto.html"))
    found = [settled(p).locator(titles).all_text_contents() for p in (page, plain)]
    assert found[0] == found[1] == ["prompt-lookup, num_tokens = 2, 5, 10"] * len(MODELS)
    # One front over all runs draws them all as circles.
    page.locator("select[name=per]").select_option("all")
    for curve in settled(page).locator("#plot .curve").all():
        points = (curve.get_attribute("points") or "").split(" ")
        assert len(points) == 3
        marks = page.evaluate(
            "() => [...document.querySelectorAll('#plot .point circle')]"
            ".map(c => `${c.getAttribute('cx')},${c.getAttribute('cy')}`)"
        )
        assert set(points) <= set(marks)
    page.locator("select[name=per]").select_option("model")
    page.get_by_label("lines along knobs").uncheck()
    assert settled(page).locator("#plot .curve").count() == 0
    # What was left as it is too: another build may begin with another hardware or workload.
    assert all(f"{name}=" in page.url for name in ("x", "y", "hardware", "workload"))
    assert page.url.endswith("curves=0")
    shared = page.context.new_page()
    shared.goto(page.url)
    assert settled(shared).locator("#plot .curve").count() == 0
    page.get_by_label("lines along knobs").check()
    assert "#" not in page.url


@pytest.mark.parametrize("state", ["curves=7", "per=__proto__", "m4=nope&m1=constructor"])
def test_nonsense_in_the_address_gives_the_default(knobs: Demo, page: Page, state: str) -> None:
    complaints: list[str] = []
    page.on("pageerror", lambda error: complaints.append(str(error)))
    for name in ("pareto.html", "parallel.html"):
        page.goto(knobs.address(name))
        expected = settled(page).locator("#plot").inner_html()
        page.goto("about:blank")
        page.goto(knobs.address(name, state))
        assert settled(page).locator("#plot").inner_html() == expected
    assert complaints == []


@pytest.mark.parametrize(("name", "marks"), [("pareto.html", ".point"), ("parallel.html", ".path")])
def test_a_gate_leaves_the_runs_with_that_answer_and_is_in_the_address(
    demo: Demo, page: Page, name: str, marks: str
) -> None:
    page.goto(demo.address(name))
    where = place(settled(page))
    for answer in ("pass", "fail", "undecided", "none"):
        page.locator("select[name=gate]").select_option(answer)
        drawn = settled(page).locator(f"#plot {marks}").all()
        left = page.locator("#left li a").all()
        expected = {
            line.href
            for line in demo.board.lines
            if (line.hardware, line.workload_choice) == where
            and line.status is Status.OK
            and line.gate.answer == answer
        }
        assert {mark.get_attribute("href") for mark in (*drawn, *left)} == expected != set()
        assert f"gate={answer}" in page.url
    shared = page.context.new_page()
    shared.goto(page.url)
    assert settled(shared).locator("#plot").inner_html() == page.locator("#plot").inner_html()


# Names and crowds


def test_a_point_without_room_for_its_name_shows_it_on_focus(knobs: Demo, page: Page) -> None:
    page.set_viewport_size({"width": 390, "height": 800})
    page.goto(knobs.address("pareto.html"))
    beaten = settled(page).locator("#plot .point.beaten").first
    name = beaten.locator("text")
    assert name.evaluate("text => getComputedStyle(text).visibility") == "hidden"
    page.locator("select[name=x]").focus()
    for _ in range(60):
        page.keyboard.press("Tab")
        if beaten.evaluate("point => point === document.activeElement"):
            break
    assert name.evaluate("text => getComputedStyle(text).visibility") == "visible"
    box, plot = name.bounding_box(), page.locator("#plot svg").bounding_box()
    assert box is not None
    assert plot is not None
    assert box["y"] >= plot["y"]
    assert box["x"] >= plot["x"]
    assert box["x"] + box["width"] <= plot["x"] + plot["width"]
    assert name.text_content() == page.evaluate(
        "row => nameOf(Number(row))", beaten.get_attribute("data-row")
    )


@pytest.mark.parametrize("name", ["pareto.html", "parallel.html"])
def test_a_window_of_another_height_keeps_the_focus_and_of_another_width_fits_the_plot(
    knobs: Demo, page: Page, name: str
) -> None:
    page.goto(knobs.address(name))
    settled(page).locator("#plot a").first.focus()
    page.set_viewport_size({"width": 1280, "height": 500})
    page.evaluate("() => new Promise(done => requestAnimationFrame(() => setTimeout(done, 50)))")
    assert settled(page).locator("#plot a:focus").count() == 1
    page.set_viewport_size({"width": 390, "height": 500})
    page.wait_for_function("document.querySelector('#plot svg').viewBox.baseVal.width < 400")


GROW = """([copies, step]) => {
  const rows = LEANBOARD.rows;
  const again = (values, of = (v) => v) =>
    Array.from({ length: rows * copies }, (_, i) => of(values[i % rows], Math.floor(i / rows)));
  for (const column of Object.values(LEANBOARD.texts)) column.rows = again(column.rows);
  for (const name of ["baseline", "ranked", "against"]) LEANBOARD[name] = again(LEANBOARD[name]);
  LEANBOARD.href = again(LEANBOARD.href, (href, copy) => `${href}?${copy}`);
  const WORSE = ["value", "low", "high", "ratio", "ratioLow", "ratioHigh"];
  const worse = (value, copy) => (value === null ? null : value * (1 + copy * step));
  for (const cells of LEANBOARD.cells.filter(Boolean)) {
    for (const [name, values] of Object.entries(cells)) {
      if (!Array.isArray(values)) values.rows = again(values.rows);
      else cells[name] = again(values, WORSE.includes(name) ? worse : undefined);
    }
  }
  LEANBOARD.rows = rows * copies;
  restoreExplorer({});
}"""


def test_ten_thousand_runs_leave_the_plots_readable(knobs: Demo, page: Page) -> None:
    for name, mark in (("pareto.html", ".point"), ("parallel.html", ".path")):
        page.goto(knobs.address(name))
        settled(page).evaluate(GROW, [1000, 0.01])
        marks = settled(page).locator(f"#plot {mark}")
        front = page.locator(f"#plot {mark}.front").count()
        assert page.evaluate("LEANBOARD.rows") == 10_000
        assert front > 0
        assert marks.count() == front + MOST_BEATEN
        missing = page.locator("#undrawn").inner_text()
        assert f"{10_000 - marks.count():,} dominated runs" in missing
        assert page.locator(f'#plot {mark}:not([tabindex="-1"])').count() == front
        assert page.locator(f"#plot {mark}.beaten text:not(.spare)").count() == 0


# Several metrics


LISTS = (
    "#front li",
    "#maybe li",
    "#left li",
    "#uprights li",
    "#values tr",
    "#caption",
    "#untold",
    "#exact",
)


@pytest.mark.parametrize("store", ["demo", "knobs"])
def test_several_metrics_read_the_same_with_and_without_javascript(
    request: pytest.FixtureRequest, page: Page, plain: Page, store: str
) -> None:
    site: Demo = request.getfixturevalue(store)
    for shown in (page, plain):
        shown.goto(site.address("parallel.html"))
    paths = [settled(p).locator("#plot .path") for p in (page, plain)]
    assert drawn(paths[0]) == drawn(paths[1])
    assert paths[0].count() > 4
    assert texts(page, *LISTS) == texts(plain, *LISTS)
    assert shown_table(page) == shown_table(plain)
    numbers = [p.locator("#plot .path text:not(.spare)").all_text_contents() for p in (page, plain)]
    assert numbers[0] == numbers[1] != []
    assert plain.locator("form:visible").count() == 0


def chosen(site: Demo, page: Page, names: Sequence[str]) -> Several:
    for number, name in enumerate(names, start=1):
        page.locator(f"select[name=m{number}]").select_option(name)
    return several(site.board, columns(site.board, *names), *place(settled(page)))


def test_the_front_of_four_is_pythons_and_is_in_the_address(demo: Demo, page: Page) -> None:
    page.goto(demo.address("parallel.html"))
    names = ["decode_tokens_per_s", "ttft_s", "peak_memory_bytes", "accuracy"]
    expected = chosen(demo, page, names)
    front = page.locator("#plot .path.front")
    assert {mark.get_attribute("href") for mark in front.all()} == {
        found.line.href for found in expected.front
    }
    assert page.locator("#plot .path").count() == len(expected.paths)
    assert len(page.locator("#left li").all()) == len(expected.left_out) > 0
    assert page.locator("#values tbody tr").count() == len(expected.rows)
    assert shown_table(page) == table_of(expected.volumes)
    assert page.locator("#volume-unit").inner_text() == "doublings\u2074"
    shared = page.context.new_page()
    shared.goto(page.url)
    assert texts(settled(shared), *LISTS) == texts(page, *LISTS)
    assert shared.locator("#plot").inner_html() == page.locator("#plot").inner_html()
    page.get_by_role("button", name="Reset").click()
    assert "#" not in settled(page).url
    assert page.locator("#uprights li").count() == 3


def test_a_metric_that_is_chosen_twice_is_one_axis(demo: Demo, page: Page) -> None:
    page.goto(demo.address("parallel.html"))
    for number in (1, 2, 3):
        page.locator(f"select[name=m{number}]").select_option("tpot_s")
    assert settled(page).locator("#uprights li").count() == 1
    assert page.locator("#plot .path.front").count() > 0


def test_a_line_is_reached_by_keyboard_says_its_name_and_leads_to_its_run(
    knobs: Demo, page: Page
) -> None:
    page.goto(knobs.address("parallel.html"))
    path = settled(page).locator("#plot .path.front").first
    name = path.locator(".spare")
    assert name.evaluate("text => getComputedStyle(text).visibility") == "hidden"
    path.focus()
    assert name.evaluate("text => getComputedStyle(text).visibility") == "visible"
    page.keyboard.press("Enter")
    page.wait_for_url("**/runs/**")
    assert page.locator("h1").count() == 1


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_the_explorer_is_not_wider_than_its_window(
    knobs: Demo, browser: Browser, width: int, scheme: str
) -> None:
    context = browser.new_context(viewport={"width": width, "height": 800}, color_scheme=scheme)
    page = context.new_page()
    for name, state in (
        ("pareto.html", "per=model"),
        ("parallel.html", ""),
        ("parallel.html", "m4=weight_bytes"),
    ):
        page.goto("about:blank")
        page.goto(knobs.address(name, state))
        settled(page)
        wider = page.evaluate("document.documentElement.scrollWidth - innerWidth")
        assert wider <= 0, (name, state)
        for head in page.locator("#plot .axis-title").all():
            box = head.bounding_box()
            assert box is not None
            assert box["x"] >= 0
            assert box["x"] + box["width"] <= width
    context.close()


def test_no_script_of_these_pages_asks_for_more_than_it_shows(knobs: Demo, page: Page) -> None:
    asked: list[str] = []
    page.on("request", lambda request: asked.append(Path(request.url).name))
    page.goto(knobs.address("parallel.html"))
    settled(page)
    names = [column.name for column in knobs.board.columns]
    expected = {names.index(name) for name in ("tpot_s", "ttft_s", "peak_memory_bytes")}
    numbered = {name.removesuffix(".js") for name in asked if name.removesuffix(".js").isdigit()}
    assert numbered == {str(number) for number in expected}


def test_the_browser_leaves_out_the_same_points(knobs: Demo, page: Page) -> None:
    page.goto(knobs.address("pareto.html"))
    for count, most in ((10, 10), (11, 10), (9973, 2000), (100, 0)):
        items = list(range(count))
        assert page.evaluate("args => thinned(...args)", [items, most]) == thinned(items, most)
