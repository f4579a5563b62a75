"""Open answers of the torch engine: lm-eval's own, whatever a technique does to generating."""

from __future__ import annotations

import itertools
import json
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import DynamicCache

from leanboard.results.errors import ArmError
from leanboard.runners.backends.base import (
    Device,
    ModelFiles,
    UntilAnswer,
    UntilRequest,
    in_order,
)
from leanboard.runners.backends.torch_engine import TransformersEngine
from leanboard.runners.backends.torch_until import end_tokens
from leanboard.runners.backends.transformers import TransformersBackend
from leanboard.runners.techniques.base import Technique
from leanboard.runners.techniques.cache.static_cache import StaticCache
from leanboard.runners.techniques.decoding.prompt_lookup import PromptLookup
from leanboard.runners.techniques.formats.bf16 import BFloat16

CPU = Device(kind="cpu", threads=1, reference_dtype="float32")
TEXTS = (
    "the rain in the main in the rain in the main",
    "The quick brown fox jumps over the lazy dog",
    "a",
    "Question: how many?\nAnswer:",
    "in the beginning there were ducks; é ü",
)


@contextmanager
def loaded(model: ModelFiles, *techniques: Technique) -> Iterator[TransformersEngine]:
    with TransformersBackend().load(model, techniques, CPU) as engine:
        yield engine


@pytest.fixture
def engine(tiny_llama: ModelFiles) -> Iterator[TransformersEngine]:
    with loaded(tiny_llama) as found:
        yield found


def requests_of(
    engine: TransformersEngine, stops: Sequence[str] = (), most: int = 30
) -> list[UntilRequest]:
    return [UntilRequest(engine.encode(text), most, tuple(stops)) for text in TEXTS]


def answers(engine: TransformersEngine, requests: Sequence[UntilRequest]) -> list[UntilAnswer]:
    return in_order(engine.generate_until(requests))


