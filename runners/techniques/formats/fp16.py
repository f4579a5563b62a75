"""Weights and activations in float16."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import ClassVar

from leanboard.runners.techniques.base import LoadOptions, Target, TechniqueDefaults


@dataclass(frozen=True, slots=True)
class Float16(TechniqueDefaults):
    """Load the weights as float16 and compute in it: half the bytes of float32.

    Five exponent bits and ten of mantissa: finer steps than bfloat16, in a narrower range.

    Source: Micikevicius et al., Mixed Precision Training, arXiv:1710.03740.

    Library: torch's float16 products; transformers loads the weights in that dtype.

    Limits: Nothing beyond 65,504: a model with large activations overflows, and scoring names the
    module. A processor without float16 instructions converts at every step, and is slower for it.
    """

    version: ClassVar[int] = 1
    conflicts: ClassVar[frozenset[str]] = frozenset({"bf16"})

    def load_options(self) -> LoadOptions:
        """Ask for float16 weights."""
        return LoadOptions(dtype="float16")

    def apply(self, target: Target) -> AbstractContextManager[None]:  # noqa: ARG002
        """Do nothing: the weights were loaded as float16."""
        return nullcontext()
