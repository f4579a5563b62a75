"""Items that cannot be scored are refused with their place, before any model is loaded."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import task_data
from scoring_engine import FakeEngine

from leanboard.results.errors import ArmError, ConfigError
from leanboard.runners.accuracy.harness import HarnessTask
from leanboard.runners.accuracy.registry import OFFLINE
from leanboard.runners.accuracy.score import plan_tasks, score
from leanboard.runners.accuracy.settings import AccuracyConfig

Row = dict[str, Any]


def commonsense_qa(index: int) -> Row:
    choices = {"text": [f"number {index + n}" for n in range(5)], "label": list("ABCDE")}
    return task_data.arc(index) | {"choices": choices}


def openbookqa(index: int) -> Row:
    row = task_data.arc(index)
    return {"question_stem": row.pop("question"), **row}


def piqa(index: int) -> Row:
    return {"goal": f"Count to {index}.", "sol1": "Count.", "sol2": "Run.", "label": index % 2}


def sciq(index: int) -> Row:
    return {column: f"{column} {index}" for column in OFFLINE["sciq"].columns}


def winogrande(index: int) -> Row:
    return {
        "sentence": f"Ann met Bo since _ was number {index}.",
        "option1": "Ann",
        "option2": "Bo",
        "answer": str(index % 2 + 1),
    }


MAKERS: dict[str, Callable[[int], Row]] = {
    "arc_easy": task_data.arc,
    "commonsense_qa": commonsense_qa,
    "gsm8k": task_data.gsm8k,
    "hellaswag": task_data.hellaswag,
    "lambada_openai": task_data.lambada,
    "mmlu_anatomy": task_data.mmlu,
    "openbookqa": openbookqa,
    "piqa": piqa,
    "sciq": sciq,
    "truthfulqa_mc2": task_data.truthfulqa,
    "wikitext": task_data.wikitext,
    "winogrande": winogrande,
}
COLUMNS = [(name, column) for name in MAKERS for column in OFFLINE[name].columns]


def plan(root: Path, name: str, rows: list[Row], **knobs: Any) -> HarnessTask:
    task = OFFLINE[name]
    task_data.write_lines(root / task.folder / f"{task.split}.jsonl", rows)
    values: Row = {"limit": None, "num_fewshot": 0, "seed": 0, "source": "dir", "text": None}
    values |= {"name": "made", "tasks": (name,), "data_dir": str(root)}
    (planned,) = plan_tasks(AccuracyConfig(**values | knobs), None, "", None)
    assert isinstance(planned, HarnessTask)
    return planned


@pytest.mark.parametrize("name", MAKERS)
def test_items_that_fit_are_planned(tmp_path: Path, name: str) -> None:
    assert plan(tmp_path, name, [MAKERS[name](n) for n in range(4)]).size == 4


@pytest.mark.parametrize(("name", "column"), COLUMNS)
def test_a_line_that_lacks_a_column_is_named(tmp_path: Path, name: str, column: str) -> None:
    rows = [MAKERS[name](n) for n in range(4)]
    for bad in ({k: v for k, v in rows[2].items() if k != column}, rows[2] | {column: None}):
        with pytest.raises(ConfigError, match=rf"Task {name}: line 3 of .*jsonl has no {column}, "):
            plan(tmp_path, name, [*rows[:2], bad, rows[3]])


@pytest.mark.parametrize("place", [0, 2])
@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("arc_easy", {"choices": {"text": ["a", "b"]}}, "no list `text` with a list `label`"),
        ("arc_easy", {"choices": {"text": ["a", None], "label": ["A", "B"]}}, "has no choices"),
        ("arc_easy", {"answerKey": "E"}, "answerKey 'E', which is none of A, B, C, D"),
        ("commonsense_qa", task_data.arc(0), "other choices than A, B, C, D and E"),
        ("hellaswag", {"label": ""}, "label '', which is none of 0, 1, 2, 3"),
        ("hellaswag", {"label": "4"}, "label '4', which is none of"),
        ("hellaswag", {"endings": ["a", None]}, "has no endings"),
        ("mmlu_anatomy", {"answer": 4}, "answer 4, which is none of 0, 1, 2, 3"),
        ("mmlu_anatomy", {"answer": -1}, "answer -1, which is none of"),
        ("mmlu_anatomy", {"choices": ["a", "b"]}, "no list of four"),
        ("openbookqa", {"answerKey": "Z"}, "answerKey 'Z', which is none of"),
        ("piqa", {"label": 7}, "label 7, which is none of 0, 1"),
        (
            "truthfulqa_mc2",
            {"mc2_targets": {"choices": ["a", "b"], "labels": [0, 0]}},
            "no list `choices` with `labels`",
        ),
        (
            "truthfulqa_mc2",
            {"mc2_targets": {"choices": ["a"], "labels": [0, 1]}},
            "no list `choices` with `labels`",
        ),
        ("winogrande", {"sentence": "Ann met Bo."}, "sentence without `_`"),
        ("winogrande", {"answer": ""}, "answer '', which is none of 1, 2"),
    ],
)
def test_an_item_that_cannot_be_scored_is_named_with_the_reason(
    tmp_path: Path, name: str, change: Row, message: str, place: int
) -> None:
    rows = [MAKERS[name](n) for n in range(4)]
    rows[place] |= change
    with pytest.raises(ConfigError, match=rf"line {place + 1} of .*{message}.*Correct the file"):
        plan(tmp_path, name, rows)


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("arc_easy", {"choices": "the number 1"}),
        ("hellaswag", {"endings": "one two"}),
        ("mmlu_anatomy", {"choices": "abcd"}),
        ("openbookqa", {"choices": "abc"}),
        ("truthfulqa_mc2", {"mc2_targets": "abc"}),
        ("hellaswag", {"ctx_a": 5}),
    ],
)
def test_a_column_of_another_kind_is_refused(tmp_path: Path, name: str, change: Row) -> None:
    with pytest.raises(ConfigError, match=f"Task {name}"):
        plan(tmp_path, name, [MAKERS[name](n) | change for n in range(4)])


def test_an_item_of_a_package_is_named_by_its_place_also_beyond_the_limit(tmp_path: Path) -> None:
    rows = [piqa(n) for n in range(9)]
    rows[4]["label"] = 7
    task_data.write_arrow(tmp_path / OFFLINE["piqa"].splits["validation"].place, rows)
    config = AccuracyConfig("made", 1, 0, 0, "package", ("piqa",), None)
    with pytest.raises(ConfigError, match=r"piqa: item 4 has the label 7.*`leanboard fetch`"):
        plan_tasks(config, tmp_path, "package:made==1", None)


def test_examples_are_checked_as_what_is_scored_is(tmp_path: Path) -> None:
    task_data.write_lines(tmp_path / "gsm8k" / "train.jsonl", [task_data.gsm8k(1), {"question": 1}])
    with pytest.raises(ConfigError, match=r"one schema|line 2 of gsm8k/train\.jsonl has no answer"):
        plan(tmp_path, "gsm8k", [task_data.gsm8k(n) for n in range(3)], num_fewshot=1)


@pytest.mark.parametrize("error", [ZeroDivisionError("by zero"), IndexError("none")])
def test_what_a_task_s_own_code_raises_fails_the_arm_with_the_item(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    task = plan(tmp_path, "piqa", [piqa(n) for n in range(3)])

    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(task.harness, "process_results", fail)
    with pytest.raises(ArmError, match=rf"piqa, item 0: .*{type(error).__name__}: {error}"):
        score(task, FakeEngine())


def test_an_error_that_no_task_raises_is_not_taken_for_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = plan(tmp_path, "piqa", [piqa(n) for n in range(3)])

    def fail(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr(task.harness, "process_results", fail)
    with pytest.raises(MemoryError):
        score(task, FakeEngine())
    assert all(math.isfinite(request.resps[0][0]) for request in task.requests)
