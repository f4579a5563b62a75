"""The page of findings: claims in words, with the values read from the records at each build."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from leanboard.leaderboard.finding_lines import judged
from leanboard.leaderboard.finding_standing import Standing
from leanboard.leaderboard.format import plural
from leanboard.leaderboard.parts import Context

if TYPE_CHECKING:
    from leanboard.leaderboard.pages import Site


def findings(site: Site) -> Context:
    """Return every finding, how it stands, and how many of them hold."""
    found = judged(site.texts.findings, site.board)
    counts = Counter(one.standing for one in found)
    parts = [f"{standing.value}: {counts[standing]}" for standing in Standing if counts[standing]]
    summary = f"{plural(len(found), 'finding')} ({', '.join(parts)})" if found else ""
    return {"findings": found, "summary": summary, "broken": Standing.BROKEN}
