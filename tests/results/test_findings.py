"""Findings are read whole or refused with a message that says which file is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from leanboard.metrics.metric import Verdict
from leanboard.results.errors import RecordError
from leanboard.results.finding import load_findings
from leanboard.results.published import findings_root

TEXT = '''
title = "It is faster"
text = """
One paragraph
over two lines.

Another one.
"""

[[evidence]]
machine = "a-machine"
cell = "0123456789abcdef"
metric = "tpot_s"
verdict = "better"
'''


def test_a_finding_has_its_files_name_its_paragraphs_and_its_evidence(tmp_path: Path) -> None:
    (tmp_path / "faster.toml").write_text(TEXT, encoding="utf-8")
    (finding,) = load_findings(tmp_path)
    assert finding.name == "faster"
    assert finding.paragraphs == ("One paragraph over two lines.", "Another one.")
    assert finding.evidence[0].verdict is Verdict.BETTER


def test_findings_come_in_the_order_of_their_names(tmp_path: Path) -> None:
    for name in ("b", "a", "c"):
        (tmp_path / f"{name}.toml").write_text(TEXT, encoding="utf-8")
    assert [finding.name for finding in load_findings(tmp_path)] == ["a", "b", "c"]


def test_without_a_folder_there_are_no_findings(tmp_path: Path) -> None:
    assert load_findings(tmp_path / "none") == ()


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ('verdict = "better"', 'verdict = "best"'),
        ('cell = "0123456789abcdef"', 'cell = "../../etc"'),
        ('title = "It is faster"', 'title = "It is faster"\nvalue = 0.5'),
        ("[[evidence]]", "[[evidences]]"),
        ("title =", "title"),
    ],
    ids=["verdict", "cell", "a number of its own", "no evidence", "no TOML"],
)
def test_a_finding_that_is_wrong_is_refused_by_name(
    tmp_path: Path, before: str, after: str
) -> None:
    (tmp_path / "odd.toml").write_text(TEXT.replace(before, after), encoding="utf-8")
    with pytest.raises(RecordError, match=r"odd\.toml"):
        load_findings(tmp_path)


def test_the_published_findings_can_be_read() -> None:
    assert len(load_findings(findings_root())) >= 3
