"""A record may say anything: nothing of it runs, leads elsewhere or becomes a file or formula."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote, urlsplit

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from markupsafe import escape
from page_elements import elements_of
from poison import PAYLOADS, poisoned, poisoned_samples
from record_factory import Run, make_model, make_run

from leanboard.leaderboard.board import run_place
from leanboard.leaderboard.build import BuildReport, build_site
from leanboard.leaderboard.commands import site
from leanboard.results.document import json_text
from leanboard.results.export import write_exports
from leanboard.results.identity import content_hash
from leanboard.results.printable import REPLACED, printable, visible
from leanboard.results.store import Store

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Page

SAFE_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._+-]*|\.leanboard-site")
ADDRESSES = {"href", "src", "action", "formaction", "poster", "data", "xlink:href", "srcset"}
NAMING = {"class", "id", "style", "for", "role", "type", "rel"}


@dataclass(frozen=True)
class Poisoned:
    """The site and the exports of poisoned records, and the folder around them."""

    root: Path
    report: BuildReport
    exports: Path

    @property
    def folder(self) -> Path:
        return self.report.folder

    @property
    def pages(self) -> list[Path]:
        return sorted(self.folder.rglob("*.html"))

    @property
    def top(self) -> list[Path]:
        """The pages of the navigation, where readers choose and filter."""
        return sorted(self.folder.glob("*.html"))


def runs(name: str) -> Iterator[Run]:
    """Runs of every kind, of a model of their own so that all of them are rows."""
    model = make_model(f"model-{name}")
    base, scored = make_run(model=model), make_run(model=model, kind="accuracy")
    yield from (base, scored)
    yield make_run(model=model, techniques=["bf16"], baseline=base, speed=1.4)
    yield make_run(model=model, techniques=["nf4"], status="failed")
    yield make_run(model=model, kind="accuracy", techniques=["bf16"], baseline=scored)
    yield make_run(model=model, kind="accuracy", task="squad-passages")
    # Scored, and never timed.
    yield make_run(model=model, kind="accuracy", techniques=["fp16"], baseline=scored)
    yield make_run(model=model, kind="accuracy", techniques=["hqq"], status="failed")


@pytest.fixture(scope="session")
def attacked(tmp_path_factory: pytest.TempPathFactory) -> Poisoned:
    root = tmp_path_factory.mktemp("attacked")
    store = Store(root / "records", "local")
    for name, payload in PAYLOADS.items():
        for run in runs(name):
            sampled = poisoned_samples(run, payload)
            record, planted = poisoned(sampled.record, payload)
            assert len(planted) > 25
            store.write(record, sampled.traces)
    loaded = store.load()
    assert loaded.problems == ()
    report = build_site(loaded, root / "site")
    write_exports(loaded, root / "exports")
    return Poisoned(root, report, root / "exports")


def test_payloads_stand_in_every_part_of_a_record() -> None:
    _, planted = poisoned(make_run(techniques=["nf4"], status="failed").record, "anything")
    expected = {
        "block.arm",
        "block.suite",
        "cell.backend.params.deep.er.*",
        "cell.model.family",
        "cell.model.licence",
        "cell.model.source",
        "cell.workload.prompts_source",
        "environment.cpu.governor",
        "environment.cpu.name",
        "environment.cpu.vulnerabilities.spectre",
        "environment.os",
        "error.message",
        "facts.note",
    }
    assert expected <= planted
    _, planted = poisoned(make_run().record, "anything")
    assert {"measurements.*.reason", "measurements.*.interval.method"} <= planted


def test_payloads_stand_in_every_text_of_the_raw_samples(attacked: Poisoned) -> None:
    scored, seen = 0, dict.fromkeys(PAYLOADS.values(), 0)
    for file in (attacked.root / "records").rglob("*.parquet"):
        table = pq.read_table(file)
        texts = {
            text
            for column in table.columns
            if pa.types.is_string(column.type)
            for text in column.to_pylist()
        }
        (payload,) = texts - {None}
        scored += f"score.{payload}" in table.column_names
        seen[payload] += 1
    assert set(seen.values()) == {6}
    assert scored == 3 * len(PAYLOADS)


def test_plots_of_raw_samples_show_the_payloads_as_texts(attacked: Poisoned) -> None:
    prompts = dict.fromkeys(PAYLOADS, 0)
    scores = dict.fromkeys(PAYLOADS, 0)
    for page in (attacked.folder / "runs").rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        for name, payload in PAYLOADS.items():
            prompts[name] += text.count(f", prompt {escape(visible(payload))}</title>")
            scores[name] += text.count(f"<h2>Score of every item: {escape(visible(payload))}</h2>")
    assert min(prompts.values()) > 10
    assert set(scores.values()) == {3}


def test_all_records_are_shown_and_rows_keep_their_number(attacked: Poisoned) -> None:
    assert attacked.report.problems == ()
    assert attacked.report.rows == 3 * len(PAYLOADS)


# Pages


def test_no_payload_is_markup(attacked: Poisoned) -> None:
    seen = dict.fromkeys(PAYLOADS, 0)
    for page in attacked.pages:
        text = page.read_text(encoding="utf-8")
        for name, payload in PAYLOADS.items():
            if "<" in payload:
                assert payload not in text
            seen[name] += text.count(f"model-{name}")
        for tag, attributes in elements_of(page):
            assert tag not in {"iframe", "object", "embed", "base", "style"}
            assert tag != "script" or set(attributes) <= {"src", "defer"}
            assert not [name for name in attributes if name.startswith("on")]
    assert min(seen.values()) > 5


def test_no_payload_is_an_address_or_a_name_of_the_page(attacked: Poisoned) -> None:
    checked = 0
    for page in attacked.pages:
        for _, attributes in elements_of(page):
            for name, value in attributes.items():
                if name in ADDRESSES and value is not None:
                    parts = urlsplit(value)
                    assert (parts.scheme, parts.netloc) == ("", ""), value
                    path = unquote(parts.path)
                    assert not [p for p in PAYLOADS.values() if p in value or p in path], value
                    inside = (page.parent / path).resolve()
                    assert inside.is_relative_to(attacked.folder.resolve()), value
                    checked += 1
                if name in NAMING:
                    assert not [p for p in PAYLOADS.values() if p in (value or "")], value
    assert checked > 1000


def test_no_payload_is_rendered_as_a_template(attacked: Poisoned) -> None:
    kept = 0
    for page in attacked.pages:
        text = page.read_text(encoding="utf-8")
        assert str(31337 * 31337) not in text
        kept += PAYLOADS["template"] in text
    assert kept > 3


def test_no_character_hides_or_reorders_what_a_page_says(attacked: Poisoned) -> None:
    replaced = 0
    for file in [*attacked.pages, *sorted((attacked.folder / "data").rglob("*.js"))]:
        text = file.read_text(encoding="utf-8")
        assert not REPLACED & set(text), file
        escaped = re.search(r"(?<!\\)(?:\\\\)*\\u(0000|001b|0085|202e|2066)", text)
        assert escaped is None or file.suffix == ".html", file
        replaced += text.count("\ufffd") + text.count(r"\ufffd")
    assert replaced > 20


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain, \u00e9\u4e2d\U0001f600\n\tnext", "plain, \u00e9\u4e2d\U0001f600\n\tnext"),
        ("a\x00b\x1bc\x7fd\x85e", "a\ufffdb\ufffdc\ufffdd\ufffde"),
        ("a\u202eb\u2066c\u200fd\u061ce", "a\ufffdb\ufffdc\ufffdd\ufffde"),
    ],
)
def test_a_character_that_steers_is_shown_as_replaced(text: str, shown: str) -> None:
    assert visible(text) == shown


def test_pages_and_their_data_say_the_same(attacked: Poisoned) -> None:
    script = (attacked.folder / "data" / "board.js").read_text(encoding="ascii")
    rows = json.loads(script.removeprefix("const LEANBOARD = ").removesuffix(";\n"))
    expected = {visible(payload) for payload in PAYLOADS.values()}
    assert set(rows["texts"]["family"]["texts"]) == expected


@pytest.mark.parametrize("value", [None, 1, 0.5, True, ["\x00"]])
def test_what_is_no_text_is_shown_as_it_is(value: object) -> None:
    assert visible(value) is value


# Files and tables


def test_no_file_lies_outside_or_has_a_name_of_free_text(attacked: Poisoned) -> None:
    assert sorted(path.name for path in attacked.root.iterdir()) == ["exports", "records", "site"]
    names = [path.name for path in attacked.folder.rglob("*")]
    assert len(names) > 100
    assert [name for name in names if not SAFE_NAME.fullmatch(name)] == []
    assert not [path for path in attacked.folder.rglob("*") if path.is_symlink()]


def is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def test_no_cell_of_a_table_is_a_formula(attacked: Poisoned) -> None:
    kept = 0
    files = [*attacked.exports.glob("*.csv"), *(attacked.folder / "downloads").glob("*.csv")]
    assert len(files) >= 8
    for file in files:
        with file.open(newline="", encoding="utf-8") as handle:
            for row in csv.reader(handle):
                for cell in row:
                    assert is_number(cell) or cell[:1] not in tuple("=+-@\t\r\n"), cell
                    kept += cell == "'" + PAYLOADS["formula"]
    assert kept > 5


# What cannot be read


def with_unknown_field(name: str) -> str:
    """A record with a field more; its hash fits."""
    fields = {**make_run().record.model_dump(mode="json"), name: 1}
    return json_text({**fields, "content_hash": content_hash(fields)})


FOREIGN = {
    "truncated.json": b'{"schema_version": 1,',
    "list.json": b"[]",
    "package.json": b'{"name": "left-pad", "version": "1.0.0"}',
    "newer.json": b'{"schema_version": 999}',
    "binary.json": b"\x00\xff\xfe\x1b[31m",
    "deep.json": b"[" * 100_000,
    "constant.json": b'{"schema_version": NaN}',
    "unknown.json": with_unknown_field("\x1b[31mred\u202e").encode(),
}


def test_what_is_no_record_is_skipped_with_a_line_and_strict_says_so(tmp_path: Path) -> None:
    records, out = tmp_path / "records", tmp_path / "site"
    store = Store(records, "local")
    good = make_run()
    store.write(good.record, good.traces)
    for name, content in FOREIGN.items():
        (records / name).write_bytes(content)
    (records / "folder.json").mkdir()
    (records / "link.json").symlink_to(tmp_path / "elsewhere.json")
    arguments = ["--records", str(records), "--out", str(out)]
    skipped = {*FOREIGN, "link.json"}
    for options, status in (([], 0), (["--strict"], 1)):
        done = CliRunner().invoke(site, [*arguments, *options])
        assert done.exit_code == status, done.output
        assert "red: Extra inputs are not permitted" in done.output
        told = [line for line in done.output.splitlines() if line.startswith("skipped")]
        assert {Path(line.split()[1].rstrip(":")).name for line in told} >= skipped
        assert not {"\x1b", "\u202e", "\x00"} & set(done.output)
        assert (out / "index.html").is_file()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["records", "site"]


def test_a_terminal_is_not_steered_by_a_record() -> None:
    assert printable("a\x1b[31m\u202eb\nc\x00") == "a[31mb c"


# The browser

FOREIGN_TAGS = "main script, iframe, object, embed, base, img[src=x], [onload], [onerror]"
NOTICED = f"""() => ({{
  ran: typeof PWNED !== "undefined",
  refused: window.refused,
  foreign: document.querySelectorAll("{FOREIGN_TAGS}").length,
}})"""
WATCH = """window.refused = [];
document.addEventListener("securitypolicyviolation", (event) => {
  window.refused.push(`${event.violatedDirective} ${event.blockedURI}`);
});"""
POKE = """(text) => {
  const tell = (control) => {
    control.dispatchEvent(new Event("input", { bubbles: true }));
    control.dispatchEvent(new Event("change", { bubbles: true }));
  };
  document.querySelectorAll("details").forEach((details) => { details.open = true; });
  for (const select of document.querySelectorAll("main select")) {
    for (const value of [...select.options].slice(0, 6).map((option) => option.value)) {
      select.value = value;
      tell(select);
    }
  }
  for (const box of document.querySelectorAll("main input")) {
    if (box.type === "search" || box.type === "text") box.value = text;
    if (box.type === "checkbox") box.checked = true;
    tell(box);
  }
  document.querySelectorAll("main thead button").forEach((button) => button.click());
}"""


@pytest.fixture(params=[False, True], ids=["policy", "no policy"])
def context(browser: Browser, request: pytest.FixtureRequest) -> Iterator[BrowserContext]:
    """A browser that obeys the pages' content security policy, and one that ignores it."""
    context = browser.new_context(bypass_csp=request.param)
    context.set_default_timeout(20_000)
    context.add_init_script(WATCH)
    yield context
    context.close()


