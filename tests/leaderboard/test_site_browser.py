"""The site in a real browser, opened from the file system as a reader would."""

from __future__ import annotations

import random
import re
from dataclasses import asdict, replace
from itertools import permutations
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from browser_page import chosen, settled
from demo_store import Demo
from record_factory import make_model, make_run, request_observation

from leanboard.leaderboard.build import build_site
from leanboard.leaderboard.format import DASH, Scale, ratio_places, span
from leanboard.leaderboard.ranks import Standing, ranks_among
from leanboard.metrics.front_membership import Uncertain, membership
from leanboard.metrics.metric import Direction
from leanboard.metrics.pareto import pareto_front
from leanboard.metrics.trace import Provenance
from leanboard.results.identity import sealed
from leanboard.results.schema import Cause, Status
from leanboard.results.store import Entry, Store

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Page

pytestmark = pytest.mark.browser


def column(page: Page, head: str) -> list[str]:
    """The texts of a metric's values, top to bottom."""
    heads = page.locator("#board thead th").all_inner_texts()
    place = next(i for i, text in enumerate(heads) if text.startswith(head))
    cells = page.locator(f"#board tbody tr > :nth-child({place + 1})")
    return [cell.locator(".value, span[aria-hidden]").first.inner_text() for cell in cells.all()]


def names(page: Page) -> list[str]:
    return page.locator("#board tbody th a").all_inner_texts()


def test_every_page_opens_without_errors_and_asks_no_other_origin(
    demo: Demo, context: BrowserContext
) -> None:
    root = demo.folder.as_uri()
    complaints, requests = [], []
    page = context.new_page()
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("request", lambda request: requests.append(request.url))
    for name in demo.report.pages:
        page.goto(demo.address(name))
        settled(page)
    assert complaints == []
    assert requests
    assert [url for url in requests if not url.startswith(root)] == []


def test_the_table_reads_the_same_with_and_without_javascript(
    demo: Demo, browser: Browser, page: Page
) -> None:
    page.goto(demo.address())
    page.evaluate("draw()")
    plain = browser.new_context(java_script_enabled=False, viewport={"width": 1280, "height": 860})
    static = plain.new_page()
    static.goto(demo.address())
    rows = page.locator("#board tbody tr").all_inner_texts()
    assert rows == static.locator("#board tbody tr").all_inner_texts()
    assert len(rows) == 18
    for gate in ("\u2713 pass", "\u25d0 undecided"):
        assert any(gate in row for row in rows)
    marks = "#plot .point"
    page.goto(demo.address("pareto.html"))
    static.goto(demo.address("pareto.html"))
    drawn, expected = (
        {(m.get_attribute("class"), m.get_attribute("href")) for m in p.locator(marks).all()}
        for p in (page, static)
    )
    assert drawn == expected
    assert static.locator("#others, form:visible").count() == 0
    plain.close()


def test_sorting_orders_both_ways_and_says_so(demo: Demo, page: Page) -> None:
    page.goto(demo.address())
    head = page.locator("#board thead th", has_text="TPOT")
    for direction, flipped in (("ascending", False), ("descending", True)):
        head.get_by_role("button").click()
        assert head.get_attribute("aria-sort") == direction
        values = [float(text) for text in column(page, "TPOT")]
        assert values == sorted(values, reverse=flipped)
        assert len(set(values)) > 3


RANKS = """([direction, ends]) => {
  const place = metricPlace("tpot_s");
  const texts = (text) => ({ texts: [text], rows: ends.map(() => 0) });
  const marked = (text, mark) =>
    ({ texts: ["", text], rows: ends.map((e) => (e && e[2] === mark ? 1 : 0)) });
  LEANBOARD.texts.unstable = marked("it shook", "unstable");
  LEANBOARD.reach = ends.map(() => null);
  LEANBOARD.texts.gate = marked("fail", "failed");
  LEANBOARD.texts.status = texts("ok");
  LEANBOARD.metrics[place].direction = direction;
  LEANBOARD.cells[place] = {
    value: ends.map((e) => e && (e[0] + (e[1] ?? e[0])) / 2),
    low: ends.map((e) => (e && e.length > 1 ? e[0] : null)),
    high: ends.map((e) => (e && e.length > 1 ? e[1] : null)),
    estimate: texts(""), provenance: texts("measured"),
    unranked: ends.map(() => 0),
  };
  const ranks = ranksAmong(ends.map((_, row) => row), place);
  return ends.map((_, row) => {
    const found = ranks.get(row);
    if (!found) return "";
    const { first, last, medal } = found;
    return `${first === last ? first : `${first}-${last}`} ${medal}`.trim();
  });
}"""


