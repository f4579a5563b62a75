"""Runs side by side, in a real browser."""

from __future__ import annotations

import hashlib
import random
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from browser_page import asked_in_vain, settled
from demo_store import Demo
from record_factory import make_run

from leanboard.leaderboard.board import BoardRow, cell_href, run_place
from leanboard.leaderboard.build import build_site
from leanboard.leaderboard.compare import compare_href
from leanboard.leaderboard.distribution import PERCENTILES
from leanboard.leaderboard.format import number, scale_for
from leanboard.metrics.comparison import verdict_of
from leanboard.metrics.intervals import Interval
from leanboard.metrics.metric import Direction
from leanboard.metrics.unpaired import unpaired_interval
from leanboard.results.identity import sealed
from leanboard.results.store import Store

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Locator, Page

pytestmark = pytest.mark.browser

PAYLOAD = "\"'><script>PWNED=1</script><img src=x onerror=PWNED=1>"
DRAWN = "found => drawContrast({ doubts: [], ...found }).map((part) => part.textContent)"
BETTER, WORSE = "\u25b2 better", "\u25bc worse"


def row(demo: Demo, label: str, backend: str = "transformers", workload: str = "chat") -> BoardRow:
    return next(
        line
        for line in demo.board.lines
        if (line.label, line.backend, line.workload, line.origin)
        == (label, backend, workload, "published")
    )


def address(demo: Demo, *rows: BoardRow, state: str = "") -> str:
    return f"{demo.folder.as_uri()}/{compare_href(r.row.record for r in rows)}{state}"


def opened(page: Page, demo: Demo, *rows: BoardRow, state: str = "") -> Page:
    page.goto("about:blank")
    page.goto(address(demo, *rows, state=state))
    return settled(page)


def cell(page: Page, metric: str, run: int) -> Locator:
    """The cell of a metric and a run, counted from 1."""
    line = page.locator("#metrics tbody tr", has=page.locator("th", has_text=metric)).first
    return line.locator("td").nth(run - 1)


def letters(page: Page) -> list[str]:
    """The titles of the chosen runs, in their order."""
    return page.locator("#chosen li a").all_inner_texts()


def test_runs_are_found_by_search_and_added_by_mouse_and_keyboard(demo: Demo, page: Page) -> None:
    page.goto(demo.address("compare.html"))
    settled(page)
    assert not page.locator("#compared").is_visible()
    assert page.locator("#found li").count() == 12
    page.locator("input[name=q]").fill("prompt-lookup chat")
    assert "1 run fit the search" in settled(page).locator("#count").inner_text()
    page.locator("#found button").click()
    assert letters(settled(page)) == ["prompt-lookup \u00b7 chat"]
    assert not page.locator("#compared").is_visible()
    page.locator("input[name=q]").fill("static-cache chat")
    settled(page).locator("#found button").focus()
    page.keyboard.press("Enter")
    settled(page).locator("#compared").wait_for(state="visible")
    assert letters(page) == ["prompt-lookup \u00b7 chat", "static-cache \u00b7 chat"]
    assert page.evaluate("document.activeElement.name") == "q"
    assert page.locator("#metrics tbody tr").count() > 5
    assert page.locator("#count").inner_text().startswith("2 runs are compared")


def test_a_records_own_comparison_is_shown_where_it_is_of_these_two(demo: Demo, page: Page) -> None:
    baseline, candidate = row(demo, "none"), row(demo, "prompt-lookup")
    stored = candidate.row.comparison("tpot_s")
    assert stored is not None
    assert stored.value is not None
    assert stored.interval is not None
    low, high = stored.interval.low, stored.interval.high
    there = cell(opened(page, demo, baseline, candidate), "Time per output token", 2)
    assert there.locator("b").inner_text() == number(stored.value, 3)
    assert there.locator(".gain").inner_text() == BETTER
    assert f"{number(low, 3)} \u2013 {number(high, 3)}, paired" in there.inner_text()
    back = cell(opened(page, demo, candidate, baseline), "Time per output token", 2)
    assert back.locator("b").inner_text() == number(1 / stored.value, 3)
    assert back.locator(".gain").inner_text() == WORSE
    assert f"{number(1 / high, 3)} \u2013 {number(1 / low, 3)}, paired" in back.inner_text()