def watched(context: BrowserContext, complaints: list[str]) -> Page:
    """A page that notes every dialog and every error."""
    page = context.new_page()

    def refuse(dialog: object) -> None:
        complaints.append("a dialog opened")
        dialog.dismiss()  # type: ignore[attr-defined]

    page.on("dialog", refuse)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    return page


def check(page: Page, complaints: list[str]) -> None:
    page.locator("main[aria-busy]").wait_for(state="detached")
    noticed = page.evaluate(NOTICED)
    assert noticed == {"ran": False, "refused": [], "foreign": 0}, page.url
    assert complaints == [], page.url


@pytest.mark.browser
def test_nothing_runs_when_a_page_is_opened(attacked: Poisoned, context: BrowserContext) -> None:
    complaints: list[str] = []
    page = watched(context, complaints)
    for path in attacked.pages:
        page.goto(path.as_uri())
        check(page, complaints)


@pytest.mark.browser
def test_nothing_runs_when_a_reader_chooses(attacked: Poisoned, context: BrowserContext) -> None:
    complaints: list[str] = []
    page = watched(context, complaints)
    for path in attacked.top:
        for payload in (PAYLOADS["attribute"], PAYLOADS["script"]):
            page.goto("about:blank")
            page.goto(path.as_uri())
            page.evaluate(POKE, payload)
            check(page, complaints)


