"""The rows of a filter as a file: what is in it is what the board has, in all three formats."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from browser_page import settled
from demo_store import Demo
from record_factory import make_model, make_run

from leanboard.leaderboard.board import BoardRow
from leanboard.leaderboard.build import build_site
from leanboard.leaderboard.cells import Gain
from leanboard.results.store import Store

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Page

pytestmark = pytest.mark.browser

FORMATS = ("CSV", "JSON", "Parquet")
NUMBERS = ("", "low", "high", "ratio", "ratio_low", "ratio_high")
METRICS = ("tpot_s", "peak_memory_bytes", "accuracy")
FILTER = f"workload=chat&sort=tpot_s&dir=desc&cols={','.join(METRICS)}"
HOSTILE = [
    '=HYPERLINK("http://x","y"),\n2',
    "+1",
    "-1",
    "@SUM(A1)",
    "\ttab",
    "\rreturn",
    "plain, with a comma",
    'with "quotes"',
    "\u00e9\U0001f600",
]


def saved(page: Page, format_: str, folder: Path) -> Path:
    with page.expect_download() as found:
        page.get_by_role("button", name=format_, exact=True).click()
    path = folder / found.value.suggested_filename
    found.value.save_as(path)
    return path


def rows_of(path: Path) -> list[dict[str, Any]]:
    """Read a saved file back; what is missing is ``None`` in every format."""
    if path.suffix == ".json":
        return json.loads(path.read_text(encoding="utf-8"))["rows"]
    if path.suffix == ".parquet":
        return pq.read_table(path).to_pylist()
    with path.open(encoding="utf-8", newline="") as file:
        return [{k: _typed(k, v) for k, v in row.items()} for row in csv.DictReader(file)]


def _typed(name: str, text: str) -> Any:
    if text == "":
        return None
    if name.endswith(("__n", "__ratio_n")):
        return int(text)
    metric, _, ending = name.partition("__")
    return float(text) if metric in METRICS and ending in NUMBERS else text


def expected_ratio(name: str, gain: Gain | None) -> dict[str, Any]:
    endings = ("ratio", "ratio_low", "ratio_high", "ratio_n", "verdict", "doubts")
    values: tuple[Any, ...] = (None,) * len(endings)
    if gain is not None:
        doubts = "; ".join(gain.doubts) or None
        values = (gain.ratio, gain.low, gain.high, gain.n, gain.verdict.value, doubts)
    return {f"{name}__{ending}": value for ending, value in zip(endings, values, strict=True)}


def expected(demo: Demo, lines: Sequence[BoardRow]) -> list[dict[str, Any]]:
    columns = [column for column in demo.board.columns if column.name in METRICS]
    found = []
    for line in lines:
        record = line.row.record
        row: dict[str, Any] = {
            "run_id": record.run_id,
            "cell_id": record.cell_id,
            "machine": line.machine,
            "model": line.model,
            "family": line.family,
            "technique": line.label,
            "technique_label": line.label_text,
            "workload": line.workload,
            "workload_label": line.workload_text,
            "backend": line.backend,
            "backend_label": line.backend_text,
            "device": line.device,
            "origin": line.origin,
            "status": line.status.value,
            "error": line.reason or None,
            "stability_causes": line.unstable or None,
            "gate": None if line.gate.verdict is None else line.gate.verdict.value,
            "gate_reason": line.gate.reason,
            "baseline": "yes" if line.baseline else "no",
            "quality_ranked": "yes" if line.ranked else "no",
        }
        for column in columns:
            cell = line.cell(column)
            row |= {
                column.name: cell.value,
                f"{column.name}__low": cell.low,
                f"{column.name}__high": cell.high,
                f"{column.name}__n": None if cell.value is None else cell.n,
                f"{column.name}__provenance": cell.provenance or None,
                f"{column.name}__reason": cell.reason or None,
                **expected_ratio(column.name, cell.gain),
            }
        found.append(row)
    return found


def chosen(demo: Demo) -> list[BoardRow]:
    """The rows of ``FILTER`` in the order that the page gives them."""
    column = next(c for c in demo.board.columns if c.name == "tpot_s")
    lines = [line for line in demo.board.lines if line.workload == "chat" and not line.on_demand]
    return sorted(lines, key=lambda line: -(line.cell(column).value or 0.0))


@pytest.mark.parametrize("format_", FORMATS)
def test_a_file_holds_the_rows_of_the_filter_and_the_shown_columns(
    demo: Demo, page: Page, tmp_path: Path, format_: str
) -> None:
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto(demo.address(state=FILTER))
    path = saved(settled(page), format_, tmp_path)
    assert path.suffix == f".{format_.lower()}"
    rows = rows_of(path)
    assert rows == expected(demo, chosen(demo))
    assert sum(row["tpot_s__verdict"] == "better" and row["tpot_s__ratio"] < 1 for row in rows) > 2
    page.locator("#saved", has_text=f"{len(chosen(demo))} rows in {path.name}").wait_for()
    assert complaints == []


def test_the_columns_of_a_parquet_file_have_their_types(
    demo: Demo, page: Page, tmp_path: Path
) -> None:
    page.goto(demo.address(state=FILTER))
    schema = pq.read_schema(saved(settled(page), "Parquet", tmp_path))
    assert schema.field("model").type == pa.string()
    assert schema.field("tpot_s").type == pa.float64()
    assert schema.field("tpot_s__n").type == pa.int64()
    assert all(field.nullable for field in schema)


def test_a_json_file_says_the_units_the_filter_and_the_licence(
    demo: Demo, page: Page, tmp_path: Path
) -> None:
    page.goto(demo.address(state=FILTER))
    path = saved(settled(page), "JSON", tmp_path)
    whole = json.loads(path.read_text(encoding="utf-8"))
    assert whole["units"]["tpot_s"] == whole["units"]["tpot_s__high"] == "s"
    assert whole["units"]["peak_memory_bytes"] == "B"
    assert whole["units"]["tpot_s__ratio_low"] == "1"
    assert whole["filter"]["workload"].startswith("chat (128 in, 32 out, ")
    assert (whole["filter"]["status"], whole["filter"]["gate"]) == ("ok", "not failed")
    assert whole["licence"] == "CC-BY-4.0"


def test_a_parquet_file_says_the_same_in_its_metadata(
    demo: Demo, page: Page, tmp_path: Path
) -> None:
    page.goto(demo.address(state=f"{FILTER}&gate=all"))
    whole = json.loads(saved(settled(page), "JSON", tmp_path).read_text(encoding="utf-8"))
    told = pq.read_schema(saved(page, "Parquet", tmp_path)).metadata
    assert told[b"licence"].decode() == whole["licence"]
    assert told[b"about"].decode() == whole["about"]
    for name in ("units", "filter"):
        assert json.loads(told[name.encode()]) == whole[name]
    assert whole["filter"]["gate"] == "all"


def test_every_column_of_a_file_is_in_the_data_dictionary(
    demo: Demo, page: Page, tmp_path: Path
) -> None:
    dictionary = demo.folder / "downloads" / "data-dictionary.csv"
    with dictionary.open(encoding="utf-8", newline="") as file:
        described = {row["metric"]: row for row in csv.DictReader(file)}
    metrics = {column.name for column in demo.board.columns}
    page.goto(demo.address(state=f"cols={','.join(sorted(metrics))}"))
    whole = json.loads(saved(settled(page), "JSON", tmp_path).read_text(encoding="utf-8"))
    columns = {name for name in whole["rows"][0] if "__" not in name}
    endings = {name.partition("__")[2] for name in set(whole["rows"][0]) - columns}
    assert metrics < columns
    assert {"low", "n", "reason", "ratio", "verdict"} < endings
    assert all(described[name]["unit"] == whole["units"][name] for name in metrics)
    html = (demo.folder / "downloads.html").read_text(encoding="utf-8")
    for name in (*columns, *(f"METRIC__{ending}" for ending in endings)):
        assert described[name]["doc"], name
        assert name in metrics or f"<code>{name}</code>" in html


def test_rows_that_failed_the_gate_are_in_the_file_once_they_are_shown(
    demo: Demo, page: Page, tmp_path: Path
) -> None:
    page.goto(demo.address(state="gate=fail"))
    rows = rows_of(saved(settled(page), "Parquet", tmp_path))
    assert [row["technique"] for row in rows] == ["gguf-q4_1", "gguf-q4_1"]
    assert {row["gate"] for row in rows} == {"fail"}
    assert all("all of it below 0.99" in row["gate_reason"] for row in rows)


def test_the_same_filter_has_the_same_name_and_another_another(
    demo: Demo, page: Page, tmp_path: Path
) -> None:
    names = []
    for state in ("workload=chat", "workload=chat&page=1", "workload=long-prompt"):
        page.goto("about:blank")
        page.goto(demo.address(state=state))
        names.append(saved(settled(page), "CSV", tmp_path).name)
    assert names[0] == names[1] != names[2]


@pytest.mark.parametrize("format_", FORMATS)
def test_a_filter_that_fits_nothing_gives_a_table_without_rows(
    demo: Demo, page: Page, tmp_path: Path, format_: str
) -> None:
    page.goto(demo.address(state="q=no-such-thing"))
    path = saved(settled(page), format_, tmp_path)
    assert rows_of(path) == []
    if format_ == "Parquet":
        assert "tpot_s" in pq.read_table(path).column_names


def test_failed_runs_have_their_reason_and_no_values(
    demo: Demo, page: Page, tmp_path: Path
) -> None:
    page.goto(demo.address(state="status=unsupported"))
    (row,) = rows_of(saved(settled(page), "Parquet", tmp_path))
    assert "nf4 needs a CUDA device" in row["error"]
    assert (row["tpot_s"], row["tpot_s__n"]) == (None, None)
    assert row["tpot_s__reason"]


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A site whose families of models are texts that a spreadsheet or a parser would trip over."""
    root = tmp_path_factory.mktemp("hostile")
    store = Store(root / "records", "local")
    for number, text in enumerate(HOSTILE):
        model = make_model(f"model-{number}").model_copy(update={"family": text})
        run = make_run(model=model)
        store.write(run.record, run.traces)
    # Few records, but as many as share a page: rows then have another kind of address.
    return build_site(store.load(), root / "site", most_run_pages=1).folder