def test_other_pairs_have_an_unpaired_ratio_with_the_interval_of_both(
    demo: Demo, page: Page
) -> None:
    first, second = row(demo, "bf16"), row(demo, "prompt-lookup")
    shown = cell(opened(page, demo, first, second), "Time per output token", 2)
    (one, its), (other, theirs) = (
        (m.value, m.interval) for m in (r.row.measurements["tpot_s"] for r in (second, first))
    )
    assert one is not None
    assert other is not None
    assert its is not None
    assert theirs is not None
    ends = unpaired_interval(
        one, Interval(its.low, its.high, ""), other, Interval(theirs.low, theirs.high, "")
    )
    assert ends is not None
    assert shown.locator("b").inner_text() == number(one / other, 3)
    assert f"{number(ends.low, 3)} \u2013 {number(ends.high, 3)}, unpaired" in shown.inner_text()
    assert shown.locator(".gain").inner_text() == BETTER


def test_scores_and_estimates_have_no_unpaired_ratio(demo: Demo, page: Page) -> None:
    opened(page, demo, row(demo, "bf16"), row(demo, "prompt-lookup"))
    for metric in ("Accuracy, mean of tasks", "Energy per output token"):
        shown = cell(page, metric, 2)
        assert "not compared: " in shown.text_content()
        assert shown.locator("b, .gain").count() == 0
    assert cell(page, "Energy per output token", 1).locator(".badge").inner_text() == "modelled"


def test_what_was_counted_has_an_exact_ratio(demo: Demo, page: Page) -> None:
    opened(page, demo, row(demo, "none"), row(demo, "bf16"))
    shown = cell(page, "Weights", 2)
    assert "exact: both were counted" in shown.inner_text()
    assert shown.locator("b").inner_text() == "1.000"
    assert shown.locator(".gain").inner_text() == "\u2248 no difference shown"
    texts = page.evaluate(
        "[1, 0.99965, 1.0000001, 1.2345].map((value) => ratioTexts(value, [])[0])"
    )
    assert texts == ["1.000", "0.9997", "1.0000001", "1.234"]


def recorded(value: float, low: float, high: float) -> dict[str, Any]:
    """A paired ratio of a record that is worse."""
    ends = {"low": low, "high": high}
    return {"statistic": "ratio", "value": value, **ends, "verdict": "worse", "paired": True}


def test_a_verdict_stands_beside_an_interval_that_differs_from_one(demo: Demo, page: Page) -> None:
    page.goto(demo.address("compare.html"))
    told = page.evaluate(DRAWN, recorded(1.0008334, 1.0004411, 1.0009827))
    assert told == ["\u25bc worse ratio 1.0008", "1.0004 \u2013 1.0010, paired"]


@pytest.mark.parametrize("low", [0.0, 5e-324])
def test_a_ratio_whose_interval_begins_at_zero_has_no_upper_end_turned_round(
    demo: Demo, page: Page, low: float
) -> None:
    page.goto(demo.address("compare.html"))
    turned = page.evaluate("found => turnedRound(found)", recorded(0.5, low, 0.8))
    assert (turned["value"], turned["low"], turned["verdict"]) == (2, 1.25, "better")
    assert turned.pop("high", None) is None
    told = page.evaluate(DRAWN, turned)
    assert told == ["\u25b2 better ratio 2.000", "from 1.250, no upper end, paired"]


def test_one_record_whose_ratio_begins_at_zero_does_not_stop_the_page(
    tmp_path: Path, page: Page
) -> None:
    store = Store(tmp_path / "records", "local")
    baseline = make_run()
    candidate = make_run(techniques=["bf16"], baseline=baseline, speed=1.4)
    fields = candidate.record.model_dump(mode="json")
    for found in fields["comparisons"]:
        if found["statistic"] == "ratio" and found["interval"] is not None:
            found["interval"]["low"] = 0.0
    store.write(baseline.record, baseline.traces)
    store.write(sealed(fields), candidate.traces)
    loaded = store.load()
    assert loaded.problems == ()
    built = build_site(loaded, tmp_path / "site")
    records = sorted((e.record for e in loaded.entries), key=lambda r: r.block.baseline)
    page.goto(f"{built.folder.as_uri()}/{compare_href(records)}")
    assert "no upper end, paired" in settled(page).locator("#metrics").inner_text()


