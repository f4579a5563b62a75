"""Ranks in a real browser: of all rows that compete in a place, whichever filters leave."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from boards import column
from browser_page import settled
from record_factory import make_model, make_run, request_observation

from leanboard.leaderboard.board import Board, board_of
from leanboard.leaderboard.budget import BestGroup, budget
from leanboard.leaderboard.build import build_site
from leanboard.leaderboard.groups import groups_of, ran
from leanboard.leaderboard.ranks import NOT_SHOWN, SURE_BEST, ranks_of
from leanboard.results.store import Store

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.browser

ONCE = 5
"""Rounds that have a median without an interval."""


@dataclass(frozen=True)
class Built:
    """A site and its board."""

    folder: Path
    board: Board

    def address(self, page: str = "index.html", state: str = "") -> str:
        return (self.folder / page).as_uri() + (f"#{state}" if state else "")

    def ranks(self, workload: str, metric: str = "tpot_s") -> dict[str, str]:
        """The rank of each row of a workload, by the address of its page."""
        by = column(self.board, metric)
        groups = groups_of(ran(self.board.lines), by_model=False)
        group = next(found for found in groups if found[0].workload == workload)
        ranks = ranks_of([(line, line.cell(by)) for line in group], by.direction)
        return {
            line.href: rank.text
            for line, rank in zip(group, ranks, strict=True)
            if rank is not None
        }


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    """Two models and two workloads; in the second one time has no interval."""
    root = tmp_path_factory.mktemp("ranks")
    store = Store(root / "records", "local")
    arms = (("a", "tiny", 3.0), ("b", "small", 2.0), ("c", "small", 1.0), ("d", "small", 0.5))
    for workload, once in (("chat", ""), ("long-prompt", "a")):
        for arm, model, speed in arms:
            rounds = ONCE if arm == once else 16
            seen = request_observation(arm=arm, speed=speed, rounds=rounds)
            run = make_run(
                model=make_model(model), techniques=[arm], workload=workload, observation=seen
            )
            store.write(run.record, run.traces)
    alone = make_run(techniques=["alone"], workload="alone")
    store.write(alone.record, alone.traces)
    loaded = store.load()
    return Built(build_site(loaded, root / "site").folder, board_of(loaded))


def opened(page: Page, built: Built, name: str = "index.html", state: str = "") -> Page:
    page.goto("about:blank")
    page.goto(built.address(name, state))
    return settled(page)


def place(built: Built, workload: str) -> str:
    return f"workload={workload}&hardware={built.board.lines[0].hardware}".replace(" ", "%20")


def shown(page: Page, table: str = "#board") -> dict[str, str]:
    """The rank of each row that a table shows, by the address of its page."""
    found: dict[str, str] = page.evaluate(
        """table => Object.fromEntries([...document.querySelectorAll(`${table} tbody tr`)]
          .filter((row) => row.querySelector(".rank"))
          .map((row) => [row.querySelector("th a").getAttribute("href"),
            row.querySelector(".rank [aria-hidden]").textContent]))""",
        table,
    )
    return found


@pytest.mark.parametrize(
    "choice", ["q=small", "technique=c", "model=small", "technique=d&origin=local"]
)
def test_a_filter_hides_rows_and_leaves_the_others_their_rank(
    built: Built, page: Page, choice: str
) -> None:
    expected = built.ranks("chat")
    assert sorted(expected.values()) == ["1", "2", "3", "4"]
    state = f"sort=tpot_s&{place(built, 'chat')}"
    assert shown(opened(page, built, state=state)) == expected
    assert page.locator("#board .rank.gold").count() == 1
    left = shown(opened(page, built, state=f"{state}&{choice}"))
    assert 0 < len(left) < len(expected)
    assert left == {href: expected[href] for href in left}
    assert "1" not in left.values()
    assert page.locator("#board .rank.gold").count() == 0


def test_ranks_are_found_once_and_not_with_every_letter_of_a_search(
    built: Built, page: Page
) -> None:
    opened(page, built, state=f"sort=tpot_s&{place(built, 'chat')}")
    page.evaluate("""() => {
      const found = ranksAmong;
      window.asked = 0;
      window.ranksAmong = (...all) => {
        window.asked += 1;
        return found(...all);
      };
    }""")
    page.locator("input[name=q]").press_sequentially("small")
    settled(page)
    assert len(shown(page)) == 3
    page.locator("#board thead button", has_text="TPOT").click()
    assert page.evaluate("window.asked") == 0
    page.locator("#board thead button", has_text="TTFT").click()
    settled(page)
    assert page.evaluate("window.asked") == 1


def test_a_value_without_an_interval_withholds_medals_and_the_page_says_so(
    built: Built, page: Page
) -> None:
    state = f"sort=tpot_s&{place(built, 'long-prompt')}"
    assert shown(opened(page, built, state=state)) == built.ranks("long-prompt")
    assert sorted(shown(page).values()) == ["1\u20132", "2\u20133", "3\u20134"]
    assert page.locator("#board .gold, #board .silver, #board .bronze").count() == 0
    told = page.locator("#no-ranks").inner_text()
    assert told.startswith("No medals by Time per output token: 1 row on")
    assert "without an interval" in told
    opened(page, built, state=f"{state}&model=small")
    assert page.locator("#no-ranks").inner_text() == told
    opened(page, built, state=f"{state}&model=tiny")
    assert page.locator("#no-ranks").inner_text().endswith("1 row without an interval.")


def test_a_rank_is_said_in_words_where_it_is_not_seen(built: Built, page: Page) -> None:
    opened(page, built, state=f"sort=tpot_s&{place(built, 'long-prompt')}")
    rank = page.locator("#board .rank").first
    assert rank.locator(".hidden").inner_text() == "rank 1 to 2"
    assert rank.get_attribute("title") == "rank 1 to 2"
    opened(page, built, state=f"sort=tpot_s&{place(built, 'chat')}")
    assert page.locator("#board .rank .hidden").first.inner_text() == "rank 1, gold"


def test_limits_and_models_leave_the_ranks_of_the_board(built: Built, page: Page) -> None:
    expected = built.ranks("chat")
    state = f"best=tpot_s&{place(built, 'chat')}"
    assert shown(opened(page, built, "budget.html", state), "#kept") == expected
    for choice in ("model=small", "tpot_s=0.012&model=small", "ttft_s=1&model=small"):
        left = shown(opened(page, built, "budget.html", f"{state}&{choice}"), "#kept")
        assert left == {href: expected[href] for href in left}
        assert len(left) == (1 if "tpot_s" in choice else 3)
        assert "1" not in left.values()
    opened(page, built, "costs.html", f"{place(built, 'chat')}&model=small")
    costs = page.locator("#costs tbody tr:not(.group) td:nth-child(2) .rank [aria-hidden]")
    assert costs.all_inner_texts() == ["2", "3", "4"]


def test_the_best_value_without_an_interval_is_not_called_the_best(
    built: Built, browser: Browser, page: Page
) -> None:
    context = browser.new_context(java_script_enabled=False)
    plain = context.new_page()
    plain.goto(built.address("budget.html"))
    groups = budget(built.board)["bests"]
    assert isinstance(groups, tuple)
    seen = set()
    for number, group in enumerate(groups, start=1):
        assert isinstance(group, BestGroup)
        body = plain.locator("#bests tbody").nth(number - 1)
        for line, best in enumerate(group.bests, start=1):
            static = body.locator("tr").nth(line).inner_text()
            winner = best.winner
            if winner is None:
                continue
            seen.add((winner.shown, winner.sure is None))
            where = f"hardware={winner.line.hardware}&workload={winner.line.workload}"
            state = f"best={best.column.name}&{where}".replace(" ", "%20")
            answer = opened(page, built, "budget.html", state).locator("#answer")
            told = answer.inner_text()
            links = [link.get_attribute("href") for link in answer.locator("a").all()]
            named = [winner.line, *([winner.sure[0]] if winner.sure else [])]
            assert links == [row.href for row in named]
            for text in (told, static):
                assert (NOT_SHOWN in text) is not winner.shown
                assert (SURE_BEST in text) is (winner.sure is not None)
    assert seen == {(True, True), (False, True), (False, False)}
    context.close()
