"""Calibration text: seeded pieces, taken from the end that prompts are not taken from."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from leanboard.results.errors import UnsupportedError
from leanboard.runners.making import calibration_pieces, keep_calibration
from leanboard.runners.passages import Passage, split

WORDS = [f"word{number}" for number in range(400)]


class Numbered:
    """A tokenizer of whole words, each its own token."""

    eos_token_id = 0

    def __call__(self, text: str, **_: Any) -> dict[str, list[int]]:
        return {"input_ids": [1 + WORDS.index(word) for word in text.split()]}


@pytest.fixture
def kept(tmp_path: Path) -> tuple[list[str], Path]:
    """Return the texts in the order of prompts, and the file of calibration text."""
    passages = [Passage(f"title {n}", " ".join(WORDS[4 * n : 4 * n + 4])) for n in range(100)]
    pool = split(passages, 0, "test").prompts
    return [passage.text for passage in pool.passages], keep_calibration(pool, tmp_path)


def pieces(file: Path, samples: int, tokens: int, seed: int = 0) -> list[list[int]]:
    found: Any = calibration_pieces(Numbered(), file, samples, tokens, seed)
    return found.tolist()


def test_calibration_begins_with_the_texts_that_prompts_come_to_last(
    kept: tuple[list[str], Path],
) -> None:
    texts, file = kept
    assert len(texts) == 50
    used = {number for piece in pieces(file, 5, 25) for number in piece if number}
    last = {1 + WORDS.index(word) for text in texts[-25:] for word in text.split()}
    assert used == last


def test_the_same_seed_gives_the_same_pieces_and_another_one_others(
    kept: tuple[list[str], Path],
) -> None:
    _, file = kept
    assert pieces(file, 4, 10) == pieces(file, 4, 10)
    assert pieces(file, 4, 10) != pieces(file, 4, 10, seed=1)


def test_more_than_there_is_is_refused_with_what_there_is(kept: tuple[list[str], Path]) -> None:
    texts, file = kept
    assert [json.loads(line) for line in file.read_text().splitlines()] == texts
    with pytest.raises(UnsupportedError, match=r"has 250 tokens, 26 samples of 10"):
        pieces(file, 26, 10)
