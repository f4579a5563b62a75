"""Tables that are longer than a page: all rows stand on static pages, and the text says where."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html import unescape
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from accessibility import violations
from browser_page import settled
from demo_store import Demo
from long_store import CHAT, FAILED, LONG, TIMED, WORKLOADS, write_long
from page_elements import elements_of

from leanboard.leaderboard.board import MOST_ROWS, BoardRow, board_of
from leanboard.leaderboard.budget import budget, budget_parts
from leanboard.leaderboard.build import build_site
from leanboard.leaderboard.costs import COSTS, cost_parts, costs
from leanboard.leaderboard.efficientllm import efficientllm, efficientllm_parts
from leanboard.leaderboard.groups import PeerGroup, ran
from leanboard.leaderboard.paging import Paged
from leanboard.leaderboard.subjects import Kind, subjects_of
from leanboard.leaderboard.table_pages import Stretch, TablePages, table_pages
from leanboard.results.schema import Status

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

PAGES = -(-TIMED // MOST_ROWS)


@pytest.fixture(scope="module")
def long(tmp_path_factory: pytest.TempPathFactory) -> Demo:
    root = tmp_path_factory.mktemp("long")
    loaded = write_long(root / "records")
    return Demo(loaded, board_of(loaded), build_site(loaded, root / "site"))


def row_links(page: Path) -> list[list[str]]:
    """The addresses that the rows of each table of a page lead to."""
    tables: list[list[str]] = []
    head = False
    for tag, attributes in elements_of(page):
        if tag == "table":
            tables.append([])
        elif tag in ("th", "td"):
            head = tag == "th" and attributes.get("scope") == "row"
        elif tag == "a" and head:
            tables[-1].append((attributes["href"] or "").replace("../", ""))
            head = False
    return tables


def onward(page: Path) -> list[str]:
    """The next pages that a page leads to."""
    links = [attributes for tag, attributes in elements_of(page) if tag == "a"]
    return [link["href"] or "" for link in links if link.get("rel") == "next"]


def followed(folder: Path, name: str, table: int = 0) -> Iterator[str]:
    """The page and those that follow it, by the links of its first or another table."""
    yield name
    after = onward(folder / name)[table:]
    while after:
        yield after[0]
        after = onward(folder / after[0])


def text_of(page: Path) -> str:
    return " ".join(unescape(re.sub(r"<[^>]+>", "", page.read_text(encoding="utf-8"))).split())


def hrefs(lines: tuple[BoardRow, ...] | list[BoardRow]) -> list[str]:
    return sorted(line.href for line in lines)


@pytest.mark.parametrize("name", ["index.html", "costs.html", "efficientllm.html"])
def test_every_row_of_a_long_table_stands_on_one_of_its_pages(long: Demo, name: str) -> None:
    pages = list(followed(long.folder, name))
    assert len(pages) == PAGES > 2
    found = [row_links(long.folder / page)[0] for page in pages]
    assert [len(rows) for rows in found[:-1]] == [MOST_ROWS] * (PAGES - 1)
    assert sorted(chain(*found)) == hrefs(table_pages(long.board).shown)
    for number, page in enumerate(pages):
        first, last = number * MOST_ROWS + 1, min((number + 1) * MOST_ROWS, TIMED)
        told = f"rows {first} to {last} of {TIMED}, page {number + 1} of {PAGES}"
        assert told in text_of(long.folder / page)


def test_every_run_that_failed_stands_on_a_page_with_its_reason(long: Demo) -> None:
    pages = list(followed(long.folder, "index.html", table=1))
    assert pages == ["index.html", "others-2.html"]
    first, further = (row_links(long.folder / page)[-1] for page in pages)
    assert (len(first), len(further)) == (MOST_ROWS, FAILED - MOST_ROWS)
    assert sorted(first + further) == hrefs(table_pages(long.board).others)
    assert text_of(long.folder / "others-2.html").count("needs 31 GiB") == FAILED - MOST_ROWS
    assert f"rows {MOST_ROWS + 1} to {FAILED} of {FAILED}" in text_of(long.folder / pages[1])


def test_only_the_first_page_of_the_board_lists_what_failed(long: Demo) -> None:
    assert len(row_links(long.folder / "leaderboard-2.html")) == 1
    elements = elements_of(long.folder / "leaderboard-2.html")
    assert ("a", {"href": "index.html#others"}) in elements


@pytest.mark.parametrize("name", ["costs", "efficientllm", "budget"])
def test_further_pages_have_no_controls_that_would_do_nothing(long: Demo, name: str) -> None:
    tags = [tag for tag, _ in elements_of(long.folder / f"{name}-2.html")]
    assert not {"script", "form", "input", "select"} & set(tags)
    assert "table" in tags


def test_a_group_goes_on_on_the_next_page_with_the_ranks_of_the_whole(long: Demo) -> None:
    pages = [costs(long.board), *(part.context for part in cost_parts(long.board))]
    found = [group for page in pages for group in groups(page["groups"])]
    counts = [(group.heading.split(" ")[0], len(group.lines)) for group in found]
    assert counts[:4] == [
        ("chat", MOST_ROWS),
        ("chat", CHAT - MOST_ROWS),
        ("long-prompt", LONG),
        ("work-00", 1),
    ]
    assert ["continued" in group.heading for group in found[:4]] == [False, True, False, False]
    assert len({group.heading.removesuffix(", continued") for group in found}) == 2 + WORKLOADS
    place = [cost.name for cost in COSTS].index("time")
    ranks = [peer.cells[place].rank for group in found[:2] for peer in group.lines]
    numbers = [rank.first for rank in ranks if rank]
    assert len(numbers) == CHAT
    assert numbers == sorted(numbers)


def groups(found: object) -> list[PeerGroup]:
    assert isinstance(found, list)
    return found


def test_the_groups_of_efficientllm_are_cut_alike(long: Demo) -> None:
    first = groups(efficientllm(long.board)["groups"])
    parts = efficientllm_parts(long.board)
    further = [group for part in parts for group in groups(part.context["groups"])]
    assert sum(len(group.lines) for group in (*first, *further)) == TIMED
    assert first[0].heading == further[0].heading.removesuffix(", continued")
    assert first[0].note == further[0].note


def test_the_best_of_every_place_stands_on_a_page(long: Demo) -> None:
    pages = [budget(long.board), *(part.context for part in budget_parts(long.board))]
    counts = []
    headings: list[str] = []
    for page in pages:
        bests = page["bests"]
        assert isinstance(bests, tuple)
        counts.append(sum(len(group.bests) for group in bests))
        headings += [group.heading for group in bests]
    assert len(pages) > 1
    assert all(0 < count <= MOST_ROWS for count in counts)
    assert len(headings) == len(set(headings)) == 2 + WORKLOADS
    last = long.folder / f"budget-{len(pages)}.html"
    assert f"of {2 + WORKLOADS}, page {len(pages)} of {len(pages)}" in text_of(last)
    assert headings[-1] in text_of(last)


def test_the_page_of_a_subject_says_where_all_of_its_rows_are(long: Demo) -> None:
    model = subjects_of(long.board)[Kind.MODEL][0]
    page = long.folder / model.href
    assert len(row_links(page)[-1]) == MOST_ROWS
    assert (
        f"The first {MOST_ROWS} of {TIMED + FAILED} rows are here; all of them stand on the "
        f"leaderboard: pages 1 to {PAGES}, not in its table, pages 1 to 2."
    ) in text_of(page)
    technique = next(s for s in subjects_of(long.board)[Kind.TECHNIQUE] if s.name == "bf16")
    assert len(technique.lines) <= MOST_ROWS
    assert "all of them stand" not in text_of(long.folder / technique.href)


def test_the_candidates_of_compare_are_all_on_the_pages_that_it_names(long: Demo) -> None:
    candidates = [line for line in ran(long.board.lines) if not line.baseline]
    assert len(candidates) > MOST_ROWS
    told = re.search(
        rf"The first {MOST_ROWS} of {len(candidates)} candidates are here; all of them stand on "
        r"the leaderboard: pages? (\d+)(?: to (\d+))?\.",
        text_of(long.folder / "compare.html"),
    )
    assert told is not None
    first, last = int(told[1]), int(told[2] or told[1])
    pages = Paged("index.html", "leaderboard", TIMED)
    there = [row_links(long.folder / pages.href(n))[0] for n in range(first, last + 1)]
    assert set(hrefs(candidates)) <= set(chain(*there))


def test_pages_that_follow_one_another_are_named_together(long: Demo) -> None:
    lines = tuple(line for line in long.board.lines if line.status is Status.OK)[: MOST_ROWS + 1]
    numbers = {line.href: 2 for line in lines} | {
        line.href: number for line, number in zip(lines, (1, 2, 3, 5), strict=False)
    }
    listing = TablePages(lines, (), numbers).listing(lines)
    assert listing.pages == (
        Stretch("index.html", "pages 1 to 3"),
        Stretch("leaderboard-5.html", "page 5"),
    )
    assert TablePages(lines, (), numbers).listing(lines[:MOST_ROWS]).pages == ()


@pytest.mark.parametrize(("total", "last"), [(0, 1), (1, 1), (7, 1), (8, 2), (15, 3)])
def test_a_table_has_a_page_for_each_so_many_rows_and_one_at_least(total: int, last: int) -> None:
    paged = Paged("first.html", "more", total, most=7)
    leaves = [paged.leaf(number) for number in range(1, paged.last + 1)]
    assert len(leaves) == last
    assert [leaf.before for leaf in leaves] == ["", "first.html", "more-2.html"][:last]
    assert [leaf.after for leaf in leaves] == [*("more-2.html", "more-3.html")[: last - 1], ""]
    rows = [row for number in range(1, last + 1) for row in range(total)[paged.rows(number)]]
    assert rows == list(range(total))
    assert (leaves[0].start, leaves[-1].end) == (0, total)


def test_a_table_of_one_page_has_no_pager(demo: Demo) -> None:
    for name in ("index.html", "costs.html", "efficientllm.html", "budget.html", "changes.html"):
        assert onward(demo.folder / name) == []
        assert "page 1 of" not in text_of(demo.folder / name)


def test_no_column_of_the_changelog_is_empty(long: Demo) -> None:
    elements = elements_of(long.folder / "changes.html")
    columns = [tag for tag, attributes in elements if attributes.get("scope") == "col"]
    spans = {a["colspan"] for _, a in elements if "colspan" in a}
    assert spans == {str(len(columns))}
    page = (long.folder / "changes.html").read_text(encoding="utf-8")
    assert "<td></td>" not in page
    body = page.partition("<tbody>")[2].partition("</tbody>")[0]
    rows = [re.findall(r"<t([hd])[ >]", row) for row in body.split("<tr>")[1:]]
    assert len(rows) > 2
    assert {(cells[0], len(cells)) for cells in rows} == {("h", len(columns))}


# In a browser


@pytest.mark.browser
@pytest.mark.parametrize("name", ["costs.html", "efficientllm.html"])
def test_a_reader_without_javascript_turns_the_pages_to_the_last_row(
    long: Demo, browser: Browser, name: str
) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(long.address(name))
    assert page.locator("form:visible").count() == 0
    for _ in range(PAGES - 1):
        page.get_by_role("link", name="Next").click()
    assert page.get_by_role("link", name="Next").count() == 0
    assert page.locator("table tbody th[scope=row]").count() == TIMED % MOST_ROWS
    context.close()


@pytest.mark.browser
@pytest.mark.parametrize("name", ["costs.html", "efficientllm.html"])
def test_with_javascript_a_choice_takes_the_place_of_pages(
    long: Demo, page: Page, name: str
) -> None:
    page.goto(long.address(name))
    more = settled(page).locator("#more")
    assert more.inner_text().startswith(f"{TIMED - MOST_ROWS} more rows: choose")
    assert more.locator("a").count() == 0
    page.locator("select[name=workload]").select_option("long-prompt")
    assert settled(page).locator("#more").is_hidden()
    assert page.locator("table tbody th[scope=row]").count() == LONG


@pytest.mark.browser
def test_axe_finds_nothing_wrong_on_further_pages(long: Demo, page: Page) -> None:
    names = ("costs-2", "efficientllm-2", "budget-2", "others-2", "leaderboard-2", "changes")
    found = {}
    for name in names:
        page.goto(long.address(f"{name}.html"))
        wrong = violations(settled(page))
        if wrong:
            found[name] = wrong
    assert found == {}
