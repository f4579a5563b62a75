"""The elements of a built page, as a parser of HTML finds them, and what its scripts declare."""

from __future__ import annotations

import re
from functools import cache
from html.parser import HTMLParser
from pathlib import Path

_DECLARED = re.compile(
    r"^(?:async )?(?:function\*?|const|let|var|class) ([\w$]+|[\[{][^\]}]*)", re.MULTILINE
)
_NAME = re.compile(r"[A-Za-z_$][\w$]*")


class Tags(HTMLParser):
    """Collect every element with its attributes."""

    def __init__(self, text: str) -> None:
        """Parse a whole page."""
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note an element."""
        self.elements.append((tag, dict(attrs)))


def elements_of(page: Path) -> list[tuple[str, dict[str, str | None]]]:
    """Return the name and the attributes of every element of a page, in order."""
    return Tags(page.read_text(encoding="utf-8")).elements


def globals_of(page: Path) -> list[str]:
    """Return the name of every declaration outside of functions in the scripts of a page."""
    sources = [attributes["src"] for tag, attributes in elements_of(page) if tag == "script"]
    return [name for source in sources for name in declared((page.parent / f"{source}").resolve())]


@cache
def declared(script: Path) -> tuple[str, ...]:
    """Return the names that a classic script declares for all others: those at no indentation."""
    found = _DECLARED.findall(script.read_text(encoding="utf-8"))
    return tuple(name for names in found for name in _NAME.findall(names))
