"""torch.compile: what is compiled when, what it counts, and that nothing of it stays."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from random_models import random_model
from torch._dynamo.callback import callback_handler
from torch._inductor import cpp_builder
from torch._inductor.exc import InvalidCxxCompiler

from leanboard.results.errors import ConfigError, UnsupportedError
from leanboard.runners.backends.base import Device, ModelFiles, Request, Span, in_order
from leanboard.runners.backends.torch_loading import TorchTarget
from leanboard.runners.backends.transformers import TransformersBackend
from leanboard.runners.techniques.quantization.rtn import Rtn
from leanboard.runners.techniques.runtime.compile_facts import counted_compilations
from leanboard.runners.techniques.runtime.torch_compile import TorchCompile

CPU = Device(kind="cpu", threads=1, reference_dtype="float32")
TEXT = "the rain in the main in the rain in the main"
TRACED = TorchCompile(backend="eager")


def values(facts: dict) -> dict[str, float]:
    return {name: fact.value for name, fact in facts.items()}


@pytest.mark.parametrize(
    "knobs",
    [
        {"backend": "inductor", "mode": "max-autotune-no-cudagraphs", "dynamic": False},
        {"backend": "aot_eager", "mode": "default", "dynamic": True},
    ],
)
def test_the_knobs_are_what_torch_compiles_the_decoder_with(
    knobs: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[torch.nn.Module, dict[str, Any]]] = []

    def noted(module: torch.nn.Module, **options: Any) -> None:
        asked.append((module, options))

    monkeypatch.setattr(cpp_builder, "get_cpp_compiler", lambda: "g++")
    monkeypatch.setattr(torch.nn.Module, "compile", noted)
    model = random_model("llama")
    with TorchCompile(**knobs).apply(TorchTarget(model, lambda: model)):
        assert asked == [(model.model, knobs)]


def test_compiling_is_part_of_the_load_and_timed_answers_compile_nothing(tiny_llama: ModelFiles):
    with TransformersBackend().load(tiny_llama, [], CPU) as engine:
        (plain,) = engine.generate([Request("a", TEXT, 30)])
    with TransformersBackend().load(tiny_llama, [TRACED], CPU) as engine:
        facts = values(engine.facts())
        (trace,) = engine.generate([Request("a", TEXT, 30)])
        engine.generate([Request("a", "another prompt of another length", 12)])
        after = values(engine.facts())
    assert facts["compile_s"] > 0
    assert 1 <= facts["compilations"] <= 4
    assert after["recompilations"] == after["recompile_s"] == 0
    assert after["compile_s"] == facts["compile_s"]
    assert trace.output_ids == plain.output_ids


def test_what_is_compiled_later_is_counted_apart(tiny_llama: ModelFiles):
    with TransformersBackend().load(tiny_llama, [TRACED], CPU) as engine:
        before = values(engine.facts())
        engine.generate([Request("a", TEXT, 4), Request("b", "a", 4)])
        after = values(engine.facts())
    assert before["recompilations"] == 0
    assert after["recompilations"] >= 1
    assert after["recompile_s"] > 0
    assert after["compile_s"] == before["compile_s"]


def test_scores_are_those_of_the_plain_model_but_for_rounding(tiny_llama: ModelFiles):
    spans = [Span((5, 6, 7, 8), (9, 10, 11)), Span((5, 6, 7), (9, 10)), Span((40, 41), (42,))]
    with TransformersBackend().load(tiny_llama, [], CPU) as engine:
        expected = in_order(engine.loglikelihood(spans))
    with TransformersBackend().load(tiny_llama, [TRACED], CPU) as engine:
        found = in_order(engine.loglikelihood(spans))
    for score, other in zip(found, expected, strict=True):
        assert score.loglikelihood == pytest.approx(other.loglikelihood, abs=1e-3)


@pytest.mark.parametrize("bits", [3, 8])
def test_packed_weights_are_expanded_in_compiled_code_too(bits: int, tiny_llama: ModelFiles):
    packed, ids = Rtn(bits=bits), torch.arange(3, 40)[None]
    found = []
    for techniques in ([packed], [packed, TRACED], [TRACED, packed]):
        with TransformersBackend().load(tiny_llama, techniques, CPU) as engine, torch.no_grad():
            found.append(engine._target.model(ids).logits)
    for logits in found[1:]:
        torch.testing.assert_close(logits, found[0], atol=1e-4, rtol=1e-4)


def test_nothing_of_the_compiled_code_stays():
    model = random_model("llama")
    target = TorchTarget(model, lambda: model)
    limit = torch._dynamo.config.recompile_limit
    with TRACED.apply(target):
        assert model.model._compiled_call_impl is not None
        assert torch._dynamo.config.recompile_limit != limit
    assert "_compiled_call_impl" not in vars(model.model)
    assert torch._dynamo.config.recompile_limit == limit
    assert not callback_handler.start_callbacks
    assert not callback_handler.end_callbacks
    assert target.facts == {}


def test_compilations_are_timed_before_and_after_the_warm_up():
    facts, now = {}, iter([10.0, 12.5, 20.0, 21.0, 30.0, 34.0])
    with counted_compilations(facts, lambda: next(now)) as compilations:
        for _ in range(2):
            callback_handler.run_start_callbacks(None)
            callback_handler.run_end_callbacks(None)
        compilations.warmed_up()
        assert values(facts) == {
            "compile_s": 3.5,
            "compilations": 2,
            "compile_cache_hits": 0,
            "recompile_s": 0,
            "recompilations": 0,
        }
        callback_handler.run_start_callbacks(None)
        callback_handler.run_end_callbacks(None)
        assert (facts["recompile_s"].value, facts["recompilations"].value) == (4.0, 1)
        assert facts["compile_s"].value == 3.5
    assert facts == {}


def test_without_a_compiler_it_is_unsupported_with_the_next_step(monkeypatch):
    def missing() -> str:
        raise InvalidCxxCompiler

    monkeypatch.setattr(cpp_builder, "get_cpp_compiler", missing)
    model = random_model("llama")
    with (
        pytest.raises(UnsupportedError, match=r"install g\+\+"),
        TorchCompile().apply(TorchTarget(model, lambda: model)),
    ):
        pytest.fail("it was applied")


def test_cuda_graphs_are_unsupported_on_a_cpu():
    model = random_model("llama")
    with (
        pytest.raises(UnsupportedError, match="needs a GPU"),
        TorchCompile(mode="max-autotune").apply(TorchTarget(model, lambda: model)),
    ):
        pytest.fail("it was applied")


def test_what_torch_refuses_is_unsupported_in_its_words():
    model = random_model("llama")
    target = TorchTarget(model, lambda: model)

    def refuse(*_: object, **__: object) -> None:
        raise torch._dynamo.exc.InternalTorchDynamoError("it cannot be traced\nat all")

    model.model.layers[0].register_forward_hook(lambda *_: None)
    model.generate = refuse
    with (
        pytest.raises(UnsupportedError, match=r"refuses this model: it cannot be traced$"),
        TRACED.apply(target),
    ):
        pytest.fail("it was applied")
    assert "_compiled_call_impl" not in vars(model.model)


@pytest.mark.parametrize(
    ("make", "allowed"),
    [
        (lambda: TorchCompile(backend="tvm"), "inductor, aot_eager, eager"),
        (lambda: TorchCompile(mode="fast"), "default, reduce-overhead"),
    ],
)
def test_a_knob_out_of_range_names_what_is_allowed(make, allowed: str):
    with pytest.raises(ConfigError, match=allowed):
        make()
