"""What every technique of the menu must keep to. A new YAML in suites/technique is picked up."""

from __future__ import annotations

import copy
import dataclasses
import importlib
import inspect
import itertools
import math
from functools import cache, partial
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from changed_models import changed
from contract import (
    BACKENDS,
    CHECKS,
    CLAIMS,
    CURVES,
    ELSEWHERE,
    NAMES,
    NO_CURVE,
    TECHNIQUES,
    YAMLS,
    page,
    technique,
)
from omegaconf import OmegaConf
from torch.optim.optimizer import register_optimizer_step_post_hook

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

PAIRS = Path(__file__).with_name("test_technique_pairs.py")
CPU = Device(kind="cpu", threads=1, reference_dtype="float32")
TEXT = "the rain in the main in the rain in the main"


def checked(check: str) -> pytest.MarkDecorator:
    """Run a test on every technique that the table of docs/contract.md names for a check."""
    return pytest.mark.parametrize("name", CHECKS[check].names)


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


def answers(model: ModelFiles, techniques: list, tokens: int = 24, backend: str = "transformers"):
    """Return the trace of an answer, scores unless they are refused, and facts by name."""
    if backend == "transformers":
        prepare(model, techniques)
    with BACKENDS[backend].load(model, techniques, CPU) as engine:
        (trace,) = engine.generate([Request("a", TEXT, tokens)])
        ids = engine.encode(TEXT)
        target = getattr(engine, "_target", None)
        refused = target is not None and target.no_likelihoods is not None
        spans = [Span(ids[:5], ids[5:]), Span(ids[:2], ids[2:4])]
        scores = [] if refused else in_order(engine.loglikelihood(spans))
        return trace, scores, {name: fact.value for name, fact in engine.facts().items()}


@cache
def answered(model: ModelFiles, name: str | None, backend: str):
    """Return the answer of a technique of the menu, or of the baseline; nobody changes it."""
    return answers(model, [] if name is None else [TECHNIQUES[name]], backend=backend)


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
    made = TECHNIQUES[name]
    assert dataclasses.is_dataclass(made)
    assert made.__dataclass_params__.frozen
    assert "Source: " in inspect.getdoc(type(made))
    assert type(made).__module__.startswith("leanboard.runners.techniques.")
    assert made == technique(name)


@pytest.mark.parametrize("name", NAMES)
def test_a_technique_declares_what_it_can_do(name: str):
    made = TECHNIQUES[name]
    assert isinstance(made.version, int)
    assert made.version >= 1
    assert made.backends
    assert made.backends <= set(BACKENDS)
    assert made.exclusive in (None, FACTORS, FILE_TYPE, WEIGHT_FORMAT)
    assert isinstance(made.quantises, bool)
    assert isinstance(made.lossless, bool)
    assert isinstance(made.calibrated, bool)
    assert isinstance(made.trained, bool)
    for declared in (made.backends, made.conflicts, made.simulates):
        assert isinstance(declared, frozenset)
    assert made.simulates <= {metric.name for metric in METRICS}
    assert isinstance(made.load_options(), LoadOptions)


@pytest.mark.parametrize("name", NAMES)
def test_conflicts_are_known_techniques_and_mutual(name: str):
    for other in TECHNIQUES[name].conflicts:
        assert other in NAMES
        assert name in TECHNIQUES[other].conflicts


def test_of_techniques_that_decide_the_same_one_is_applied():
    made = TECHNIQUES
    for name, other in itertools.combinations(NAMES, 2):
        two = {name: made[name], other: made[other]}
        same = made[name].exclusive is not None and made[name].exclusive == made[other].exclusive
        if same or other in made[name].conflicts:
            with pytest.raises(UnsupportedError, match=f"'{name}' cannot .* '{other}'"):
                check_together(two)
        elif made[name].backends == made[other].backends:
            check_together(two)


@checked("answers")
def test_a_technique_gives_the_asked_length_and_finite_scores(name: str, tiny: ModelFiles):
    (backend,) = TECHNIQUES[name].backends
    trace, scores, facts = answered(tiny, name, backend)
    assert trace.output_tokens == len(trace.token_s) == 24
    assert all(math.isfinite(score.loglikelihood) for score in scores)
    assert facts["weight_bytes"] > 0
    assert facts["kv_bytes"] > 0


