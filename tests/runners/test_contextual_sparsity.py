"""Contextual sparsity: which neurons a token keeps, what is read, and what scores mean."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
import torch
from random_models import random_model
from transformers import Cache, DynamicCache, StaticCache

from leanboard.results.errors import ConfigError, UnsupportedError
from leanboard.runners.backends.base import Device, ModelFiles, Request, Span, in_order
from leanboard.runners.backends.torch_bytes import weight_bytes
from leanboard.runners.backends.torch_loading import TorchTarget
from leanboard.runners.backends.transformers import TransformersBackend
from leanboard.runners.techniques.formats.fp8 import Float8
from leanboard.runners.techniques.lowrank.random_sharing import RandomSharing
from leanboard.runners.techniques.pruning.prune_width import PruneWidth
from leanboard.runners.techniques.quantization.int8_weight_only import Int8WeightOnly
from leanboard.runners.techniques.quantization.rtn import Rtn
from leanboard.runners.techniques.sparsity.contextual import ContextualSparsity
from leanboard.runners.techniques.sparsity.sirius import Sirius

CPU = Device(kind="cpu", threads=1, reference_dtype="float32")
TEXT = "the rain in the main in the rain in the main"


def target_of(model: torch.nn.Module) -> TorchTarget:
    return TorchTarget(model=model, reload=lambda: model)


@contextmanager
def masked_gates(model: torch.nn.Module, kept: int) -> Iterator[None]:
    """Let activations of single tokens keep their largest only: sparsity by another way."""

    def keep(_: object, __: object, gate: torch.Tensor) -> torch.Tensor | None:
        if gate.shape[1] > 1:
            return None
        least = gate.abs().sort(dim=-1, descending=True).values[..., kept - 1 : kept]
        return torch.where(gate.abs() >= least, gate, torch.zeros_like(gate))

    handles = [layer.mlp.act_fn.register_forward_hook(keep) for layer in model.model.layers]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def generated(model: torch.nn.Module, prompt: torch.Tensor, tokens: int = 16) -> torch.Tensor:
    """Return the log-probabilities of a greedy answer's steps, (tokens, vocabulary)."""
    output = model.generate(
        prompt,
        max_new_tokens=tokens,
        do_sample=False,
        output_logits=True,
        return_dict_in_generate=True,
    )
    return torch.cat(output.logits).log_softmax(-1)


def test_a_token_keeps_the_neurons_with_the_widest_gates():
    model = random_model("llama")
    layer = model.model.layers[0].mlp
    x = torch.randn(1, 1, 64, generator=torch.Generator().manual_seed(1))
    model.requires_grad_(requires_grad=False)
    gate = torch.nn.functional.silu(layer.gate_proj.weight @ x[0, 0])
    inner = gate * (layer.up_proj.weight @ x[0, 0])
    widest = sorted(range(128), key=lambda neuron: -abs(float(gate[neuron])))[:32]
    expected = sum(inner[neuron] * layer.down_proj.weight[:, neuron] for neuron in widest)
    with ContextualSparsity(density=0.25).apply(target_of(model)), torch.no_grad():
        torch.testing.assert_close(layer(x)[0, 0], expected, atol=1e-4, rtol=1e-4)


def test_a_token_alone_reads_no_row_of_a_neuron_that_it_does_not_keep():
    model = random_model("llama")
    layer = model.model.layers[0].mlp
    x = torch.randn(1, 1, 64, generator=torch.Generator().manual_seed(1))
    gate = torch.nn.functional.silu(layer.gate_proj(x)).flatten()
    others = gate.abs().argsort()[:96]
    with ContextualSparsity(density=0.25).apply(target_of(model)), torch.no_grad():
        before = layer(x)
        layer.up_proj.weight[others] = float("nan")
        layer.down_proj.weight[:, others] = float("nan")
        assert torch.equal(layer(x), before)
        assert layer(torch.cat([x, x])).isnan().any(), "a batch is masked, not skipped"


