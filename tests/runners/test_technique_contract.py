"""What every technique of the menu must keep to. A new YAML in suites/technique is picked up."""

from __future__ import annotations

import copy
import dataclasses
import importlib
import inspect
import itertools
import math
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from changed_models import changed
from hydra.utils import instantiate
from omegaconf import OmegaConf

import leanboard.suites
from leanboard.metrics.registry import METRICS
from leanboard.results.errors import ConfigError, UnsupportedError
from leanboard.runners.backends.base import Device, ModelFiles, Request, Span, in_order
from leanboard.runners.backends.torch_loading import TorchTarget, load_model
from leanboard.runners.backends.transformers import TransformersBackend
from leanboard.runners.launches import check_composition
from leanboard.runners.making import made_folder
from leanboard.runners.techniques.base import (
    FACTORS,
    FILE_TYPE,
    WEIGHT_FORMAT,
    LoadOptions,
    MadeTechnique,
    Technique,
)
from leanboard.runners.techniques.cache.static_cache import StaticCache
from leanboard.runners.techniques.decoding.prompt_lookup import PromptLookup
from leanboard.runners.techniques.formats.bf16 import BFloat16
from leanboard.runners.techniques.quantization.gguf import Gguf
from leanboard.runners.techniques.quantization.int8_dynamic import Int8Dynamic
from leanboard.runners.techniques.quantization.int8_weight_only import Int8WeightOnly

MENU = Path(inspect.getfile(leanboard.suites)).parent
SMALL: dict[str, dict[str, object]] = {
    "gptq": {"samples": 4, "tokens": 64},
    "mixed-hessian": {"max_kl": 0.5, "samples": 2, "tokens": 64},
    # Traced and not compiled to C++, which takes its time.
    "torch-compile": {"backend": "eager"},
    "block-influence": {"layers": 1, "samples": 8, "tokens": 32},
    "cfsp": {"samples": 8, "tokens": 32},
    "drop-layers": {"layers": 1},
    "heal": {"steps": 3, "batch": 2, "tokens": 32},
    "wanda": {"samples": 8, "tokens": 32},
    "cospadi": {"rounds": 2, "samples": 8, "tokens": 32},
    "maestro": {"steps": 2, "samples": 4, "tokens": 32},
    "soft-prompt": {"prompt_tokens": 4, "steps": 2, "batch": 1, "tokens": 16},
    "whitened-svd": {"samples": 8, "tokens": 32},
}
"""Knobs for the random Llama, whose rows are 64 and 128 wide, where the menu's do not fit it."""
CURVES: dict[str, tuple[str, tuple[object, ...], str]] = {
    "block-influence": ("layers", (3, 2, 1), "weight_bytes"),
    "cfsp": ("ratio", (0.75, 0.5, 0.25), "weight_bytes"),
    "contextual": ("density", (0.2, 0.5, 1.0), "active_ffn_share"),
    "cospadi": ("kept", (0.3, 0.5, 0.8), "weight_bytes"),
    "drop-layers": ("layers", (3, 2, 1), "weight_bytes"),
    "fp8": ("group", (64, 32, 16), "weight_bytes"),
    "gptq": ("bits", (2, 3, 4, 8), "weight_bits"),
    "maestro": ("kept", (0.4, 0.6, 0.9), "weight_bytes"),
    "mask-weights": ("sparsity", (0.75, 0.5, 0.25), "kept_share"),
    "minifloat": ("format", ("e2m1", "int6", "e4m3"), "simulated_weight_bits"),
    "mixed-hessian": ("max_kl", (2.0, 0.5, 0.1), "weight_bits"),
    "mixed-ilp": ("average_bits", (2.5, 3.0, 5.5), "weight_bits"),
    "prune-width": ("ratio", (0.75, 0.5, 0.25), "weight_bytes"),
    "random-sharing": ("kept", (0.3, 0.5, 0.8), "weight_bytes"),
    "rtn": ("bits", (2, 3, 5, 8), "weight_bits"),
    "sirius": ("density", (0.2, 0.5, 1.0), "active_ffn_share"),
    "soft-prompt": ("prompt_tokens", (2, 4, 8), "prompt_bytes"),
    "svd": ("kept", (0.3, 0.5, 0.8), "weight_bytes"),
    "wanda": ("sparsity", (0.75, 0.5, 0.25), "kept_share"),
    "whitened-svd": ("kept", (0.3, 0.5, 0.8), "weight_bytes"),
    "bnb-nf4": ("block_size", (64, 32), "weight_bits"),
    "hqq": ("bits", (2, 3, 4, 8), "weight_bits"),
    "quanto": ("bits", (2, 4, 8), "weight_bits"),
}
"""Techniques with a knob, its values, and the fact that rises with each of them."""
YAMLS = {path.stem: path for path in sorted((MENU / "technique").glob("*.yaml"))}
NAMES = [name for name in YAMLS if name != "none"]
BACKENDS = {path.stem for path in (MENU / "backend").glob("*.yaml")} | {"llamacpp"}
CPU = Device(kind="cpu", threads=1, reference_dtype="float32")
TEXT = "the rain in the main in the rain in the main"


