"""The one page for the runs of a very large board: it shows the run that the address names."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from accessibility import violations
from demo_store import Demo
from page_elements import globals_of
from record_factory import make_run

from leanboard.leaderboard.board import board_of, run_place
from leanboard.leaderboard.build import build_site
from leanboard.leaderboard.quality import timed_quality
from leanboard.leaderboard.roofline_plot import roofline_plot
from leanboard.leaderboard.runs import neighbours_of
from leanboard.results.command import run_command
from leanboard.results.identity import sealed
from leanboard.results.schema import Record
from leanboard.results.store import Store

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.browser

MOST = 10

SHOWN = """() => {
  document.querySelectorAll("main details").forEach((one) => { one.open = true; });
  const all = (selector, root = document.querySelector("main")) =>
    [...root.querySelectorAll(selector)].filter((one) => one.checkVisibility());
  const texts = (found) => found.map((one) => one.textContent.replace(/\\s+/g, " ").trim());
  const table = (one) => ({
    heads: texts(all("thead th", one)),
    rows: all("tbody tr:not(.group)", one).map((row) => texts([...row.cells])),
  });
  const place = ({ cx, cy }) => [cx, cy].map((one) => one.baseVal.value).join();
  const picture = (one) => ({
    told: texts(all("figcaption", one))[0],
    texts: texts(all("svg text", one)),
    circles: all("circle", one).map(place),
    lines: all("polyline", one).length,
  });
  const named = (one) => texts(all("h2", one.closest("section")))[0];
  const byName = (selector, name, of) =>
    Object.fromEntries(all(selector).map((one) => [name(one), of(one)]));
  return {
    headings: texts(all("h2, h3, summary")).map((text) => text.replace(/ [(][0-9,]+[)]$/, "")),
    tables: byName(".scroller", (one) => one.getAttribute("aria-label"), table),
    pictures: byName("figure", named, picture),
  };
}"""
"""Headings, tables by their name and pictures by the heading of their section."""
SPREAD = {"Distribution of inter-token latency": "How latencies are spread"}
"""What the page of one run calls otherwise."""
LABELLED = {"Nearness to the baseline", "Derived from scores and times"}
"""Tables that have the name of a metric below its label on the page of a run of its own."""
AS_NUMBERS = {"Measurements", "Scores"}
"""Tables whose numbers are written in the units of the board's columns, or that join two cells."""


@pytest.fixture(scope="module")
def large(demo: Demo, tmp_path_factory: pytest.TempPathFactory) -> Demo:
    """The demo as a board with too many records for a page each."""
    folder = tmp_path_factory.mktemp("large") / "site"
    report = build_site(demo.loaded, folder, most_run_pages=MOST)
    return replace(demo, board=board_of(demo.loaded, MOST), report=report)


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    page = browser.new_page(viewport={"width": 390, "height": 860})
    page.set_default_timeout(10_000)
    yield page
    page.close()


def opened(page: Page, large: Demo, record: Record) -> None:
    """Show a run, and wait until it is drawn."""
    page.goto(large.address("run.html", f"run={run_place(record)}"))
    page.locator("#run:visible").wait_for()


def both(page: Page, demo: Demo, large: Demo, record: Record) -> tuple[Any, Any]:
    """What the page of a run of its own shows, and what the one page of all runs does."""
    page.goto(demo.address(f"runs/{run_place(record)}.html"))
    own = page.evaluate(SHOWN)
    opened(page, large, record)
    return own, page.evaluate(SHOWN)


def example(demo: Demo, kind: str) -> Record:
    """A run of a kind that has something which others lack."""
    lines, records = demo.board.lines, [entry.record for entry in demo.loaded.entries]
    compared = [record for record in records if record.comparisons]
    found = {
        "compared": (r for r in compared if r.cell.kind == "performance"),
        "failed": (r for r in records if r.error is not None),
        "joined": (line.row.record for line in lines if line.row.accuracy_records),
        "roofline": (r for r in records if roofline_plot(r) is not None),
        "scored": (r for r in compared if r.cell.kind == "accuracy"),
        "text": (r for r in records if "bits_per_byte" in r.measurements),
        "unstable": (line.row.record for line in lines if line.unstable),
    }
    return next(found[kind])


