"""Open answers from torch: batches whose rows come and go give what each request gives alone."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Sequence
from typing import Any

import pytest
import torch

from leanboard.results.errors import ArmError, OutOfMemoryError
from leanboard.runners.backends.base import (
    Device,
    ModelFiles,
    UntilAnswer,
    UntilRequest,
    in_order,
)
from leanboard.runners.backends.torch_continuous import ContinuousBatch, Limits
from leanboard.runners.backends.torch_growing_cache import windows_of
from leanboard.runners.backends.transformers import TransformersBackend
from leanboard.runners.backends.until import Answer

CPU = Device(kind="cpu", threads=1, reference_dtype="float32")
WIDE = Limits(cache_bytes=2**30, rows=64, prefill_tokens=64)
NARROW = Limits(cache_bytes=2**30, rows=3, prefill_tokens=16)
WINDOW = 9


def llama_config() -> Any:
    from transformers import LlamaConfig

    return LlamaConfig(
        vocab_size=264,
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=512,
        initializer_range=0.25,
    )


def gemma_config() -> Any:
    from transformers import Gemma3TextConfig

    return Gemma3TextConfig(
        vocab_size=264,
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=16,
        sliding_window=WINDOW,
        layer_types=["sliding_attention", "full_attention"],
        max_position_embeddings=512,
        initializer_range=0.25,
        # Tied, a random Gemma repeats its last token.
        tie_word_embeddings=False,
    )


def random_model(config: Any) -> Any:
    from transformers import AutoModelForCausalLM, GenerationConfig

    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = AutoModelForCausalLM.from_config(config, attn_implementation="sdpa").eval()
    model.generation_config = GenerationConfig(pad_token_id=0)
    return model


@pytest.fixture(scope="module", params=["llama", "gemma3"])
def model(request: pytest.FixtureRequest) -> Any:
    return random_model({"llama": llama_config, "gemma3": gemma_config}[request.param]())


@pytest.fixture
def engine(tiny_llama: ModelFiles):
    with TransformersBackend().load(tiny_llama, [], CPU) as loaded:
        yield loaded


def decode(ids: Sequence[int], *, special: bool) -> str:
    return "".join(f"{token} " for token in ids)


def prompts_of(lengths: Sequence[int], shared: int = 0) -> list[tuple[int, ...]]:
    draw = random.Random(7)
    first = [draw.randrange(3, 264) for _ in range(shared)]
    return [(*first, *(draw.randrange(3, 264) for _ in range(n))) for n in lengths]


def generated(model: Any, request: UntilRequest, ends: Sequence[int] = ()) -> UntilAnswer:
    """Return what ``generate`` gives this request alone, ended by the same rule."""
    output = model.generate(
        torch.tensor([request.prompt]),
        attention_mask=torch.ones(1, len(request.prompt), dtype=torch.long),
        max_new_tokens=request.max_tokens,
        do_sample=False,
    )
    answer = Answer(request, ends, decode)
    for token in output[0, len(request.prompt) :].tolist():
        if answer.add(token):
            break
    return answer.result()


def together(
    model: Any, requests: Sequence[UntilRequest], limits: Limits, ends: Sequence[int] = ()
) -> list[UntilAnswer]:
    windows = windows_of(model.config)
    assert windows is not None
    return in_order(ContinuousBatch(model, windows, limits, ends, decode).answer(requests))


@pytest.mark.parametrize("limits", [WIDE, NARROW])
@pytest.mark.parametrize("shared", [0, 1, 5, 40])
def test_answers_are_those_of_generate_one_by_one(model, limits, shared):
    lengths = [3, 30, 11, 1, 20, 8, 20, 2, 15]
    most = [12, 5, 30, 1, 9, 25, 14, 40, 3]
    requests = [
        UntilRequest(prompt, tokens, ())
        for prompt, tokens in zip(prompts_of(lengths, shared), most, strict=True)
    ]
    expected = [generated(model, request) for request in requests]
    assert together(model, requests, limits) == expected
    assert len({answer.output_ids[:1] for answer in expected}) > 3, "they should differ"


@pytest.mark.parametrize("limits", [WIDE, NARROW])
def test_rows_that_end_by_themselves_are_replaced_and_the_others_go_on(model, limits):
    prompts = prompts_of([3, 30, 11, 1, 20, 8, 20, 2, 15, 7, 7, 9])
    free = [generated(model, UntilRequest(prompt, 24, ())) for prompt in prompts]
    # Each answer is stopped by a token of its own, so that rows leave at different steps.
    requests = [
        UntilRequest(prompt, 24, (f"{answer.output_ids[3 + 2 * n % 17]} ",))
        for n, (prompt, answer) in enumerate(zip(prompts, free, strict=True))
    ]
    ends = [free[0].output_ids[5], free[4].output_ids[9]]
    expected = [generated(model, request, ends) for request in requests]
    assert {answer.ended for answer in expected} == {"stop", "eot"}
    assert len({len(answer.output_ids) for answer in expected}) > 4
    assert together(model, requests, limits, ends) == expected


def test_an_answer_is_given_as_soon_as_it_has_ended(model):
    prompts = prompts_of([5, 6, 7])
    requests = [UntilRequest(p, n, ()) for p, n in zip(prompts, (30, 2, 10), strict=True)]
    batch = ContinuousBatch(model, windows_of(model.config), WIDE, (), decode)
    assert [place for place, _ in batch.answer(requests)] == [1, 2, 0]


class Recorder:
    """Notes the shape of what goes through a model's forward; fails where it is told to."""

    def __init__(self, model: Any, most_rows: int = 10**6) -> None:
        self.shapes: list[tuple[int, int]] = []
        self.columns: list[int] = []
        self._forward = model.forward
        self._most_rows = most_rows

    def __call__(self, input_ids, **others):
        self.shapes.append(tuple(input_ids.shape))
        self.columns.append(others["past_key_values"].get_seq_length())
        output = self._forward(input_ids, **others)
        if input_ids.shape[0] > self._most_rows:
            raise RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory")
        return output


