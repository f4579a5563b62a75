"""The page that puts runs side by side: its address for given runs, and what it shows at once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING
from urllib.parse import quote_plus

from leanboard.leaderboard.board import run_place
from leanboard.leaderboard.distribution import PERCENTILES
from leanboard.leaderboard.groups import ran
from leanboard.leaderboard.table_pages import table_pages
from leanboard.results.schema import Record

if TYPE_CHECKING:
    from leanboard.leaderboard.pages import Site

MOST_RUNS = 6
"""Runs that are compared at once: more columns and lines cannot be told apart."""


def compare_href(records: Iterable[Record]) -> str:
    """Return the address of the page with these runs, the one to compare with first."""
    places = [run_place(record) for record in records]
    return f"compare.html#runs={quote_plus(','.join(places[:MOST_RUNS]))}"


def compare(site: Site) -> Mapping[str, object]:
    """Return the candidates, whose own pages compare them with their baselines."""
    pages = table_pages(site.board)
    return {
        "rows": len(site.board.lines),
        "one_page": site.board.one_page,
        "candidates": pages.listing([line for line in ran(site.board.lines) if not line.baseline]),
        "most_runs": MOST_RUNS,
        "percentiles": PERCENTILES,
    }