def technique(name: str):
    return instantiate(OmegaConf.load(YAMLS[name]), **SMALL.get(name, {}))


def on_torch() -> list[str]:
    return [name for name in NAMES if "transformers" in technique(name).backends]


def not_on_torch() -> list[str]:
    return [name for name in NAMES if "transformers" not in technique(name).backends]


def target_for(model: ModelFiles, made: Technique | None) -> TorchTarget:
    """Return the model as a technique finds it, with what the technique makes before."""
    dtype = (made.load_options().dtype if made is not None else None) or "float32"

    def read():
        return load_model(model, dtype=dtype, device="cpu", attention="sdpa")

    target = TorchTarget(model=read(), reload=read)
    if isinstance(made, MadeTechnique):
        prepare(model, [made])
        target.made = made_folder(model, [made], dtype, CPU)
    return target


def prepare(model: ModelFiles, techniques: list) -> None:
    """Make what the techniques read, in this process."""
    assert all(TransformersBackend().make(model, techniques, CPU))


def check_together(techniques: dict[str, Technique]) -> None:
    """Check techniques as a run does before it starts an arm."""
    specs = [SimpleNamespace(name=name, build=partial(techniques.get, name)) for name in techniques]
    backend = min(next(iter(techniques.values())).backends)
    block = SimpleNamespace(spec=SimpleNamespace(backend_name=backend))
    check_composition(block, SimpleNamespace(spec=SimpleNamespace(techniques=specs)))


def logits(target: TorchTarget) -> torch.Tensor:
    with torch.no_grad():
        return target.model(torch.arange(3, 40)[None]).logits


def answers(model: ModelFiles, techniques: list, tokens: int = 24):
    prepare(model, techniques)
    with TransformersBackend().load(model, techniques, CPU) as engine:
        (trace,) = engine.generate([Request("a", TEXT, tokens)])
        ids = engine.encode(TEXT)
        refused = engine._target.no_likelihoods is not None
        spans = [Span(ids[:5], ids[5:]), Span(ids[:2], ids[2:4])]
        scores = [] if refused else in_order(engine.loglikelihood(spans))
        return trace, scores, {name: fact.value for name, fact in engine.facts().items()}


@pytest.mark.parametrize("name", list(YAMLS))
def test_a_yaml_says_what_it_is_and_how_to_run_it(name: str):
    lines = YAMLS[name].read_text().splitlines()
    comments = " ".join(line for line in lines if line.startswith("#"))
    option = "technique" if name == "none" else f"technique={name}"
    assert option in comments
    assert "leanboard run" in comments
    if name != "none":
        assert lines[0] == f"# @package technique.{name}"


@pytest.mark.parametrize("name", NAMES)
def test_a_yaml_gives_every_knob_the_default_of_its_dataclass(name: str):
    config = OmegaConf.to_container(OmegaConf.load(YAMLS[name]))
    module, _, cls = config.pop("_target_").rpartition(".")
    fields = dataclasses.fields(getattr(importlib.import_module(module), cls))
    assert set(config) == {field.name for field in fields}
    for field in fields:
        if field.default is not dataclasses.MISSING:
            assert config[field.name] == field.default


@pytest.mark.parametrize("name", NAMES)
def test_a_technique_is_a_frozen_dataclass_that_names_its_source(name: str):
    made = technique(name)
    assert dataclasses.is_dataclass(made)
    assert made.__dataclass_params__.frozen
    assert "Source: " in inspect.getdoc(type(made))
    assert type(made).__module__.startswith("leanboard.runners.techniques.")
    assert made == technique(name)


