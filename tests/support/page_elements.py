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

Attributes = dict[str, str | None]


class Tags(HTMLParser):
    """Collect every element with its attributes."""

    def __init__(self, text: str) -> None:
        """Parse a whole page."""
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, Attributes]] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note an element."""
        self.elements.append((tag, dict(attrs)))


class Controls(HTMLParser):
    """Collect the controls of forms, and what names them.

    Attributes:
        controls: each with whether a label is around it, or an attribute of its own names it.
        labelled: the ids that labels are for.
    """

    def __init__(self, text: str) -> None:
        """Parse a whole page."""
        super().__init__(convert_charrefs=True)
        self.controls: list[tuple[Attributes, bool]] = []
        self.labelled: set[str | None] = set()
        self._open = 0
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note a control, or that a label begins."""
        attributes = dict(attrs)
        if tag == "label":
            self._open += 1
            self.labelled.add(attributes.get("for"))
        elif tag in ("input", "select", "textarea"):
            own = attributes.get("aria-label") or attributes.get("aria-labelledby")
            self.controls.append((attributes, bool(self._open or own)))

    def handle_endtag(self, tag: str) -> None:
        """Note that a label ends."""
        if tag == "label":
            self._open -= 1


def elements_of(page: Path) -> list[tuple[str, Attributes]]:
    """Return the name and the attributes of every element of a page, in order."""
    return Tags(page.read_text(encoding="utf-8")).elements


def controls_of(page: Path) -> list[tuple[Attributes, bool]]:
    """Return the attributes of every control of a page's forms, and whether anything names it."""
    found = Controls(page.read_text(encoding="utf-8"))
    return [
        (attributes, named or attributes.get("id", "") in found.labelled)
        for attributes, named in found.controls
    ]


def globals_of(page: Path) -> list[str]:
    """Return the name of every declaration outside of functions in the scripts of a page."""
    sources = [attributes["src"] for tag, attributes in elements_of(page) if tag == "script"]
    return [name for source in sources for name in declared((page.parent / f"{source}").resolve())]


@cache
def declared(script: Path) -> tuple[str, ...]:
    """Return the names that a classic script declares for all others: those at no indentation."""
    found = _DECLARED.findall(script.read_text(encoding="utf-8"))
    return tuple(name for names in found for name in _NAME.findall(names))