@pytest.fixture
def calls(engine: TransformersEngine, monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    return watched(engine, monkeypatch)


def watched(engine: TransformersEngine, monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Return the list in which every ``generate`` call leaves its arguments."""
    seen: list[dict[str, Any]] = []
    model = engine._target.model
    whole = model.generate

    def noting(inputs: torch.Tensor, **arguments: Any) -> Any:
        seen.append({"rows": len(inputs), **arguments})
        return whole(inputs, **arguments)

    monkeypatch.setattr(model, "generate", noting)
    return seen


def common_text(found: Sequence[UntilAnswer]) -> tuple[str, str]:
    """Return two texts that end most answers: inside one, and from one token into the next."""
    pieces = [answer.text[n : n + 2] for answer in found for n in range(4, 20)]
    printable = sorted({piece for piece in pieces if piece.isascii() and len(piece) == 2})
    return printable[0], printable[-1]


def test_texts_are_those_of_lm_evaluation_harness(engine):
    from lm_eval.api.instance import Instance
    from lm_eval.models.huggingface import HFLM

    harness = HFLM(
        pretrained=engine._target.model,
        tokenizer=engine._tokenizer,
        backend="causal",
        batch_size=1,
    )
    free = answers(engine, requests_of(engine))
    for stops in ([], list(common_text(free)), ["\n", "the", free[0].text[9]]):
        asked = [
            Instance("generate_until", {}, (text, {"until": stops, "max_gen_toks": 30}), i)
            for i, text in enumerate(TEXTS)
        ]
        expected = harness.generate_until(asked, disable_tqdm=True)
        found = answers(engine, requests_of(engine, stops))
        assert [answer.text for answer in found] == expected
        assert {answer.ended for answer in found} >= ({"stop"} if stops else {"length"})


def test_a_stop_from_one_token_into_the_next_ends_the_answer_there(engine):
    pieces = {token: engine.decode([token]) for token in range(engine.vocabulary.size)}
    ended = 0
    for request, free in zip(
        requests_of(engine), answers(engine, requests_of(engine)), strict=True
    ):
        for one, two in itertools.pairwise(free.output_ids):
            stop = pieces[one][-1] + pieces[two][0]
            if not stop.isascii() or pieces[one] == "</s>":
                continue
            (found,) = answers(engine, [replace(request, stops=(stop,))])
            assert found.text == free.text[: free.text.index(stop)]
            assert found.output_ids == free.output_ids[: len(found.output_ids)]
            assert stop in engine.decode(found.output_ids)
            assert stop not in engine.decode(found.output_ids[:-1])
            assert found.ended == "stop"
            ended += 1
    assert ended > 5


def test_the_end_of_text_ends_an_answer(engine):
    free = answers(engine, requests_of(engine))
    whole = max(free, key=lambda answer: len(answer.text))
    end = next(t for t in whole.output_ids[4:] if engine.decode([t]).isascii())
    engine._target.model.config.eos_token_id = [2, end]
    found = answers(engine, requests_of(engine))[free.index(whole)]
    assert found.output_ids == whole.output_ids[: whole.output_ids.index(end) + 1]
    assert found.ended == "eot"
    assert engine.decode([end]) not in found.text


def test_ends_are_those_of_the_tokenizer_and_of_the_checkpoint(
    tiny_llama: ModelFiles, tmp_path: Path
):
    folder = tmp_path / "model"
    shutil.copytree(tiny_llama.folder, folder)
    (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": [2, 77]}))
    model = ModelFiles(
        "ends", "0", folder, None, tmp_path / "gguf", "random", tiny_llama.parameters
    )
    with loaded(model) as engine:
        engine._target.model.config.eos_token_id = 55
        assert end_tokens(engine._target.model, engine._tokenizer) == {2, 55, 77}


def test_one_token_is_one_token(engine):
    assert [len(a.output_ids) for a in answers(engine, requests_of(engine, most=1))] == [1] * 5
    assert answers(engine, []) == []


def test_what_does_not_fit_the_window_is_refused_and_named(engine):
    fits = UntilRequest((5,) * 500, 12, ())
    assert len(answers(engine, [fits])[0].output_ids) == 12
    with pytest.raises(ArmError, match=r"Request 1: 500 prompt tokens and up to 13 .* of 512"):
        answers(engine, [fits, UntilRequest((5,) * 500, 13, ())])


def test_a_model_as_it_was_loaded_is_answered_without_generate(engine, calls):
    answers(engine, requests_of(engine))
    assert calls == []


@pytest.mark.parametrize(
    ("technique", "wanted", "rows"),
    [
        (StaticCache(), {"cache_implementation": "static", "disable_compile": True}, 5),
        (
            StaticCache(compile=True, max_cache_len=90),
            {"cache_implementation": "static", "disable_compile": False, "max_cache_len": 90},
            5,
        ),
        (
            PromptLookup(num_tokens=4, max_ngram_size=3),
            {"prompt_lookup_num_tokens": 4, "max_matching_ngram_size": 3},
            1,
        ),
    ],
)
def test_a_technique_s_arguments_reach_generate_and_the_answers_stay(
    tiny_llama: ModelFiles, monkeypatch, technique, wanted, rows
):
    with loaded(tiny_llama) as engine:
        stops = common_text(answers(engine, requests_of(engine)))
        expected = [answers(engine, requests_of(engine, stops, most)) for most in (1, 30)]
    with loaded(tiny_llama, technique) as changed:
        seen = watched(changed, monkeypatch)
        assert [answers(changed, requests_of(changed, stops, most)) for most in (1, 30)] == expected
    assert all(wanted.items() <= call.items() for call in seen)
    assert [call["rows"] for call in seen] == [rows] * (10 // rows)


def test_answers_of_different_length_do_not_share_a_static_cache(tiny_llama, engine, monkeypatch):
    prompts = [request.prompt for request in requests_of(engine)]
    requests = [UntilRequest(p, n, ()) for p, n in zip(prompts, (4, 4, 9, 4, 4), strict=True)]
    expected = answers(engine, requests)
    with loaded(tiny_llama, StaticCache()) as changed:
        seen = watched(changed, monkeypatch)
        assert answers(changed, requests) == expected
    assert sorted(call["max_new_tokens"] * call["rows"] for call in seen) == [9, 16]


def test_a_static_cache_that_does_not_fit_is_tried_with_fewer_rows(tiny_llama, engine, monkeypatch):
    expected = answers(engine, requests_of(engine))
    with loaded(tiny_llama, StaticCache()) as changed:
        model = changed._target.model
        whole = model.forward

        def small(input_ids, **others):
            if len(input_ids) > 2:
                raise RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory")
            return whole(input_ids, **others)

        monkeypatch.setattr(model, "forward", small)
        assert answers(changed, requests_of(changed)) == expected


def test_a_model_that_something_hooks_into_is_answered_by_generate(engine, calls):
    expected = answers(engine, requests_of(engine))
    layer = engine._target.model.model.layers[0]
    handle = layer.register_forward_hook(lambda *_: None)
    assert answers(engine, requests_of(engine)) == expected
    assert [call["rows"] for call in calls] == [1] * 5
    handle.remove()


def test_techniques_that_admit_no_reuse_are_answered_by_generate(engine, calls):
    expected = answers(engine, requests_of(engine))
    engine._target.new_cache = DynamicCache
    assert answers(engine, requests_of(engine)) == expected
    engine._target.new_cache = None
    apart = TransformersEngine(engine._target, engine._tokenizer, shares_prefixes=False)
    assert answers(apart, requests_of(engine)) == expected
    assert [call["rows"] for call in calls] == [1] * 10


def test_another_dtype_is_answered_in_that_dtype(tiny_llama: ModelFiles):
    with loaded(tiny_llama, BFloat16()) as engine:
        model = engine._target.model
        for request, answer in zip(
            requests_of(engine), answers(engine, requests_of(engine)), strict=True
        ):
            output = model.generate(
                torch.tensor([request.prompt]), max_new_tokens=1, do_sample=False
            )
            assert answer.output_ids[0] == int(output[0, -1])


@pytest.mark.parametrize("technique", [None, PromptLookup(), StaticCache()])
def test_logits_that_are_not_finite_are_an_error_with_request_and_step(
    tiny_llama: ModelFiles, technique, monkeypatch
):
    with loaded(tiny_llama, *([technique] if technique else [])) as engine:
        head = engine._target.model.lm_head
        whole = head.forward
        steps: list[int] = []

        def broken(hidden: torch.Tensor) -> torch.Tensor:
            steps.append(1)
            logits = whole(hidden)
            return logits * float("nan") if len(steps) > 4 else logits

        monkeypatch.setattr(head, "forward", broken)
        with pytest.raises(ArmError, match=r"Request 0: the logits after \d+ tokens of its answer"):
            answers(engine, requests_of(engine)[:1])
