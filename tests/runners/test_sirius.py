"""Sirius: sparse tokens are kept, corrected and rolled back as its source says, and timed so."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace

import pytest
import torch
from random_models import random_model
from transformers import DynamicCache

from leanboard.results.errors import ConfigError, UnsupportedError
from leanboard.runners import wire, worker
from leanboard.runners.backends.base import (
    Device,
    ModelFiles,
    Request,
    Span,
    UntilRequest,
    in_order,
)
from leanboard.runners.backends.torch_loading import TorchTarget
from leanboard.runners.backends.transformers import TransformersBackend
from leanboard.runners.techniques.sparsity.contextual import ContextualSparsity
from leanboard.runners.techniques.sparsity.sirius import Sirius

CPU = Device(kind="cpu", threads=1, reference_dtype="float32")
TEXT = "the rain in the main in the rain in the main"
PROMPT = torch.arange(3, 40)[None]


@contextmanager
def loaded(model: ModelFiles, *techniques) -> Iterator:
    with TransformersBackend().load(model, techniques, CPU) as engine:
        yield engine


@contextmanager
def corrected(model: torch.nn.Module, technique: Sirius) -> Iterator[dict]:
    """Yield the arguments with which a model generates."""
    target = TorchTarget(model=model, reload=lambda: model)
    with technique.apply(target):
        yield target.generation


def greedy(model: torch.nn.Module, prompt: torch.Tensor, tokens: int, **options):
    return model.generate(
        prompt, max_new_tokens=tokens, do_sample=False, return_dict_in_generate=True, **options
    )


def by_the_book(model, sparse, prompt: list[int], tokens: int, technique: Sirius) -> list[int]:
    """Sirius without a cache that is rolled back: every period starts from dense forwards.

    Args:
        model: the dense model.
        sparse: a copy of it with contextual sparsity.
        prompt: token ids.
        tokens: to answer.
        technique: its knobs.
    """

    def dense(text: list[int]) -> torch.Tensor:
        return model(torch.tensor([text])).logits[0]

    text = [*prompt, int(dense(prompt)[-1].argmax())]
    most = len(prompt) + tokens
    while len(text) < most:
        cache = model(torch.tensor([text[:-1]]), use_cache=True).past_key_values
        cache, draft = copy.deepcopy(cache), []
        for _ in range(min(technique.period - 1, most - len(text))):
            last = torch.tensor([[draft[-1] if draft else text[-1]]])
            logits = sparse(last, past_key_values=cache, use_cache=True).logits
            draft.append(int(logits[0, -1].argmax()))
        table = dense([*text, *draft])[len(text) - 1 :]
        likely = (table / 0.6).softmax(-1)
        kept = 0
        while kept < len(draft) and likely[kept, draft[kept]] >= technique.threshold:
            kept += 1
        text += [*draft[:kept], int(table[kept].argmax())]
    return text[len(prompt) : most]


@pytest.mark.parametrize("family", ["llama", "gemma3"])
@pytest.mark.parametrize(("period", "threshold"), [(5, 0.2), (4, 0.02), (7, 0.6)])
def test_answers_are_those_of_the_sources_rule(family: str, period: int, threshold: float):
    model, sparse = random_model(family, seed=1), random_model(family, seed=1)
    technique = Sirius(density=0.4, period=period, threshold=threshold)
    prompt = list(range(3, 12))
    with (
        torch.no_grad(),
        ContextualSparsity(density=0.4).apply(TorchTarget(sparse, lambda: sparse)),
    ):
        expected = by_the_book(model, sparse, prompt, 30, technique)
    plain = greedy(model, torch.tensor([prompt]), 30).sequences[0, 9:].tolist()
    with corrected(model, technique) as options:
        found = greedy(model, torch.tensor([prompt]), 30, **options).sequences[0, 9:].tolist()
    assert found == expected
    if family == "llama" and threshold < 0.5:
        assert found != plain, "nothing that the sparse model wrote was kept"


@pytest.mark.parametrize("family", ["llama", "gemma3", "mistral-sliding"])
@pytest.mark.parametrize("tokens", [1, 2, 16, 17, 45])
def test_a_threshold_of_one_gives_the_dense_models_tokens(family: str, tokens: int):
    model = random_model(family)
    for prompt in (PROMPT, torch.tensor([[7]])):
        expected = greedy(model, prompt, tokens).sequences
        technique = Sirius(density=0.1, period=8, threshold=1.0)
        with corrected(model, technique) as options:
            assert torch.equal(greedy(model, prompt, tokens, **options).sequences, expected)


def test_settled_keys_and_values_are_those_of_the_dense_model():
    model = random_model("llama")
    with corrected(model, Sirius(density=0.1, period=6, threshold=0.0)) as options:
        output = greedy(model, PROMPT, 31, **options)
    with torch.no_grad():
        dense = model(output.sequences, use_cache=True).past_key_values
    for ours, theirs in zip(output.past_key_values.layers, dense.layers, strict=True):
        held = ours.keys.shape[-2]
        assert held >= PROMPT.shape[1] + 30
        torch.testing.assert_close(ours.keys, theirs.keys[..., :held, :], atol=1e-3, rtol=1e-3)
        torch.testing.assert_close(ours.values, theirs.values[..., :held, :], atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize(("tokens", "forwards"), [(13, 4), (14, 5), (1, 1), (2, 2)])
def test_a_threshold_of_zero_corrects_keys_alone_and_takes_a_forward_a_period(
    tokens: int, forwards: int, tiny_llama: ModelFiles
):
    with loaded(tiny_llama, Sirius(density=0.1, period=4, threshold=0.0)) as engine:
        (trace,) = engine.generate([Request("a", TEXT, tokens)])
    assert trace.target_forwards == forwards
    assert trace.drafted == trace.accepted
    # Every forward adds a token of its own, but for one that would be beyond the last.
    assert trace.output_tokens - trace.accepted in (forwards, forwards - 1)


def test_tokens_of_a_period_are_timed_together_when_they_are_kept(tiny_llama: ModelFiles):
    with loaded(tiny_llama, Sirius(density=0.2, period=5, threshold=0.3)) as engine:
        (trace,) = engine.generate([Request("a", TEXT, 40)])
    assert len(trace.token_s) == trace.output_tokens == 40
    assert len(set(trace.token_s)) == trace.target_forwards
    assert trace.token_s[0] < trace.token_s[1]
    assert trace.accepted < trace.drafted, "nothing was rolled back"
    assert trace.target_forwards > 1 + 39 / 5
    assert trace.output_tokens <= trace.accepted + trace.target_forwards


def test_an_open_answer_ends_where_the_dense_one_does(tiny_llama: ModelFiles):
    texts = (TEXT, "Question: how many?\nAnswer:", "a")
    with loaded(tiny_llama) as engine:
        prompts = [engine.encode(text) for text in texts]
        plain = engine._target.model
        first = greedy(plain, torch.tensor([prompts[0]]), 40).sequences[0, len(prompts[0]) :]
        said = engine.decode(first.tolist())
        stop = next(sign for sign in said[20:] if sign.isascii() and sign.isalnum())
        requests = [UntilRequest(prompt, 40, (stop,)) for prompt in prompts]
        expected = in_order(engine.generate_until(requests))
    with loaded(tiny_llama, Sirius(density=0.2, threshold=1.0)) as engine:
        assert in_order(engine.generate_until(requests)) == expected
    assert "stop" in {answer.ended for answer in expected}


def test_a_token_that_ends_the_text_ends_the_period():
    model = random_model("llama")
    answer = greedy(model, PROMPT, 30).sequences[0, PROMPT.shape[1] :].tolist()
    for end in (answer[0], answer[11], answer[20]):
        expected = greedy(model, PROMPT, 30, eos_token_id=end).sequences
        with corrected(model, Sirius(density=0.9, period=8, threshold=1.0)) as options:
            found = greedy(model, PROMPT, 30, eos_token_id=end, **options).sequences
        assert torch.equal(found, expected)
    with corrected(model, Sirius(density=0.3, period=8, threshold=0.0)) as options:
        free = greedy(model, PROMPT, 30, **options).sequences[0, PROMPT.shape[1] :].tolist()
        end = free[12]
        cut = greedy(model, PROMPT, 30, eos_token_id=end, **options).sequences
    assert cut[0, PROMPT.shape[1] :].tolist() == free[: free.index(end) + 1]


def test_likelihoods_are_refused_and_answers_still_given(tiny_llama: ModelFiles):
    span = Span((5, 6, 7, 8), (9, 10, 11, 12))
    with loaded(tiny_llama, Sirius(density=0.3)) as engine:
        with pytest.raises(UnsupportedError, match="technique=contextual for the sparse model"):
            in_order(engine.loglikelihood([span]))
        with pytest.raises(UnsupportedError, match=r"score generated answers \(gsm8k\)"):
            engine.log_probabilities(span)
        (answer,) = in_order(engine.generate_until([UntilRequest(span.context, 6, ())]))
        assert engine.notes() == ()
    assert answer.output_ids


def test_a_refusal_ends_one_piece_of_work_of_a_process_and_not_the_next(tiny_llama: ModelFiles):
    span = Span((5, 6, 7, 8), (9, 10))
    scored = {"op": "loglikelihood", **wire.spans_to_wire([span])}
    predicted = {"op": "predict", **wire.spans_to_wire([span]), "keep": None, "against": None}
    answered = {"op": "generate_until", "requests": [[span.context, 6, []]]}
    with loaded(tiny_llama, Sirius(density=0.3)) as engine:
        session = worker.Session()
        session._engine = engine
        for refused in (scored, predicted):
            assert worker.answer(session, refused)["ok"]
            reply = worker.answer(session, {"op": "more"})
            assert isinstance(wire.error_from(reply), UnsupportedError)
        assert worker.answer(session, answered)["ok"]
        reply = worker.answer(session, {"op": "more"})
    assert reply["ok"]
    assert len(reply["items"]) == 1


def test_what_is_told_of_a_model_is_taken_back():
    model = random_model("llama")
    target = TorchTarget(model, lambda: model)
    with Sirius().apply(target):
        assert target.facts["work_varies"].value == 1
        assert target.no_likelihoods is not None
        assert target.new_cache is None
    assert (target.no_likelihoods, target.facts, target.generation) == (None, {}, {})
    assert not model._forward_pre_hooks


def test_several_requests_together_are_unsupported(tiny_llama: ModelFiles):
    with (
        loaded(tiny_llama, Sirius()) as engine,
        pytest.raises(UnsupportedError, match="one request at a time"),
    ):
        engine.generate([Request("a", TEXT, 4), Request("b", TEXT, 4)])


@pytest.mark.parametrize(
    "options", [{"prompt_lookup_num_tokens": 3}, {"cache_implementation": "static"}]
)
def test_another_way_to_generate_is_unsupported(options: dict):
    model = random_model("llama")
    target = TorchTarget(model, lambda: model, generation=dict(options))
    with pytest.raises(UnsupportedError, match="Sirius"), Sirius().apply(target):
        pytest.fail("it was applied")
    assert target.generation == options


def test_a_failure_in_a_dense_forward_leaves_decoding_sparse():
    model = random_model("llama")
    with corrected(model, Sirius(density=0.1)) as options:
        loop = options["custom_generate"]
        cache = DynamicCache(config=model.config)
        with pytest.raises(TypeError):
            loop(
                model,
                PROMPT,
                logits_processor=[None],
                stopping_criteria=[],
                generation_config=SimpleNamespace(_eos_token_tensor=None),
                past_key_values=cache,
            )
        assert not loop._sparse.paused


@pytest.mark.parametrize(
    ("make", "allowed"),
    [
        (lambda: Sirius(density=0), "above 0 and at most 1"),
        (lambda: Sirius(period=1), "period=1 must be 2 or more"),
        (lambda: Sirius(threshold=-0.1), "between 0 and 1"),
        (lambda: Sirius(threshold=2), "between 0 and 1"),
    ],
)
def test_a_knob_out_of_range_names_what_is_allowed(make, allowed: str):
    with pytest.raises(ConfigError, match=allowed):
        make()
