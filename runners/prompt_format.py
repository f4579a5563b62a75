"""How a passage becomes a prompt: by the model's chat template, or as plain text."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from leanboard.results.errors import ConfigError, MissingDependencyError
from leanboard.runners.chat_template import ChatTemplate, chat_template

INSTRUCTION = "Summarize the passage in one paragraph."


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
    template = chat_template(folder)
    return _plain(first_tokens(folder)) if template is None else _chat(template)


def _chat(template: ChatTemplate) -> PromptFormat:
    def render(passage: str) -> str:
        return template.render([{"role": "user", "content": f"{INSTRUCTION}\n\n{passage}"}])

    sha256 = _sha256(template.text, INSTRUCTION, *template.tokens.values())
    return PromptFormat("chat", sha256, render)


def _plain(first: str) -> PromptFormat:
    return PromptFormat("plain", _sha256("plain", first), lambda passage: first + passage)


def _sha256(*texts: str) -> str:
    return hashlib.sha256("\0".join(texts).encode()).hexdigest()


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