def test_an_unstable_run_an_engine_and_other_hardware_are_told(demo: Demo, page: Page) -> None:
    unstable, stable = row(demo, "gguf-q4_1", "llamacpp"), row(demo, "gguf-q8_0", "llamacpp")
    opened(page, demo, stable, unstable)
    shown = cell(page, "Time per output token", 2)
    assert shown.locator(".gain.doubted").inner_text().endswith(" ?")
    assert "run B is unstable" in page.locator("#doubts").inner_text()
    assert not page.locator("#notes").is_visible()
    opened(page, demo, stable, row(demo, "bf16"))
    assert "another engine" in page.locator("#notes").inner_text()
    assert not page.locator("#doubts-section").is_visible()
    local = next(r for r in demo.board.lines if r.origin == "local" and r.label == "bf16")
    opened(page, demo, row(demo, "bf16"), local)
    assert "other hardware" in page.locator("#notes").inner_text()
    assert "the hardware is another one" in page.locator("#doubts").inner_text()


def test_only_what_differs_in_configuration_is_shown_until_asked(demo: Demo, page: Page) -> None:
    opened(page, demo, row(demo, "none"), row(demo, "prompt-lookup"))
    lines = page.locator("#terms tbody tr:not(.group)")
    few = lines.count()
    assert few > 0
    for line in lines.all():
        texts = line.locator("td").all_inner_texts()
        assert len(set(texts)) == 2
    page.get_by_label("what is the same too").check()
    assert settled(page).locator("#terms tbody tr:not(.group)").count() > few + 20
    assert page.locator("#terms tbody tr.differs").count() == few
    assert page.locator("#terms-told").inner_text().startswith(f"{few} of ")


def test_the_lines_of_latencies_are_those_of_the_shards(demo: Demo, page: Page) -> None:
    rows = [row(demo, "none"), row(demo, "prompt-lookup")]
    opened(page, demo, *rows)
    assert page.locator("#plots svg").count() == 3
    assert page.locator("#plots .quantile-line").count() == 6
    itl = page.locator("#plots svg").first
    for place, shown in enumerate(rows):
        points = page.evaluate(
            "place => LEANBOARD_RUNS[place].samples.itl.points", run_place(shown.row.record)
        )
        drawn = itl.locator(".quantile-line").nth(place).get_attribute("points")
        across = [float(pair.split(",")[0]) for pair in str(drawn).split()]
        assert len(across) == len(points) == 200
        assert across == sorted(across)
    table = page.locator("#quantiles tbody tr:not(.group)")
    assert table.count() == 6
    assert len(table.first.locator("td").all()) == len(PERCENTILES) + 1
    assert "p99 needs 500 samples, there are 248" in str(table.first.text_content())
    linear = itl.inner_html()
    page.get_by_label("log time axis").check()
    assert settled(page).locator("#plots svg").first.inner_html() != linear


def test_a_shared_address_opens_the_same_comparison(
    demo: Demo, context: BrowserContext, page: Page
) -> None:
    opened(page, demo, row(demo, "none"), row(demo, "bf16"))
    page.get_by_label("all metrics").check()
    page.get_by_label("what is the same too").check()
    page.locator("input[name=q]").fill("int8-dynamic chat")
    settled(page).locator("#found button").click()
    settled(page)
    other = context.new_page()
    other.goto(page.url)
    settled(other)
    assert letters(page) == letters(other)
    assert len(letters(page)) == 3
    texts = [shown.locator("#compared").inner_text() for shown in (page, other)]
    assert texts[0] == texts[1]
    assert "Bits per weight" in texts[0]


