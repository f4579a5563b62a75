"""Texts of records where people see them: in a terminal and on a page. Records are untrusted."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping

_STEERING = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
_KEPT = frozenset(map(ord, "\t\n\r"))
REORDERING = (0x061C, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A))
"""Characters that change the order in which others are shown (Unicode's bidirectional controls)."""
_CONTROLS = (*range(0x20), *range(0x7F, 0xA0))
_REPLACED: Mapping[int, str] = {
    code: "\N{REPLACEMENT CHARACTER}" for code in (*_CONTROLS, *REORDERING) if code not in _KEPT
}
REPLACED = frozenset(map(chr, _REPLACED))
"""What a page shows as a replacement character."""


def printable(text: str) -> str:
    """Return a record's text, or an error about it, as one line that cannot steer a terminal.

    A line break becomes a space; the other control characters (escape, C0, C1), invisible and
    reordering ones, line separators and lone surrogates are dropped.
    """
    spaced = "".join(" " if character in "\t\n\r" else character for character in text)
    return "".join(c for c in spaced if unicodedata.category(c) not in _STEERING)


def visible(value: object) -> object:
    """Return a value for a page; in a text, control and reordering characters are replaced.

    Such characters hide what a text says, or make what stands beside it read otherwise. Markup,
    which was made of texts that went through here, and everything else stays as it is.
    """
    if type(value) is not str or value.isprintable():
        return value
    return value.translate(_REPLACED)
