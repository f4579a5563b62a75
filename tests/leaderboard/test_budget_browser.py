"""Budget, costs and EfficientLLM in a real browser: Python's figures, and links to share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import pytest
from boards import column, fullest_place
from browser_page import settled
from demo_store import Demo
from record_factory import make_run, request_observation

from leanboard.leaderboard.board import BoardRow
from leanboard.leaderboard.budget import budget
from leanboard.leaderboard.build import build_site
from leanboard.leaderboard.columns import Column
from leanboard.leaderboard.costs import COSTS, FACTORS, cost_group, costs
from leanboard.leaderboard.format import number
from leanboard.leaderboard.groups import groups_of, ran
from leanboard.leaderboard.ranks import NOT_SHOWN, best_first, ranks_of, winner_of
from leanboard.metrics.trace import Provenance
from leanboard.results.store import Store

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Page

pytestmark = pytest.mark.browser
PAGES = ("budget.html", "costs.html", "efficientllm.html")


@pytest.fixture
def plain(browser: Browser) -> Iterator[Page]:
    """A page without JavaScript."""
    context = browser.new_context(java_script_enabled=False)
    yield context.new_page()
    context.close()


def opened(page: Page, demo: Demo, name: str, state: str = "") -> Page:
    page.goto("about:blank")
    page.goto(demo.address(name, state))
    return settled(page)


def hrefs(page: Page, table: str) -> list[str]:
    links = page.locator(f"{table} tbody th[scope=row] a").all()
    return [link.get_attribute("href") or "" for link in links]


# Ranks: the twins


TWINS = """async () => {
  const places = LEANBOARD.metrics.map((_, place) => place);
  await loadMetrics(places);
  return groupsOf(peerRows({}), false).map((rows) => places.map((place) => {
    const ranks = ranksAmong(rows, place);
    const winner = winnerOf(rows, place);
    return {
      order: bestFirst(rows, place),
      ranks: rows.map((row) => {
        const found = ranks.get(row);
        return found ? [found.first, found.last, found.medal] : null;
      }),
      winner: winner && [winner.row, winner.rivals, winner.shown, winner.sure, winner.outside],
    };
  }));
}"""


def test_the_browser_ranks_orders_and_chooses_as_python_does(demo: Demo, page: Page) -> None:
    numbers = {line.href: number for number, line in enumerate(demo.board.lines)}
    expected = [
        [_standings(group, by, numbers) for by in demo.board.columns]
        for group in groups_of(ran(demo.board.lines), by_model=False)
    ]
    found = opened(page, demo, "budget.html").evaluate(TWINS)
    assert found == expected
    ranks = [rank for group in expected for by in group for rank in by["ranks"] if rank]
    assert any(first < last for first, last, _ in ranks)
    assert any(medal for *_, medal in ranks)
    shown = [by["winner"][2] for group in expected for by in group if by["winner"]]
    assert set(shown) == {True, False}


def _standings(group: tuple[BoardRow, ...], by: Column, numbers: dict[str, int]) -> dict[str, Any]:
    peers = [(line, line.cell(by)) for line in group]
    order = best_first([cell for _, cell in peers], by.direction)
    winner = winner_of(peers, by.direction)
    ranks = ranks_of(peers, by.direction)
    return {
        "order": [numbers[group[place].href] for place in order],
        "ranks": [[rank.first, rank.last, rank.medal] if rank else None for rank in ranks],
        "winner": winner
        and [
            numbers[winner.line.href],
            [numbers[line.href] for line in winner.rivals],
            winner.shown,
            winner.sure and numbers[winner.sure[0].href],
            winner.outside,
        ],
    }


# Budget


def limit_between(by: Column, group: tuple[BoardRow, ...]) -> float:
    """A limit on the metric, in its field's scale, that some rows keep and some do not."""
    values = sorted(cell.value for line in group if (cell := line.cell(by)).value is not None)
    return float(f"{values[len(values) // 2] * by.scale.factor * 1.0001:.6g}")


def test_a_limit_leaves_the_rows_that_keep_it_and_says_why_others_fell_out(
    demo: Demo, page: Page
) -> None:
    group = fullest_place(demo.board)
    by = column(demo.board, "ttft_s")
    limit = limit_between(by, group)
    bound = limit / by.scale.factor
    cells = {line.href: line.cell(by) for line in group}
    keep = {href for href, cell in cells.items() if (cell.value or 0.0) <= bound}
    risky = {href for href in keep if (cells[href].high or 0.0) > bound}
    assert 0 < len(keep) < len(group)
    assert risky
    opened(page, demo, "budget.html")
    assert set(hrefs(page, "#kept")) == set(cells)
    assert page.locator("#fell").is_hidden()
    page.locator("input[name=ttft_s]").fill(str(limit))
    settled(page)
    assert set(hrefs(page, "#kept")) == keep
    marked = page.locator("#kept tbody tr", has=page.get_by_text("may break the limit"))
    links = marked.locator("th a").all()
    assert {link.get_attribute("href") for link in links} == risky
    assert set(hrefs(page, "#out")) == set(cells) - keep
    why = page.locator("#out .reason").first.inner_text()
    assert f"above the limit of {number(limit)} {by.scale.suffix}" in why
    told = f"{len(keep)} of {len(group)} rows keep every limit, {len(risky)} of them may break one."
    assert page.locator("#answer").inner_text().startswith(told)


