"""Weights and activations in bfloat16."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import ClassVar

from leanboard.runners.techniques.base import LoadOptions, Target, TechniqueDefaults


@dataclass(frozen=True, slots=True)
class BFloat16(TechniqueDefaults):
    """Load the weights as bfloat16 and compute in it: half the bytes of float32.

    Eight exponent bits as in float32, seven of mantissa. A processor without bfloat16
    instructions emulates them, and is slower for it.

    Source: Kalamkar et al., A Study of BFLOAT16 for Deep Learning Training, arXiv:1905.12322.

    Library: torch's bfloat16 products; transformers loads the weights in that dtype.

    Limits: Keys and values are bfloat16 too. On a GPU the baseline is bfloat16 already: there it
    changes nothing.
    """

    version: ClassVar[int] = 1
    conflicts: ClassVar[frozenset[str]] = frozenset({"fp16"})

    def load_options(self) -> LoadOptions:
        """Ask for bfloat16 weights."""
        return LoadOptions(dtype="bfloat16")

    def apply(self, target: Target) -> AbstractContextManager[None]:  # noqa: ARG002
        """Do nothing: the weights were loaded as bfloat16."""
        return nullcontext()
