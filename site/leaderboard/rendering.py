"""Templates as the site renders them: what they show is escaped, and a text that comes again once.

A page shows a thousand values, most of which other pages show too. Jinja makes three calls and a
``Markup`` of each, and looks for each attribute among the keys of a mapping as well. Templates of
this environment call one function that remembers texts, and read attributes as Python does.
"""

from __future__ import annotations

from collections.abc import MutableMapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template, nodes
from jinja2.compiler import CodeGenerator, Frame
from markupsafe import Markup, escape

from leanboard.leaderboard.remembered import Remembered
from leanboard.results.printable import visible

_MOST = 8192
_NUMBERS = frozenset({float, int})
"""What has nothing to escape: a plot has hundreds of them."""


class _Code(CodeGenerator):
    """Writes the Python of a template. What is constant in it is escaped by Jinja, as ever."""

    def _output_child_pre(self, node: nodes.Expr, frame: Frame, finalize: Any) -> None:  # noqa: ARG002
        self.write("environment.shown(")

    def _output_child_post(self, node: nodes.Expr, frame: Frame, finalize: Any) -> None:  # noqa: ARG002
        self.write(")")

    def visit_Getattr(self, node: nodes.Getattr, frame: Frame) -> None:  # noqa: N802
        self.write("(")
        self.visit(node.node, frame)
        self.write(f").{node.attr}")


class Templates(Environment):
    """The templates of a folder.

    What a template names and nothing gave it, or an object lacks, is an error. An attribute is
    never the key of a mapping.
    """

    code_generator_class = _Code

    def __init__(self, folder: Path) -> None:
        """Read templates below a folder when they are asked for."""
        super().__init__(
            loader=FileSystemLoader(folder),
            autoescape=True,
            undefined=StrictUndefined,
            finalize=visible,
            trim_blocks=True,
            lstrip_blocks=True,
            keep_trailing_newline=True,
            auto_reload=False,
        )
        self._texts: dict[str, str] = {}
        self._read: dict[str, Template] = {}

    def get_template(
        self,
        name: str | Template,
        parent: str | None = None,  # noqa: ARG002  templates lie in one folder
        globals: MutableMapping[str, Any] | None = None,
    ) -> Template:
        """Return a template of the folder, which is read once and never looked up again."""
        if isinstance(name, Template) or globals:
            return super().get_template(name, globals=globals)
        if name not in self._read:
            self._read[name] = super().get_template(name)
        return self._read[name]

    def shown(self, value: object) -> str:
        """Return a value as it stands on a page: escaped, unless it is markup.

        Control characters are replaced (:func:`leanboard.results.printable.visible`).
        """
        if type(value) is Markup:
            return value
        if type(value) in _NUMBERS:
            return str(value)
        if type(value) is not str:
            return escape(visible(value))
        found = self._texts.get(value)
        if found is None:
            if len(self._texts) >= _MOST:
                self._texts.clear()
            found = self._texts[value] = str(escape(visible(value)))
        return found

    def remembered(self, template: str, macro: str) -> Remembered[object, str]:
        """Return a macro of one argument that is called once for each object."""

        def markup(given: object) -> str:
            made: str = vars(self.get_template(template).module)[macro](given)
            return made

        return Remembered(markup)
