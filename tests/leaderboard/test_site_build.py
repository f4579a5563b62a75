"""The built site: whole, the same every time, inert, and linked without gaps."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pandas as pd
import pytest
from demo_store import Demo
from markupsafe import escape
from page_elements import Attributes, controls_of, elements_of, globals_of
from pydantic import ValidationError
from record_factory import make_run

from leanboard.leaderboard.build import build_site
from leanboard.leaderboard.pages import PAGES, Page, Site
from leanboard.metrics.registry import METRICS
from leanboard.results.errors import LeanboardError
from leanboard.results.identity import content_hash, sealed
from leanboard.results.loading import load_lean
from leanboard.results.schema import Record
from leanboard.results.store import Loaded, Store, read_stores, traces_path

PAYLOAD = "\"'><script>PWNED=1</script><img src=x onerror=PWNED=1>{{1337*7}}${1337*7}"


def pages(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.html"))


def contents(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def board_data(folder: Path) -> Any:
    text = (folder / "data" / "board.js").read_text(encoding="ascii")
    return json.loads(text.removeprefix("const LEANBOARD = ").rstrip(";\n"))


def store_of(root: Path, *runs: Any) -> Loaded:
    store = Store(root, "local")
    for run in runs:
        store.write(run.record, run.traces)
    return store.load()


def test_every_record_has_a_page_and_every_page_is_reported(demo: Demo) -> None:
    site = Site(demo.board, ())
    expected = {part.path for page in PAGES for part in page.parts(site)}
    for entry in demo.loaded.entries:
        record = entry.record
        expected.add(f"runs/{record.machine_id}/{record.cell_id}/{record.run_id}.html")
        expected.add(f"runs/{record.machine_id}/{record.cell_id}/index.html")
    assert set(demo.report.pages) == expected
    assert demo.report.problems == ()


def addresses_of(elements: list[tuple[str, Attributes]]) -> list[str]:
    found = (attributes.get(name) for _, attributes in elements for name in ("href", "src"))
    return [address for address in found if address is not None]


def test_every_internal_address_leads_to_a_file_and_to_a_place_that_is_there(demo: Demo) -> None:
    folder = demo.folder.resolve()
    elements = {page: elements_of(page) for page in pages(folder)}
    ids = {page: {attributes.get("id") for _, attributes in elements[page]} for page in elements}
    files = places_found = 0
    for page, found in elements.items():
        for address in addresses_of(found):
            file, _, place = address.partition("#")
            target = (page.parent / unquote(file)).resolve() if file else page
            assert target.is_relative_to(folder), (page, address)
            assert target.is_file(), (page, address)
            files += bool(file)
            # With a sign of equality it is the state of a page.
            if place and "=" not in place:
                assert place in ids[target], (page, address)
                places_found += 1
    assert files > 500
    assert places_found > len(elements), "the main part of every page, and more"


def test_no_page_holds_inline_code_or_names_another_origin(demo: Demo) -> None:
    for page in pages(demo.folder):
        for tag, attributes in elements_of(page):
            assert "style" not in attributes
            assert not [name for name in attributes if name.startswith("on")]
            assert tag != "style"
            assert tag != "script" or "src" in attributes
            for name in ("href", "src", "action", "content"):
                assert "//" not in (attributes.get(name) or "")


def test_every_page_forbids_foreign_and_inline_code(demo: Demo) -> None:
    for page in pages(demo.folder):
        policy = next(
            attributes["content"]
            for tag, attributes in elements_of(page)
            if tag == "meta" and attributes.get("http-equiv") == "Content-Security-Policy"
        )
        assert policy is not None
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy


def test_no_two_scripts_of_a_page_declare_the_same_name(demo: Demo) -> None:
    for page in pages(demo.folder):
        names = Counter(globals_of(page))
        assert [name for name, times in names.items() if times > 1] == [], page
    assert {"LEANBOARD", "formatNumber", "PLAIN", "RLE"} <= set(
        globals_of(demo.folder / "index.html")
    )


def test_every_control_has_a_label_and_every_page_one_heading(demo: Demo) -> None:
    controls = 0
    for page in pages(demo.folder):
        elements = elements_of(page)
        assert [tag for tag, _ in elements].count("h1") == 1
        ids = [attributes["id"] for _, attributes in elements if "id" in attributes]
        assert len(ids) == len(set(ids))
        found = controls_of(page)
        assert [attributes for attributes, named in found if not named] == [], page
        controls += len(found)
    assert controls > 20


def test_the_same_records_give_the_same_bytes(demo: Demo, tmp_path: Path) -> None:
    shuffled = Loaded(tuple(reversed(demo.loaded.entries)))
    build_site(shuffled, tmp_path / "site")
    assert contents(tmp_path / "site") == contents(demo.folder)


def test_building_again_replaces_the_old_site_as_a_whole(demo: Demo, tmp_path: Path) -> None:
    folder = tmp_path / "site"
    build_site(demo.loaded, folder)
    (folder / "stale.html").write_text("old")
    build_site(demo.loaded, folder)
    assert contents(folder) == contents(demo.folder)
    assert [path.name for path in tmp_path.iterdir()] == ["site"]


def test_a_failed_build_leaves_the_old_site_and_no_litter(demo: Demo, tmp_path: Path) -> None:
    def broken(_: object) -> dict[str, object]:
        raise LeanboardError("a page that cannot be made")

    folder = tmp_path / "site"
    build_site(Loaded(), folder)
    before = contents(folder)
    page = Page("bad", "Bad", 1, "downloads.html", broken)
    with pytest.raises(LeanboardError, match="a page that cannot be made"):
        build_site(demo.loaded, folder, (page,))
    assert contents(folder) == before
    assert [path.name for path in tmp_path.iterdir()] == ["site"]


def test_a_folder_with_other_files_is_refused_and_untouched(demo: Demo, tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(LeanboardError, match="not a site of leanboard"):
        build_site(demo.loaded, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_a_folder_that_cannot_be_made_is_an_error_with_a_next_step(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(LeanboardError, match=r"build again|choose another place"):
        build_site(Loaded(), tmp_path / "file" / "site")


def test_an_empty_store_gives_a_site_that_says_how_to_fill_it(tmp_path: Path) -> None:
    report = build_site(Loaded(), tmp_path / "site")
    assert report.rows == 0
    for page in ("index.html", "pareto.html", "downloads.html"):
        text = (tmp_path / "site" / page).read_text(encoding="utf-8")
        assert "leanboard run suite=quickstart" in text


def test_a_page_is_one_line_and_one_template(demo: Demo, tmp_path: Path) -> None:
    extra = Page("more", "More", 50, "downloads.html", PAGES[-1].context)
    build_site(demo.loaded, tmp_path / "site", (*PAGES, extra))
    assert 'href="more.html"' in (tmp_path / "site" / "index.html").read_text(encoding="utf-8")
    assert (tmp_path / "site" / "more.html").is_file()


def test_corrupt_records_are_skipped_and_reported(tmp_path: Path) -> None:
    loaded = store_of(tmp_path / "records", make_run(), make_run(techniques=["bf16"]))
    loaded.entries[0].path.write_text("{", encoding="utf-8")
    report = build_site(read_stores([(tmp_path / "records", "local")]), tmp_path / "site")
    assert report.rows == 1
    assert [problem.path for problem in report.problems] == [loaded.entries[0].path]


def test_a_record_in_other_units_relabels_no_column(tmp_path: Path) -> None:
    loaded = store_of(tmp_path / "records", make_run(), make_run(techniques=["bf16"]))
    foreign = loaded.entries[0].path
    fields = json.loads(foreign.read_text())
    fields["measurements"]["tpot_s"]["unit"] = "B"
    foreign.write_text(json.dumps(fields | {"content_hash": content_hash(fields)}))
    report = build_site(load_lean([(tmp_path / "records", "local")]), tmp_path / "site")
    assert [problem.path for problem in report.problems] == [foreign]
    assert "tpot_s is in 'B', but its unit is 's'" in report.problems[0].message
    assert report.rows == 1
    metrics = board_data(tmp_path / "site")["metrics"]
    assert {m["unit"] for m in metrics if m["name"] == "tpot_s"} == {"s"}


@pytest.mark.parametrize("damage", ["missing", "changed"])
def test_traces_that_are_not_the_records_are_reported_and_not_shown(
    tmp_path: Path, damage: str
) -> None:
    loaded = store_of(tmp_path / "records", make_run())
    traces = traces_path(loaded.entries[0].path)
    traces.unlink() if damage == "missing" else traces.write_bytes(b"PAR1 something else")
    report = build_site(loaded, tmp_path / "site")
    assert [problem.path for problem in report.problems] == [traces]
    page = next((tmp_path / "site" / "runs").rglob("2*.html")).read_text(encoding="utf-8")
    assert 'class="plot"' not in page
    assert "traces.parquet" not in page


def test_a_run_in_both_stores_is_shown_once_as_published(tmp_path: Path) -> None:
    run = make_run()
    stores: list[tuple[Path, Any]] = []
    for origin in ("local", "published"):
        Store(tmp_path / origin, origin).write(run.record, run.traces)
        stores.append((tmp_path / origin, origin))
    report = build_site(read_stores(stores), tmp_path / "site")
    assert (report.rows, report.problems) == (1, ())
    assert '<span class="badge plain">published</span>' in (
        tmp_path / "site" / "index.html"
    ).read_text(encoding="utf-8")


def test_a_run_page_tells_everything_about_its_run(demo: Demo) -> None:
    entry = next(
        e
        for e in demo.loaded.entries
        if e.record.block.arm == "prompt-lookup" and e.record.comparisons
    )
    record = entry.record
    place = f"{record.machine_id}/{record.cell_id}/{record.run_id}"
    text = (demo.folder / "runs" / f"{place}.html").read_text(encoding="utf-8")
    for name in record.measurements:
        assert f"<code>{name}</code>" in text
    for part in ("leanboard run model=", record.content_hash, record.environment.cpu.name):
        assert part in text
    assert record.comparisons[0].baseline_run in text
    reasons = [m.reason for m in record.measurements.values() if m.value is None]
    assert len(reasons) > 5
    for reason in reasons:
        assert reason is not None
        assert escape(reason) in text
    assert text.count('class="plot"') == 4
    copied = demo.folder / "downloads" / "records" / f"{place}.json"
    assert copied.read_bytes() == entry.path.read_bytes()


def test_the_methodology_names_every_metric_with_its_definition(demo: Demo) -> None:
    text = (demo.folder / "methodology.html").read_text(encoding="utf-8")
    for metric in METRICS:
        assert f'<tr id="{metric.name}">' in text


def test_the_downloads_read_back(demo: Demo) -> None:
    folder = demo.folder / "downloads"
    frame = pd.read_parquet(folder / "results-long.parquet")
    assert set(frame["run_id"]) == {e.record.run_id for e in demo.loaded.entries}
    records = json.loads((folder / "records.json").read_text(encoding="utf-8"))
    assert len(records) == len(demo.loaded.entries)


# Payloads


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Paths of every text in a JSON value."""
    if isinstance(value, str):
        yield path
    elif isinstance(value, dict):
        for key in value:
            yield from places(value[key], (*path, key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from places(item, (*path, index))


def at(value: Any, path: tuple[Any, ...]) -> Any:
    for key in path:
        value = value[key]
    return value


def valid(fields: dict[str, Any]) -> bool:
    try:
        Record.model_validate(fields)
    except ValidationError:
        return False
    return True


def poisoned(record: Record) -> tuple[Record, int]:
    """Return the record with a payload in every text and open mapping that the schema admits."""
    fields = record.model_dump(mode="json")
    fields["facts"] = {"note": "x", "kl_error": "x", "answers_cached": {"value": "x"}}
    fields["cell"]["backend"]["params"] = {"knob": "x", "deep": {"er": ["x"]}}
    fields["environment"]["settings"] = {"setting": "x"}
    planted = 0
    for path in list(places(fields)):
        parent, before = at(fields, path[:-1]), at(fields, path)
        parent[path[-1]] = PAYLOAD
        if valid(fields):
            planted += 1
        else:
            parent[path[-1]] = before
    for path in (("facts",), ("environment", "packages"), ("environment", "settings")):
        mapping = at(fields, path)
        mapping[PAYLOAD] = next(iter(mapping.values()))
    fields["environment"]["threads"][PAYLOAD] = 2
    for name in list(fields["measurements"])[:1]:
        one = fields["measurements"][name]
        fields["measurements"][PAYLOAD] = {**one, "unit": PAYLOAD}
        fields["measurements"][f"{PAYLOAD}.acc"] = {**one, "unit": "1"}
    return sealed(fields), planted


@pytest.fixture(scope="session")
def poisoned_site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("poisoned")
    base, scored = make_run(), make_run(kind="accuracy")
    runs = [
        base,
        scored,
        make_run(techniques=["bf16"], baseline=base),
        make_run(techniques=["nf4"], status="failed"),
        make_run(kind="accuracy", techniques=["bf16"], baseline=scored),
        make_run(kind="accuracy", task="squad-passages"),
    ]
    store = Store(root / "records", "local")
    for run in runs:
        record, planted = poisoned(run.record)
        assert planted > 15
        store.write(record, run.traces)
    report = build_site(store.load(), root / "site")
    assert not [p for p in report.problems if "trace" not in p.message]
    assert report.rows == 3
    return root / "site"


def test_no_text_of_a_record_becomes_markup(poisoned_site: Path) -> None:
    clean = {"script", "img", "iframe", "object", "style"}
    seen = 0
    for page in pages(poisoned_site):
        text = page.read_text(encoding="utf-8")
        seen += text.count("PWNED")
        assert "<script>" not in text
        for tag, attributes in elements_of(page):
            assert tag not in clean - {"script"}
            assert tag != "script" or set(attributes) == {"src", "defer"}
            assert "onerror" not in attributes
            address = attributes.get("href") or ""
            assert "PWNED" not in address
    assert seen > 100


def test_no_template_in_a_record_is_rendered(poisoned_site: Path) -> None:
    for page in pages(poisoned_site):
        text = page.read_text(encoding="utf-8")
        assert "9359" not in text
        if "PWNED" in text:
            assert "{{1337*7}}" in text


def test_no_file_is_named_by_free_text(poisoned_site: Path) -> None:
    assert not [path for path in poisoned_site.rglob("*") if "PWNED" in path.name]


@pytest.mark.browser
def test_no_payload_runs_in_the_browser(poisoned_site: Path, browser: Any) -> None:
    page = browser.new_page()
    dialogs: list[object] = []
    page.on("dialog", lambda dialog: (dialogs.append(dialog), dialog.dismiss()))
    for path in pages(poisoned_site):
        page.goto(path.as_uri())
        assert page.evaluate("typeof PWNED") == "undefined"
    page.goto((poisoned_site / "index.html").as_uri() + "#status=all&cols=" + PAYLOAD)
    assert page.locator("#board tbody tr").count() == 3
    for metric in page.evaluate("LEANBOARD.metrics.map(m => m.name)"):
        page.goto((poisoned_site / "pareto.html").as_uri() + f"#y={metric}&hardware={PAYLOAD}")
        assert page.evaluate("typeof PWNED") == "undefined"
    assert page.locator("main img, main script, main iframe").count() == 0
    assert not dialogs
    page.close()
