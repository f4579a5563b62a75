"""Fixtures that every area shares: a random two-layer Llama with a byte-level tokenizer."""

from __future__ import annotations

import hashlib
import json
import random
from pathlib import Path
from typing import Any

import pytest
from chromium import HOW_TO_INSTALL, find_chromium

from leanboard.runners.backends.base import ModelFiles

_SPECIAL = ("<unk>", "<s>", "</s>")
_MERGES = (("Ġ", "t"), ("h", "e"), ("i", "n"), ("Ġt", "he"), ("e", "r"))
_BROWSER_TESTS_LEFT_OUT = pytest.StashKey[int]()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave the browser tests out where there is no browser; the summary then says so."""
    browser = [item for item in items if item.get_closest_marker("browser") is not None]
    if find_chromium() is not None or not browser:
        return
    items[:] = [item for item in items if item not in browser]
    config.hook.pytest_deselected(items=browser)
    config.stash[_BROWSER_TESTS_LEFT_OUT] = len(browser)
    if hasattr(config, "workeroutput"):
        config.workeroutput["browser_tests_left_out"] = len(browser)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Take over what a process of pytest-xdist left out; each of them collects every test."""
    count = getattr(node, "workeroutput", {}).get("browser_tests_left_out")
    if count:
        node.config.stash[_BROWSER_TESTS_LEFT_OUT] = count


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """Say loudly how many tests were left out for want of a browser."""
    count = config.stash.get(_BROWSER_TESTS_LEFT_OUT, 0)
    if count:
        line = f"{count} browser tests NOT RUN: {HOW_TO_INSTALL}"
        terminalreporter.write_line(line, red=True, bold=True)


def _write_tokenizer(folder: Path) -> int:
    """Write a byte-level BPE tokenizer (every byte is a token); return its vocabulary's size."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokens = [*_SPECIAL, *alphabet, *(left + right for left, right in _MERGES)]
    vocabulary = {token: index for index, token in enumerate(tokens)}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=list(_MERGES)))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(token, special=True) for token in _SPECIAL])
    tokenizer.save(str(folder / "tokenizer.json"))
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "unk_token": "<unk>",
        "bos_token": "<s>",
        "eos_token": "</s>",
        "model_max_length": 512,
        "clean_up_tokenization_spaces": False,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(settings, indent=2))
    return len(tokens)


@pytest.fixture(scope="session")
def tiny_llama(tmp_path_factory: pytest.TempPathFactory) -> ModelFiles:
    """Return a random Llama on disk: two layers, hidden 64, heads 4 (KV 2), tied embeddings.

    Read only: a test that changes files copies the folder first.
    """
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    folder = tmp_path_factory.mktemp("tiny-llama")
    config = LlamaConfig(
        vocab_size=_write_tokenizer(folder),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=512,
        # Far wider than the usual 0.02: greedy choices are then far from ties.
        initializer_range=0.25,
        tie_word_embeddings=True,
        bos_token_id=1,
        eos_token_id=2,
        dtype="float32",
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = LlamaForCausalLM(config)
    model.save_pretrained(folder)
    digest = hashlib.sha256()
    for path in sorted(folder.iterdir()):
        digest.update(path.name.encode() + path.read_bytes())
    return ModelFiles(
        name="tiny-llama",
        content_hash=digest.hexdigest(),
        folder=folder,
        gguf=None,
        gguf_cache=tmp_path_factory.mktemp("tiny-llama-gguf"),
        weights_origin="random",
        parameters=model.num_parameters(),
        made=tmp_path_factory.mktemp("tiny-llama-made"),
        calibration=_write_calibration(tmp_path_factory.mktemp("calibration")),
    )


def _write_calibration(folder: Path) -> Path:
    """Write 400 texts of 60 drawn words: about a hundred thousand bytes, one token each."""
    draw = random.Random(0)
    words = ("the", "rain", "in", "a", "town", "of", "stone", "where", "water", "ran", "and", "men")
    texts = [" ".join(draw.choices(words, k=60)) for _ in range(400)]
    lines = [json.dumps(text) for text in texts]
    file = folder / f"{hashlib.sha256(json.dumps(texts).encode()).hexdigest()}.jsonl"
    file.write_text("\n".join(lines) + "\n")
    return file