def test_runs_can_be_put_first_removed_and_given_their_baseline(demo: Demo, page: Page) -> None:
    opened(page, demo, row(demo, "bf16"), row(demo, "prompt-lookup"))
    page.get_by_role("button", name="Put first: B").click()
    assert letters(settled(page)) == ["prompt-lookup \u00b7 chat", "bf16 \u00b7 chat"]
    page.get_by_role("button", name="Add its baseline: A").click()
    assert letters(settled(page))[0] == "none \u00b7 chat"
    assert page.get_by_role("button", name="Add its baseline").count() == 0
    page.get_by_role("button", name="Remove: B").click()
    assert letters(settled(page)) == ["none \u00b7 chat", "bf16 \u00b7 chat"]
    page.get_by_role("button", name="Reset").click()
    assert letters(settled(page)) == []
    assert "#" not in page.url


def test_an_address_with_nonsense_opens_the_default_view(demo: Demo, page: Page) -> None:
    complaints: list[str] = []
    page.on("pageerror", lambda error: complaints.append(str(error)))
    for state in (
        "runs=__proto__,%3Cb%3E,../../x,a/b&metrics=7&q=",
        "runs=&terms=x&log=%00",
        "runs=constructor",
    ):
        page.goto("about:blank")
        page.goto(demo.address("compare.html", state))
        assert settled(page).locator("#count").inner_text().startswith("No run is chosen yet")
        assert not page.locator("#compared").is_visible()
    absent = f"{'m' * 5}/{'0' * 16}/20200101T000000Z-{'0' * 8}"
    page.goto("about:blank")
    page.goto(demo.address("compare.html", f"runs={absent}"))
    (told,) = asked_in_vain(settled(page))
    assert told.endswith(f"{absent}\u201d, which is not on this board: it is left out.")
    assert complaints == []


def test_without_javascript_the_page_leads_to_each_candidates_own_comparison(
    demo: Demo, browser: Browser
) -> None:
    context = browser.new_context(java_script_enabled=False)
    plain = context.new_page()
    plain.goto(demo.address("compare.html"))
    assert plain.locator("form:visible").count() == 0
    plain.locator("#candidates a", has_text="prompt-lookup").first.click()
    assert plain.url.endswith("#against")
    assert plain.locator("#against h2").inner_text() == "Against the baseline"
    context.close()


def test_a_run_page_leads_to_the_comparison_and_to_its_cell(demo: Demo, page: Page) -> None:
    page.goto(demo.address(row(demo, "prompt-lookup").href))
    page.get_by_role("link", name="Compare with its baseline").click()
    assert letters(settled(page)) == ["none \u00b7 chat", "prompt-lookup \u00b7 chat"]
    page.locator("#chosen a").nth(1).click()
    page.get_by_role("link", name="Every run of this cell").click()
    assert page.url.endswith(f"/{cell_href(row(demo, 'prompt-lookup').row.record)}")
    assert page.locator("tbody tr").count() == 1
    page.locator("tbody th a").click()
    assert page.locator("h1").inner_text() == "prompt-lookup \u00b7 chat"


def poisoned(number_: int) -> tuple[Any, bytes | None]:
    """A run with payloads wherever the compare page shows a text of the record."""
    run = make_run(number=number_, techniques=["bf16"] if number_ else [])
    fields = run.record.model_dump(mode="json")
    fields["cell"]["model"]["licence"] = PAYLOAD
    fields["cell"]["workload"]["prompts_source"] = f"{PAYLOAD}{number_}"
    fields["environment"]["os"] = f"{PAYLOAD}{number_}"
    fields["environment"]["packages"][PAYLOAD] = f"{PAYLOAD}{number_}"
    for name in ("tpot_s", "ttft_s"):
        fields["measurements"][name]["summary"] = PAYLOAD
        fields["measurements"][name]["interval"]["method"] = PAYLOAD
    fields["measurements"]["mfu_decode"]["reason"] = PAYLOAD
    fields["measurements"]["__proto__"] = fields["measurements"]["tpot_s"]
    fields["measurements"][PAYLOAD] = {**fields["measurements"]["tpot_s"], "unit": PAYLOAD}
    return sealed(fields), run.traces


