"""What stands behind the name of a technique: its family and its code, as the menu names them.

The menu is read as text: nothing that it or a record names is imported.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from leanboard.results.schema import Component

OTHER = "other"
"""The family of a technique that this version's menu does not have."""
_ENDING = ".yaml"
_TARGET = re.compile(r"^_target_: leanboard\.runners\.techniques\.(\w+)\.([\w.]+)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Code:
    """Where the code of a technique is.

    Args:
        family: folder of its module (``quantization``).
        name: module and class in it (``gguf.Gguf``), the same for names that differ in knobs only.
    """

    family: str
    name: str


@cache
def menu() -> Mapping[str, Code]:
    """Return the code behind every technique of the menu, by the technique's name."""
    folder = files("leanboard.suites") / "technique"
    found = {}
    entries = (entry for entry in folder.iterdir() if entry.name.endswith(_ENDING))
    for entry in sorted(entries, key=lambda entry: entry.name):
        target = _TARGET.search(entry.read_text(encoding="utf-8"))
        if target is not None:
            found[entry.name.removesuffix(_ENDING)] = Code(target[1], target[2])
    return found


def code_of(technique: Component) -> Code:
    """Return the code of a technique; under its own name where the menu does not have it."""
    return menu().get(technique.name, Code(OTHER, technique.name))


def family_of(techniques: Sequence[Component]) -> str:
    """Return the families of techniques that work together, sorted; empty for a baseline."""
    return " + ".join(sorted({code_of(technique).family for technique in techniques}))
