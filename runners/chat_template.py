"""A tokenizer's chat template, read from its files and rendered without loading a model."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from leanboard.results.errors import ConfigError
from leanboard.runners.checkpoint import read_json

# Tags that mark the model's own turns for training; they print nothing.
_GENERATION_TAG = re.compile(r"(\{%[-+]?\s*)(end)?generation(\s*[-+]?%\})")

Messages = Sequence[Mapping[str, str]]
"""Turns of a chat, each with ``role`` and ``content``."""


@dataclass(frozen=True, slots=True)
class ChatTemplate:
    """A chat template with the tokens that it prints.

    Args:
        text: the template as published.
        tokens: ``bos_token`` and ``eos_token`` as text; empty where the tokenizer has none.
        render: messages to the prompt up to where the model's turn begins, special tokens written
            out.
    """

    text: str
    tokens: Mapping[str, str]
    render: Callable[[Messages], str]

    @property
    def sha256(self) -> str:
        """Over the template and its tokens."""
        return hashlib.sha256("\0".join((self.text, *self.tokens.values())).encode()).hexdigest()


def chat_template(folder: Path) -> ChatTemplate | None:
    """Return the chat template of a model's folder; ``None`` if its tokenizer has none.

    A template that prints today's date gets none, so that prompts are the same every day.

    Raises:
        ConfigError: if it is no template, or, when it is rendered, refuses the messages.
    """
    settings = read_json(folder / "tokenizer_config.json")
    text = _template_text(folder, settings)
    if text is None:
        return None
    tokens = {name: _token_text(settings.get(name)) for name in ("bos_token", "eos_token")}
    return ChatTemplate(text, tokens, _renderer(text, tokens))


def _renderer(text: str, tokens: Mapping[str, str]) -> Callable[[Messages], str]:
    from jinja2.exceptions import TemplateError
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"]
    )

    def refuse(message: str) -> None:
        raise TemplateError(message)

    def render(messages: Messages) -> str:
        try:
            return compiled.render(
                messages=messages, add_generation_prompt=True, raise_exception=refuse, **tokens
            )
        except TemplateError as error:
            raise ConfigError(_unusable(error)) from error

    try:
        compiled = environment.from_string(_GENERATION_TAG.sub(_always, text))
    except TemplateError as error:
        raise ConfigError(_unusable(error)) from error
    return render


def _always(tag: re.Match[str]) -> str:
    """Return a condition that always holds, so that white space around the tag stays as it was."""
    return f"{tag[1]}{'endif' if tag[2] else 'if true'}{tag[3]}"


def _unusable(error: Exception) -> str:
    return (
        f"The model's chat template cannot be rendered: {error}. Remove the template from a local "
        "copy of the model (its prompts are then plain text), or use another model."
    )


def _template_text(folder: Path, settings: Mapping[str, Any]) -> str | None:
    file = folder / "chat_template.jinja"
    if file.is_file():
        return file.read_text(encoding="utf-8")
    value = settings.get("chat_template")
    if isinstance(value, list):
        named = {entry.get("name"): entry.get("template") for entry in value}
        value = named.get("default")
    return str(value) if value is not None else None


def _token_text(value: object) -> str:
    text = value.get("content") if isinstance(value, dict) else value
    return str(text) if text is not None else ""
