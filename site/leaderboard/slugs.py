"""Names of files made from names in records, which are untrusted."""

from __future__ import annotations

import hashlib
import re

_OTHER = re.compile(r"[^a-z0-9_]+")
_DIGITS = 12
_HASHED = re.compile(rf"(^|-)[0-9a-f]{{{_DIGITS}}}$")
_LONGEST = 80


def slug_of(name: str) -> str:
    """Return letters, digits, dashes and underscores that stand for a name and for no other.

    A name that is made of these alone stands for itself. Any other, and one that looks like it,
    ends with twelve digits of its sha256. The slug follows from the name alone, so that an address
    lives on when other records come.
    """
    plain = _OTHER.sub("-", name.lower()).strip("-")
    if name and plain == name and len(name) <= _LONGEST and not _HASHED.search(name):
        return name
    stamp = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:_DIGITS]
    return f"{plain[:_LONGEST]}-{stamp}".lstrip("-")
