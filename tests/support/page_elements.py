"""The elements of a built page, as a parser of HTML finds them."""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path


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