def test_the_best_of_what_remains_is_named_with_a_link_and_its_rivals(
    demo: Demo, page: Page
) -> None:
    group = fullest_place(demo.board)
    by = column(demo.board, "tpot_s")
    winner = winner_of([(line, line.cell(by)) for line in group], by.direction)
    assert winner is not None
    opened(page, demo, "budget.html")
    answer = page.locator("#answer")
    assert answer.inner_text().startswith(f"No limit is set: {len(group)} rows remain.")
    assert answer.locator("a").get_attribute("href") == winner.line.href
    assert (
        "1 row with a better value cannot be ranked: unstable by an unknown amount, or failed"
        " the gate." in answer.inner_text()
    )
    # Unstable runs stay in the list, where their values put them, and are never the best.
    order = best_first([line.cell(by) for line in group], by.direction)
    assert hrefs(page, "#kept") == [group[place].href for place in order]
    assert page.locator("#kept .mark").count() == 1
    page.locator("select[name=best]").select_option("peak_memory_bytes")
    settled(page)
    assert "Best value by Peak memory" in answer.inner_text()
    assert NOT_SHOWN in answer.inner_text()
    rivals = sum(not line.failed_gate for line in group) - 1
    assert f"cannot be told apart from {rivals} others" in answer.inner_text()
    assert page.locator("#kept .rank").count() == 0


def test_a_limit_on_the_accuracy_takes_the_place_of_the_gate(demo: Demo, page: Page) -> None:
    place = "workload=long-prompt&best=tpot_s"
    answer = page.locator("#answer")
    lossy = next(
        line for line in demo.board.lines if line.failed_gate and line.workload == "long-prompt"
    )
    opened(page, demo, "budget.html", place)
    assert answer.locator("a").get_attribute("href") != lossy.href
    assert "1 row with a better value cannot be ranked" in answer.inner_text()
    assert hrefs(page, "#kept")[0] == lossy.href
    first = page.locator("#kept tbody tr").first
    assert first.locator(".rank").count() == 0
    assert first.locator(".why").inner_text().startswith("failed the gate")
    opened(page, demo, "budget.html", f"{place}&accuracy=0.1")
    assert answer.locator("a").get_attribute("href") == lossy.href
    assert page.locator("#kept tbody tr").first.locator(".rank").inner_text().startswith("1")


def test_what_is_not_shown_to_keep_a_limit_falls_out_and_says_so(demo: Demo, page: Page) -> None:
    opened(page, demo, "budget.html", "accuracy=0.1")
    reasons = page.locator("#out .reason").all_inner_texts()
    assert len(reasons) == 3
    assert all("not shown to keep the limit (weights quantised" in reason for reason in reasons)
    local = next(line.hardware for line in demo.board.lines if line.origin == "local")
    page.locator("select[name=hardware]").select_option(local)
    settled(page)
    assert hrefs(page, "#kept") == []
    assert page.locator("input[name=accuracy]").input_value() == "0.1"
    for reason in page.locator("#out .reason").all_inner_texts():
        assert "not shown to keep the limit (not measured: no task with accuracy" in reason
    assert page.locator("#answer").inner_text().startswith("0 of 2 rows keep every limit.")


def test_limits_are_in_the_address_and_a_shared_link_opens_the_same_view(
    demo: Demo, context: BrowserContext, page: Page
) -> None:
    opened(page, demo, "budget.html")
    assert "#" not in page.url
    page.locator("select[name=workload]").select_option("long-prompt")
    page.locator("select[name=best]").select_option("decode_tokens_per_s")
    by = column(demo.board, "itl_p95_s")
    page.locator("input[name=itl_p95_s]").fill("25")
    settled(page)
    state = parse_qs(urlsplit(page.url).fragment)
    assert state["itl_p95_s"] == [f"{25 / by.scale.factor:g}"]
    assert {"hardware", "workload", "best"} <= set(state)
    other = context.new_page()
    other.goto(page.url)
    settled(other)
    assert other.locator("input[name=itl_p95_s]").input_value() == "25"
    for part in ("#answer", "#kept", "#out"):
        assert other.locator(part).inner_html() == page.locator(part).inner_html()
    page.get_by_role("button", name="Reset").click()
    settled(page)
    assert "#" not in page.url
    assert page.locator("input[name=itl_p95_s]").input_value() == ""