@pytest.fixture(scope="module")
def calibrated(tmp_path_factory: pytest.TempPathFactory) -> tuple[Demo, Demo]:
    """A run under a roofline, on a page of its own and on the one page of all runs."""
    root, run = tmp_path_factory.mktemp("calibrated"), make_run()
    fields = run.record.model_dump(mode="json")
    for name, value in {"peak_flops_per_s": 1e12, "peak_bytes_per_s": 1e11}.items():
        fields["facts"][name] = {"value": value, "unit": "1", "provenance": "measured"}
    for name, value in {"mfu": 0.5, "mbu": 0.1}.items():
        for phase in ("prefill", "decode"):
            given = {"value": value, "reason": None, "provenance": "measured"}
            fields["measurements"][f"{name}_{phase}"] |= given
    store = Store(root / "records", "local")
    store.write(sealed(fields), run.traces)
    loaded = store.load()
    own, shared = (
        Demo(loaded, board_of(loaded, most), build_site(loaded, root / name, most_run_pages=most))
        for name, most in (("own", 1), ("shared", 0))
    )
    return own, shared


@pytest.mark.parametrize(
    "kind", ["compared", "failed", "joined", "roofline", "scored", "text", "unstable"]
)
def test_it_shows_what_the_page_of_a_run_of_its_own_does(
    demo: Demo, large: Demo, calibrated: tuple[Demo, Demo], page: Page, kind: str
) -> None:
    sites = calibrated if kind == "roofline" else (demo, large)
    own, shared = both(page, *sites, example(sites[0], kind))
    headings = {SPREAD.get(heading, heading) for heading in own["headings"]}
    assert headings <= set(shared["headings"])
    assert set(own["tables"]) == set(shared["tables"])
    for name, table in own["tables"].items():
        drawn = shared["tables"][name]
        assert drawn["heads"] == table["heads"], name
        assert len(drawn["rows"]) == len(table["rows"]), name
        told = slice(1, None) if name in LABELLED else slice(None)
        if name not in AS_NUMBERS:
            assert [row[told] for row in drawn["rows"]] == [row[told] for row in table["rows"]]
    pictures = own["pictures"].keys() - SPREAD.keys()
    assert pictures <= shared["pictures"].keys()
    for name in pictures:
        made, drawn = own["pictures"][name], shared["pictures"][name]
        assert drawn["texts"] == made["texts"], name
        assert set(drawn["circles"]) <= set(made["circles"]), name
        assert bool(drawn["lines"]) == bool(made["lines"]), name
    if kind == "roofline":
        assert shared["pictures"]["Roofline"] == own["pictures"]["Roofline"]
        assert len(own["pictures"]) == 5


def test_comparisons_have_their_n_launches_method_and_interval(
    demo: Demo, large: Demo, page: Page
) -> None:
    opened(page, large, example(demo, "compared"))
    table = page.evaluate(SHOWN)["tables"]["Comparisons"]
    ratios = [dict(zip(table["heads"], row, strict=True)) for row in table["rows"]]
    assert any(
        all(row[head] not in {"", "\u2014"} for head in table["heads"][:-1]) for row in ratios
    )


def test_a_row_leads_to_its_run(large: Demo, page: Page) -> None:
    page.goto(large.address())
    row = page.locator("#board tbody tr", has_text="prompt-lookup").first
    row.locator("th a").click()
    page.locator("#run:visible").wait_for()
    assert page.locator("h1").inner_text() == "prompt-lookup \u00b7 chat"
    assert page.title().startswith("prompt-lookup")
    assert page.locator("#told").inner_text() == ""
    href = page.locator("#files a").first.get_attribute("href")
    assert href is not None
    assert (large.folder / href).is_file()


