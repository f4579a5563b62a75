"""A further file of a page, such as the next rows of its table or the page of one subject."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

Context = Mapping[str, object]
"""What a template prints, by name."""


@dataclass(frozen=True, slots=True)
class Part:
    """A file that belongs to a page of the navigation.

    Args:
        path: its file relative to the site's root.
        title: its heading.
        template: file in ``templates/``.
        context: what the template prints.
    """

    path: str
    title: str
    template: str
    context: Context
