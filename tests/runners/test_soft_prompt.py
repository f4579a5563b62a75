"""A learnt prompt: what attention reads of it is what it would read of a prepended one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from random_models import FAMILIES, WINDOW, random_model
from safetensors.torch import load_file, save_file

from leanboard.results.errors import ConfigError, UnsupportedError
from leanboard.runners.backends.base import (
    Device,
    ModelFiles,
    Request,
    Span,
    UntilRequest,
    in_order,
)
from leanboard.runners.backends.torch_loading import TorchTarget, load_tokenizer
from leanboard.runners.backends.transformers import TransformersBackend
from leanboard.runners.making import calibration_pieces, made_folder
from leanboard.runners.techniques.cache.static_cache import StaticCache
from leanboard.runners.techniques.decoding.prompt_lookup import PromptLookup
from leanboard.runners.techniques.lowrank.svd import Svd
from leanboard.runners.techniques.quantization.int8_dynamic import Int8Dynamic
from leanboard.runners.techniques.recovery.prompt_attention import mask_behind
from leanboard.runners.techniques.recovery.soft_prompt import SoftPrompt
from leanboard.runners.techniques.short_training import next_token_loss

CPU = Device(kind="cpu", threads=1, reference_dtype="float32")
TOKENS = 4
KNOBS: dict[str, Any] = {"prompt_tokens": TOKENS, "steps": 1, "batch": 1, "tokens": 16}
TEXT = tuple(range(40, 60))
SHARED = tuple(range(3, 120))


def prompt_of(width: int = 64) -> torch.Tensor:
    return torch.randn(TOKENS, width, generator=torch.Generator().manual_seed(3))


def target_with(model: Any, folder: Path) -> TorchTarget:
    """Return a target whose prompt was made before."""
    save_file({"embeddings": prompt_of()}, folder / "prompt.safetensors")
    return TorchTarget(model, lambda: model, made=folder)


def behind_embeddings(model: Any, ids: Sequence[int], prompt: torch.Tensor) -> torch.Tensor:
    """Return the logits of a text with embeddings put in front of it: (tokens, vocabulary)."""
    with torch.no_grad():
        embedded = model.get_input_embeddings()(torch.tensor([list(ids)]))
        whole = torch.cat([prompt[None], embedded], dim=1)
        found: torch.Tensor = model(inputs_embeds=whole, use_cache=False).logits[0, len(prompt) :]
    return found


@pytest.fixture(scope="module")
def made(tiny_llama: ModelFiles) -> tuple[Any, torch.Tensor]:
    """Return the plain random Llama and the prompt that was made for it."""
    assert all(TransformersBackend().make(tiny_llama, [SoftPrompt(**KNOBS)], CPU))
    folder = made_folder(tiny_llama, [SoftPrompt(**KNOBS)], "float32", CPU)
    with TransformersBackend().load(tiny_llama, [], CPU) as engine:
        model = engine._target.model
    return model, load_file(folder / "prompt.safetensors")["embeddings"]


def answer(made: tuple[Any, torch.Tensor], ids: Sequence[int], tokens: int) -> list[int]:
    """Return greedy tokens after a text, all of it fed anew for each of them."""
    text = list(ids)
    for _ in range(tokens):
        text.append(int(behind_embeddings(made[0], text, made[1])[-1].argmax()))
    return text[len(ids) :]


def nats(made: tuple[Any, torch.Tensor], span: Span) -> float:
    ids = (*span.context, *span.continuation)
    table = behind_embeddings(made[0], ids, made[1]).log_softmax(dim=-1)
    first = len(span.context) - 1
    return sum(float(table[first + n, token]) for n, token in enumerate(span.continuation))


@pytest.mark.parametrize("family", FAMILIES)
def test_logits_are_those_of_a_text_behind_the_embeddings(family: str, tmp_path: Path):
    model = random_model(family)
    # Prompt and text are shorter than the windows of those families that have one.
    ids = TEXT[:12]
    expected = behind_embeddings(model, ids, prompt_of())
    with SoftPrompt(**KNOBS).apply(target_with(model, tmp_path)), torch.no_grad():
        found = model(torch.tensor([ids])).logits[0]
        plain = model(torch.tensor([ids]), use_cache=True)
        later = model(
            torch.tensor([[9, 8, 7]]), past_key_values=plain.past_key_values, use_cache=True
        )
    assert torch.allclose(found, expected, atol=2e-3)
    assert torch.allclose(
        later.logits[0], behind_embeddings(model, (*ids, 9, 8, 7), prompt_of())[-3:], atol=2e-3
    )
    with torch.no_grad():
        assert not torch.allclose(model(torch.tensor([ids])).logits[0], expected, atol=0.1)


@pytest.mark.parametrize("layer", [0, 1])
@pytest.mark.parametrize("family", ["mistral-sliding", "gemma3"])
def test_every_layer_sees_the_prompt_at_any_distance_in_a_sliding_window_too(
    family: str, layer: int, tmp_path: Path
) -> None:
    model = random_model(family)
    long = torch.arange(3, 90)[None]
    assert long.shape[1] > 2 * WINDOW, "what two layers see of it one after the other"
    with torch.no_grad():
        before = model(long).logits[0, -1]
        with SoftPrompt(**KNOBS).apply(target_with(model, tmp_path)):
            # So that no other layer can hand it on.
            del model.model.layers[1 - layer].self_attn.prompt_keys
            assert not torch.allclose(model(long).logits[0, -1], before, atol=1e-3)


def test_all_is_put_back(tmp_path: Path):
    model = random_model("llama")
    names, target = set(model.state_dict()), target_with(model, tmp_path)
    with SoftPrompt(**KNOBS).apply(target):
        assert "prompt_bytes" in target.facts
        assert set(model.state_dict()) - names == {
            f"model.layers.{layer}.self_attn.prompt_{part}"
            for layer in range(2)
            for part in ("keys", "values")
        }
    assert set(model.state_dict()) == names
    assert all(layer.self_attn.config is model.config for layer in model.model.layers)
    assert target.facts == {}


def test_answers_are_those_behind_the_embeddings(made, tiny_llama: ModelFiles):
    with TransformersBackend().load(tiny_llama, [SoftPrompt(**KNOBS)], CPU) as engine:
        texts = ["the rain in the main", "a"]
        alone = [engine.generate([Request(text, text, 12)])[0].output_ids for text in texts]
        batch = engine.generate([Request(text, text, 12) for text in texts])
        ids = [engine.encode(text) for text in texts]
    expected = [tuple(answer(made, text, 12)) for text in ids]
    assert [tuple(found) for found in alone] == expected
    assert [tuple(trace.output_ids) for trace in batch] == expected


@pytest.mark.parametrize("other", [StaticCache(), PromptLookup()])
def test_answers_are_the_same_through_another_cache_and_with_drafts(
    other, made, tiny_llama: ModelFiles
):
    with TransformersBackend().load(tiny_llama, [SoftPrompt(**KNOBS), other], CPU) as engine:
        (trace,) = engine.generate([Request("a", "the rain in the main in the rain", 12)])
        ids = engine.encode("the rain in the main in the rain")
    assert list(trace.output_ids) == answer(made, ids, 12)


def test_open_answers_are_those_behind_the_embeddings(made, tiny_llama: ModelFiles):
    lengths = (3, 17, 30, 8)
    requests = [UntilRequest((*SHARED[:9], *SHARED[20 : 20 + n]), 10, ()) for n in lengths]
    with TransformersBackend().load(tiny_llama, [SoftPrompt(**KNOBS)], CPU) as engine:
        found = in_order(engine.generate_until(requests))
    for request, result in zip(requests, found, strict=True):
        expected = answer(made, request.prompt, 10)
        assert list(result.output_ids) == expected[: len(result.output_ids)]
        assert result.output_ids


def test_scores_that_share_prefixes_are_those_behind_the_embeddings(made, tiny_llama: ModelFiles):
    long = tuple(3 + n % 250 for n in range(0, 900, 3))
    spans = [Span((*long, *TEXT[:n]), (5 + n, 9, 11)) for n in (1, 2, 7)]
    spans += [Span(long, choice) for choice in ((4, 5), (4, 6, 7), (200,))]
    spans += [Span(TEXT, choice) for choice in ((30, 31), (30, 32), (8, 9, 10))]
    with TransformersBackend().load(tiny_llama, [SoftPrompt(**KNOBS)], CPU) as engine:
        found = in_order(engine.loglikelihood(spans))
        facts = engine.facts()
        table = engine.log_probabilities(spans[-1])
        assert engine.notes() == ()
    expected = [nats(made, span) for span in spans]
    assert [score.loglikelihood for score in found] == pytest.approx(expected, abs=2e-3)
    assert facts["scored_tokens"].value < facts["scored_tokens_plain"].value, "nothing was shared"
    assert table[0, 8] + table[1, 9] + table[2, 10] == pytest.approx(expected[-1], abs=2e-3)


def test_bytes_are_the_keys_and_values_of_every_layer(tiny_llama: ModelFiles, made):
    def facts(techniques: list) -> dict[str, float]:
        with TransformersBackend().load(tiny_llama, techniques, CPU) as engine:
            engine.generate([Request("a", "the rain", 4)])
            return {name: fact.value for name, fact in engine.facts().items()}

    plain, found = facts([]), facts([SoftPrompt(**KNOBS)])
    # Two layers, keys and values, two heads of 16, four bytes.
    assert found["prompt_bytes"] == TOKENS * 2 * 2 * 2 * 16 * 4
    assert found["weight_bytes"] == plain["weight_bytes"] + found["prompt_bytes"]
    assert found["kv_bytes"] == plain["kv_bytes"], "the cache holds the text alone"


def test_a_trained_prompt_lowers_the_loss_of_a_compressed_model(tiny_llama: ModelFiles):
    text = calibration_pieces(load_tokenizer(tiny_llama), tiny_llama.calibration, 8, 64, 5)

    def loss(*techniques) -> float:
        list(TransformersBackend().make(tiny_llama, techniques, CPU))
        with (
            TransformersBackend().load(tiny_llama, techniques, CPU) as engine,
            torch.no_grad(),
        ):
            return float(next_token_loss(engine._target.model, text))

    knobs: dict[str, Any] = {"steps": 40, "batch": 4, "tokens": 32}
    untrained = loss(Svd(kept=0.3), SoftPrompt(**knobs, learning_rate=1e-9))
    trained = loss(Svd(kept=0.3), SoftPrompt(**knobs, learning_rate=0.3))
    assert trained < 0.95 * untrained
    assert trained < 0.95 * loss(Svd(kept=0.3))


def test_masks_by_hand():
    key = torch.zeros(1, 2, 3, 16)
    assert mask_behind(None, 2, 1, key) is None
    assert mask_behind(None, 2, 3, key)[0, 0].int().tolist() == [
        [1, 1, 1, 0, 0],
        [1, 1, 1, 1, 0],
        [1, 1, 1, 1, 1],
    ]
    hidden = torch.tensor([[[[0.0, -9, -9]]]])
    assert mask_behind(hidden, 2, 1, key).tolist() == [[[[0.0, 0.0, 0.0, -9.0, -9.0]]]]
    seen = torch.tensor([[[[False, True, False]]]])
    assert mask_behind(seen, 1, 1, key).tolist() == [[[[True, False, True, False]]]]


def refusal(model: Any, folder: Path) -> str:
    with (
        pytest.raises(UnsupportedError) as error,
        SoftPrompt(**KNOBS).apply(target_with(model, folder)),
    ):
        pytest.fail("it was applied")
    return str(error.value)


def test_a_model_without_rotary_embeddings_is_unsupported(tmp_path: Path):
    from transformers import GPT2Config, GPT2LMHeadModel

    config = GPT2Config(vocab_size=64, n_embd=64, n_layer=1, n_head=2, n_positions=32)
    assert "soft prompt needs" in refusal(GPT2LMHeadModel(config).eval(), tmp_path)


def test_embeddings_that_look_at_the_length_are_unsupported(tmp_path: Path):
    model = random_model("llama")
    model.config.rope_parameters = {"rope_type": "dynamic", "factor": 2.0, "rope_theta": 1e4}
    assert "distance of tokens alone" in refusal(model, tmp_path)


def test_attention_that_takes_no_function_from_outside_is_unsupported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    model = random_model("llama")
    monkeypatch.setattr(
        model.model.layers[1].self_attn, "forward", lambda hidden_states, **_: (hidden_states, None)
    )
    assert "does not take a function from outside" in refusal(model, tmp_path)
    assert model.model.layers[0].self_attn.config is model.config


def test_a_model_that_gives_no_gradients_is_unsupported(tiny_llama: ModelFiles):
    techniques = [Int8Dynamic(), SoftPrompt(**KNOBS)]
    with pytest.raises(UnsupportedError, match="A soft prompt cannot make up for it"):
        assert all(TransformersBackend().make(tiny_llama, techniques, CPU))


def test_a_second_prompt_is_unsupported(tmp_path: Path):
    model = random_model("llama")
    with SoftPrompt(**KNOBS).apply(target_with(model, tmp_path)):
        assert "sdpa or eager" in refusal(model, tmp_path)


@pytest.mark.parametrize(
    ("knobs", "said"),
    [
        ({"prompt_tokens": 0}, "prompt_tokens=0 must be 1 or more"),
        ({"steps": 0}, "steps=0 must be 1 or more"),
        ({"batch": 0}, "batch=0 must be 1 or more"),
        ({"tokens": 1}, "tokens=1 must be 2 or more"),
        ({"learning_rate": 0}, "learning_rate=0 must be above 0"),
    ],
)
def test_a_knob_out_of_range_is_refused(knobs: dict[str, Any], said: str):
    with pytest.raises(ConfigError, match=said):
        SoftPrompt(**knobs)
