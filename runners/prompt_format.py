"""How a passage becomes a prompt: by the model's chat template, or as plain text."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from leanboard.results.errors import ConfigError, MissingDependencyError
from leanboard.runners.checkpoint import read_json

INSTRUCTION = "Summarize the passage in one paragraph."
# Tags that mark the model's own turns for training; they print nothing.
_GENERATION_TAG = re.compile(r"(\{%[-+]?\s*)(end)?generation(\s*[-+]?%\})")


@dataclass(frozen=True, slots=True)
class PromptFormat:
    """A way to write a prompt.

    Args:
        name: ``chat`` or ``plain``.
        sha256: over the template, the instruction and the tokens put before the text.
        render: passage text to the full prompt, special tokens written out.
    """

    name: str
    sha256: str
    render: Callable[[str], str]


def prompt_format(folder: Path) -> PromptFormat:
    """Return the format of a model: its chat template if it has one, else a plain continuation.

    A template that prints today's date gets none, so that prompts are the same every day.

    Raises:
        ConfigError: if the template cannot be rendered, or there is no ``tokenizer.json``.
        MissingDependencyError: if ``tokenizers`` is not installed.
    """
    settings = read_json(folder / "tokenizer_config.json")
    template = _template_text(folder, settings)
    if template is None:
        return _plain(first_tokens(folder))
    tokens = {name: _token_text(settings.get(name)) for name in ("bos_token", "eos_token")}
    return _chat(template, tokens)


def _chat(template: str, tokens: dict[str, str]) -> PromptFormat:
    from jinja2.exceptions import TemplateError
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"]
    )

    def refuse(message: str) -> None:
        raise TemplateError(message)

    def render(passage: str) -> str:
        content = f"{INSTRUCTION}\n\n{passage}"
        try:
            return compiled.render(
                messages=[{"role": "user", "content": content}],
                add_generation_prompt=True,
                raise_exception=refuse,
                **tokens,
            )
        except TemplateError as error:
            raise ConfigError(_unusable(error)) from error

    try:
        compiled = environment.from_string(_GENERATION_TAG.sub(_always, template))
    except TemplateError as error:
        raise ConfigError(_unusable(error)) from error
    return PromptFormat("chat", _sha256(template, INSTRUCTION, *tokens.values()), render)


def _always(tag: re.Match[str]) -> str:
    """Return a condition that always holds, so that white space around the tag stays as it was."""
    return f"{tag[1]}{'endif' if tag[2] else 'if true'}{tag[3]}"


def _unusable(error: Exception) -> str:
    return (
        f"The model's chat template cannot be rendered: {error}. Remove the template from a local "
        "copy of the model (its prompts are then plain text), or use another model."
    )


def _plain(first: str) -> PromptFormat:
    return PromptFormat("plain", _sha256("plain", first), lambda passage: first + passage)


def _sha256(*texts: str) -> str:
    return hashlib.sha256("\0".join(texts).encode()).hexdigest()


def _template_text(folder: Path, settings: dict[str, Any]) -> str | None:
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


def first_tokens(folder: Path) -> str:
    """Return the special tokens, as text, that the tokenizer puts before every text.

    Raises:
        ConfigError: if there is no ``tokenizer.json``.
        MissingDependencyError: if ``tokenizers`` is not installed.
    """
    try:
        from tokenizers import Tokenizer
    except ImportError as error:
        raise MissingDependencyError(
            "tokenizers is needed to write prompts: pip install 'leanboard[transformers]'."
        ) from error
    path = folder / "tokenizer.json"
    if not path.is_file():
        raise ConfigError(
            "The model has no tokenizer.json. Load its tokenizer with transformers once and call "
            "tokenizer.save_pretrained(FOLDER), which writes it."
        )
    tokenizer = Tokenizer.from_file(str(path))
    bare = tokenizer.encode("a", add_special_tokens=False).tokens
    full = tokenizer.encode("a", add_special_tokens=True).tokens
    return "".join(full[: full.index(bare[0])])
