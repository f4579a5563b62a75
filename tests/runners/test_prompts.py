"""Prompts: exact length, distinct, seeded, long enough an answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from leanboard.results.errors import ConfigError
from leanboard.runners.passages import Passage, Pool, split
from leanboard.runners.prompt_format import PromptFormat
from leanboard.runners.prompts import (
    PromptPlan,
    choose,
    prompt_candidates,
    select,
    stored,
)
from leanboard.runners.workloads import WorkloadConfig

PLAIN = PromptFormat("plain", "f" * 64, lambda text: text)


def encode_letters(texts: Sequence[str]) -> list[tuple[int, ...]]:
    """Encode one token for every four letters of a word, started ones included."""
    return [tuple(i for w in t.split() for i in range(-(-len(w) // 4))) for t in texts]


def always(texts: list[str]) -> list[bool]:
    return [True] * len(texts)


def pool(count: int = 160) -> Pool:
    words = ["one", "seventeen", "is", "the", "number", "of", "incomprehensibilities", "here"]
    texts = [" ".join(words[(i * j) % 8] for j in range(1, 12)) + f" n{i}" for i in range(count)]
    return split([Passage(f"title {i}", t) for i, t in enumerate(texts)], 0, "local").prompts


def plan(tokens: int = 30, prompts: int = 3, **more: Any) -> PromptPlan:
    workload = WorkloadConfig("toy", tokens, 4, more.pop("batch_size", 1), prompts, 0)
    return replace(PromptPlan(workload, "a" * 64, PLAIN, pool()), **more)


def test_every_prompt_has_exactly_the_tokens_and_ends_with_a_word() -> None:
    prompts = list(prompt_candidates(plan(tokens=30), encode_letters))
    assert len(prompts) >= 3
    assert {len(ids) for ids in encode_letters(prompts)} == {30}
    assert len(set(prompts)) == len(prompts)
    words = {word for p in pool().passages for word in p.text.split()}
    assert all(set(prompt.split()) <= words for prompt in prompts)


def test_the_template_s_tokens_count_too() -> None:
    form = PromptFormat("chat", "e" * 64, lambda text: f"<user> {text} <assistant>")
    prompts = list(prompt_candidates(plan(tokens=30, form=form), encode_letters))
    assert prompts
    assert {len(ids) for ids in encode_letters(prompts)} == {30}
    assert all(p.startswith("<user> ") and p.endswith(" <assistant>") for p in prompts)


def test_a_text_that_no_cut_brings_to_the_length_is_dropped() -> None:
    # Every word has two tokens: no cut gives an odd number.
    odd = split([Passage(f"t{i}", f"wordy{i} " * 40) for i in range(6)], 0, "local").prompts
    assert list(prompt_candidates(plan(tokens=31, pool=odd), encode_letters)) == []
    assert len(list(prompt_candidates(plan(tokens=30, pool=odd), encode_letters))) == 3


def test_prompts_whose_answer_ends_early_are_passed_over() -> None:
    candidates = [f"p{i}" for i in range(10)]
    chosen = select(iter(candidates), lambda ps: [int(p[1:]) % 2 == 1 for p in ps], 3)
    assert chosen == ["p1", "p3", "p5"]


def test_too_few_prompts_is_an_error_with_the_numbers() -> None:
    with pytest.raises(ConfigError, match=r"5 prompts are needed .*, and 2 of 4 candidates"):
        select(iter("abcd"), lambda ps: [p in "ad" for p in ps], 5)


def test_a_set_holds_timed_and_warm_up_prompts_apart(tmp_path: Path) -> None:
    chosen = choose(plan(prompts=3), encode_letters, always, tmp_path)
    assert (len(chosen.prompts), len(chosen.warmups)) == (3, 2)
    assert not set(chosen.prompts) & set(chosen.warmups)
    assert chosen.source == "local"
    assert len({p.prompt_id for p in (*chosen.prompts, *chosen.warmups)}) == 5


def test_a_set_is_remembered_for_the_same_plan_only(tmp_path: Path) -> None:
    asked = plan()
    assert stored(asked, tmp_path) is None
    chosen = choose(asked, encode_letters, always, tmp_path)
    assert stored(asked, tmp_path) == chosen
    others = [
        plan(prompts=4),
        plan(model_hash="b" * 64),
        plan(form=replace(PLAIN, sha256="0" * 64)),
        plan(pool=pool(170)),
    ]
    assert [stored(other, tmp_path) for other in others] == [None] * 4
    renamed = replace(asked, workload=replace(asked.workload, name="other"))
    assert stored(renamed, tmp_path) == chosen


def test_a_damaged_set_is_chosen_anew(tmp_path: Path) -> None:
    choose(plan(), encode_letters, always, tmp_path)
    (path,) = (tmp_path / "prompts").iterdir()
    path.write_text('{"prompts": 3}')
    assert stored(plan(), tmp_path) is None


def test_another_seed_gives_other_prompts(tmp_path: Path) -> None:
    first = choose(plan(), encode_letters, always, tmp_path)
    seeded = replace(plan().workload, seed=1)
    assert choose(plan(workload=seeded), encode_letters, always, tmp_path).sha256 != first.sha256


def test_prompts_of_shapes_have_their_lengths_in_turn_and_passages_of_their_own(
    tmp_path: Path,
) -> None:
    shapes = ((20, 4), (30, 4))
    workload = WorkloadConfig("turns", 30, 4, 2, 8, 0, shapes=shapes)
    own = split([Passage(f"t{i}", f"n{i} " * 40) for i in range(60)], 0, "local").prompts
    asked = plan(workload=workload, pool=own)
    chosen = choose(asked, encode_letters, always, tmp_path)
    lengths = [len(ids) for ids in encode_letters([p.text for p in chosen.prompts])]
    assert lengths == [20, 20, 30, 30, 20, 20, 30, 30]
    assert {len(ids) for ids in encode_letters([p.text for p in chosen.warmups])} == {30}
    passages = [p.text.split()[0] for p in (*chosen.prompts, *chosen.warmups)]
    assert len(set(passages)) == len(passages)
    assert stored(asked, tmp_path) == chosen
    other = replace(workload, shapes=((10, 4), (30, 4)))
    assert stored(replace(asked, workload=other), tmp_path) is None


def test_the_key_of_a_workload_without_shapes_is_what_it_was_before_there_were_any() -> None:
    assert plan().key == "43b0affdb4741e6af58c39bd5ac64428"
