"""Items of a split rebuilt from the requests that an evaluation made of them.

Packages of evaluation data hold some splits only so: one line a question and choice, with the
question as it was asked. Every item stands in the file twice, the second time (``doc_id`` from
1,000,000) without its context.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

_AGAIN = 1_000_000
_BEFORE, _AFTER = "Question: ", "\nAnswer:"
_LABELS = "ABCDE"

Row = dict[str, Any]


def read_requests(path: Path, definition: str) -> list[Row]:
    """Return the items of a file of requests, in their order, in the original data's schema.

    Args:
        path: the gzipped JSON lines.
        definition: lm-eval's folder of the task, a key of ``REBUILT``.

    Raises:
        OSError, EOFError, ValueError, KeyError: if the file is no such file.
    """
    rebuild = REBUILT[definition]
    return [rebuild(document) for document in _documents(path)]


def _documents(path: Path) -> Iterator[Mapping[str, Any]]:
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        for line in lines:
            request = json.loads(line)
            if request["doc_id"] >= _AGAIN:
                return
            if request["idx"] == 0:
                yield request["doc"]


def _question(document: Mapping[str, Any]) -> Row:
    """Rebuild an item of ARC or CommonsenseQA; choices that had digits as labels get letters."""
    texts = document["choices"]
    labels = list(_LABELS[: len(texts)])
    return {
        "id": document["id"],
        "question": document["query"].removeprefix(_BEFORE).removesuffix(_AFTER),
        "choices": {"text": texts, "label": labels},
        "answerKey": labels[document["gold"]],
    }


def _stem(document: Mapping[str, Any]) -> Row:
    row = _question(document)
    return {"question_stem": row.pop("question"), **row}


def _endings(document: Mapping[str, Any]) -> Row:
    """Rebuild an item of HellaSwag so that lm-eval's own cleaning gives the text in the file.

    That text is clean already, and where lm-eval would leave two full stops it has one. An
    ending keeps its leading space only behind a bracketed word, as in the original data.
    """
    activity, _, context = document["query"].partition(": ")
    endings = [f"[step]{text}" if text.startswith(" ") else text for text in document["choices"]]
    return {
        "ind": document["ind"],
        "activity_label": activity,
        "ctx_a": context,
        "ctx_b": "",
        "endings": endings,
        "label": str(document["gold"]),
    }


def _only(*columns: str) -> Callable[[Mapping[str, Any]], Row]:
    return lambda document: {column: document[column] for column in columns}


REBUILT: Mapping[str, Callable[[Mapping[str, Any]], Row]] = {
    "arc": _question,
    "commonsense_qa": _question,
    "hellaswag": _endings,
    "openbookqa": _stem,
    "piqa": _only("goal", "sol1", "sol2", "label"),
    "winogrande": _only("sentence", "option1", "option2", "answer"),
}
"""What makes an item of the original schema of a request's document, by lm-eval's folder."""
