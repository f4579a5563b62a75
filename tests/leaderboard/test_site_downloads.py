"""The page of downloads: what columns mean, and how to cite the version that made the pages."""

from __future__ import annotations

import hashlib
import tomllib
from datetime import date, timedelta
from pathlib import Path

import pytest
import yaml
from demo_store import Demo
from record_factory import EPOCH, Run, make_run

from leanboard.leaderboard import downloads
from leanboard.leaderboard.downloads import citation, cited_with
from leanboard.leaderboard.edition import edition_of
from leanboard.metrics.registry import METRICS
from leanboard.results.derived_columns import DERIVED
from leanboard.results.errors import LeanboardError
from leanboard.results.store import Entry, Origin

ROOT = Path(__file__).resolve().parents[2]


def page(demo: Demo) -> str:
    return (demo.folder / "downloads.html").read_text(encoding="utf-8")


def test_the_data_dictionary_has_every_metric_and_the_columns_beside_them(demo: Demo) -> None:
    text = page(demo)
    for name in (*(metric.name for metric in METRICS), *DERIVED, "stability", "verdict", "gate"):
        assert f'<th scope="row"><code>{name}</code></th>' in text


def test_the_citation_names_the_version_of_the_package_and_of_the_citation_file(
    demo: Demo,
) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    text = page(demo)
    assert f"version {project['version']}" in text
    assert f"version = {{{project['version']}, data " in text
    cited = (ROOT / "CITATION.cff").read_text(encoding="utf-8").splitlines()
    assert f"version: {project['version']}" in cited
    assert "{{The leanboard authors}}" in text


def test_the_citation_file_is_among_the_downloads_and_names_the_state_of_the_data(
    demo: Demo,
) -> None:
    code = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    cited = yaml.safe_load((demo.folder / "downloads" / "CITATION.cff").read_text("utf-8"))
    edition = edition_of(demo.loaded.entries)
    (data,) = cited.pop("references")
    assert cited.pop("date-released") == data["date-released"] == EPOCH.date()
    assert cited == code
    assert (data["type"], data["version"]) == ("data", edition.data)
    assert data["title"] == f"{code['title']}: published records"
    assert data["notes"].startswith(f"{edition.published} records")
    assert '<th scope="row"><a href="downloads/CITATION.cff" download>' in page(demo)


def test_the_citation_names_day_number_and_hash_of_the_published_records(demo: Demo) -> None:
    edition, text = edition_of(demo.loaded.entries), page(demo)
    assert f"data {edition.data} of 2026-11-20 ({edition.published} published records)" in text
    assert "year    = {2026}," in text
    assert f"version = {{0.1.0, data {edition.data}}}," in text
    assert f"{{{edition.published} records under CC BY 4.0, newest of 2026-11-20}}" in text


def test_every_page_says_which_state_of_the_data_it_shows(demo: Demo) -> None:
    edition = edition_of(demo.loaded.entries)
    told = f"<p>{edition.told}. "
    counts = f"{edition.published} published and {edition.local} local records"
    assert f"<p>{counts}, newest of 2026-11-20, data {edition.data}. " == told
    for name in demo.report.pages:
        assert told in (demo.folder / name).read_text(encoding="utf-8"), name


def entry(run: Run, origin: Origin = "published") -> Entry:
    return Entry(run.record, origin, Path("r"))


def test_the_hash_of_the_data_is_that_of_the_sorted_hashes_of_published_records() -> None:
    runs = [make_run(), make_run(techniques=["bf16"], started_at=EPOCH + timedelta(days=400))]
    hashes = sorted(run.record.content_hash for run in runs)
    lines = "".join(f"{each}\n" for each in hashes).encode()
    found = edition_of(map(entry, runs))
    assert found.data == hashlib.sha256(lines).hexdigest()[:8]
    assert found.newest == date(2027, 12, 25)
    mine = entry(make_run(started_at=EPOCH + timedelta(days=500)), "local")
    again = edition_of([mine, *reversed([*map(entry, runs)])])
    assert (again.newest, again.data, again.local) == (found.newest, found.data, 1)
    assert edition_of(map(entry, runs[:1])).data != found.data


def test_without_published_records_nothing_is_said_of_their_state() -> None:
    none = edition_of([entry(make_run(), "local")])
    assert none.told == "0 published and 1 local record"
    assert cited_with("cff-version: 1.2.0\n", none) == "cff-version: 1.2.0\n"


@pytest.mark.parametrize("text", ["cff-version: 1.2.0\n", None])
def test_outside_a_checkout_the_citation_is_that_of_the_installed_package(
    text: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Installed:
        def read_text(self, name: str) -> str | None:
            return text if name == "licenses/CITATION.cff" else None

    monkeypatch.setattr(downloads, "distribution", lambda _: Installed())
    if text is None:
        with pytest.raises(LeanboardError, match=r"lacks CITATION\.cff"):
            citation(tmp_path)
    else:
        assert citation(tmp_path) == text
