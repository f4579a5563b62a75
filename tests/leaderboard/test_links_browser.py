"""Links that were shared: they keep their meaning when the board grows, or say what it lacks."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
from browser_page import asked_in_vain, chosen, settled
from demo_store import Demo
from record_factory import Run, make_device, make_procedure, make_run, make_workload

from leanboard.leaderboard.board import board_of
from leanboard.leaderboard.build import build_site
from leanboard.results.store import Store

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.browser

FORMS = ("index", "pareto", "parallel", "budget", "costs", "efficientllm")
"""The pages on which hardware and workload can be chosen."""
SMALL = make_workload().model_copy(update={"prompt_tokens": 64})
ARMS = [(), ("fast",)]


def runs(**options: object) -> list[Run]:
    return [make_run(techniques=arm, speed=1 + len(arm), **options) for arm in ARMS]


@pytest.fixture(scope="module")
def boards(tmp_path_factory: pytest.TempPathFactory) -> tuple[Demo, Demo]:
    """A board, and the same once other threads, sizes and rounds came to it."""
    more = [
        *runs(device=make_device(threads=1)),
        *runs(workload=SMALL),
        *runs(procedure=make_procedure(rounds=4)),
    ]
    found = []
    for name, records in (("before", runs()), ("after", [*runs(), *more])):
        root = tmp_path_factory.mktemp(name)
        store = Store(root / "records", "local")
        for run in records:
            store.write(run.record, run.traces)
        loaded = store.load()
        found.append(Demo(loaded, board_of(loaded), build_site(loaded, root / "site")))
    before, after = found
    return before, after


def opened(page: Page, site: Demo, name: str, state: str = "") -> Page:
    page.goto("about:blank")
    page.goto(site.address(f"{name}.html", state))
    return settled(page)


@pytest.mark.parametrize("name", FORMS)
def test_a_link_means_the_same_rows_when_others_come(
    boards: tuple[Demo, Demo], page: Page, name: str
) -> None:
    before, after = boards
    opened(page, before, name)
    (hardware,) = {line.hardware for line in before.board.lines}
    page.locator("select[name=hardware]").select_option(hardware)
    page.locator("select[name=workload]").select_option("chat")
    # Something that is not the page's own beginning, so that the address says it all.
    page.locator("select[name=model]").select_option(index=1)
    state = urlsplit(settled(page).url).fragment
    opened(page, after, name, state)
    assert asked_in_vain(page) == []
    assert chosen(page, "hardware") == hardware.replace("cpu", "cpu (2 threads)", 1)
    assert chosen(page, "workload") == "chat (128 in, 8 rounds)"
    assert chosen(page, "model") == "smollm2-135m-instruct"


@pytest.mark.parametrize("name", FORMS)
def test_an_older_link_opens_what_its_text_names_if_that_is_one_choice(
    boards: tuple[Demo, Demo], page: Page, name: str
) -> None:
    before, after = boards
    (machine,) = {line.machine for line in before.board.lines}
    short = {"hardware": f"cpu \u00b7 {machine}", "workload": "chat"}
    opened(page, before, name, urlencode(short))
    assert (chosen(page, "hardware"), chosen(page, "workload")) == tuple(short.values())
    assert asked_in_vain(page) == []
    named = {"hardware": f"cpu (1 thread) \u00b7 {machine}", "workload": "chat (64 in)"}
    opened(page, after, name, urlencode(named))
    assert chosen(page, "hardware") == named["hardware"]
    assert chosen(page, "workload") == "chat (64 in, 8 rounds)"
    assert asked_in_vain(page) == []
    # The short text now names two: the page does not guess.
    opened(page, after, name, urlencode({"hardware": short["hardware"]}))
    (told,) = asked_in_vain(page)
    assert told.startswith("This link asks for hardware")
    assert f"\u201c{short['hardware']}\u201d, which may be" in told
    assert all(f"cpu ({text}) \u00b7 {machine}" in told for text in ("1 thread", "2 threads"))


UNMET = [
    ("index", "workload=nope", "workload 'nope', which is not on this board"),
    ("index", "uses=x&q=int8", "uses technique 'x', which is not on this board"),
    ("index", "sort=constructor&dir=desc", "order 'constructor', which is not on this board"),
    ("index", "sort=tpot_s&dir=x", "the direction 'x', which is none: the first"),
    ("index", "cols=tpot_s,gone_s", "the column 'gone_s', which is not on this board"),
    ("index", "page=9", "page '9', which is none of 1 to 1: page 1 is shown"),
    ("index", "status=%3Cb%3E", "status '<b>', which is not on this board: 'ok' is"),
    ("pareto", "x=__proto__", "horizontal axis '__proto__', which is not on this board"),
    ("pareto", "logx=7", "log x '7', which is neither on nor off: it is off"),
    ("pareto", "curves=x", "lines along knobs 'x', which is neither on nor off: it is on"),
    ("parallel", "m4=gone_s", "axis 4 'gone_s', which is not on this board: 'none' is"),
    ("budget", "tpot_s=abc", "at most 'abc', which is no number for it: nothing is set"),
    ("budget", "gone_s=1", "'gone_s=1', which this page does not know: it is left out"),
    ("budget", "best=gone_s", "best by 'gone_s', which is not on this board"),
    ("costs", "kwh=-1", "'-1', which is no number for it: '0.25' is shown"),
    ("costs", "order=gone", "order by 'gone', which is not on this board"),
    ("efficientllm", "model=gone", "model 'gone', which is not on this board: 'all' is"),
    ("compare", "runs=a/b", "the run 'a/b', which is not on this board: it is left out"),
    ("compare", "terms=x", "what is the same too 'x', which is neither on nor off"),
]


@pytest.mark.parametrize(("name", "state", "told"), UNMET, ids=[state for _, state, _ in UNMET])
def test_a_link_that_asks_for_what_the_board_lacks_says_so_in_an_announced_line(
    demo: Demo, page: Page, name: str, state: str, told: str
) -> None:
    complaints: list[str] = []
    page.on("pageerror", lambda error: complaints.append(str(error)))
    opened(page, demo, name, state)
    assert page.locator("#asked").get_attribute("role") == "status"
    (sentence,) = asked_in_vain(page)
    assert sentence.startswith("This link asks for ")
    assert told in sentence.replace("\u201c", "'").replace("\u201d", "'")
    assert page.locator("#asked p").is_visible()
    assert complaints == []


def test_what_a_link_asks_for_in_vain_leaves_the_rest_of_it_as_it_is(
    demo: Demo, page: Page
) -> None:
    state = "workload=nope&backend=llamacpp&sort=tpot_s&dir=desc&status=%3Cb%3E"
    opened(page, demo, "index", state)
    assert len(asked_in_vain(page)) == 2
    assert chosen(page, "backend") == "llamacpp"
    assert page.locator("#board [aria-sort=descending]").count() == 1
    # A reader who goes on does not see it again, and the address is what the page shows.
    page.locator("select[name=backend]").select_option("transformers")
    assert asked_in_vain(settled(page)) == []
    assert "nope" not in page.url
    opened(page, demo, "pareto", "x=nope&y=decode_tokens_per_s&hardware=nope")
    assert page.locator("#plot .point").count() > 0
    assert page.locator("select[name=y]").input_value() == "decode_tokens_per_s"


def test_a_run_too_many_is_left_out_and_named(demo: Demo, page: Page) -> None:
    places = [line.href.removeprefix("runs/").removesuffix(".html") for line in demo.board.lines]
    opened(page, demo, "compare", urlencode({"runs": ",".join(places[:7])}))
    assert page.locator("#chosen li").count() == 6
    (told,) = asked_in_vain(page)
    assert f"\u201c{places[6]}\u201d, which is one more than the 6 that are compared" in told


def test_of_many_wishes_some_are_told(demo: Demo, page: Page) -> None:
    opened(page, demo, "index", "&".join(f"{number}x={'y' * 500}" for number in range(20)))
    told = asked_in_vain(page)
    assert told[-1] == "And 12 more like this."
    assert all(len(text) < 250 for text in told)


@pytest.mark.parametrize("typed", ["1234.567", "33.3", "0.1", "98.7654321012345", "0.30000001"])
def test_a_limit_reaches_another_reader_to_the_last_digit(
    demo: Demo, page: Page, typed: str
) -> None:
    opened(page, demo, "budget")
    page.locator("input[name=itl_p95_s]").fill(typed)
    address = settled(page).url
    other = page.context.new_page()
    other.goto(address)
    assert settled(other).locator("input[name=itl_p95_s]").input_value() == typed
    for part in ("#answer", "#kept", "#out"):
        assert other.locator(part).inner_html() == page.locator(part).inner_html()
    # Going on leaves the limit as it is.
    other.locator("select[name=best]").select_option(index=1)
    limit = [parse_qs(urlsplit(url).fragment)["itl_p95_s"] for url in (address, settled(other).url)]
    assert limit[0] == limit[1]


def test_a_page_without_a_wish_in_vain_has_an_empty_line(tmp_path: Path, page: Page) -> None:
    store = Store(tmp_path / "records", "local")
    for run in runs():
        store.write(run.record, run.traces)
    site = build_site(store.load(), tmp_path / "site")
    page.goto((site.folder / "index.html").as_uri())
    box = settled(page).locator("#asked").bounding_box()
    assert box is None or box["height"] == 0
