"""Scores of spans that begin alike: those of whole sequences, for fewer tokens."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from random_models import FAMILIES, WINDOW, random_model

from leanboard.results.errors import ArmError, OutOfMemoryError
from leanboard.runners.backends import torch_exactness, torch_prefix
from leanboard.runners.backends.base import Device, ModelFiles, Span, SpanScore, in_order
from leanboard.runners.backends.spans import fed
from leanboard.runners.backends.torch_batches import Room
from leanboard.runners.backends.torch_exactness import why_not_shared
from leanboard.runners.backends.torch_finite import first_not_finite
from leanboard.runners.backends.torch_loading import TorchTarget, load_tokenizer, torch_failures
from leanboard.runners.backends.torch_scoring import SpanScorer
from leanboard.runners.backends.transformers import TransformersBackend
from leanboard.runners.techniques.quantization.int8_dynamic import Int8Dynamic
from leanboard.runners.techniques.quantization.int8_weight_only import Int8WeightOnly

_RANDOM = random.Random(0)


def ids(count: int) -> tuple[int, ...]:
    return tuple(_RANDOM.randrange(3, 260) for _ in range(count))


def choices(context: tuple[int, ...], *lengths: int) -> list[Span]:
    return [Span(context, ids(n)) for n in lengths]


def every_kind_of_spans() -> list[Span]:
    """Return spans for which a plan has trunks, stems, trees and chains, also in one batch."""
    examples, sentence, answer, start = ids(200), ids(12), ids(6), ids(2)
    spans = [s for n in (2, 9, 25, 39) for s in choices(ids(n), 1, 4, 11, 19)]
    spans += [Span(spans[0].context, start + ids(3)), Span(spans[0].context, start + ids(5))]
    spans += [s for n in (5, 17, 30) for s in choices(examples + ids(n), 1, 1, 1, 1)]
    spans += [s for n in (6, 21, 28) for s in choices(examples + ids(n), 3, 3, 2)]
    spans += [s for n in (300, 317, 330) for s in choices(ids(n), 4, 2)]
    spans += [s for n in (302, 310) for s in choices(examples + ids(n), 4, 2)]
    spans += [Span(sentence + ids(2), answer), Span(sentence + ids(3), answer)]
    return [*spans, Span(ids(1), ids(80)), spans[3]]


SPANS = every_kind_of_spans()


def scorer(model: Any, **settings: Any) -> SpanScorer:
    return SpanScorer(TorchTarget(model, lambda: model), max_length=1024, **settings)


def scores(model: Any, spans: list[Span], **settings: Any) -> list[SpanScore]:
    return in_order(scorer(model, **settings).scores(spans))


def log_softmax(model: Any, span: Span) -> torch.Tensor:
    """Return (tokens, vocabulary) by a plain forward of the whole sequence."""
    with torch.no_grad():
        logits = model(torch.tensor([fed(span)])).logits[0]
    return logits[len(span.context) - 1 :].float().log_softmax(-1)


def plain(model: Any, span: Span) -> float:
    table = log_softmax(model, span)
    return float(sum(table[n, token] for n, token in enumerate(span.continuation)))


@pytest.mark.parametrize("family", FAMILIES)
def test_shared_prefixes_score_as_lm_evaluation_harness_does(family: str, tiny_llama: ModelFiles):
    from lm_eval.models.huggingface import HFLM

    model = random_model(family)
    tokenizer = load_tokenizer(tiny_llama)
    harness = HFLM(pretrained=model, tokenizer=tokenizer, backend="causal", batch_size=4)
    expected = harness._loglikelihood_tokens(
        [(("", ""), list(span.context), list(span.continuation)) for span in SPANS],
        disable_tqdm=True,
    )
    ours = scorer(model)
    for score, (loglikelihood, greedy) in zip(in_order(ours.scores(SPANS)), expected, strict=True):
        assert score.loglikelihood == pytest.approx(loglikelihood, abs=1e-3)
        assert score.is_greedy == greedy
    assert ours.notes() == ()


@pytest.mark.parametrize("family", FAMILIES)
def test_tails_run_together_though_their_stems_are_fed_apart(family: str):
    model, spans = random_model(family), [s for s in SPANS if len(s.context) > 256]
    ours = scorer(model)
    ours._runner.room = Room(400, 256 * 2**20)
    fed_at_once = []
    hook = model.get_input_embeddings().register_forward_hook(
        lambda module, given, output: fed_at_once.append(tuple(output.shape[:2]))
    )
    found = in_order(ours.scores(spans))
    hook.remove()
    assert any(rows == 1 and tokens > 256 for rows, tokens in fed_at_once)
    assert any(rows > 1 and tokens < 50 for rows, tokens in fed_at_once)
    for span, score in zip(spans, found, strict=True):
        assert score.loglikelihood == pytest.approx(plain(model, span), abs=1e-3)
    assert ours.notes() == ()


def test_the_spans_of_these_tests_reach_far_beyond_a_sliding_window():
    assert sum(len(fed(span)) > 2 * WINDOW for span in SPANS) > len(SPANS) // 2


def test_what_was_fed_is_counted_beside_what_all_spans_alone_would_feed():
    ours = scorer(random_model("llama"))
    assert ours.facts() == {}
    questions = [ids(60) for _ in range(20)]
    in_order(ours.scores([Span(q, (first, *ids(4))) for q in questions for first in range(3, 7)]))
    facts = {name: fact.value for name, fact in ours.facts().items()}
    # By hand: a context and four times four tokens; the check scores two spans alone.
    assert facts["scored_tokens"] == 20 * (60 + 4 * 4) + 2 * 64
    assert facts["scored_tokens_plain"] == 20 * 4 * 64


def test_the_greedy_answer_is_told_from_one_that_is_not_in_a_shared_row():
    model = random_model("llama")
    context = ids(30)
    output = model.generate(torch.tensor([context]), max_new_tokens=6, do_sample=False)
    greedy = tuple(output[0, 30:].tolist())
    other = (*greedy[:-1], (greedy[-1] + 1) % 264)
    spans = [Span(context, greedy), Span(context, other), Span(context, greedy[:3])]
    assert [score.is_greedy for score in scores(model, spans)] == [True, False, True]


def test_only_tokens_that_are_read_go_through_the_output_head():
    model = random_model("llama")
    seen = []
    hook = model.lm_head.register_forward_hook(
        lambda module, given, output: seen.append(output.shape[:-1].numel())
    )
    in_order(scorer(model).scores(choices(ids(40), 5, 5)))
    hook.remove()
    # The context's last token and four of each answer; then one span alone, to check.
    assert seen == [9, 5]


def test_scores_come_as_batches_are_done():
    model = random_model("llama")
    spans = [s for n in range(60) for s in choices(ids(100 + n), 9, 9)]
    forwards = []
    model.register_forward_hook(lambda *_: forwards.append(1))
    stream = scorer(model).scores(spans)
    next(stream)
    before = len(forwards)
    list(stream)
    assert before < len(forwards) / 2


def test_a_technique_that_makes_reuse_inexact_is_scored_whole_and_it_is_said():
    model = random_model("llama")
    ours = scorer(model, shares_prefixes=False)
    found = in_order(ours.scores(SPANS))
    assert [s.loglikelihood for s in found] == pytest.approx(
        [plain(model, span) for span in SPANS], abs=1e-3
    )
    assert ours.notes() == ("scored whole: a technique makes reuse of prefixes inexact",)
    facts = {name: fact.value for name, fact in ours.facts().items()}
    assert facts["scored_tokens"] == facts["scored_tokens_plain"]


@contextmanager
def changed(model: Any, **swaps: Any) -> Iterator[None]:
    """Let a model's backbone see other inputs than it was given."""

    def swap(_: Any, args: tuple[Any, ...], given: dict[str, Any]) -> Any:
        return args, {name: swaps[name](v) if name in swaps else v for name, v in given.items()}

    hook = model.model.register_forward_pre_hook(swap, with_kwargs=True)
    try:
        yield
    finally:
        hook.remove()