def test_a_slider_sets_its_limit_by_keyboard_and_takes_it_back_at_its_end(
    demo: Demo, page: Page
) -> None:
    opened(page, demo, "budget.html")
    slider = page.locator("input[type=range][data-of=itl_p95_s]")
    field = page.locator("input[name=itl_p95_s]")
    everybody = len(hrefs(page, "#kept"))
    assert slider.get_attribute("aria-valuetext") == "no limit"
    slider.focus()
    for _ in range(60):
        page.keyboard.press("ArrowLeft")
    settled(page)
    assert float(field.input_value()) > 0
    assert "itl_p95_s=" in page.url
    assert len(hrefs(page, "#kept")) < everybody
    page.keyboard.press("End")
    settled(page)
    assert field.input_value() == ""
    assert len(hrefs(page, "#kept")) == everybody


def test_a_slider_reaches_its_end_whatever_the_rounding_of_its_steps(
    demo: Demo, page: Page
) -> None:
    opened(page, demo, "budget.html")
    left = page.evaluate("""() => {
      const slider = document.querySelector("input[type=range][data-of=itl_p95_s]");
      const field = document.querySelector("input[name=itl_p95_s]");
      return [[0.03, 0.45], [0.03, 0.46], [0.04, 0.46]].filter((extent) => {
        fitSlider(slider, field, extent, "lower");
        slider.value = extent[1];
        followSlider(slider);
        return field.value !== "";
      });
    }""")
    assert left == []


def test_the_percentile_that_rows_have_is_offered_and_another_only_if_it_is_limited(
    demo: Demo, page: Page
) -> None:
    opened(page, demo, "budget.html")
    assert page.locator("input[name=itl_p95_s]").is_visible()
    assert page.locator("input[name=tpot_s]").is_hidden()
    opened(page, demo, "budget.html", "tpot_s=0.02")
    assert page.locator("input[name=tpot_s]").is_visible()
    assert page.locator("#kept tbody tr").count() < len(fullest_place(demo.board))


def test_measured_joules_can_be_limited(tmp_path: Path, page: Page) -> None:
    store = Store(tmp_path / "records", "local")
    for arm, provenance in (("a", Provenance.MODELLED), ("b", Provenance.MEASURED)):
        seen = request_observation(arm=arm, energy_provenance=provenance)
        run = make_run(techniques=[arm], observation=seen)
        store.write(run.record, run.traces)
    built = build_site(store.load(), tmp_path / "site")
    address = (built.folder / "budget.html").as_uri()
    page.goto(f"{address}#energy_per_output_token_j=100&best=energy_per_output_token_j")
    settled(page)
    assert page.locator("#kept tbody th a").all_inner_texts() == ["b"]
    assert "modelled values are shown, never compared" in page.locator("#out").inner_text()


def test_nonsense_in_the_address_gives_the_default_view(demo: Demo, page: Page) -> None:
    complaints: list[str] = []
    page.on("pageerror", lambda error: complaints.append(str(error)))
    for name, part in (("budget.html", "#kept"), ("costs.html", "#costs")):
        expected = opened(page, demo, name).locator(part).inner_html()
        nonsense = (
            "best=nope&itl_p95_s=abc&ttft_s=1e999&accuracy=__proto__&hardware=%3Cb%3E&model=x"
            "&hour=-1&kwh=&grid=Infinity&order=constructor"
        )
        assert opened(page, demo, name, nonsense).locator(part).inner_html() == expected
    assert complaints == []


def test_without_javascript_the_answer_without_limits_is_there(
    demo: Demo, page: Page, plain: Page
) -> None:
    opened(page, demo, "budget.html")
    plain.goto(demo.address("budget.html"))
    note = "#no-script"
    assert plain.locator(note).inner_text().startswith("Limits need JavaScript.")
    assert plain.locator("form:visible, #finder:visible").count() == 0
    texts = [p.locator("#bests").inner_text() for p in (page, plain)]
    assert texts[0] == texts[1]
    assert page.locator(note).is_hidden()
    winners = plain.locator("#bests td > a").count()
    assert winners == sum(best.winner is not None for group in _bests(demo) for best in group.bests)


def _bests(demo: Demo) -> Any:
    return budget(demo.board)["bests"]


# Costs


def cell_texts(page: Page, table: str) -> list[list[str]]:
    """Of each row every cell: value and interval, or what stands for them."""
    script = """table => [...document.querySelectorAll(`${table} tbody tr:not(.group)`)].map(row =>
      [...row.cells].slice(1).map((cell) => [
        cell.title, cell.querySelector(".value, td > span[aria-hidden]").textContent,
        cell.querySelector(".span")?.textContent ?? "",
        cell.querySelector(".rank [aria-hidden]")?.textContent ?? "",
      ].join("|")))"""
    found: list[list[str]] = page.evaluate(script, table)
    return found


