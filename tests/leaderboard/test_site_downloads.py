"""The page of downloads: what columns mean, and how to cite the version that made the pages."""

from __future__ import annotations

import tomllib
from pathlib import Path

from demo_store import Demo

from leanboard.metrics.registry import METRICS
from leanboard.results.derived_columns import DERIVED

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