@pytest.mark.parametrize("name", NAMES)
def test_a_technique_declares_what_it_can_do(name: str):
    made = technique(name)
    assert isinstance(made.version, int)
    assert made.version >= 1
    assert made.backends
    assert made.backends <= BACKENDS
    assert made.exclusive in (None, FACTORS, FILE_TYPE, WEIGHT_FORMAT)
    assert isinstance(made.quantises, bool)
    assert isinstance(made.lossless, bool)
    assert isinstance(made.calibrated, bool)
    for declared in (made.backends, made.conflicts, made.simulates):
        assert isinstance(declared, frozenset)
    assert made.simulates <= {metric.name for metric in METRICS}
    assert isinstance(made.load_options(), LoadOptions)


@pytest.mark.parametrize("name", NAMES)
def test_conflicts_are_known_techniques_and_mutual(name: str):
    for other in technique(name).conflicts:
        assert other in NAMES
        assert name in technique(other).conflicts


def test_of_techniques_that_decide_the_same_one_is_applied():
    made = {name: technique(name) for name in NAMES}
    for name, other in itertools.combinations(NAMES, 2):
        two = {name: made[name], other: made[other]}
        same = made[name].exclusive is not None and made[name].exclusive == made[other].exclusive
        if same or other in made[name].conflicts:
            with pytest.raises(UnsupportedError, match=f"'{name}' cannot .* '{other}'"):
                check_together(two)
        elif made[name].backends == made[other].backends:
            check_together(two)


@pytest.mark.parametrize("name", on_torch())
def test_a_technique_gives_the_asked_length_and_finite_scores(name: str, tiny_llama: ModelFiles):
    trace, scores, facts = answers(tiny_llama, [technique(name)])
    assert trace.output_tokens == len(trace.token_s) == 24
    assert all(math.isfinite(score.loglikelihood) for score in scores)
    assert facts["weight_bytes"] > 0
    assert facts["kv_bytes"] > 0


@pytest.mark.parametrize("name", on_torch())
def test_a_technique_puts_everything_back(name: str, tiny_llama: ModelFiles):
    made = technique(name)
    target = target_for(tiny_llama, made)
    target.generation["use_cache"] = True
    state = {key: value.clone() for key, value in target.model.state_dict().items()}
    shown, settings = repr(target.model), copy.deepcopy(target.model.generation_config)
    precision = torch.get_float32_matmul_precision()
    before = logits(target)
    with made.apply(target):
        assert torch.isfinite(logits(target)).all()
    assert torch.equal(logits(target), before)
    assert target.generation == {"use_cache": True}
    assert repr(target.model) == shown
    assert target.model.generation_config.to_dict() == settings.to_dict()
    assert torch.get_float32_matmul_precision() == precision
    after = target.model.state_dict()
    assert after.keys() == state.keys()
    assert all(torch.equal(after[key], value) for key, value in state.items())


@pytest.mark.parametrize("name", on_torch())
def test_a_technique_puts_everything_back_after_a_failure(name: str, tiny_llama: ModelFiles):
    made = technique(name)
    target = target_for(tiny_llama, made)
    before = logits(target)
    with pytest.raises(ZeroDivisionError), made.apply(target):
        raise ZeroDivisionError
    assert torch.equal(logits(target), before)
    assert target.generation == {}
    assert (target.new_cache, target.notes, target.facts) == (None, [], {})


@pytest.mark.parametrize("name", on_torch())
def test_a_technique_changes_what_the_backend_runs(name: str, tiny_llama: ModelFiles):
    made = technique(name)
    target = target_for(tiny_llama, made)
    plain = target_for(tiny_llama, None)
    with made.apply(target):
        # What is only in decoding is not seen in the logits of a whole text.
        decodes = target.generation != {} or target.new_cache is not None
        compiled = "_compiled_call_impl" in vars(target.model.base_model)
        assert decodes or compiled or not torch.equal(logits(target), logits(plain))


@pytest.mark.parametrize("name", not_on_torch())
def test_a_technique_of_another_backend_is_unsupported_on_torch(name: str, tiny_llama: ModelFiles):
    with (
        pytest.raises(UnsupportedError, match=type(technique(name)).__name__),
        TransformersBackend().load(tiny_llama, [technique(name)], CPU),
    ):
        pytest.fail("it loaded")