def rounds_cache(cache: Any) -> Any:
    """Round what the cache holds before it is read, as a quantised cache would."""
    for layer in cache.layers if cache is not None else ():
        layer.keys = (layer.keys * 2).round() / 2
    return cache


def evicts_from_cache(cache: Any) -> Any:
    """Drop the oldest tokens of the cache: a mask for all of them then fits no more."""
    for layer in cache.layers if cache is not None else ():
        layer.keys, layer.values = layer.keys[..., 8:, :], layer.values[..., 8:, :]
    return cache


@pytest.mark.parametrize(
    "swaps",
    [
        {"attention_mask": lambda _: None},
        {"position_ids": lambda _: None},
        {"past_key_values": rounds_cache},
        {"past_key_values": evicts_from_cache},
    ],
    ids=["ignores the mask", "ignores positions", "rounds the cache", "evicts from it"],
)
def test_a_model_for_which_sharing_is_not_exact_is_found_out_and_scored_whole(swaps):
    model = random_model("llama")
    ours = scorer(model)
    with changed(model, **swaps):
        found = in_order(ours.scores(SPANS))
        (note,) = ours.notes()
    assert note.startswith("scored whole: ")
    assert [s.loglikelihood for s in found] == pytest.approx(
        [plain(model, span) for span in SPANS], abs=1e-3
    )


