"""Prompts with a chat template: as lm-eval's own model writes them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import task_data
from scoring_engine import FakeEngine

from leanboard.results.errors import ConfigError
from leanboard.runners.accuracy.harness import HarnessTask
from leanboard.runners.accuracy.score import plan_tasks, score
from leanboard.runners.accuracy.settings import AccuracyConfig
from leanboard.runners.backends.base import ModelFiles
from leanboard.runners.chat_template import ChatTemplate, chat_template

TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}<{{ message['role'] }}>\n"
    "{{ message['content'] }}\n{% endfor %}{% if add_generation_prompt %}<assistant>\n{% endif %}"
)
MAKERS = {
    "arc_easy": task_data.arc,
    "gsm8k": task_data.gsm8k,
    "wikitext": task_data.wikitext,
    "winogrande": lambda i: {
        "sentence": f"Ann met Bo since _ was number {i}.",
        "option1": "Ann",
        "option2": "Bo",
        "answer": str(i % 2 + 1),
    },
}
SPLITS = {"arc_easy": "validation", "winogrande": "validation"}


@pytest.fixture
def folder(tiny_llama: ModelFiles, tmp_path: Path) -> Path:
    """A model's folder: its tokenizer, with a chat template."""
    root = tmp_path / "model"
    root.mkdir()
    for path in tiny_llama.folder.glob("tokenizer*"):
        (root / path.name).write_bytes(path.read_bytes())
    (root / "chat_template.jinja").write_text(TEMPLATE)
    return root


def plan(
    data: Path, name: str, template: ChatTemplate | None, *, chat: bool = True, **knobs: Any
) -> HarnessTask:
    for split in (SPLITS.get(name, "test"), "train"):
        path = data / name / f"{split}.jsonl"
        task_data.write_lines(path, [MAKERS[name](index) for index in range(5)])
    values: dict[str, Any] = {
        "name": "chat",
        "limit": None,
        "num_fewshot": 0,
        "seed": 0,
        "source": "dir",
        "tasks": (name,),
        "text": None,
        "data_dir": str(data),
        "chat_template": chat,
    }
    (task,) = plan_tasks(AccuracyConfig(**values | knobs), None, "", None, template=template)
    assert isinstance(task, HarnessTask)
    return task


@pytest.mark.parametrize("name", ["arc_easy", "gsm8k", "winogrande"])
@pytest.mark.parametrize("system", [None, "Be brief."])
def test_prompts_are_those_that_lm_eval_writes_with_transformers(
    folder: Path, tmp_path: Path, name: str, system: str | None
) -> None:
    from transformers import AutoTokenizer

    task = plan(tmp_path, name, chat_template(folder), num_fewshot=2, system=system)
    ours = [request.args for request in task.requests]
    tokenizer = AutoTokenizer.from_pretrained(folder)

    def theirs(messages: list[dict[str, str]], add_generation_prompt: bool) -> str:
        text = tokenizer.apply_chat_template(
            messages, tokenize=False, add_generation_prompt=add_generation_prompt
        )
        assert isinstance(text, str)
        return text

    task.harness.set_fewshot_seed(0)
    task.harness.build_all_requests(
        apply_chat_template=True, chat_template=theirs, system_instruction=system
    )
    assert ours == [request.args for request in task.harness.instances]
    assert (system is not None) == any("Be brief." in args[0] for args in ours)


def test_template_system_prompt_and_prompts_are_part_of_the_identity(
    folder: Path, tmp_path: Path
) -> None:
    template = chat_template(folder)
    assert template is not None
    plain = plan(tmp_path, "arc_easy", template, chat=False).identity
    chat = plan(tmp_path, "arc_easy", template).identity
    brief = plan(tmp_path, "arc_easy", template, system="Be brief.").identity
    assert sorted(plain.settings) == ["adapter"]
    assert chat.settings["chat_template"] == template.sha256
    assert sorted(chat.settings) == ["adapter", "chat_template", "prompts_hash"]
    assert brief.settings["system"] == "Be brief."
    assert brief.settings["prompts_hash"] != chat.settings["prompts_hash"]
    (folder / "chat_template.jinja").write_text(TEMPLATE + " ")
    other = chat_template(folder)
    assert other is not None
    assert other.sha256 != template.sha256


def test_a_running_text_is_no_chat(folder: Path, tmp_path: Path) -> None:
    chat = plan(tmp_path, "wikitext", chat_template(folder))
    plain = plan(tmp_path, "wikitext", None, chat=False)
    assert chat.identity == plain.identity
    assert score(chat, FakeEngine()) == score(plain, FakeEngine())


def test_a_tokenizer_without_a_template_is_refused_with_the_next_step(
    tiny_llama: ModelFiles, tmp_path: Path
) -> None:
    template = chat_template(tiny_llama.folder)
    assert template is None
    with pytest.raises(ConfigError, match=r"no chat template\. Use accuracy\.chat_template=false"):
        plan(tmp_path, "arc_easy", template)


def test_a_template_that_refuses_a_system_prompt_says_so(folder: Path, tmp_path: Path) -> None:
    refusing = "{% if messages[0]['role'] == 'system' %}{{ raise_exception('none') }}{% endif %}"
    (folder / "chat_template.jinja").write_text(refusing + TEMPLATE)
    template = chat_template(folder)
    assert plan(tmp_path, "arc_easy", template).size == 5
    with pytest.raises(ConfigError, match="cannot be rendered: none"):
        plan(tmp_path, "arc_easy", template, system="Be brief.")