@pytest.mark.parametrize("name", ["static-cache", "prompt-lookup"])
def test_lossless_techniques_give_the_baselines_tokens_and_scores(
    name: str, tiny_llama: ModelFiles
):
    plain, plain_scores, plain_facts = answers(tiny_llama, [], tokens=60)
    trace, scores, facts = answers(tiny_llama, [technique(name)], tokens=60)
    assert trace.output_ids == plain.output_ids
    assert scores == plain_scores
    assert facts["weight_bytes"] == plain_facts["weight_bytes"]


def test_bfloat16_halves_the_weights_and_the_cache(tiny_llama: ModelFiles):
    _, _, plain = answers(tiny_llama, [])
    _, _, half = answers(tiny_llama, [BFloat16()])
    assert half["weight_bytes"] * 2 == plain["weight_bytes"]
    assert half["kv_bytes"] * 2 == plain["kv_bytes"]


@pytest.mark.parametrize("cls", [Int8WeightOnly, Int8Dynamic])
def test_int8_stores_a_byte_a_weight_and_a_scale_and_a_zero_point_a_row(
    cls, tiny_llama: ModelFiles
):
    _, scores, facts = answers(tiny_llama, [cls()])
    _, plain_scores, plain = answers(tiny_llama, [])
    weights = 2 * (64 * 64 * 2 + 64 * 32 * 2 + 3 * 64 * 128)
    rows = 2 * (64 + 32 + 32 + 64 + 128 + 128 + 64)
    assert facts["weight_bytes"] == plain["weight_bytes"] - 3 * weights + rows * (4 + 1)
    assert scores != plain_scores


@pytest.mark.parametrize("cls", [Int8WeightOnly, Int8Dynamic])
def test_int8_of_the_output_head_stores_it_beside_the_embedding(cls, tiny_llama: ModelFiles):
    _, _, without = answers(tiny_llama, [cls()])
    _, _, with_head = answers(tiny_llama, [cls(lm_head=True)])
    assert with_head["weight_bytes"] - without["weight_bytes"] == 264 * 64 + 264 * (4 + 1)
    target = target_for(tiny_llama, None)
    with cls(lm_head=True).apply(target):
        pass
    assert target.model.lm_head.weight is target.model.model.embed_tokens.weight


def test_int8_weights_are_the_nearest_of_255_levels_a_row(tiny_llama: ModelFiles):
    target = target_for(tiny_llama, None)
    weight = target.model.model.layers[0].mlp.up_proj.weight.detach().clone()
    with Int8WeightOnly().apply(target):
        stored = target.model.model.layers[0].mlp.up_proj.weight.dequantize()
    step = 2 * weight.abs().amax(dim=1, keepdim=True) / 255
    assert ((stored - weight).abs() <= step * 0.51).all()


@pytest.mark.parametrize("name", CURVES)
def test_a_knob_moves_what_it_should(name: str, tiny_llama: ModelFiles, tmp_path: Path):
    knob, values, fact = CURVES[name]
    knobs = SMALL.get(name, {})
    model = tiny_llama
    if knob == "layers":
        model = changed(tiny_llama, tmp_path, lambda _: None, layers=4)
    found = [
        answers(model, [instantiate(OmegaConf.load(YAMLS[name]), **knobs | {knob: value})])[2]
        for value in values
    ]
    assert [facts[fact] for facts in found] == sorted({facts[fact] for facts in found})


def test_techniques_compose(tiny_llama: ModelFiles):
    both = [BFloat16(), Int8WeightOnly(), StaticCache()]
    trace, _, facts = answers(tiny_llama, both)
    _, _, half = answers(tiny_llama, [BFloat16()])
    assert trace.output_tokens == 24
    assert facts["weight_bytes"] < half["weight_bytes"]


@pytest.mark.parametrize(
    ("make", "allowed"),
    [
        (lambda: Gguf(type="q7_9"), "q8_0, q6_k, q5_k_m, q5_1"),
        (lambda: PromptLookup(num_tokens=0), "num_tokens=0 must be 1 or more"),
        (lambda: PromptLookup(max_ngram_size=0), "max_ngram_size=0 must be 1 or more"),
        (lambda: StaticCache(max_cache_len=0), "must be null, or 1 or more"),
    ],
)
def test_a_knob_out_of_range_names_what_is_allowed(make, allowed: str):
    with pytest.raises(ConfigError, match=allowed):
        make()


def test_every_gguf_type_is_asked_of_the_backend():
    assert Gguf(type="q4_1").load_options() == LoadOptions(gguf_type="q4_1")
