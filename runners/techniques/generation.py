"""Changing how a target generates, and putting it back."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from leanboard.runners.techniques.base import Target


@contextmanager
def generation_options(target: Target, **options: object) -> Iterator[None]:
    """Pass these keyword arguments to every ``generate`` call until exit."""
    before = dict(target.generation)
    target.generation.update(options)
    try:
        yield
    finally:
        target.generation.clear()
        target.generation.update(before)