@pytest.mark.parametrize(
    ("direction", "ends", "expected"),
    [
        ("lower", [[3, 4], [1, 2], [5, 6]], ["2 silver", "1 gold", "3 bronze"]),
        ("higher", [[3, 4], [1, 2], [5, 6]], ["2 silver", "3 bronze", "1 gold"]),
        # The third meets the second: only the first is shown to be better.
        ("lower", [[1, 3], [2, 5], [4, 6], [7, 8]], ["1-2", "1-3", "2-3", "4"]),
        # The last has the worst value but one, and nobody is shown to be better.
        ("lower", [[1, 2], [2.5, 3.5], [1.5, 5]], ["1-2", "2-3", "1-3"]),
        ("higher", [[4, 5], [2.5, 3.5], [1, 4.5]], ["1-2", "2-3", "1-3"]),
        ("lower", [[1, 2], [3, 5], [4, 6]], ["1 gold", "2-3", "2-3"]),
        ("lower", [[1, 2], None, [3, 4]], ["1 gold", "", "2 silver"]),
        # What has no interval may be better than all that it is not worse than by a factor of two.
        ("lower", [[1, 2], [0.5], [3, 4]], ["1-2", "", "2-3"]),
        ("lower", [[1, 2], [7], [3, 4]], ["1 gold", "", "2-3"]),
        ("lower", [[1, 2], [9], [3, 4]], ["1 gold", "", "2 silver"]),
        ("higher", [[9], [3, 4], [1, 2]], ["", "1-2", "2-3"]),
        ("lower", [None, [1, 2]], ["", "1"]),
        # A run unstable by an unknown amount has no rank, and keeps the medal from all that it may
        # be better than.
        ("lower", [[1, 2, "unstable"], [1.5, 3], [4, 5]], ["", "1-2", "2-3"]),
        ("lower", [[6, 7, "unstable"], [1.5, 3], [4, 5]], ["", "1 gold", "2 silver"]),
        # A row that failed the gate has none either, and keeps nothing from others.
        ("lower", [[1, 2, "failed"], [1.5, 3], [4, 5]], ["", "1 gold", "2 silver"]),
        ("neutral", [[1, 2], [3, 4]], ["", ""]),
    ],
)
def test_a_rank_is_the_places_that_a_row_can_have_by_its_interval(
    demo: Demo,
    page: Page,
    direction: str,
    ends: list[list[float | str] | None],
    expected: list[str],
) -> None:
    page.goto(demo.address())
    assert page.evaluate(RANKS, [direction, ends]) == expected


def test_ranks_of_random_intervals_are_pythons(demo: Demo, page: Page) -> None:
    page.goto(demo.address())
    chance = random.Random(5)
    for direction in (Direction.LOWER, Direction.HIGHER):
        lows = [float(chance.randrange(40)) for _ in range(30)]
        ends = [(low, low + chance.randrange(9)) for low in lows]
        standings = [Standing((low + high) / 2, low, high) for low, high in ends]
        ranks = [rank for rank in ranks_among(standings, direction) if rank is not None]
        expected = [f"{rank.text} {rank.medal}".strip().replace("\u2013", "-") for rank in ranks]
        assert page.evaluate(RANKS, [direction.value, ends]) == expected


def test_ranks_show_beside_the_names_once_rows_can_be_compared(demo: Demo, page: Page) -> None:
    page.goto(demo.address(state="sort=tpot_s&workload=chat"))
    hardware = next(row.hardware for row in demo.board.lines if row.origin == "published")
    page.locator("select[name=hardware]").select_option(hardware)
    ranks = page.locator("#board .rank").all_inner_texts()
    unstable = page.locator("#board .mark").count()
    assert len(ranks) == len(names(page)) - unstable
    assert ranks[0].startswith("1")
    assert page.locator("#no-ranks").inner_text() == ""
    page.locator("#board thead button", has_text="Backend").click()
    assert page.locator("#board .rank").count() == 0


