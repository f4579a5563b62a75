"""Items rebuilt from requests; the documents here have the form of the package's."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from leanboard.runners.accuracy.request_files import REBUILT, read_requests

CHOICES = ["red", "green", "blue"]


def write(path: Path, documents: list[dict[str, Any]]) -> Path:
    """Write each document once a choice, then all of them again without context."""
    with gzip.open(path, "wt", encoding="utf-8") as file:
        for again in (0, 1_000_000):
            for number, document in enumerate(documents):
                for choice in range(2):
                    request = {"doc_id": again + number, "idx": choice, "doc": document}
                    file.write(json.dumps(request) + "\n")
    return path


def test_every_item_is_rebuilt_once_and_in_order(tmp_path: Path) -> None:
    documents = [
        {"id": f"q{n}", "query": f"Question: What is {n}?\nAnswer:", "choices": CHOICES, "gold": n}
        for n in range(3)
    ]
    rows = read_requests(write(tmp_path / "r.gz", documents), "arc")
    assert rows == [
        {
            "id": f"q{n}",
            "question": f"What is {n}?",
            "choices": {"text": CHOICES, "label": ["A", "B", "C"]},
            "answerKey": "ABC"[n],
        }
        for n in range(3)
    ]


def test_a_question_that_holds_the_words_around_questions_keeps_them() -> None:
    asked = "Question: or not?\nAnswer: both"
    document = {"id": "", "query": f"Question: {asked}\nAnswer:", "choices": CHOICES, "gold": 0}
    assert REBUILT["arc"](document)["question"] == asked
    assert REBUILT["openbookqa"](document)["question_stem"] == asked


def test_items_that_stand_there_whole_are_taken_as_they_are() -> None:
    piqa = {"goal": "g", "sol1": "a", "sol2": "b", "label": 1}
    winogrande = {"sentence": "s _", "option1": "a", "option2": "b", "answer": "2"}
    assert REBUILT["piqa"](piqa | {"query": "Goal: g\nAnswer:", "index": 3}) == piqa
    assert REBUILT["winogrande"](winogrande | {"index": 3}) == winogrande


def test_lm_evals_own_cleaning_gives_the_text_that_hellaswag_was_rebuilt_from() -> None:
    import datasets
    from lm_eval.tasks.hellaswag.utils import process_docs

    document = {
        "ind": 4,
        "query": "Care: How to grow. Use a pot: a clay one.",
        "choices": ["Water it.", " Fill it. Then wait.", "Turn it", " Stop"],
        "gold": 3,
    }
    row = REBUILT["hellaswag"](document)
    datasets.disable_progress_bars()
    (cleaned,) = process_docs(datasets.Dataset.from_list([row]))
    datasets.enable_progress_bars()
    assert (cleaned["query"], cleaned["choices"]) == (document["query"], document["choices"])
    assert (cleaned["gold"], cleaned["label"]) == (3, "3")


@pytest.mark.parametrize(
    "content",
    [b"no gzip", gzip.compress(b"{}\n"), gzip.compress(b"x\n")],
    ids=["no gzip", "no request", "no JSON"],
)
def test_a_file_that_is_something_else_is_no_data(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "r.gz"
    path.write_bytes(content)
    with pytest.raises((OSError, ValueError, KeyError)):
        read_requests(path, "arc")
