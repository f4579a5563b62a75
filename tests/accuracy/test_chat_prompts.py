"""Prompts with a chat template: as lm-eval's own model writes them."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import pytest
import task_data
from scoring_engine import FakeEngine

from leanboard.results.errors import ConfigError
from leanboard.runners.accuracy.adapter import EngineLM
from leanboard.runners.accuracy.harness import HarnessTask
from leanboard.runners.accuracy.registry import OFFLINE
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
    "mmlu_anatomy": task_data.mmlu,
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
    for split in (SPLITS.get(name, "test"), "train", "dev"):
        path = data / OFFLINE[name].folder / f"{split}.jsonl"
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


def evaluated(folder: Path, task: HarnessTask, system: str | None = None) -> list[Any]:
    """Return what lm-eval's evaluator asks with a chat template, and all else by default."""
    from lm_eval.evaluator import simple_evaluate
    from lm_eval.models.huggingface import HFLM
    from lm_eval.tasks import TaskManager
    from transformers import AutoTokenizer

    class Chatting(EngineLM):
        tokenizer = AutoTokenizer.from_pretrained(folder)
        tokenizer_name = "tiny"
        chat_template_args: ClassVar[dict[str, Any]] = {}
        apply_chat_template = HFLM.apply_chat_template

    simple_evaluate(
        model=Chatting(FakeEngine(max_length=4096)),
        tasks=[task.harness],
        task_manager=TaskManager(include_defaults=False),
        apply_chat_template=True,
        system_instruction=system,
        fewshot_random_seed=0,
        bootstrap_iters=0,
        random_seed=None,
        numpy_random_seed=None,
        torch_random_seed=None,
    )
    return [request.args for request in task.harness.instances]


@pytest.mark.parametrize("name", ["arc_easy", "gsm8k", "winogrande", "mmlu_anatomy"])
@pytest.mark.parametrize("system", [None, "Be brief."])
@pytest.mark.parametrize("shots", [0, 2])
def test_prompts_are_those_of_lm_eval_s_evaluator_with_transformers(
    folder: Path, tmp_path: Path, name: str, system: str | None, shots: int
) -> None:
    task = plan(tmp_path, name, chat_template(folder), num_fewshot=shots, system=system)
    ours = [request.args for request in task.requests]
    assert ours == evaluated(folder, task, system)
    assert (system is not None) == any("Be brief." in args[0] for args in ours)
    assert ours[0][0].count("<assistant>") == shots + 1
    assert task.identity.settings.get("fewshot_as_multiturn", False) == (shots > 0)


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


REFUSING = (
    "{% if messages[0]['role'] == 'system' %}{{ raise_exception('none') }}{% endif %}" + TEMPLATE
)


def test_a_description_is_left_out_where_the_template_takes_no_system_prompt(
    folder: Path, tmp_path: Path
) -> None:
    taking = plan(tmp_path, "mmlu_anatomy", chat_template(folder), num_fewshot=2)
    (folder / "chat_template.jinja").write_text(REFUSING)
    task = plan(tmp_path, "mmlu_anatomy", chat_template(folder), num_fewshot=2)
    ours = [request.args for request in task.requests]
    assert "about anatomy" in taking.requests[0].args[0]
    assert "about anatomy" not in ours[0][0]
    assert ours == evaluated(folder, task)
    assert task.identity.settings["system_left_out"] is True
    assert "system_left_out" not in taking.identity.settings


def test_a_system_prompt_that_is_asked_for_is_refused_where_the_template_takes_none(
    folder: Path, tmp_path: Path
) -> None:
    (folder / "chat_template.jinja").write_text(REFUSING)
    template = chat_template(folder)
    task = plan(tmp_path, "arc_easy", template)
    assert "system_left_out" not in task.identity.settings
    with pytest.raises(ConfigError, match=r"takes no system prompt\. Use accuracy\.system=null"):
        plan(tmp_path, "arc_easy", template, system="Be brief.")


def test_a_template_that_refuses_every_message_says_so(folder: Path, tmp_path: Path) -> None:
    (folder / "chat_template.jinja").write_text("{{ raise_exception('never') }}")
    for name in ("arc_easy", "mmlu_anatomy"):
        with pytest.raises(ConfigError, match="cannot be rendered: never"):
            plan(tmp_path, name, chat_template(folder))