@pytest.mark.parametrize(("name", "table"), [("costs", "#costs"), ("efficientllm", "#readings")])
def test_the_tables_read_the_same_with_and_without_javascript(
    demo: Demo, page: Page, plain: Page, name: str, table: str
) -> None:
    opened(page, demo, f"{name}.html")
    plain.goto(demo.address(f"{name}.html"))
    texts = [p.locator(f"{table} tr").all_inner_texts() for p in (page, plain)]
    assert texts[0] == texts[1]
    assert len(texts[0]) == 1 + 3 + 20
    titles = [
        [cell.get_attribute("title") for cell in p.locator(f"{table} tbody td").all()]
        for p in (page, plain)
    ]
    assert titles[0] == titles[1]
    if name == "costs":
        assumed = [p.locator("#assumed").inner_text() for p in (page, plain)]
        assert assumed[0] == assumed[1]
        assert assumed[0].endswith("example values: yours will differ")


@pytest.mark.parametrize("order", [0, 2])
def test_other_factors_give_pythons_figures(demo: Demo, page: Page, order: int) -> None:
    factors = {"hour": 2.37, "kwh": 0.0, "grid": 33.3}
    state = "&".join(f"{name}={value}" for name, value in factors.items())
    opened(page, demo, "costs.html", f"{state}&order={COSTS[order].name}")
    columns = {by.name: by for by in demo.board.columns}
    heads: Any = costs(demo.board)["heads"]
    expected = [
        ["|".join((c.title, c.text, c.span, c.rank.text if c.rank else "")) for c in peer.cells]
        for members in groups_of(ran(demo.board.lines), by_model=False)
        for peer in cost_group(members, columns, heads, factors, order).lines
    ]
    assert cell_texts(page, "#costs") == expected
    assert "example" not in page.locator("#assumed").inner_text()


def test_factors_are_in_the_address_and_a_shared_link_opens_the_same_view(
    demo: Demo, context: BrowserContext, page: Page
) -> None:
    opened(page, demo, "costs.html")
    before = page.locator("#costs").inner_html()
    page.locator("input[name=hour]").fill("1.5")
    page.locator("input[type=range][data-of=grid]").focus()
    page.keyboard.press("ArrowRight")
    settled(page)
    default = next(factor for factor in FACTORS if factor.name == "grid")
    assert page.locator("input[name=grid]").input_value() == f"{default.default + default.step:g}"
    # The factor that was left as it is too: another build may begin with another example.
    state = parse_qs(urlsplit(page.url).fragment)
    assert [state[name] for name in ("hour", "kwh", "grid")] == [["1.5"], ["0.25"], ["405"]]
    other = context.new_page()
    other.goto(page.url)
    drawn = [settled(p).locator("#costs").inner_html() for p in (page, other)]
    assert drawn[0] == drawn[1] != before
    assert "Price of an hour of the machine 1.5" in other.locator("#assumed").inner_text()


def test_a_choice_of_hardware_and_workload_leaves_their_group(demo: Demo, page: Page) -> None:
    for name, table in (("costs.html", "#costs"), ("efficientllm.html", "#readings")):
        opened(page, demo, name)
        page.locator("select[name=workload]").select_option("long-prompt")
        settled(page)
        assert page.locator(f"{table} .group").count() == 1
        assert page.locator(f"{table} .group").inner_text().startswith("long-prompt")
        local = next(line.hardware for line in demo.board.lines if line.origin == "local")
        page.locator("select[name=hardware]").select_option(local)
        settled(page)
        assert page.locator(f"{table} tbody").inner_text() == "No run of this choice."


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_no_page_is_wider_than_its_window(
    demo: Demo, browser: Browser, width: int, scheme: Any
) -> None:
    context = browser.new_context(viewport={"width": width, "height": 800}, color_scheme=scheme)
    page = context.new_page()
    for name in PAGES:
        opened(page, demo, name, "ttft_s=0.1" if name == "budget.html" else "")
        wider = page.evaluate("document.documentElement.scrollWidth - innerWidth")
        assert wider <= 0, name
    context.close()


def test_every_control_has_a_name_for_a_screen_reader(demo: Demo, page: Page) -> None:
    for name in PAGES:
        opened(page, demo, name)
        for control in page.locator("form input:visible, form select:visible").all():
            labelled = control.evaluate("c => c.ariaLabel || c.labels[0]?.textContent.trim()")
            assert labelled, control
        assert page.locator("form input:visible, form select:visible").count() >= 3