def test_no_field_of_a_csv_file_is_a_formula(
    hostile: Path, context: BrowserContext, tmp_path: Path
) -> None:
    page = context.new_page()
    page.goto((hostile / "index.html").as_uri())
    path = saved(settled(page), "CSV", tmp_path)
    families = {row["model"]: row["family"] for row in rows_of(path)}
    for number, text in enumerate(HOSTILE):
        guarded = f"'{text}" if text.startswith(("=", "+", "-", "@", "\t", "\r")) else text
        assert families[f"model-{number}"] == guarded
    raw = path.read_bytes()
    assert raw.endswith(b"\r\n")
    assert b'"\'=HYPERLINK(""http://x"",""y""),\n2"' in raw


def test_no_name_of_a_column_is_a_formula_either(demo: Demo, page: Page) -> None:
    page.goto(demo.address())
    make = """names => csvFile(names.map((name) => ({ name, values: ["-1", -1, null] })))"""
    text = page.evaluate(make, ["=1+1", "@x", "plain"])
    assert text.split("\r\n") == ["'=1+1,'@x,plain", "'-1,'-1,'-1", "-1,-1,-1", ",,", ""]


@pytest.mark.parametrize("format_", ["JSON", "Parquet"])
def test_formats_with_types_keep_every_text_as_it_is(
    hostile: Path, context: BrowserContext, tmp_path: Path, format_: str
) -> None:
    page = context.new_page()
    page.goto((hostile / "index.html").as_uri())
    rows = rows_of(saved(settled(page), format_, tmp_path))
    for row in rows:
        assert re.fullmatch(r"\d{8}T\d{6}Z-[0-9a-f]{8}", row["run_id"])
        assert re.fullmatch(r"[0-9a-f]{16}", row["cell_id"])
    assert [row["family"] for row in sorted(rows, key=lambda row: row["model"])] == HOSTILE