@pytest.fixture
def recorded(model, monkeypatch):
    def watch(most_rows: int = 10**6) -> Recorder:
        recorder = Recorder(model, most_rows)
        recorder.__signature__ = __import__("inspect").signature(model.forward)
        monkeypatch.setattr(model, "forward", recorder)
        return recorder

    return watch


def test_what_all_prompts_begin_with_is_read_once(model, recorded):
    requests = [UntilRequest(prompt, 1, ()) for prompt in prompts_of([4, 6, 5, 6], shared=40)]
    expected = [generated(model, request) for request in requests]
    recorder = recorded()
    assert together(model, requests, WIDE) == expected
    assert recorder.shapes == [(1, 40), (4, 6)]


@pytest.mark.parametrize("shared", [0, 200])
def test_long_prompts_are_read_in_parts(model, recorded, shared):
    requests = [UntilRequest(prompt, 3, ()) for prompt in prompts_of([100, 30, 20], shared)]
    expected = [generated(model, request) for request in requests]
    recorder = recorded()
    assert together(model, requests, WIDE) == expected
    assert max(rows * tokens for rows, tokens in recorder.shapes) <= WIDE.prefill_tokens
    assert recorder.shapes.count((1, 64)) == (1 if shared == 0 else 4)


def test_no_step_is_spent_on_a_row_that_has_ended(model, recorded):
    requests = [UntilRequest(p, n, ()) for n, p in enumerate(prompts_of([8] * 12), start=1)]
    recorder = recorded()
    answers = together(model, requests, WIDE)
    fed = sum(rows for rows, tokens in recorder.shapes if tokens == 1 and rows < 12)
    assert [len(answer.output_ids) for answer in answers] == list(range(1, 13))
    # Every token but the last of each answer is fed once; the first shape is the probe.
    assert fed == 1 + sum(n - 1 for n in range(1, 13))


def test_the_cache_s_bytes_bound_the_rows(model, recorded):
    requests = [UntilRequest(prompt, 10, ()) for prompt in prompts_of([20] * 8)]
    expected = [generated(model, request) for request in requests]
    bytes_a_token = 2 * 2 * 2 * 16 * 4
    recorder = recorded()
    limits = dataclasses.replace(WIDE, cache_bytes=4 * 30 * bytes_a_token + 1)
    assert together(model, requests, limits) == expected
    assert max(rows for rows, tokens in recorder.shapes if tokens == 1) == 4


def test_columns_that_are_left_behind_are_given_back(model, recorded, monkeypatch):
    monkeypatch.setattr("leanboard.runners.backends.torch_growing_cache.SPARE_COLUMNS", 7)
    lengths = [40, 40, *[6] * 20]
    requests = [UntilRequest(p, 12 + n % 5, ()) for n, p in enumerate(prompts_of(lengths))]
    expected = [generated(model, request) for request in requests]
    recorder = recorded()
    assert together(model, requests, NARROW) == expected
    assert max(recorder.columns[-20:]) <= 6 + 16


def test_running_out_of_memory_answers_fewer_at_once(model, recorded):
    requests = [UntilRequest(prompt, 9, ()) for prompt in prompts_of([5, 9, 6, 7, 8, 4, 5])]
    expected = [generated(model, request) for request in requests]
    recorder = recorded(most_rows=2)
    assert together(model, requests, WIDE) == expected
    assert max(rows for rows, _ in recorder.shapes) > 2


def test_one_request_that_does_not_fit_is_out_of_memory(model, recorded):
    recorded(most_rows=0)
    with pytest.raises(OutOfMemoryError):
        together(model, [UntilRequest((5, 6), 3, ())], WIDE)


def test_logits_that_are_not_finite_name_the_request_and_the_step(model, monkeypatch):
    requests = [UntilRequest(prompt, 9, ()) for prompt in prompts_of([5, 9, 6])]
    whole = model.forward
    steps = []

    def broken(input_ids, **others):
        output = whole(input_ids, **others)
        steps.append(len(input_ids))
        if len(steps) == 5:
            output.logits[1, -1, 3] = float("nan")
        return output

    broken.__signature__ = __import__("inspect").signature(whole)
    monkeypatch.setattr(model, "forward", broken)
    # Forward 1 is the probe, 2 reads the prompts (9, 6, 5 tokens), 3 and 4 are steps.
    with pytest.raises(ArmError, match="Request 2: the logits after 3 tokens of its answer"):
        together(model, requests, WIDE)


def test_layers_that_keep_more_than_keys_and_values_are_not_joined():
    config = llama_config()
    assert windows_of(config) == [None, None]
    assert windows_of(gemma_config()) == [WINDOW, None]
    config.rope_parameters = {"rope_type": "dynamic", "factor": 2.0, "rope_theta": 10000.0}
    assert windows_of(config) is None
    chunked = llama_config()
    chunked.attention_chunk_size = 8
    assert windows_of(chunked) is None
    from transformers import Lfm2Config

    hybrid = Lfm2Config(num_hidden_layers=2, layer_types=["conv", "full_attention"])
    assert windows_of(hybrid) is None