def test_what_was_exact_is_tried_once_for_a_model_and_again_where_it_reaches_further():
    ours = scorer(random_model("llama"))

    def fed_for(spans: list[Span]) -> float:
        before = ours.facts()["scored_tokens"].value if ours.facts() else 0
        in_order(ours.scores(spans))
        return ours.facts()["scored_tokens"].value - before

    # The context once, and at first a span alone to check.
    assert fed_for(choices(ids(50), 4, 4)) == 50 + 2 * 3 + 53
    assert fed_for(choices(ids(50), 4, 4)) == 50 + 2 * 3
    assert fed_for(choices(ids(40), 4, 4)) == 40 + 2 * 3
    assert fed_for(choices(ids(60), 4, 4)) == 60 + 2 * 3 + 63
    assert ours.notes() == ()


def test_what_is_exact_only_up_to_rounding_is_tried_with_every_list(monkeypatch):
    monkeypatch.setattr(torch_exactness, "LEAST_NATS", -1.0)
    monkeypatch.setattr(torch_exactness, "TIMES_NOISE", 1e9)
    ours = scorer(random_model("llama"))
    fed_before = 0.0
    for _ in range(2):
        in_order(ours.scores(choices(ids(50), 4, 4)))
        fed_now = ours.facts()["scored_tokens"].value
        assert fed_now - fed_before > 50 + 2 * 3
        fed_before = fed_now


def test_a_list_after_one_that_was_not_exact_is_tried_by_itself():
    model = random_model("llama")
    ours = scorer(model)
    with changed(model, attention_mask=lambda _: None):
        in_order(ours.scores(SPANS))
    assert len(ours.notes()) == 1
    before = ours.facts()["scored_tokens"].value
    in_order(ours.scores(choices(ids(50), 4, 4)))
    # The context once, and a span alone to check.
    assert ours.facts()["scored_tokens"].value - before == 50 + 2 * 3 + 53


def test_models_that_cannot_share_are_known_beforehand_with_the_reason():
    model = random_model("llama")
    assert why_not_shared(model) is None
    model.config._attn_implementation = "flash_attention_2"
    assert "flash_attention_2 takes no mask" in str(why_not_shared(model))
    other = random_model("gemma3")
    other.config.layer_types = ["linear_attention", "full_attention"]
    assert "linear_attention" in str(why_not_shared(other))


class Plain(torch.nn.Module):
    """A model of the old kind: it takes ids only, and computes every logit."""

    def __init__(self, inner: Any):
        super().__init__()
        self.inner, self.config = inner, inner.config

    def forward(self, input_ids, use_cache):
        return self.inner(input_ids=input_ids, use_cache=use_cache)


def test_a_model_that_takes_ids_only_is_scored_whole_with_the_same_scores():
    model = random_model("llama")
    ours = scorer(Plain(model))
    found = in_order(ours.scores(SPANS))
    assert [s.loglikelihood for s in found] == pytest.approx(
        [s.loglikelihood for s in scores(model, SPANS)], abs=1e-3
    )
    assert ours.notes() == ("scored whole: the model takes no attention_mask",)


@pytest.mark.parametrize("most_rows", [1, 2])
def test_a_batch_that_does_not_fit_into_memory_is_tried_in_smaller_ones(most_rows: int):
    model = random_model("llama")
    expected = scores(model, SPANS)
    refused = []

    def refuse(_: Any, __: Any, given: dict[str, Any]) -> None:
        if given["input_ids"].shape[0] > most_rows:
            refused.append(1)
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to ...")

    model.register_forward_pre_hook(refuse, with_kwargs=True)
    found = scores(model, SPANS)
    assert refused
    assert [s.loglikelihood for s in found] == pytest.approx(
        [s.loglikelihood for s in expected], abs=1e-4
    )


