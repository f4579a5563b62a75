"""The page of downloads: the files, what their columns mean, and how to cite them."""

from __future__ import annotations

from importlib.metadata import version
from typing import TYPE_CHECKING

from leanboard.leaderboard.parts import Context
from leanboard.results.data_dictionary import data_dictionary

if TYPE_CHECKING:
    from leanboard.leaderboard.pages import Site


def downloads(site: Site) -> Context:
    """Return the files, how many records they hold, the data dictionary and the version."""
    return {
        "files": site.downloads,
        "records": len(site.board.loaded.entries),
        "dictionary": data_dictionary(()),
        "version": version("leanboard"),
    }
