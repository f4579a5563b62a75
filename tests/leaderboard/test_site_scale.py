"""A site of many records: the same bytes however it is built, and one page for too many runs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from urllib.parse import unquote

import pytest
from click.testing import CliRunner
from demo_store import Demo, write_demo

from leanboard.leaderboard import build as build_module
from leanboard.leaderboard.board import board_of, run_place
from leanboard.leaderboard.build import BuildReport, build_site
from leanboard.leaderboard.commands import site
from leanboard.results import export_cells
from leanboard.results.export import write_exports
from leanboard.results.loading import load_lean
from leanboard.results.store import Loaded, Origin


def contents(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.fixture(scope="module")
def lean(tmp_path_factory: pytest.TempPathFactory) -> Loaded:
    """The demo records as `leanboard site` reads them."""
    root = tmp_path_factory.mktemp("lean")
    write_demo(root)
    stores: list[tuple[Path, Origin]] = [
        (root / "published", "published"),
        (root / "local", "local"),
    ]
    return load_lean(stores)


@pytest.mark.parametrize("processes", [1, 2])
def test_lean_records_and_several_processes_give_the_same_bytes(
    demo: Demo, lean: Loaded, tmp_path: Path, processes: int
) -> None:
    report = build_site(lean, tmp_path / "site", processes=processes)
    assert contents(tmp_path / "site") == contents(demo.folder)
    assert report.pages == demo.report.pages
    assert (report.rows, report.records) == (demo.report.rows, demo.report.records)


def test_problems_are_told_in_the_same_order_by_any_number_of_processes(
    tmp_path: Path,
) -> None:
    loaded = write_demo(tmp_path / "records")
    for entry in loaded.entries[::3]:
        for traces in entry.path.parent.glob("*.parquet"):
            traces.unlink()
    reports = [
        build_site(loaded, tmp_path / f"site-{count}", processes=count) for count in (1, 2, 3)
    ]
    assert len(reports[0].problems) > 5
    assert reports[0].problems == reports[1].problems == reports[2].problems


def test_an_export_in_chunks_holds_the_same_lines(
    demo: Demo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = write_exports(demo.loaded, tmp_path / "whole")
    monkeypatch.setattr(export_cells, "CHUNK_ROWS", 7)
    parts = write_exports(demo.loaded, tmp_path / "parts")
    assert [path.name for path in parts] == [path.name for path in whole]
    for one, other in zip(whole, parts, strict=True):
        if one.suffix == ".csv":
            assert one.read_bytes() == other.read_bytes()


def test_too_many_runs_share_one_page_that_the_table_links_to(demo: Demo, tmp_path: Path) -> None:
    count = len(demo.loaded.entries)
    report = build_site(demo.loaded, tmp_path / "site", most_run_pages=count - 1)
    assert report.one_page
    assert "run.html" in report.pages
    assert [name for name in report.pages if name.startswith("runs/")] == []
    board = board_of(demo.loaded, count - 1)
    for line in board.lines:
        assert unquote(line.href) == f"run.html#run={run_place(line.row.record)}"
    downloads = tmp_path / "site" / "downloads" / "records"
    assert len(list(downloads.rglob("*.json"))) == count


def test_as_many_runs_as_are_allowed_keep_their_pages(demo: Demo, tmp_path: Path) -> None:
    count = len(demo.loaded.entries)
    report = build_site(demo.loaded, tmp_path / "site", most_run_pages=count)
    assert not report.one_page
    assert report.pages == demo.report.pages


@pytest.fixture
def told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[bool], str]:
    """What the command prints for a site whose runs share one page, or do not."""

    def run(one_page: bool) -> str:
        report = BuildReport(tmp_path, ("index.html",), 1, 1, (), one_page)
        monkeypatch.setattr(build_module, "build_site", lambda *_, **__: report)
        done = CliRunner().invoke(site, ["--records", str(tmp_path / "none")])
        assert done.exit_code == 0, done.output
        return done.output

    return run


def test_the_build_says_that_runs_share_a_page(told: Callable[[bool], str]) -> None:
    assert "All runs share the page run.html: there are more than 10,000 records" in told(True)
    assert "run.html" not in told(False)
