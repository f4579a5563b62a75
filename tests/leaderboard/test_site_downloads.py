"""The page of downloads: what columns mean, and how to cite the version that made the pages."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from demo_store import Demo

from leanboard.leaderboard import downloads
from leanboard.leaderboard.downloads import citation
from leanboard.metrics.registry import METRICS
from leanboard.results.derived_columns import DERIVED
from leanboard.results.errors import LeanboardError

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
    assert f"version = {{{project['version']}}}" in text
    cited = (ROOT / "CITATION.cff").read_text(encoding="utf-8").splitlines()
    assert f"version: {project['version']}" in cited
    assert "{{The leanboard authors}}" in text


def test_the_citation_file_is_among_the_downloads(demo: Demo) -> None:
    cited = (ROOT / "CITATION.cff").read_bytes()
    assert (demo.folder / "downloads" / "CITATION.cff").read_bytes() == cited
    assert '<th scope="row"><a href="downloads/CITATION.cff" download>' in page(demo)


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