def test_nulls_anywhere_in_a_column_read_back(demo: Demo, page: Page, tmp_path: Path) -> None:
    """The writer by itself: nulls in runs, long texts, large and negative numbers, many columns."""
    columns: list[dict[str, Any]] = [
        {"name": "t", "type": "text", "values": [None, "a", "", None, "\u00e9" * 300, None]},
        {"name": "r", "type": "real", "values": [1.5, None, -1e300, 5e-324, 0, None]},
        {"name": "w", "type": "whole", "values": [None, 0, 2**40, -7, None, 1]},
        {"name": "none", "type": "real", "values": [None] * 6},
        *({"name": f"c{i}", "type": "whole", "values": [i] * 6} for i in range(40)),
    ]
    page.goto(demo.address())
    numbers = page.evaluate("columns => Array.from(parquetFile(columns))", columns)
    path = tmp_path / "table.parquet"
    path.write_bytes(bytes(numbers))
    table = pq.read_table(path)
    assert {name: table.column(name).to_pylist() for name in table.column_names} == {
        column["name"]: column["values"] for column in columns
    }
    assert pq.read_metadata(path).num_row_groups == 1


def test_a_table_of_many_rows_reads_back(demo: Demo, page: Page, tmp_path: Path) -> None:
    page.goto(demo.address())
    make = """() => {
      const values = [...Array(20000).keys()].map((i) => (i % 7 ? `row ${i}` : null));
      return Array.from(parquetFile([{ name: "t", type: "text", values }]));
    }"""
    path = tmp_path / "table.parquet"
    path.write_bytes(bytes(page.evaluate(make)))
    read = pq.read_table(path).column("t").to_pylist()
    assert read == [f"row {i}" if i % 7 else None for i in range(20000)]


def test_without_scripts_nothing_offers_to_save(demo: Demo, browser: Browser) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(demo.address())
    assert not page.locator("#save").is_visible()
    context.close()
