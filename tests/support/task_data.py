"""Small data sets in the schema of the originals: as JSON lines, packages or plain rows."""

from __future__ import annotations

import gzip
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

Row = dict[str, Any]


def arc(index: int) -> Row:
    return {
        "id": f"arc-{index}",
        "question": f"Which of these is number {index}?",
        "choices": {"text": [f"the number {index + n}" for n in range(4)], "label": list("ABCD")},
        "answerKey": "ABCD"[index % 4],
    }


def arc_request(index: int) -> Row:
    """Return the document of a request of the same item."""
    row = arc(index)
    return {
        "id": row["id"],
        "query": f"Question: {row['question']}\nAnswer:",
        "choices": row["choices"]["text"],
        "gold": index % 4,
    }


def gsm8k(index: int) -> Row:
    return {
        "question": f"Ann has {index} apples and buys one. How many has she?",
        "answer": f"She has {index} + 1 = {index + 1}.\n#### {index + 1}",
    }


def hellaswag(index: int) -> Row:
    return {
        "ind": index,
        "activity_label": "Counting",
        "ctx_a": f"A person counts to {index}.",
        "ctx_b": "then the person",
        "endings": [f"[step] says {index * offset} aloud." for offset in range(4)],
        "source_id": f"{'wikihow' if index % 3 else 'activitynet'}~{index}",
        "label": str(index % 4),
    }


def ifeval(index: int) -> Row:
    every: list[tuple[str, Row]] = [
        ("punctuation:no_comma", {}),
        ("length_constraints:number_words", {"num_words": 3, "relation": "at least"}),
        ("keywords:existence", {"keywords": ["answer", "7"]}),
    ]
    chosen = every[: index % 3 + 1]
    return {
        "key": index,
        "prompt": f"Write sentence {index}.",
        "instruction_id_list": [name for name, _ in chosen],
        "kwargs": [knobs for _, knobs in chosen],
    }


def lambada(index: int) -> Row:
    return {"text": f"He counted the sheep, all {index} of them, and then he fell asleep"}


def mmlu(index: int) -> Row:
    return {
        "question": f"Which is number {index}?",
        "choices": [f"{index + n}" for n in range(4)],
        "answer": index % 4,
    }


def truthfulqa(index: int) -> Row:
    return {
        "question": f"Is {index} a number?",
        "mc1_targets": {"choices": ["Yes.", "No."], "labels": [1, 0]},
        "mc2_targets": {"choices": ["Yes.", "It is.", "No."], "labels": [1, 1, 0]},
    }


def wikitext(index: int) -> Row:
    return {
        "page": f" = Page {index} = \n \n It is , as page {index} , a page @-@ one of many . \n"
    }


def write_lines(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def write_requests(path: Path, documents: Sequence[Mapping[str, Any]]) -> None:
    """Write the requests of a package: four choices an item, and all of it again."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with gzip.open(path, "wt", encoding="utf-8") as file:
        for again in (0, 1_000_000):
            for number, document in enumerate(documents):
                for choice in range(4):
                    request = {"doc_id": again + number, "idx": choice, "doc": document}
                    file.write(json.dumps(request) + "\n")


def write_arrow(folder: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    import datasets

    datasets.disable_progress_bars()
    datasets.Dataset.from_list([dict(row) for row in rows]).save_to_disk(str(folder))
    datasets.enable_progress_bars()
