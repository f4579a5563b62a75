"""Prompt formats: the chat template as transformers renders it, or plain text."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from leanboard.results.errors import ConfigError
from leanboard.runners.backends.base import ModelFiles
from leanboard.runners.prompt_format import INSTRUCTION, first_tokens, prompt_format


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
