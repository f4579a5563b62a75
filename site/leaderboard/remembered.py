"""Remembering what was made of an object that many runs share, such as a list of packages."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

Given = TypeVar("Given")
Made = TypeVar("Made")

_MOST = 4096


class Remembered(Generic[Given, Made]):
    """A function that is called once for each object; its results must not be changed.

    Objects are told apart by identity, not by content: of records that were read lean, parts that
    are equal are one object. What is remembered keeps its object alive, so an identity stays its
    own; when there is too much of it, all is forgotten.
    """

    def __init__(self, make: Callable[[Given], Made]) -> None:
        """Remember what ``make`` returns."""
        self._make = make
        self._known: dict[int, tuple[Given, Made]] = {}

    def __call__(self, given: Given) -> Made:
        """Return what was made of the object, which is made now if it was not before."""
        known = self._known.get(id(given))
        if known is None:
            if len(self._known) >= _MOST:
                self._known.clear()
            known = self._known[id(given)] = given, self._make(given)
        return known[1]