def test_every_number_of_the_record_is_there_and_every_gap_with_its_reason(
    large: Demo, page: Page
) -> None:
    line = next(line for line in large.board.lines if line.label == "bf16")
    opened(page, large, line.row.record)
    own = line.row.record.measurements
    measured = {name for name, m in own.items() if m.value is not None}
    missed = [m for m in own.values() if m.value is None]
    assert set(page.locator("#measured code").all_inner_texts()) == measured
    reasons = page.locator("#missed dd").all_inner_texts()
    assert len(reasons) == len(missed)
    assert all(reasons)
    assert page.locator("#configuration .card").count() > 3
    assert page.locator("#environment .card").count() > 3


@pytest.mark.parametrize("state", ["", "run=", "run=nope", "run=../../etc/passwd", "x=1"])
def test_an_address_without_a_run_says_so(large: Demo, page: Page, state: str) -> None:
    complaints: list[str] = []
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto(large.address("run.html", state))
    page.get_by_text("The address names no run of this board").wait_for()
    assert page.locator("#run:visible").count() == 0
    assert complaints == []


def test_another_address_shows_another_run(large: Demo, page: Page) -> None:
    first, second = (entry.record for entry in large.loaded.entries[:2])
    for record in (first, second):
        page.goto(large.address("run.html", f"run={run_place(record)}"))
        page.locator(f"#files a[href$='{record.run_id}.json']").wait_for()


def test_it_fits_a_phone_and_axe_finds_nothing_wrong(large: Demo, page: Page) -> None:
    opened(page, large, large.board.lines[0].row.record)
    assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
    assert violations(page) == []


def test_no_two_of_its_scripts_declare_the_same_name(large: Demo) -> None:
    names = globals_of(large.folder / "run.html")
    assert len(names) == len(set(names)) > 50


def test_without_javascript_it_leads_to_the_downloads(large: Demo, browser: Browser) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(large.address("run.html"))
    page.locator("#told a").click()
    assert page.locator("h1").inner_text() == "Downloads"
    context.close()


def test_it_says_how_to_run_it_again_whether_it_was_stable_and_where_its_files_are(
    large: Demo, page: Page
) -> None:
    line = next(line for line in large.board.lines if line.unstable)
    opened(page, large, line.row.record)
    assert page.locator("#command").inner_text() == run_command(line.row.record)
    assert page.locator("#stability h2").inner_text() == "Stability: unstable"
    assert page.locator("#stability li").count() > 0
    assert page.locator("#failure:visible").count() == 0
    files = [link.get_attribute("href") or "" for link in page.locator("#files a").all()]
    assert files
    assert all((large.folder / href).is_file() for href in files)
    assert page.locator("#spread figure").count() > 0
    assert violations(page) == []


def test_it_has_the_scores_with_their_gates_and_says_whether_outputs_are_the_same(
    large: Demo, page: Page
) -> None:
    line = next(line for line in large.board.lines if line.label == "int8-weight-only")
    opened(page, large, line.row.record)
    found = timed_quality(line.row.record, line.row, neighbours_of(large.board).scores)
    assert found is not None
    assert found.average is not None
    assert found.sameness is not None
    scores = page.locator("#scores tbody tr").all()
    assert len(scores) == 1 + sum(len(task.lines) for task in found.tasks)
    assert found.average.score in scores[0].inner_text()
    assert line.gate.title in page.locator("#kept").inner_text()
    assert found.sameness.answer in page.locator("#same").inner_text()
    page.locator("#scoring summary").click()
    assert page.locator("#quality .card").count() == len(found.scoring)
    modelled = page.locator("#measured .badge", has_text="modelled").first
    assert modelled.get_attribute("class") == "badge"
    assert violations(page) == []


def test_a_failed_run_says_why(large: Demo, page: Page) -> None:
    record = next(e.record for e in large.loaded.entries if e.record.error is not None)
    page.goto(large.address("run.html", f"run={run_place(record)}"))
    page.locator("#failure:visible").wait_for()
    assert record.error is not None
    assert record.error.message in page.locator("#failure").inner_text()