def test_a_single_row_that_does_not_fit_is_out_of_memory_and_no_other_error_is_swallowed():
    for text, expected in (("CUDA out of memory.", OutOfMemoryError), ("bad shape", ArmError)):
        model = random_model("llama")

        def refuse(*_: Any, text: str = text) -> None:
            raise RuntimeError(text)

        model.register_forward_pre_hook(refuse)
        with pytest.raises(ArmError) as caught, torch_failures("scoring"):
            scores(model, SPANS)
        assert type(caught.value) is expected


@pytest.mark.parametrize("family", ["llama", "gemma3"])
def test_log_probabilities_are_those_of_a_plain_forward(family: str):
    model = random_model(family)
    span = Span(ids(30), ids(90))
    ours = scorer(model)
    table = ours.log_probabilities(span)
    assert table.dtype == np.float32
    assert table.shape == (90, 264)
    np.testing.assert_allclose(table, log_softmax(model, span).numpy(), atol=1e-4)
    (score,) = in_order(ours.scores([span]))
    own = sum(float(table[n, token]) for n, token in enumerate(span.continuation))
    assert score.loglikelihood == pytest.approx(own, abs=1e-3)


def test_a_logit_that_is_not_finite_names_the_first_module_that_gave_one():
    model = random_model("llama")
    with torch.no_grad():
        model.model.layers[1].mlp.up_proj.weight[3, 4] = math.nan
    assert first_not_finite(model, ids(5)) == "model.layers.1.mlp.up_proj"
    for ask in (
        lambda: scores(model, SPANS),
        lambda: scores(model, SPANS[:1]),
        lambda: scorer(model).log_probabilities(SPANS[5]),
    ):
        with pytest.raises(ArmError, match=r"that of model\.layers\.1\.mlp\.up_proj\."):
            ask()


def test_an_overflow_in_the_output_head_is_named_too():
    model = random_model("llama")
    with torch.no_grad():
        model.lm_head.weight[7] = math.inf
    with pytest.raises(ArmError, match=r"that of lm_head\."):
        scores(model, SPANS)


def test_a_finite_model_has_no_module_to_name_and_hooks_are_gone():
    model = random_model("llama")
    assert first_not_finite(model, ids(5)) is None
    scores(model, SPANS)
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())


def test_a_span_that_does_not_fit_or_is_empty_is_refused_before_anything_is_fed():
    model = random_model("llama")
    model.register_forward_pre_hook(lambda *_: pytest.fail("it was fed"))
    for bad, said in (
        (Span(ids(1000), ids(26)), "1025 tokens does not fit the model's window of 1024"),
        (Span((), ids(3)), "at least one context"),
        (Span(ids(3), ()), "one continuation token"),
    ):
        with pytest.raises(ArmError, match=said):
            scores(model, [*SPANS, bad])
        with pytest.raises(ArmError, match=said):
            scorer(model).log_probabilities(bad)


def test_no_spans_are_no_scores():
    assert scores(random_model("llama"), []) == []


def shared_and_plain(model: Any, ours: SpanScorer) -> list[float]:
    """Return how far each score is from that of its span alone, for its length."""
    return [
        abs(score.loglikelihood - plain(model, span)) / math.sqrt(len(span.continuation))
        for span, score in zip(SPANS, in_order(ours.scores(SPANS)), strict=True)
    ]


@pytest.mark.parametrize(
    ("family", "step"),
    # Gemma's embeddings are scaled up, and with them bfloat16's own noise: on processors with
    # AVX512-BF16 a cache in eighths moves its scores by no more than another batch does.
    [("llama", 1 / 8), ("qwen3", 1 / 8), ("mistral-sliding", 1 / 8), ("gemma3", 2.0)],
)
def test_rounding_in_bfloat16_is_told_from_a_cache_that_is_rounded(family: str, step: float):
    model = random_model(family).to(torch.bfloat16)
    ours = scorer(model)
    sound = shared_and_plain(model, ours)
    assert ours.notes() == ()
    with changed(model, past_key_values=partial(rounded_to, step)):
        ours = scorer(model)
        found = shared_and_plain(model, ours)
    (note,) = ours.notes()
    assert note.startswith("scored whole: shared prefixes move a score by ")
    assert sum(found) <= sum(sound)