def test_ranks_need_one_hardware_and_workload(demo: Demo, page: Page) -> None:
    page.goto(demo.address(state="sort=tpot_s"))
    page.locator("#no-ranks", has_text="one hardware and one workload").wait_for()
    assert page.locator("#board .rank").count() == 0


def test_the_first_click_shows_the_best_first_whichever_way_is_better(
    demo: Demo, page: Page
) -> None:
    page.goto(demo.address())
    head = page.locator("#board thead th", has_text="Decode")
    for direction, flipped in (("descending", True), ("ascending", False)):
        head.get_by_role("button").click()
        assert head.get_attribute("aria-sort") == direction
        values = [float(text) for text in column(page, "Decode")]
        assert values == sorted(values, reverse=flipped)
    assert "dir=asc" in page.url


def test_rows_can_be_ordered_by_what_has_no_column(demo: Demo, page: Page) -> None:
    page.goto(demo.address())
    page.get_by_label("Order").select_option("Model")
    assert "sort=model" in settled(page).url
    shown = page.locator("#board tbody th > small:not(.phone, .why)").all_inner_texts()
    assert shown == sorted(shown)
    page.get_by_label("Order").select_option("Peak memory \u2193")
    assert page.locator("#board thead [aria-sort]").get_attribute("aria-sort") == "ascending"
    page.locator("#board thead button", has_text="Backend").click()
    assert chosen(page, "sort") == "Backend"
    shared = page.context.new_page()
    shared.goto(page.url)
    assert names(settled(shared)) == names(page)
    assert chosen(shared, "sort") == "Backend"
    page.get_by_label("Order").select_option("as listed")
    assert "#" not in page.url


def test_sizes_are_ordered_from_small_to_large(tmp_path: Path, page: Page) -> None:
    store = Store(tmp_path / "records", "local")
    for name, parameters in (("c", 4 * 10**10), ("b", 2 * 10**9), ("a", 10**10), ("d", 10**8)):
        run = make_run(model=make_model(name, parameters=parameters))
        store.write(run.record, run.traces)
    built = build_site(store.load(), tmp_path / "site")
    page.goto((built.folder / "index.html").as_uri() + "#sort=size")
    models = settled(page).locator("#board tbody th > small:not(.phone)").all_inner_texts()
    assert models == ["d", "b", "a", "c"]


def test_where_an_order_gives_no_ranks_the_page_says_why(demo: Demo, page: Page) -> None:
    hardware = next(row.hardware for row in demo.board.lines if row.origin == "published")
    page.goto(demo.address(state="sort=peak_memory_bytes&workload=chat"))
    page.locator("select[name=hardware]").select_option(hardware)
    assert page.locator("#board .rank").count() == 0
    rows = len(names(page))
    told = page.locator("#no-ranks")
    assert told.inner_text() == f"No ranks by Peak memory: {rows} rows without an interval."
    neutral = next(c for c in demo.board.columns if c.direction is Direction.NEUTRAL)
    page.get_by_label("Order").select_option(neutral.name)
    told.filter(has_text="neither more nor less of it is better").wait_for()


def test_sorting_works_by_keyboard_and_keeps_the_focus(demo: Demo, page: Page) -> None:
    page.goto(demo.address())
    page.locator("#board thead button", has_text="TTFT").focus()
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.dataset.sort") == "ttft_s"
    assert page.locator("#board thead [aria-sort]").count() == 1


def test_what_was_not_measured_comes_last_whichever_way_the_rest_goes(
    demo: Demo, page: Page
) -> None:
    for direction in ("asc", "desc"):
        page.goto("about:blank")
        page.goto(demo.address(state=f"sort=accuracy&dir={direction}"))
        assert column(page, "Accuracy")[-2:] == ["\u2014", "\u2014"]
    title = page.locator("#board tbody tr").last.locator(".null .hidden").first.inner_text()
    assert title == "not measured: no task with accuracy was scored for this arm"


def test_filters_and_search_narrow_the_table(demo: Demo, page: Page) -> None:
    page.goto(demo.address())
    everything = len(names(page))
    page.locator("select[name=backend]").select_option("llamacpp")
    assert len(names(page)) == 4
    page.locator("select[name=workload]").select_option("long-prompt")
    assert len(names(page)) == 2
    page.locator("input[name=q]").fill("Q8_0")
    assert names(page) == ["gguf-q8_0"]
    assert page.locator("#count").inner_text() == "1 of 22 rows"
    page.get_by_role("button", name="Reset").click()
    assert len(names(page)) == everything
    assert "#" not in page.url


