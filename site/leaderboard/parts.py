"""A further file of a page, such as the next rows of its table or the page of one subject."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment

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


def write_part(templates: Environment, slug: str, part: Part, folder: Path) -> None:
    """Write a file of the site.

    Args:
        templates: where its template is.
        slug: the page of the navigation that it belongs to.
        part: the file.
        folder: root of the site.
    """
    root = "../" * part.path.count("/")
    context = {**part.context, "title": part.title, "slug": slug, "root": root}
    text = templates.get_template(part.template).render(context)
    write_below(folder, part.path, text.encode())


def write_below(folder: Path, path: str, data: bytes) -> None:
    """Write a file below a folder; make the folders on its way where they are not there yet."""
    target = folder / path
    try:
        target.write_bytes(data)
    except FileNotFoundError:
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)