def rounded_to(step: float, cache: Any) -> Any:
    for layer in cache.layers if cache is not None else ():
        layer.keys = (layer.keys / step).round() * step
    return cache


@pytest.mark.parametrize("technique", [Int8Dynamic(), Int8WeightOnly()])
def test_activations_in_eight_bits_are_told_from_a_cache_that_is_rounded(
    technique: Any, tiny_llama: ModelFiles
):
    device = Device(kind="cpu", threads=1, reference_dtype="float32")
    with TransformersBackend().load(tiny_llama, [technique], device) as engine:
        model = engine._target.model
        spans = [s for s in SPANS if len(fed(s)) < 500]
        sound = scorer(model)
        in_order(sound.scores(spans))
        assert sound.notes() == ()
        with changed(model, past_key_values=rounds_cache):
            damaged = scorer(model)
            in_order(damaged.scores(spans))
        assert damaged.notes()[0].startswith("scored whole: shared prefixes move a score by ")


def window_ignored(model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the masks of trees see all that is before them, not 200 tokens."""
    model.config.sliding_window = 200
    for layer in model.model.layers:
        layer.self_attn.sliding_window = 200
    right = torch_prefix.tail_mask

    def wrong(model: Any, rows: Any, trunk: int) -> Any:
        model.config.sliding_window = 10**6
        try:
            return right(model, rows, trunk)
        finally:
            model.config.sliding_window = 200

    monkeypatch.setattr(torch_prefix, "tail_mask", wrong)


def test_a_mask_that_is_wrong_from_some_length_on_is_found_out_whatever_comes_first(monkeypatch):
    model = random_model("mistral-sliding")
    window_ignored(model, monkeypatch)
    # In the order of tokens, the short trunk comes first.
    spans = []
    for trunk in ((3, *ids(99)), (200, *ids(299))):
        for n in range(12):
            spans += choices(trunk + ids(10 + n), 3, 4, 5)
    ours = scorer(model)
    found = in_order(ours.scores(spans))
    (note,) = ours.notes()
    assert note.startswith("scored whole: ")
    assert "given before" not in note
    assert [s.loglikelihood for s in found] == pytest.approx(
        [plain(model, span) for span in spans], abs=1e-3
    )


def test_a_kind_is_tried_again_where_it_reaches_further_and_what_was_given_is_counted(monkeypatch):
    model = random_model("mistral-sliding")
    window_ignored(model, monkeypatch)
    # The larger tree runs first, and is not as deep; within 200 tokens nothing is wrong.
    wide, deep = choices(ids(80), *[20] * 22), choices(ids(250), 20, 20)
    ours = scorer(model)
    found = in_order(ours.scores([*deep, *wide]))
    (note,) = ours.notes()
    assert note.startswith("scored whole: ")
    assert note.endswith("; 22 scores, tried and given before, share prefixes")
    assert [s.loglikelihood for s in found] == pytest.approx(
        [plain(model, span) for span in [*deep, *wide]], abs=1e-3
    )


def test_rotary_embeddings_that_look_at_the_longest_row_are_scored_whole_and_side_by_side():
    model = long_rope_model()
    assert "depend on the longest row" in str(why_not_shared(model))
    spans = [s for n in range(6) for s in choices(ids(100 + 4 * n), 5, 40 if n % 2 else 6)]
    spans += [Span(ids(60 + 7 * n), ids(4)) for n in range(15)]
    lengths = [len(fed(span)) for span in spans]
    assert min(lengths) < 128 < max(lengths)
    for settings in ({}, {"shares_prefixes": False}):
        found = scores(model, spans, **settings)
        assert [s.loglikelihood for s in found] == pytest.approx(
            [plain(model, span) for span in spans], abs=1e-3
        )


def long_rope_model() -> Any:
    """Return a model whose frequencies are others in a forward of more than 128 positions."""
    from transformers import Phi3Config, Phi3ForCausalLM

    rope = {
        "rope_type": "longrope",
        "rope_theta": 10000.0,
        "short_factor": [1.0] * 8,
        "long_factor": [4.0] * 8,
        "original_max_position_embeddings": 128,
    }
    config = Phi3Config(
        vocab_size=264,
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=1024,
        initializer_range=0.25,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
        rope_parameters=rope,
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return Phi3ForCausalLM(config).eval()