@pytest.mark.browser
def test_nothing_runs_when_a_link_brings_its_own_choices(
    attacked: Poisoned, context: BrowserContext
) -> None:
    complaints: list[str] = []
    page = watched(context, complaints)
    for path in attacked.top:
        page.goto(path.as_uri())
        found = page.evaluate("() => [...document.querySelectorAll('[name]')].map((e) => e.name)")
        keys = {key for key in found if key} | {"sort", "dir", "cols", "page", "x", "y"}
        for name in ("attribute", "dialog", "script", "url"):
            payload = PAYLOADS[name]
            state = "&".join(f"{quote(key)}={quote(payload)}" for key in sorted(keys))
            page.goto("about:blank")
            page.goto(f"{path.as_uri()}#{state}")
            check(page, complaints)


@pytest.mark.browser
def test_nothing_runs_where_runs_are_drawn_by_script(
    attacked: Poisoned, tmp_path: Path, context: BrowserContext
) -> None:
    """Side by side, and on the one page that the runs of a very large board share."""
    loaded = Store(attacked.root / "records", "local").load()
    folder = build_site(loaded, tmp_path / "site", most_run_pages=0).folder
    complaints: list[str] = []
    page = watched(context, complaints)
    places = [run_place(entry.record) for entry in loaded.entries]
    states = [f"run.html#run={place}" for place in places[::2]]
    states += [
        f"compare.html#runs={','.join(places[start : start + 4])}"
        for start in range(0, len(places), 4)
    ]
    said = ""
    for state in states:
        page.goto("about:blank")
        page.goto(f"{folder.as_uri()}/{state}")
        page.locator("#run, #chosen li").first.wait_for()
        said += page.locator("main").inner_text()
        page.evaluate(POKE, PAYLOADS["attribute"])
        check(page, complaints)
    assert [text for text in map(visible, PAYLOADS.values()) if text not in said] == []