def test_tokens_of_a_batch_get_what_each_gets_alone():
    model = random_model("gemma3")
    x = torch.randn(3, 1, 64, generator=torch.Generator().manual_seed(1))
    layer = model.model.layers[1].mlp
    with ContextualSparsity(density=0.3).apply(target_of(model)), torch.no_grad():
        alone = torch.cat([layer(token[None]) for token in x])
        torch.testing.assert_close(layer(x), alone, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("family", ["llama", "qwen3", "gemma3"])
def test_answers_are_those_of_a_dense_prompt_and_masked_gates(family: str):
    model, prompt = random_model(family), torch.arange(3, 40)[None]
    dense = generated(model, prompt)
    with masked_gates(model, kept=38):
        expected = generated(model, prompt)
    with ContextualSparsity(density=0.3).apply(target_of(model)):
        found = generated(model, prompt)
    torch.testing.assert_close(found, expected, atol=1e-3, rtol=1e-3)
    torch.testing.assert_close(found[0], dense[0], atol=1e-3, rtol=1e-3)
    assert (found[1] - dense[1]).abs().max() > 0.1


def two_steps(model: torch.nn.Module, cache: Cache | None, *, by_name: bool = True) -> list:
    """Return the logits after a prompt of one token, and those after one more."""
    found = []
    for token in (7, 9):
        ids = torch.tensor([[token]])
        if by_name:
            output = model(ids, past_key_values=cache, use_cache=True)
        else:
            output = model(ids, None, None, cache, use_cache=True)
        cache = output.past_key_values
        found.append(output.logits)
    return found


def no_cache(_: object) -> None: ...


def dynamic(config: object) -> Cache:
    return DynamicCache(config=config)


def static(config: object) -> Cache:
    return StaticCache(config=config, max_cache_len=32)


@pytest.mark.parametrize("family", ["llama", "gemma3"])
@pytest.mark.parametrize("new_cache", [no_cache, dynamic, static])
@pytest.mark.parametrize("by_name", [True, False])
def test_a_prompt_of_one_token_is_dense_and_the_token_after_it_sparse(
    family: str, new_cache: Callable[[object], Cache | None], by_name: bool
):
    model = random_model(family)
    with torch.no_grad():
        dense = two_steps(model, None)
        read = model(torch.tensor([[7]]), use_cache=True).past_key_values
        with masked_gates(model, kept=38):
            expected = model(torch.tensor([[9]]), past_key_values=read).logits
        with ContextualSparsity(density=0.3).apply(target_of(model)):
            for _ in range(2):
                found = two_steps(model, new_cache(model.config), by_name=by_name)
                torch.testing.assert_close(found[0], dense[0], atol=1e-3, rtol=1e-3)
                torch.testing.assert_close(found[1], expected, atol=1e-3, rtol=1e-3)
    assert (found[1] - dense[1]).abs().max() > 0.01


def test_prompts_of_one_token_in_a_batch_are_dense():
    model, prompts = random_model("llama"), torch.tensor([[7], [9], [11]])
    with torch.no_grad():
        dense = model(prompts).logits
        with ContextualSparsity(density=0.1).apply(target_of(model)):
            torch.testing.assert_close(model(prompts).logits, dense, atol=1e-3, rtol=1e-3)


def test_the_first_token_of_a_text_is_read_by_the_dense_model(tiny_llama: ModelFiles):
    # Perplexity scores a text after one token.
    span = Span((1,), (70, 80, 90, 100))
    with TransformersBackend().load(tiny_llama, [], CPU) as engine:
        dense = engine.log_probabilities(span)
    with TransformersBackend().load(tiny_llama, [ContextualSparsity(density=0.3)], CPU) as engine:
        found = engine.log_probabilities(span)
    assert abs(found[0] - dense[0]).max() < 1e-3
    assert abs(found[1:] - dense[1:]).max() > 0.01


def test_a_sparse_prompt_is_what_its_tokens_give_one_by_one():
    model, ids = random_model("llama"), torch.arange(3, 15)[None]
    target = target_of(model)
    with ContextualSparsity(density=0.3, prefill="sparse").apply(target), torch.no_grad():
        assert target.new_cache is None
        assert target.notes == []
        assert not model._forward_pre_hooks, "its answers are given one after the other"
        whole = model(ids).logits
        cache, steps = None, []
        for token in ids[0]:
            output = model(token.reshape(1, 1), past_key_values=cache, use_cache=True)
            cache = output.past_key_values
            steps.append(output.logits[:, -1])
    torch.testing.assert_close(whole[0], torch.cat(steps), atol=1e-3, rtol=1e-3)


def test_all_neurons_are_the_dense_model():
    model, prompt = random_model("llama"), torch.arange(3, 40)[None]
    dense = generated(model, prompt)
    with ContextualSparsity(density=1.0).apply(target_of(model)):
        torch.testing.assert_close(generated(model, prompt), dense, atol=1e-3, rtol=1e-3)


def test_the_more_neurons_the_nearer_to_the_dense_layer():
    model = random_model("llama")
    layer = model.model.layers[0].mlp
    x = torch.randn(200, 1, 64, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        dense = layer(x)
        losses = []
        for density in (0.1, 0.3, 0.5, 0.8):
            with ContextualSparsity(density=density).apply(target_of(model)):
                losses.append(float((layer(x) - dense).square().mean()))
    assert losses == sorted(losses, reverse=True)


def test_scores_are_those_of_the_model_as_it_answers(tiny_llama: ModelFiles):
    with TransformersBackend().load(tiny_llama, [ContextualSparsity(density=0.3)], CPU) as engine:
        context = engine.encode(TEXT)
        table = generated(engine._target.model, torch.tensor([context]))
        answer = tuple(table.argmax(-1).tolist())
        (score,) = in_order(engine.loglikelihood([Span(context, answer)]))
        notes = engine.notes()
    assert score.is_greedy
    assert score.loglikelihood == pytest.approx(float(table.max(-1).values.sum()), abs=1e-3)
    assert any("predicts the first token of an answer" in note for note in notes)
    assert any("as served" in note for note in notes)


def test_shares_are_counted_and_all_weights_are_still_stored(tiny_llama: ModelFiles):
    with TransformersBackend().load(tiny_llama, [], CPU) as engine:
        plain = engine.facts()["weight_bytes"]
    with TransformersBackend().load(tiny_llama, [ContextualSparsity(density=0.25)], CPU) as engine:
        facts = engine.facts()
        (trace,) = engine.generate([Request("a", TEXT, 8)])
    assert facts["weight_bytes"] == plain
    assert facts["kept_share"].value == 0.25
    assert facts["active_ffn_share"].value == pytest.approx(0.5)
    assert facts["work_varies"].value == 1
    assert trace.output_tokens == 8


def test_layout_notes_and_cache_are_put_back():
    model = random_model("llama")
    target = target_of(model)
    stored = weight_bytes(model)
    down = model.model.layers[0].mlp.down_proj.weight
    values = down.detach().clone()
    with ContextualSparsity().apply(target):
        assert down.stride() == (1, 64)
        assert weight_bytes(model) == stored
        assert torch.equal(down, values)
        assert target.new_cache is not None
    assert down.is_contiguous()
    assert (target.new_cache, target.notes, target.facts) == (None, [], {})
    assert "forward" not in vars(model.model.layers[0].mlp)
    assert not model._forward_pre_hooks


def test_the_cache_of_an_earlier_technique_is_kept():
    target = target_of(random_model("llama"))

    def earlier() -> None: ...

    target.new_cache = earlier
    with ContextualSparsity().apply(target):
        assert target.new_cache is earlier
    assert target.new_cache is earlier


def test_models_without_gates_or_with_biases_are_unsupported():
    from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

    small = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "vocab_size": 99}
    gpt2 = GPT2LMHeadModel(GPT2Config(n_embd=32, n_layer=1, n_head=2, vocab_size=99))
    biased = LlamaForCausalLM(LlamaConfig(**small, num_attention_heads=2, mlp_bias=True))
    for model, reason in ((gpt2, "without a gate"), (biased, "without a bias")):
        with (
            pytest.raises(UnsupportedError, match=reason),
            ContextualSparsity().apply(target_of(model)),
        ):
            pytest.fail("it was applied")


def test_quantised_rows_are_unsupported(tiny_llama: ModelFiles):
    techniques = [Int8WeightOnly(), ContextualSparsity()]
    with (
        pytest.raises(UnsupportedError, match=r"layers\.0\.mlp\.gate_proj is no linear layer of"),
        TransformersBackend().load(tiny_llama, techniques, CPU),
    ):
        pytest.fail("it loaded")


@pytest.mark.parametrize("technique", [ContextualSparsity(), Sirius()])
def test_layers_that_are_narrowed_afterwards_are_unsupported(technique, tiny_llama: ModelFiles):
    said = "has 96 neurons and had 128 .* Name contextual or sirius after what prunes"
    with (
        TransformersBackend().load(tiny_llama, [technique, PruneWidth(ratio=0.25)], CPU) as engine,
        pytest.raises(UnsupportedError, match=said),
    ):
        engine.generate([Request("a", TEXT, 8)])


@pytest.mark.parametrize("technique", [ContextualSparsity(), Sirius()])
@pytest.mark.parametrize("after", [Rtn(), Int8WeightOnly(), Float8(), RandomSharing()])
def test_layers_that_are_packed_or_factorised_afterwards_are_unsupported(
    technique, after, tiny_llama: ModelFiles
):
    with (
        TransformersBackend().load(tiny_llama, [technique, after], CPU) as engine,
        pytest.raises(UnsupportedError, match="reads single rows of plain floats"),
    ):
        engine.generate([Request("a", TEXT, 8)])


def test_of_layers_that_were_narrowed_before_a_share_is_kept(tiny_llama: ModelFiles):
    techniques = [PruneWidth(ratio=0.25), ContextualSparsity(density=0.5)]
    with TransformersBackend().load(tiny_llama, techniques, CPU) as engine:
        (trace,) = engine.generate([Request("a", TEXT, 8)])
        layer = engine._target.model.model.layers[0].mlp
        assert layer.forward._kept == 48
    assert trace.output_tokens == 8


def test_a_layer_that_computes_something_else_is_unsupported():
    model = random_model("llama")
    layer = model.model.layers[0].mlp
    layer.register_forward_hook(lambda _, __, output: output * 2)
    with (
        pytest.raises(UnsupportedError, match="computes something else"),
        ContextualSparsity().apply(target_of(model)),
    ):
        pytest.fail("it was applied")


@pytest.mark.parametrize(
    ("make", "allowed"),
    [
        (lambda: ContextualSparsity(density=0.0), "above 0 and at most 1"),
        (lambda: ContextualSparsity(density=1.1), "above 0 and at most 1"),
        (lambda: ContextualSparsity(prefill="half"), "choose dense or sparse"),
    ],
)
def test_a_knob_out_of_range_names_what_is_allowed(make, allowed: str):
    with pytest.raises(ConfigError, match=allowed):
        make()
