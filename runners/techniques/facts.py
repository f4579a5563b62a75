"""What a technique tells of itself and how a target generates: set while it is applied."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import TypeVar

from leanboard.metrics.trace import Provenance, Quantity
from leanboard.runners.techniques.base import Target

Value = TypeVar("Value")

BFLOAT16_LAYERS = "bfloat16_layers"
"""Fact: linear layers that multiply in bfloat16 whatever the dtype of the model is."""

EXPANDED_LAYERS = "expanded_layers"
"""Fact: linear layers whose weights a library expands to floats at every forward, on this CPU."""

PROMPT_BYTES = "prompt_bytes"
"""Fact: bytes of the keys and values that layers keep of a learnt prompt."""

MAKING_S = "making_s"
"""Fact: seconds that it took, once and before anything was timed, to make what an arm reads."""


@contextmanager
def with_entries(held: dict[str, Value], entries: Mapping[str, Value]) -> Iterator[None]:
    """Let a dictionary have these entries until exit; those that they replaced then come back."""
    before = {name: held[name] for name in entries if name in held}
    held.update(entries)
    try:
        yield
    finally:
        for name in entries:
            held.pop(name, None)
        held.update(before)


def noted(target: Target, facts: Mapping[str, Quantity]) -> AbstractContextManager[None]:
    """Let a target have these facts until exit."""
    return with_entries(target.facts, facts)


def counted(value: float, unit: str = "1") -> Quantity:
    """Return a fact that was counted."""
    return Quantity(value, unit, Provenance.COUNTED)


def generation_options(target: Target, **options: object) -> AbstractContextManager[None]:
    """Pass these keyword arguments to every ``generate`` call until exit."""
    return with_entries(target.generation, options)
