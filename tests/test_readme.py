"""The README's numbers are those of the published records."""

import re
import tomllib
from pathlib import Path

import pytest
import yaml
from readme_table import README, readme_with_table

from leanboard.results.published import published_root
from leanboard.results.verify import verify_paths

REPOSITORY = Path(__file__).resolve().parents[1]


def test_the_table_in_the_readme_is_made_of_the_published_records() -> None:
    text = README.read_text(encoding="utf-8")
    assert readme_with_table(text) == text, "run: python tests/support/readme_table.py"


def test_every_published_record_can_be_derived_again() -> None:
    verified = verify_paths([published_root()])
    assert verified.records >= 45
    assert verified.problems == ()


def test_the_readme_counts_what_there_is() -> None:
    text = README.read_text(encoding="utf-8")
    techniques = {path.stem for path in (REPOSITORY / "suites/technique").glob("*.yaml")} - {"none"}
    suites = list((REPOSITORY / "suites/suite").glob("*.yaml"))
    findings = list((REPOSITORY / "results/findings").glob("*.toml"))
    assert f"{len(techniques)} [techniques](" in text
    assert f"{len(suites)} [suites](" in text
    assert f"{len(findings)} [findings](" in text


@pytest.mark.parametrize("picture", ["docs/images/leaderboard.png"])
def test_the_picture_in_the_readme_is_there(picture: str) -> None:
    assert picture in README.read_text(encoding="utf-8")
    assert (REPOSITORY / picture).read_bytes()[:4] == b"\x89PNG"


def test_the_citation_names_the_version_that_there_is() -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    citation = yaml.safe_load((REPOSITORY / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["version"] == project["version"]
    assert citation["license"] == project["license"]


def test_every_document_is_linked_and_every_link_leads_to_a_file() -> None:
    text = README.read_text(encoding="utf-8")
    linked = set(re.findall(r"\]\((docs/[a-z]+\.md)\)", text))
    assert [name for name in sorted(linked) if not (REPOSITORY / name).is_file()] == []
    assert {"docs/submitting.md", "docs/hosting.md"} <= linked
