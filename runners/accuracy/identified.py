"""What records say of a prepared task: its items by their hash, its prompts, its settings."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import metadata
from typing import Any

from leanboard.results.errors import ConfigError
from leanboard.results.identity import digest
from leanboard.results.schema import Task
from leanboard.runners.accuracy.adapter import ADAPTER_VERSION
from leanboard.runners.accuracy.choices import Asked
from leanboard.runners.accuracy.definitions import Chat, prompts_of, split_of
from leanboard.runners.accuracy.harness import ROLLING, HarnessTask, Part


def prepared(
    parts: Sequence[Part], asked: Asked, seed: int, data_source: str, chat: Chat | None
) -> HarnessTask:
    """Give tasks of lm-eval, with their requests built, the identity that records name.

    Args:
        parts: one task, or those of a group; their requests count the chosen items from 0.
        asked: name and number of examples.
        seed: which items and which examples were chosen.
        data_source: what records say about where the items come from.
        chat: how prompts were written as a chat; ``None`` if as plain text.

    Raises:
        ConfigError: if an item holds something else than text, numbers and lists.
    """
    # lm-eval counts the documents that it was given; records name their place in the split.
    for part in parts:
        for request in part.harness.instances:
            request.doc_id = part.indices[request.doc_id]
    harness = parts[0].harness
    split = split_of(harness)
    scored, total = sum(len(p.indices) for p in parts), sum(p.total for p in parts)
    identity = Task(
        name=asked.name,
        split=split,
        data_hash=_data_hash(asked.name, split, parts),
        data_source=data_source,
        harness="lm-eval",
        harness_version=metadata.version("lm-eval"),
        task_version=str(harness.VERSION),
        num_fewshot=asked.num_fewshot,
        limit=scored if scored < total else None,
        seed=seed,
        settings={"adapter": ADAPTER_VERSION, **_settings(parts, chat)},
    )
    return HarnessTask(identity, tuple(parts))


def _data_hash(name: str, split: str, parts: Sequence[Part]) -> str:
    documents = [part.rows for part in parts] if parts[0].stratum else parts[0].rows
    try:
        return digest({"split": split, "documents": documents})
    except (TypeError, ValueError) as error:
        raise ConfigError(
            f"Task {name}: its items cannot be hashed ({error}). Choose another task."
        ) from error


def _settings(parts: Sequence[Part], chat: Chat | None) -> dict[str, Any]:
    """Return what records say of prompts and choices that do not follow from the items alone."""
    settings: dict[str, Any] = {}
    for part in parts:
        settings |= part.settings
    harness = parts[0].harness
    if harness.OUTPUT_TYPE == ROLLING:
        return settings
    if chat is not None:
        settings["chat_template"] = chat.template.sha256
        if chat.system is not None:
            settings["system"] = chat.system
        if harness.config.num_fewshot:
            settings["fewshot_as_multiturn"] = True
    if chat is not None or harness.config.num_fewshot:
        settings["prompts_hash"] = digest(prompts_of([part.harness for part in parts]))
    return settings
