"""Values put together by the unit that they come from."""

from __future__ import annotations

from collections.abc import Iterable


def grouped(values: Iterable[float], groups: Iterable[int]) -> list[list[float]]:
    """Return the values of each group, in the order in which the groups are first met.

    Raises:
        ValueError: if there are not as many groups as values.
    """
    members: dict[int, list[float]] = {}
    for value, group in zip(values, groups, strict=True):
        members.setdefault(group, []).append(value)
    return list(members.values())
