"""The techniques of the menu in words, from the docstrings of their classes. Loads no torch."""

from __future__ import annotations

import importlib
import inspect
import json
import re
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, fields
from typing import Any

from leanboard.results.technique_text import Knob, TechniqueText
from leanboard.runners import config

_TITLES = ("Source:", "Library:", "Limits:", "Args:")
_KNOB = re.compile(r"^(\w+): ", re.MULTILINE)


def technique_texts() -> Mapping[str, TechniqueText]:
    """Return what every technique of the installed menu is, by name."""
    menu = {name: config.named("technique", name) for name in config.options("technique")}
    return {name: _text(name, plain) for name, plain in menu.items() if "_target_" in plain}


def _text(name: str, plain: Mapping[str, Any]) -> TechniqueText:
    module, _, attribute = str(plain["_target_"]).rpartition(".")
    technique: Any = getattr(importlib.import_module(module), attribute)
    sections = _sections(technique.__doc__ or "")
    return TechniqueText(
        name=name,
        family=module.split(".")[-2],
        does=sections.does,
        source=sections.source,
        library=sections.library,
        knobs=_knobs(technique, plain, sections.about),
        backends=tuple(sorted(technique.backends)),
        quantises=technique.quantises,
        lossless=technique.lossless,
        simulates=tuple(sorted(technique.simulates)),
        calibrated=technique.calibrated,
        trained=technique.trained,
        expanded_by=technique.expanded_by,
        conflicts=tuple(sorted(technique.conflicts)),
        exclusive=technique.exclusive or "",
        limits=sections.limits,
        version=technique.version,
    )


def _knobs(technique: Any, plain: Mapping[str, Any], about: Mapping[str, str]) -> tuple[Knob, ...]:
    """Return the fields of a technique's dataclass with the menu's values, or their defaults."""
    defaults = {f.name: None if f.default is MISSING else f.default for f in fields(technique)}
    values = {name: plain.get(name, default) for name, default in defaults.items()}
    return tuple(
        Knob(name, value if isinstance(value, str) else json.dumps(value), about.get(name, ""))
        for name, value in values.items()
    )


@dataclass(frozen=True, slots=True)
class _Sections:
    """A docstring, taken apart: what a technique does, its titled sections, and its knobs."""

    does: tuple[str, ...]
    source: str
    library: str
    limits: str
    about: Mapping[str, str]


def _sections(doc: str) -> _Sections:
    paragraphs = inspect.cleandoc(doc).split("\n\n")
    titled = {title: _under(title, paragraphs) for title in _TITLES}
    parts = _KNOB.split(textwrap.dedent("\n".join(titled["Args:"])).strip("\n"))[1:]
    return _Sections(
        does=tuple(_plain(p) for p in paragraphs if not p.startswith(_TITLES)),
        source=" ".join(map(_plain, titled["Source:"])),
        library=" ".join(map(_plain, titled["Library:"])),
        limits=" ".join(map(_plain, titled["Limits:"])),
        about={name: _plain(text) for name, text in zip(parts[::2], parts[1::2], strict=True)},
    )


def _under(title: str, paragraphs: Sequence[str]) -> list[str]:
    return [p[len(title) :] for p in paragraphs if p.startswith(title)]


def _plain(text: str) -> str:
    return " ".join(text.replace("``", "").split())
