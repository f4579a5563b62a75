"""Sizes of models in classes, for a filter."""

from __future__ import annotations

_LIMITS = ((1e9, "under 1B"), (3e9, "1B to 3B"), (1e10, "3B to 10B"), (4e10, "10B to 40B"))
_LARGEST = "40B and more"
SIZES = (*(name for _, name in _LIMITS), _LARGEST)
"""Names of the classes, from small to large."""


def size_of(parameters: int) -> str:
    """Return the class of a model with so many parameters."""
    return next((name for limit, name in _LIMITS if parameters < limit), _LARGEST)
