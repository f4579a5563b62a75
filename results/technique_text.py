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
        source: paper or library; empty where none is named.
        knobs: its parameters.
        backends: names of the backends that can do it, sorted.
        quantises: whether it rounds the weights, and so changes what the model says.
        lossless: whether greedy output is the baseline's by construction, ties apart.
        simulates: metrics whose gain it only simulates, sorted.
        calibrated: whether it reads calibration text.
        expanded_by: whose code expands the weights at every forward; empty where none does.
        limits: what it cannot do, or when it does not pay; empty where nothing is said.
        version: behaviour version of the code that is installed.
    """

    name: str
    family: str
    does: tuple[str, ...]
    source: str
    knobs: tuple[Knob, ...]
    backends: tuple[str, ...]
    quantises: bool
    lossless: bool
    simulates: tuple[str, ...]
    calibrated: bool
    expanded_by: str
    limits: str
    version: int
