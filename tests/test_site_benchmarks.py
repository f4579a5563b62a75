"""The benchmarks of the site: the records that they make are valid, and true to themselves."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from demo_store import Demo, write_demo

from benchmarks.records import newest_runs, write_records
from benchmarks.site_quality import pages_to_see
from leanboard.leaderboard.board import board_of
from leanboard.leaderboard.build import build_site
from leanboard.metrics.metric import Verdict
from leanboard.results.loading import load_lean
from leanboard.results.published import published_root
from leanboard.results.schema import PerformanceCell
from leanboard.results.store import Loaded
from leanboard.results.table import table

# Two copies of every published cell and a cut through a third, however many cells there are.
COUNT = 2 * len(newest_runs(published_root(), timed=False)) + 20


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Loaded]:
    root = tmp_path_factory.mktemp("many")
    write_records(root, COUNT)
    return root, load_lean([(root, "local")])


@pytest.fixture(scope="module")
def demo_site(tmp_path_factory: pytest.TempPathFactory) -> Demo:
    root = tmp_path_factory.mktemp("demo")
    loaded = write_demo(root / "records")
    return Demo(loaded, board_of(loaded), build_site(loaded, root / "site"))


def test_as_many_records_are_made_as_were_asked_for_and_all_are_valid(
    many: tuple[Path, Loaded],
) -> None:
    _, loaded = many
    assert loaded.problems == ()
    assert len({entry.record.run_id for entry in loaded.entries}) == COUNT


def test_the_same_count_gives_the_same_files(many: tuple[Path, Loaded], tmp_path: Path) -> None:
    root, _ = many
    write_records(tmp_path, COUNT)
    files = sorted(path.relative_to(root) for path in root.rglob("*.json"))
    assert files == sorted(path.relative_to(tmp_path) for path in tmp_path.rglob("*.json"))
    assert all((root / file).read_bytes() == (tmp_path / file).read_bytes() for file in files)


def test_copies_differ_in_model_and_technique_and_keep_their_baselines(
    many: tuple[Path, Loaded],
) -> None:
    records = [entry.record for entry in many[1].entries]
    assert len({record.cell.model.name for record in records}) > 2
    assert len({record.cell_id for record in records}) > COUNT / 2
    known = {record.run_id for record in records}
    compared = [c.baseline_run for r in records for c in r.comparisons]
    assert len(compared) > COUNT
    assert set(compared) <= known


def test_ratios_keep_the_side_of_one_that_their_verdict_speaks_of(
    many: tuple[Path, Loaded],
) -> None:
    judged = 0
    for entry in many[1].entries:
        for found in entry.record.comparisons:
            if found.statistic == "ratio" and found.interval and found.value is not None:
                assert found.interval.low <= found.value <= found.interval.high
            clear = found.verdict in (Verdict.BETTER, Verdict.WORSE)
            if found.statistic == "ratio" and clear and found.interval is not None:
                assert not found.interval.low <= 1 <= found.interval.high
                judged += 1
    assert judged > 10


def test_timed_copies_are_a_row_each_but_for_older_baselines(tmp_path: Path) -> None:
    write_records(tmp_path, 40, timed=True)
    loaded = load_lean([(tmp_path, "local")])
    assert all(isinstance(entry.record.cell, PerformanceCell) for entry in loaded.entries)
    assert len(loaded.entries) == 40
    copied = newest_runs(published_root(), timed=True)[:40]
    assert len(table(loaded.entries)) == len({path.parent for path in copied})


def test_copies_are_made_of_the_newest_run_of_every_cell_and_of_their_baselines() -> None:
    chosen = newest_runs(published_root(), timed=False)
    newest = {max(cell.glob("*.json")) for cell in published_root().glob("*/*") if cell.is_dir()}
    assert newest <= set(chosen)
    runs = {path: json.loads(path.read_bytes()) for path in chosen}
    named = {found["baseline_run"] for path in newest for found in runs[path]["comparisons"]}
    assert {runs[path]["run_id"] for path in chosen if path not in newest} <= named
    assert named <= {fields["run_id"] for fields in runs.values()}


def test_of_run_pages_that_are_alike_one_is_looked_at(demo_site: Demo) -> None:
    pages = demo_site.report.pages
    some = pages_to_see(demo_site.folder, pages, every_run=False)
    runs = [name for name in some if name.startswith("runs/")]
    assert 3 < len(runs) < len([name for name in pages if name.startswith("runs/")])
    assert set(pages) - set(some) <= {name for name in pages if name.startswith("runs/")}
    assert pages_to_see(demo_site.folder, pages, every_run=True) == list(pages)
