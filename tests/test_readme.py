"""The README's numbers are those of the published records."""

from pathlib import Path

import pytest
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


@pytest.mark.parametrize("picture", ["docs/images/leaderboard.png"])
def test_the_picture_in_the_readme_is_there(picture: str) -> None:
    assert picture in README.read_text(encoding="utf-8")
    assert (REPOSITORY / picture).read_bytes()[:4] == b"\x89PNG"
