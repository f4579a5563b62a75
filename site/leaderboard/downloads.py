"""The page of downloads: the files, what their columns mean, and how to cite them."""

from __future__ import annotations

from importlib.metadata import distribution, version
from pathlib import Path
from typing import TYPE_CHECKING

from leanboard.leaderboard.edition import Edition
from leanboard.leaderboard.parts import Context
from leanboard.results.data_dictionary import data_dictionary
from leanboard.results.errors import LeanboardError

if TYPE_CHECKING:
    from leanboard.leaderboard.pages import Site


CITATION = "CITATION.cff"
TITLE = "leanboard: reproducible efficiency benchmarks for language models"
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


def cited_with(text: str, edition: Edition) -> str:
    """Return a citation file that names the published records too; as it is where there are none.

    Args:
        text: the citation file of the code.
        edition: the state of the data.
    """
    if edition.newest is None:
        return text
    return f"""{text}date-released: {edition.newest.isoformat()}
references:
  - type: data
    title: "{TITLE}: published records"
    authors:
      - name: The leanboard authors
    version: "{edition.data}"
    date-released: {edition.newest.isoformat()}
    license: CC-BY-4.0
    notes: "{edition.published} records; the version is from the hashes of all of them"
"""


def downloads(site: Site) -> Context:
    """Return the files, how many records they hold, the data dictionary and the version."""
    return {
        "files": site.downloads,
        "records": len(site.board.loaded.entries),
        "dictionary": data_dictionary(()),
        "title_cited": TITLE,
        "version": version("leanboard"),
    }