@checked("bytes")
def test_a_technique_stores_the_bytes_that_it_claims(name: str, tiny: ModelFiles):
    (backend,) = TECHNIQUES[name].backends
    plain = answered(tiny, None, backend)[2]["weight_bytes"]
    facts = answered(tiny, name, backend)[2]
    assert facts["weight_bytes"] == pytest.approx(CLAIMS[name].of(plain, facts), abs=1e-6)


@checked("trained")
def test_what_takes_gradient_steps_says_that_it_trains(
    name: str, tiny_llama: ModelFiles, tmp_path: Path
):
    steps: list[object] = []
    hook = register_optimizer_step_post_hook(lambda optimiser, *_: steps.append(optimiser))
    try:
        prepare(dataclasses.replace(tiny_llama, made=tmp_path), [TECHNIQUES[name]])
    finally:
        hook.remove()
    assert bool(steps) == TECHNIQUES[name].trained
    assert TECHNIQUES[name].calibrated or not steps


@checked("restored")
def test_a_technique_puts_everything_back(name: str, tiny_llama: ModelFiles):
    made = TECHNIQUES[name]
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


@checked("restored")
def test_a_technique_puts_everything_back_after_a_failure(name: str, tiny_llama: ModelFiles):
    made = TECHNIQUES[name]
    target = target_for(tiny_llama, made)
    before = logits(target)
    with pytest.raises(ZeroDivisionError), made.apply(target):
        raise ZeroDivisionError
    assert torch.equal(logits(target), before)
    assert target.generation == {}
    assert (target.new_cache, target.notes, target.facts) == (None, [], {})


@checked("changes")
def test_a_technique_changes_what_the_backend_runs(name: str, tiny_llama: ModelFiles):
    made = TECHNIQUES[name]
    target = target_for(tiny_llama, made)
    plain = target_for(tiny_llama, None)
    with made.apply(target):
        # What is only in decoding is not seen in the logits of a whole text.
        decodes = target.generation != {} or target.new_cache is not None
        compiled = "_compiled_call_impl" in vars(target.model.base_model)
        assert decodes or compiled or not torch.equal(logits(target), logits(plain))


@pytest.mark.parametrize(("name", "backend"), ELSEWHERE)
def test_a_backend_that_cannot_do_a_technique_says_so_before_it_reads_a_model(
    name: str, backend: str, tiny: ModelFiles, tmp_path: Path
):
    made = TECHNIQUES[name]
    nowhere = dataclasses.replace(
        tiny, folder=tmp_path / "no", gguf=tmp_path / "no.gguf", made=None, calibration=None
    )
    said = rf"Technique {type(made).__name__} cannot be done on backend {backend}; it runs on \w"
    with (
        pytest.raises(UnsupportedError, match=said),
        BACKENDS[backend].load(nowhere, [made], CPU),
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


@checked("knob")
def test_a_knob_moves_what_it_should(name: str, tiny: ModelFiles, tmp_path: Path):
    knob, values, fact = CURVES[name]
    (backend,) = TECHNIQUES[name].backends
    model = tiny
    if knob == "layers":
        model = changed(tiny, tmp_path, lambda _: None, layers=4)
    found = [
        answers(model, [technique(name, **{knob: value})], backend=backend)[2] for value in values
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


def test_the_page_of_the_contract_is_what_the_tests_run_on():
    written = Path("docs/contract.md").read_text(encoding="utf-8")
    command = "python tests/support/contract.py > docs/contract.md"
    assert written == page(), f"write it again: {command}"


def test_every_technique_claims_its_bytes_and_has_a_curve_or_says_why_not():
    assert set(CLAIMS) == set(NAMES)
    assert set(CURVES) | set(NO_CURVE) == set(NAMES)
    assert not set(CURVES) & set(NO_CURVE)


@pytest.mark.parametrize("check", CHECKS)
def test_a_check_of_the_page_is_a_test_that_runs_on_the_techniques_that_it_names(check: str):
    for name in CHECKS[check].tests:
        if name not in globals():
            assert f"def {name}(" in PAIRS.read_text(encoding="utf-8")
            continue
        for mark in getattr(globals()[name], "pytestmark", ()):
            values = [value if isinstance(value, str) else value[0] for value in mark.args[1]]
            assert tuple(dict.fromkeys(values)) == CHECKS[check].names
