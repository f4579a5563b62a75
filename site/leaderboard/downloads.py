"""The page of downloads: the files, what their columns mean, and how to cite them."""

from __future__ import annotations

from importlib.metadata import distribution, version
from pathlib import Path
from typing import TYPE_CHECKING

from leanboard.leaderboard.parts import Context
from leanboard.results.data_dictionary import data_dictionary
from leanboard.results.errors import LeanboardError

if TYPE_CHECKING:
    from leanboard.leaderboard.pages import Site


CITATION = "CITATION.cff"
_CHECKOUT = Path(__file__).resolve().parents[2]


def citation(checkout: Path = _CHECKOUT) -> str:
    """Return the citation file: of the checkout, or of the package that is installed.

    Raises:
        LeanboardError: if neither has one.
    """
    file = checkout / CITATION
    if file.is_file():
        return file.read_text(encoding="utf-8")
    text = distribution("leanboard").read_text(f"licenses/{CITATION}")
    if text is None:
        message = f"this installation of leanboard lacks {CITATION}: install it again"
        raise LeanboardError(message)
    return text


def downloads(site: Site) -> Context:
    """Return the files, how many records they hold, the data dictionary and the version."""
    return {
        "files": site.downloads,
        "records": len(site.board.loaded.entries),
        "dictionary": data_dictionary(()),
        "version": version("leanboard"),
    }