def test_texts_of_a_record_stay_inert(tmp_path: Path, page: Page) -> None:
    store = Store(tmp_path / "records", "local")
    for number_ in (0, 1):
        store.write(*poisoned(number_))
    loaded = store.load()
    assert loaded.problems == ()
    built = build_site(loaded, tmp_path / "site")
    dialogs: list[object] = []
    page.on("dialog", lambda dialog: (dialogs.append(dialog), dialog.dismiss()))
    href = compare_href(entry.record for entry in loaded.entries)
    page.goto(f"{built.folder.as_uri()}/{href}&metrics=1&terms=1&q=")
    settled(page)
    assert PAYLOAD in page.locator("#terms").inner_text()
    assert PAYLOAD in page.locator("#metrics").inner_text()
    assert "__proto__" in page.locator("#metrics").inner_text()
    assert page.evaluate("typeof PWNED") == "undefined"
    assert page.evaluate("({}).value") is None
    assert page.locator("main img, main script, main iframe").count() == 0
    assert not dialogs


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_a_comparison_and_a_cell_are_no_wider_than_their_window(
    demo: Demo, browser: Browser, width: int, scheme: str
) -> None:
    context = browser.new_context(viewport={"width": width, "height": 800}, color_scheme=scheme)
    page = context.new_page()
    rows = [row(demo, "none"), row(demo, "prompt-lookup"), row(demo, "gguf-q4_1", "llamacpp")]
    shown = [
        demo.address("compare.html"),
        address(demo, *rows, state="&metrics=1&terms=1"),
        demo.address(cell_href(rows[0].row.record)),
        demo.address(rows[1].href),
    ]
    for each in shown:
        page.goto("about:blank")
        page.goto(each)
        settled(page)
        assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0, each
    context.close()


# The same here and there


def test_the_browser_makes_the_very_intervals_that_python_makes(demo: Demo, page: Page) -> None:
    drawn = random.Random(3)

    def bounded() -> tuple[float, Interval]:
        value = drawn.lognormvariate(0, 3)
        return value, Interval(value * drawn.uniform(0.2, 1), value * drawn.uniform(1, 4), "t")

    pairs = [(bounded(), bounded()) for _ in range(200)]
    pairs.append(((1.0, Interval(0.0, 2.0, "t")), bounded()))
    pairs.append((bounded(), (3.0, Interval(1.0, 2.0, "t"))))
    expected = [unpaired_interval(a, one, b, other) for (a, one), (b, other) in pairs]
    given = [[{"value": v, "low": i.low, "high": i.high} for v, i in pair] for pair in pairs]
    page.goto(demo.address("compare.html"))
    found = page.evaluate("ps => ps.map(([a, b]) => unpairedInterval(a, b))", given)
    assert [None if e is None else pytest.approx((e.low, e.high)) for e in expected] == [
        None if f is None else (f["low"], f["high"]) for f in found
    ]
    assert found[-2:] == [None, None]
    for ends, direction in (((0.5, 0.9), "lower"), ((0.5, 0.9), "higher"), ((0.5, 1.0), "lower")):
        verdict = page.evaluate(
            "([[low, high], way]) => verdictOf({ low, high }, way)", [ends, direction]
        )
        assert verdict == verdict_of(Interval(*ends, "t"), Direction(direction)).value


def test_the_browser_hashes_as_python_does(demo: Demo, page: Page) -> None:
    page.goto(demo.address("compare.html"))
    texts = ["", "abc", "\u00e9\u4e2d", *("x" * n for n in range(50, 70)), "machine/" * 40]
    texts += [run_place(entry.record) for entry in demo.loaded.entries]
    found = page.evaluate("texts => texts.map(sha256)", texts)
    assert found == [hashlib.sha256(text.encode()).hexdigest() for text in texts]


def test_the_browser_scales_times_as_python_does(demo: Demo, page: Page) -> None:
    page.goto(demo.address("compare.html"))
    cases = [[0.5, 2.0, 3.0], [0.5, 2.0], [0.9, 0.4], [1e-5, 2e-4], [1e-9], [], [0.0, 0.02]]
    found = page.evaluate("cases => cases.map(timeScale)", cases)
    expected = [scale_for("s", case) for case in cases]
    assert found == [[scale.factor, scale.suffix] for scale in expected]