def test_a_filter_that_fits_nothing_says_so(demo: Demo, page: Page) -> None:
    page.goto(demo.address(state="q=no-such-thing"))
    assert page.locator("#board tbody").inner_text().startswith("No row fits")


@pytest.fixture(scope="module")
def shaky(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The leaderboard of a baseline and of a faster run that is unstable."""
    root = tmp_path_factory.mktemp("shaky")
    store = Store(root / "records", "local")
    baseline = make_run(arms=("none", "shaky"))
    cause = Cause(kind="faults", message="30,000 page faults a second, the limit is 10,000")
    run = make_run(
        techniques=["shaky"], arms=("none", "shaky"), baseline=baseline, speed=2.0, causes=[cause]
    )
    for each in (baseline, run):
        store.write(each.record, each.traces)
    return (build_site(store.load(), root / "site").folder / "index.html").as_uri()


@pytest.mark.parametrize("script", [True, False], ids=["script", "no script"])
def test_an_unstable_row_says_so_and_unfolds_its_causes_by_keyboard(
    shaky: str, browser: Browser, *, script: bool
) -> None:
    context = browser.new_context(java_script_enabled=script)
    page = context.new_page()
    page.goto(shaky)
    mark = page.locator("#board .mark")
    assert mark.count() == 1
    assert mark.inner_text() == "unstable"
    row = page.locator("#board tbody tr", has=page.locator(".mark"))
    assert row.locator("th a").inner_text() == "shaky"
    assert row.locator(".gain.better").count() == 0
    assert row.locator(".gain.doubted").first.inner_text().endswith("?")
    mark.locator("summary").focus()
    page.keyboard.press("Enter")
    assert "faults: 30,000 page faults a second" in mark.inner_text()
    context.close()


def test_the_legend_says_what_the_marks_mean(demo: Demo, page: Page) -> None:
    page.goto(demo.address())
    legend = page.locator("#reading").inner_text()
    for word in ("modelled", "Not measured", "unstable", "Judged stable: 19 rows."):
        assert word in legend


def test_sorting_never_mixes_estimates_with_what_was_measured(
    tmp_path: Path, context: BrowserContext
) -> None:
    store = Store(tmp_path / "records", "local")
    for number, (arm, provenance) in enumerate(
        [("a", Provenance.MODELLED), ("b", Provenance.MEASURED), ("c", Provenance.MEASURED)]
    ):
        seen = request_observation(arm=arm, speed=4.0 - number, energy_provenance=provenance)
        run = make_run(techniques=[arm], observation=seen)
        store.write(run.record, run.traces)
    built = build_site(store.load(), tmp_path / "site")
    page = context.new_page()
    page.goto((built.folder / "index.html").as_uri())
    head = page.locator("#board thead th", has_text="Energy")
    for expected in (["b", "c", "a"], ["c", "b", "a"]):
        head.get_by_role("button").click()
        assert names(page) == expected
    place = page.locator("#board thead th").all_inner_texts().index(head.inner_text()) + 1
    cells = page.locator(f"#board tbody tr > :nth-child({place})")
    assert "modelled" in cells.last.inner_text()
    assert [cell.locator("svg").count() for cell in cells.all()] == [1, 1, 0]


def test_a_search_looks_at_every_text_but_those_of_filters_alone(demo: Demo, page: Page) -> None:
    for search, count in (("Q8_0+CHAT", 1), ("long-prompt+llamacpp", 2), ("undecided", 0)):
        page.goto("about:blank")
        page.goto(demo.address(state=f"q={search}"))
        assert len(names(settled(page))) == count, search


def test_a_technique_page_leads_to_its_rows_alone_and_those_of_combinations(
    tmp_path: Path, page: Page
) -> None:
    store = Store(tmp_path / "records", "local")
    for arm in ([], ["svd"], ["whitened-svd"], ["svd", "bf16"], ["bf16"]):
        run = make_run(techniques=arm)
        store.write(run.record, run.traces)
    built = build_site(store.load(), tmp_path / "site")
    page.goto((built.folder / "techniques" / "svd.html").as_uri())
    page.get_by_role("link", name="On the leaderboard").click()
    assert sorted(names(settled(page))) == ["svd", "svd+bf16"]
    uses = page.get_by_label("Uses technique")
    assert uses.input_value() == "svd"
    assert uses.locator("option").all_inner_texts() == ["all", "bf16", "svd", "whitened-svd"]
    uses.select_option("")
    assert len(names(settled(page))) == 5
    assert "uses" not in page.url


def test_a_long_table_has_pages_with_and_without_javascript(
    tmp_path: Path, browser: Browser, page: Page
) -> None:
    entries = [
        Entry(make_run(techniques=[f"arm-{number:03}"], number=number).record, "local", Path("r"))
        for number in range(3)
    ]
    many = tuple(
        replace(entry, record=entry.record.model_copy(update={"cell_id": f"{number:016x}"}))
        for number, entry in enumerate(entries * 68)
    )
    store = Store(tmp_path / "records", "local")
    for entry in many:
        run = sealed(entry.record.model_dump() | {"traces": None})
        store.write(run, None)
    built = build_site(store.load(), tmp_path / "site")
    tables = [name for name in built.pages if name.startswith(("index", "leaderboard"))]
    assert tables == ["index.html", *(f"leaderboard-{number}.html" for number in range(2, 6))]
    plain = browser.new_context(java_script_enabled=False).new_page()
    plain.goto((built.folder / "index.html").as_uri())
    page.goto((built.folder / "index.html").as_uri())
    hrefs: list[list[str]] = [[], []]
    for number, expected in enumerate((50, 50, 50, 50, 4), start=1):
        for found, shown in zip(hrefs, (plain, page), strict=True):
            links = settled(shown).locator("#board tbody th a").all()
            assert len(links) == expected
            found += [shown.evaluate("a => a.href", link.element_handle()) for link in links]
        if number < 5:
            plain.get_by_role("link", name="Next").click()
            page.get_by_role("button", name="Next").click()
    assert hrefs[0] == hrefs[1]
    assert "page=5" in page.url
    page.goto((built.folder / "leaderboard-2.html").as_uri())
    assert page.locator("#pager").inner_text().split("\n")[0].startswith("Previous")
    assert "page 2 of 5" in page.locator("#pager").inner_text()
    # Its first page is not what this file begins with: the address says so, and opens there again.
    page.locator("#board thead button", has_text="TPOT").click()
    for _ in range(2):
        assert "page 1 of 5" in settled(page).locator("#pager").inner_text()
        page.reload()
    page.get_by_role("button", name="Reset").click()
    assert "#" not in page.url
    assert "page 2 of 5" in settled(page).locator("#pager").inner_text()


def test_columns_can_be_chosen(demo: Demo, page: Page) -> None:
    page.goto(demo.address())
    page.locator(".picker > summary").click()
    page.get_by_role("checkbox", name="End-to-end latency").check()
    assert settled(page).locator("#board thead", has_text="End-to-end latency").count() == 1
    page.get_by_role("checkbox", name="End-to-end latency").uncheck()
    assert "cols" not in page.url


def test_a_shared_link_opens_the_same_view(demo: Demo, context: BrowserContext, page: Page) -> None:
    page.goto(demo.address())
    page.locator("select[name=workload]").select_option("chat")
    page.locator("input[name=q]").fill("transformers")
    page.locator("#board thead button", has_text="Decode").click()
    page.locator("#board thead button", has_text="Decode").click()
    page.locator(".picker > summary").click()
    page.get_by_role("checkbox", name="Load time").check()
    other = context.new_page()
    other.goto(page.url)
    texts = [settled(p).locator("#board").inner_text() for p in (page, other)]
    assert texts[0] == texts[1]
    assert chosen(other, "workload") == "chat"
    assert other.locator("#board [aria-sort]").get_attribute("aria-sort") == "ascending"


def test_a_link_within_the_page_leaves_the_state_in_the_address(demo: Demo, page: Page) -> None:
    page.goto(demo.address(state="sort=tpot_s&dir=asc"))
    settled(page).get_by_role("link", name="what these mean").click()
    assert page.evaluate("document.activeElement.id") == "reading"
    assert page.locator("#reading").evaluate("e => e.getBoundingClientRect().top < innerHeight")
    page.get_by_role("link", name="Skip to the content").press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"
    assert page.url.endswith("#sort=tpot_s&dir=asc")
    page.goto(demo.address())
    settled(page).get_by_role("link", name="what these mean").click()
    assert page.url.endswith("#reading")


def test_a_row_leads_to_its_run_and_back(demo: Demo, page: Page) -> None:
    page.goto(demo.address())
    page.locator("#board tbody th a", has_text="prompt-lookup").first.click()
    assert page.locator("h1").inner_text() == "prompt-lookup \u00b7 chat"
    assert page.locator("svg.plot").count() == 4
    page.get_by_role("button", name="Copy").first.click()
    page.locator("button", has_text="Cop").first.wait_for()
    page.get_by_role("link", name="Leaderboard").first.click()
    assert page.locator("#board").count() == 1


def test_every_pair_of_axes_marks_the_front_of_the_metrics_package(demo: Demo, page: Page) -> None:
    """Axes, hardware and workload as a reader chooses them; the front as Python finds it."""
    board = demo.board
    wanted = ["ttft_s", "tpot_s", "decode_tokens_per_s", "peak_memory_bytes", "accuracy"]
    axes = {column.name: column for column in board.columns if column.name in wanted}
    page.goto(demo.address("pareto.html"))
    hardware = chosen(page, "hardware")
    page.locator("select[name=workload]").select_option("long-prompt")
    for x, y in permutations(wanted, 2):
        page.locator("select[name=x]").select_option(x)
        page.locator("select[name=y]").select_option(y)
        pair = [axes[x], axes[y]]
        quality = any(column.quality for column in pair)
        points = {
            str(number): [line.cell(column).value for column in pair]
            for number, line in enumerate(board.lines)
            if (line.hardware, line.workload, line.status) == (hardware, "long-prompt", Status.OK)
            and (line.ranked if quality else not line.failed_gate)
            and not line.unstable
        }
        expected = pareto_front(points, [column.direction for column in pair])
        drawn = settled(page).locator("#plot .point.front").all()
        assert {mark.get_attribute("data-row") for mark in drawn} == set(expected.members)
        assert page.locator("#front li").count() == len(expected.members)
        assert page.locator("#plot .point.beaten").count() == len(expected.dominated)


def test_the_browser_draws_the_very_fronts_that_python_draws(demo: Demo, page: Page) -> None:
    drawn = random.Random(1)
    points = {
        f"runs/m/{i}.html": [
            Uncertain(v, v * 0.9, v * 1.2) for v in (drawn.random(), drawn.random())
        ]
        for i in range(9)
    }
    metrics, directions = ["tpot_s", "acc"], [Direction.LOWER, Direction.HIGHER]
    expected = membership(points, metrics, directions)
    page.goto(demo.address("pareto.html"))
    given = [{"name": n, "values": [asdict(v) for v in values]} for n, values in points.items()]
    found = page.evaluate(
        "([points, metrics, directions]) => frontMembership(points, metrics, directions, 400)",
        [given, metrics, [direction.value for direction in directions]],
    )
    assert expected.shares is not None
    assert found == {"contenders": expected.contenders, "shares": list(expected.shares.values())}


def test_what_may_be_on_the_front_is_listed_apart(demo: Demo, page: Page, browser: Browser) -> None:
    plain = browser.new_context(java_script_enabled=False).new_page()
    lists = []
    for shown in (page, plain):
        shown.goto(demo.address("pareto.html"))
        lists.append(
            [shown.locator(f"#{name} li").all_inner_texts() for name in ("front", "maybe")]
        )
    assert lists[0] == lists[1]
    assert all("% of draws" in text for text in lists[0][0])


def test_axes_and_logarithms_are_in_the_address(
    demo: Demo, context: BrowserContext, page: Page
) -> None:
    page.goto(demo.address("pareto.html"))
    before = page.locator("#plot").inner_html()
    page.locator("select[name=y]").select_option("decode_tokens_per_s")
    page.get_by_label("log y").check()
    other = context.new_page()
    other.goto(page.url)
    drawn = [settled(p).locator("#plot").inner_html() for p in (page, other)]
    assert drawn[0] == drawn[1] != before
    assert page.locator("#plot .bar").count() > 0


def test_runs_without_a_value_are_listed_with_the_reason(demo: Demo, page: Page) -> None:
    page.goto(demo.address("pareto.html") + "#y=accuracy")
    local = next(line.hardware for line in demo.board.lines if line.origin == "local")
    page.locator("select[name=hardware]").select_option(local)
    assert page.locator("#plot .point").count() == 0
    assert page.locator("#left li").count() == 2
    assert "no task with accuracy" in page.locator("#left li").first.inner_text()


def test_joules_that_were_only_modelled_are_no_axis(demo: Demo, page: Page) -> None:
    page.goto(demo.address("pareto.html"))
    offered = page.locator("select[name=x] option").all_inner_texts()
    assert "Time per output token" in offered
    assert not [name for name in offered if "nergy" in name]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_no_page_is_wider_than_its_window(
    demo: Demo, browser: Browser, width: int, scheme: str
) -> None:
    context = browser.new_context(viewport={"width": width, "height": 800}, color_scheme=scheme)
    page = context.new_page()
    run = next(name for name in demo.report.pages if name.startswith("runs/"))
    for name in ("index.html", "pareto.html", "methodology.html", "downloads.html", run):
        page.goto(demo.address(name))
        wider = page.evaluate("document.documentElement.scrollWidth - innerWidth")
        assert wider <= 0, name
        assert len(page.screenshot()) > 10_000
        background = page.evaluate("getComputedStyle(document.documentElement).backgroundColor")
        red = int(background.removeprefix("rgb(").split(",")[0])
        assert (red < 64) == (scheme == "dark")
    context.close()


def test_a_hundred_thousandth_of_a_second_formats_alike_here_and_there(
    demo: Demo, page: Page
) -> None:
    """The browser's numbers are those of format.py, digit for digit."""
    from leanboard.leaderboard.format import number

    page.goto(demo.address())
    values = [
        sign * m * 10.0**e for e in range(-7, 9) for m in (1, 2.345, 9.995) for sign in (1, -1)
    ]
    # From 1e21 on JavaScript writes numbers with exponents.
    values += [1e20, 1e21, -1.5e22, 1e100]
    assert page.evaluate("vs => vs.map(v => formatNumber(v))", values) == [
        number(v) for v in values
    ]
    pairs = [[v, v * (1 + width)] for v in values if v > 0 for width in (0.5, 0.001)]
    here = [span(low, high, Scale(1e3, "ms")) for low, high in pairs]
    assert page.evaluate("ps => ps.map(([l, h]) => formatSpan(l, h, 1e3))", pairs) == here
    assert page.evaluate("[Infinity, -Infinity, NaN].map((v) => formatNumber(v, 2))") == 3 * [DASH]


def test_ratios_with_their_intervals_are_read_without_a_pointer(
    demo: Demo, context: BrowserContext, page: Page
) -> None:
    page.goto(demo.address())
    gains = settled(page).locator("#board .gain")
    count = gains.count()
    assert page.get_by_text("ratio 0.").count() == 0
    page.locator(".picker > summary").press("Enter")
    box = page.get_by_label("Ratios to the baseline with their intervals")
    box.press("Space")
    assert settled(page).locator("#board .gain").count() == count > 20
    for gain in gains.all():
        title, cell = str(gain.get_attribute("title")), gain.locator("xpath=..").inner_text()
        measured = title.partition("candidate / baseline = ")[2].partition(", n = ")[0]
        assert f"ratio {measured}" in cell
        doubted = re.match(r"in doubt \((.*)\): ", title)
        assert ("in doubt: " in cell) == (doubted is not None)
        assert doubted is None or f"in doubt: {doubted[1]}" in cell
    other = context.new_page()
    other.goto(page.url)
    assert settled(other).locator("#board").inner_text() == page.locator("#board").inner_text()
    box.press("Space")
    assert settled(page).get_by_text("ratio 0.").count() == 0
    assert "#" not in page.url


def test_a_ratio_has_the_same_decimals_here_and_there(demo: Demo, page: Page) -> None:
    page.goto(demo.address())
    near = [1 + sign * m * 10.0**e for e in range(-10, 0) for m in (1, 5) for sign in (1, -1)]
    asked: list[tuple[int, tuple[float, ...], float]] = [
        (least, ends, value)
        for value in [*near, 1.0, 0.995, 1.005, 1.0005]
        for least in (2, 3)
        for ends in ((), (0.9, 1.1), (value, value))
    ]
    found = page.evaluate("all => all.map((each) => ratioPlaces(...each))", asked)
    assert found == [ratio_places(*each) for each in asked]
