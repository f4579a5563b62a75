"""Scores through a technique's own cache: what the model gives when it serves."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from random_models import random_model
from transformers.cache_utils import (
    Cache,
    DynamicCache,
    DynamicLayer,
    DynamicSlidingWindowLayer,
    StaticCache,
)

from leanboard.results.errors import ArmError
from leanboard.runners.backends.base import Span, in_order
from leanboard.runners.backends.torch_loading import TorchTarget
from leanboard.runners.backends.torch_scoring import SpanScorer

_RANDOM = random.Random(0)


def ids(count: int) -> tuple[int, ...]:
    return tuple(_RANDOM.randrange(3, 260) for _ in range(count))


class RoundedLayer(DynamicLayer):
    """Keeps keys and values in steps of a quarter, as a quantised cache would."""

    def update(self, key_states: Any, value_states: Any, *args: Any, **named: Any) -> Any:
        return super().update(
            (key_states * 4).round() / 4, (value_states * 4).round() / 4, *args, **named
        )


def rounded() -> Cache:
    return Cache(layers=[RoundedLayer(), RoundedLayer()])


def sliding() -> Cache:
    return Cache(layers=[DynamicSlidingWindowLayer(sliding_window=8) for _ in range(2)])


CACHES = pytest.mark.parametrize("new_cache", [rounded, sliding], ids=["rounded", "sliding"])
CONTEXT = ids(40)


def scorer(model: Any, new_cache: Callable[[], Cache] | None) -> SpanScorer:
    return SpanScorer(TorchTarget(model, lambda: model, new_cache=new_cache), max_length=512)


def generated(model: Any, new_cache: Callable[[], Cache]) -> tuple[tuple[int, ...], torch.Tensor]:
    """Return what generate answers through such a cache, and its log-probabilities."""
    output = model.generate(
        torch.tensor([CONTEXT]),
        past_key_values=new_cache(),
        max_new_tokens=12,
        do_sample=False,
        output_logits=True,
        return_dict_in_generate=True,
    )
    table = torch.cat(output.logits).float().log_softmax(-1)
    return tuple(output.sequences[0, len(CONTEXT) :].tolist()), table


@CACHES
def test_a_score_is_that_of_the_model_when_it_generates_through_the_cache(new_cache):
    model = random_model("llama")
    answer, table = generated(model, new_cache)
    other = (*answer[:5], (answer[5] + 1) % 264)
    ours = scorer(model, new_cache)
    served, changed = in_order(ours.scores([Span(CONTEXT, answer), Span(CONTEXT, other)]))
    expected = sum(float(table[n, token]) for n, token in enumerate(answer))
    assert served.loglikelihood == pytest.approx(expected, abs=1e-4)
    assert (served.is_greedy, changed.is_greedy) == (True, False)
    assert "as served" in ours.notes()[0]


@CACHES
def test_a_forward_of_the_whole_sequence_would_not_have_seen_the_cache(new_cache):
    model = random_model("llama")
    span = Span(CONTEXT, ids(12))
    (served,) = in_order(scorer(model, new_cache).scores([span]))
    (whole,) = in_order(scorer(model, None).scores([span]))
    assert abs(served.loglikelihood - whole.loglikelihood) > 0.1


@CACHES
def test_answers_of_one_question_do_not_see_each_other(new_cache):
    model = random_model("llama")
    spans = [Span(CONTEXT, ids(n)) for n in (7, 1, 12, 3)]
    together = in_order(scorer(model, new_cache).scores(spans))
    for span, score in zip(spans, together, strict=True):
        (alone,) = in_order(scorer(model, new_cache).scores([span]))
        assert score.loglikelihood == pytest.approx(alone.loglikelihood, abs=1e-5)


@CACHES
def test_log_probabilities_go_through_the_cache_too(new_cache):
    model = random_model("llama")
    answer, table = generated(model, new_cache)
    found = scorer(model, new_cache).log_probabilities(Span(CONTEXT, answer))
    np.testing.assert_allclose(found, table.numpy(), atol=1e-4)


def test_a_cache_that_drops_nothing_gives_the_scores_of_whole_sequences():
    model = random_model("gemma3")
    spans = [Span(ids(n), ids(9)) for n in (3, 30, 60)]
    expected = [s.loglikelihood for s in in_order(scorer(model, None).scores(spans))]

    def static() -> Cache:
        return StaticCache(config=model.config, max_cache_len=128)

    for new_cache in (DynamicCache, lambda: DynamicCache(config=model.config), static):
        found = in_order(scorer(model, new_cache).scores(spans))
        assert [s.loglikelihood for s in found] == pytest.approx(expected, abs=1e-3)


def test_a_context_is_fed_once_for_all_of_its_answers_and_counted():
    ours = scorer(random_model("llama"), rounded)
    in_order(ours.scores([Span(CONTEXT, ids(n)) for n in (4, 4, 1)]))
    facts = {name: fact.value for name, fact in ours.facts().items()}
    assert facts == {"scored_tokens": 40 + 3 + 3, "scored_tokens_plain": 3 * 40 + 3 + 3}


def test_a_logit_that_is_not_finite_is_an_error_here_too():
    model = random_model("llama")
    with torch.no_grad():
        model.model.layers[0].self_attn.k_proj.weight[0, 0] = float("nan")
    with pytest.raises(ArmError, match=r"model\.layers\.0\.self_attn\.k_proj"):
        in_order(scorer(model, rounded).scores([Span(CONTEXT, ids(3))]))
