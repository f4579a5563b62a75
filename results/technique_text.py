"""What a technique is, in words: written beside its code, shown beside its numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

FAMILIES: Mapping[str, str] = {
    "cache": "Keys and values",
    "decoding": "Decoding",
    "formats": "Number formats",
    "lowrank": "Low rank and sharing",
    "mixed_precision": "Mixed precision",
    "pruning": "Pruning",
    "quantization": "Weight quantisation",
    "recovery": "Recovery",
    "runtime": "Runtime",
    "sparsity": "Sparsity at run time",
}
"""Titles of the families, by the folder of their code."""

SLOTS: Mapping[str, str] = {
    "factors": "what takes the place of the matrices of linear layers",
    "file-type": "of which type the file of the weights is",
    "weight-format": "how the weights of linear layers are stored",
}
"""What one technique alone may decide, in words, by the name that techniques declare."""


@dataclass(frozen=True, slots=True)
class Knob:
    """A parameter of a technique: its name, the value that the menu gives it, and what it does."""

    name: str
    value: str
    about: str


@dataclass(frozen=True, slots=True)
class TechniqueText:
    """A technique as its code describes it.

    Args:
        name: its name on the menu, which is that on records.
        family: what kind of technique it is (``quantization``).
        does: what it does, in paragraphs.
        source: who published it; empty where nobody is named.
        library: which package does the arithmetic, and the extra that installs it; empty where
            nothing is said.
        knobs: its parameters.
        backends: names of the backends that can do it, sorted.
        quantises: whether it rounds the weights, and so changes what the model says.
        lossless: whether greedy output is the baseline's by construction, ties apart.
        simulates: metrics whose gain it only simulates, sorted.
        calibrated: whether it reads calibration text.
        trained: whether it takes gradient steps on that text.
        expanded_by: whose code expands the weights at every forward; empty where none does.
        conflicts: names of techniques that it cannot be combined with, sorted.
        exclusive: what it alone may decide (``weight-format``); empty where there is no such thing.
        limits: what it cannot do, or when it does not pay; empty where nothing is said.
        version: behaviour version of the code that is installed.
    """

    name: str
    family: str
    does: tuple[str, ...]
    source: str
    library: str
    knobs: tuple[Knob, ...]
    backends: tuple[str, ...]
    quantises: bool
    lossless: bool
    simulates: tuple[str, ...]
    calibrated: bool
    trained: bool
    expanded_by: str
    conflicts: tuple[str, ...]
    exclusive: str
    limits: str
    version: int


def one_at_a_time(text: TechniqueText, texts: Mapping[str, TechniqueText]) -> str:
    """Return which techniques decide the same, so that one of them is applied, and what it is.

    Args:
        text: of a technique.
        texts: of the whole menu, by name.

    Returns:
        The names, its own among them, and what they decide; empty where nothing else decides it.
    """
    names = sorted({text.name, *(n for n in texts if texts[n].exclusive == text.exclusive)})
    if not text.exclusive or len(names) == 1:
        return ""
    return f"{', '.join(names)} (each decides {SLOTS.get(text.exclusive, text.exclusive)})"
