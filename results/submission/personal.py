"""Personal data in texts: folders and names of people, addresses of machines, serial numbers."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import ip_address

from leanboard.results.printable import REORDERING

Texts = Iterable[tuple[str, str]]
"""Texts with the field that each stands in."""

LONGEST = 80
"""Most characters of what was found that are told."""

_VERSIONED = (
    "environment.gpus",
    "environment.kernel",
    "environment.libc",
    "environment.libraries",
    "environment.os",
    "environment.packages",
    "environment.python",
)
"""Fields of versions, which may look like an address: 9.1.0.70."""

_ROOTS = (
    "cluster|data|export|fs|gpfs|home|lustre|media|mnt|nfs|nobackup|private|projects?|root|scratch|"
    "srv|storage|tmp|u|Users|users|Volumes|work|workdir|workspace"
)


def _always(_: str) -> bool:
    return True


def _is_address(text: str) -> bool:
    """Whether a text is the address of some machine, and not one that every machine has."""
    try:
        found = ip_address(text)
    except ValueError:
        return False
    return not (found.is_loopback or found.is_unspecified)


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of personal data.

    Args:
        what: its name, in a sentence.
        pattern: finds it, or what may be it.
        holds: whether what was found is it.
        in_versions: whether fields of versions are looked at too.
    """

    what: str
    pattern: re.Pattern[str]
    holds: Callable[[str], bool] = _always
    in_versions: bool = True


def _kind(what: str, pattern: str, holds: Callable[[str], bool] = _always) -> Kind:
    return Kind(what, re.compile(pattern), holds)


KINDS: tuple[Kind, ...] = (
    _kind("a folder of a machine", rf"(?<![\w.:/~-])/(?:{_ROOTS})/[^\s/'\":,;]+"),
    _kind("a home folder", r"(?i)\b[a-z]:\\(?:users|documents and settings)\\[^\\\s'\":,;]+"),
    _kind("an e-mail address", r"(?<![\w.+-])[\w.+-]+@[\w-]+(?:\.[\w-]+)*\.[A-Za-z]{2,}\b"),
    _kind("an account on a machine", r"(?<![\w.+-])[\w.-]+@[\w.-]+:(?=[/~])"),
    Kind(
        "an IP address",
        re.compile(r"(?<![\w.=-])(?:\d{1,3}\.){3}\d{1,3}(?![\w-]|\.\w)"),
        _is_address,
        in_versions=False,
    ),
    _kind(
        "an IP address",
        r"(?<![\w:.])(?:[0-9A-Fa-f]{0,4}:){2,7}[0-9A-Fa-f]{0,4}(?![\w:])",
        _is_address,
    ),
    _kind("a hardware address", r"(?<![\w:])(?:[0-9A-Fa-f]{2}:){5}[0-9A-Fa-f]{2}(?![\w:])"),
    _kind(
        "the id of a device or a machine",
        r"\b[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}\b",
    ),
    _kind("a serial number", r"(?i)\bserial(?:\s*(?:number|no\.?))?\s*[:=#]\s*\w+"),
    _kind(
        "the name of a host",
        r"(?i)(?<![\w.-])(?:[\w-]+\.)+(?:corp|internal|intranet|lan|local|localdomain)"
        r"(?![\w-]|\.\w)",
    ),
    _kind("the name of a host", r"\bip-\d{1,3}(?:-\d{1,3}){3}\b"),
    _kind("the name of a host", r"(?i)\b(?:host ?name|nodename|computer ?name)\s*[:=]\s*[\w.-]+"),
    _kind(
        "the name of a user", r"(?i)\b(?:user(?: ?name)?|login|logname)\s*[:=]\s*['\"]?[a-z][\w.-]*"
    ),
    _kind(
        "an access token",
        r"\b(?:hf_[A-Za-z0-9]{20,}|gh[pousr]_[A-Za-z0-9]{20,}|github_pat_\w{20,}|"
        r"AKIA[0-9A-Z]{16})\b",
    ),
    _kind(
        "a character that hides or reorders others",
        f"[\\x00{''.join(map(chr, REORDERING))}]",
    ),
)


def personal_data(texts: Texts, own_names: Sequence[str] = ()) -> Iterator[tuple[str, str, str]]:
    """Yield the field, the kind and the words of everything personal in texts, each once.

    What a pattern cannot know (a name in a sentence) is not found, so a person looks at a
    submission too.

    Args:
        texts: what is looked at.
        own_names: names of the user and the machine that look, for whoever checks their own runs.
    """
    kinds = [*KINDS, *map(_own, own_names)]
    seen = set()
    for field, text in texts:
        for kind in kinds:
            if field.startswith(_VERSIONED) and not kind.in_versions:
                continue
            for match in kind.pattern.finditer(text):
                found = field, kind.what, match[0][:LONGEST]
                if kind.holds(match[0]) and found not in seen:
                    seen.add(found)
                    yield found


def texts_of(value: object, field: str = "") -> Iterator[tuple[str, str]]:
    """Yield every text in a JSON value, keys of mappings too, with its path joined by dots."""
    if isinstance(value, str):
        yield field, value
    elif isinstance(value, Mapping):
        for key, item in value.items():
            inside = f"{field}.{key}" if field else str(key)
            yield f"{field} (name)", str(key)
            yield from texts_of(item, inside)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from texts_of(item, field)


def _own(name: str) -> Kind:
    bounded = rf"(?<![A-Za-z0-9]){re.escape(name)}(?![A-Za-z0-9])"
    return Kind("a name of this user or machine", re.compile(bounded, re.IGNORECASE))
