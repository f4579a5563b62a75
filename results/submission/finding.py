"""What a check of a submission may find."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong.

    Args:
        message: what, with the name of the field and the values.
        fix: what whoever submits can do about it.
    """

    message: str
    fix: str
