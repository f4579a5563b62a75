"""What a token costs, by the shapes of real models."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from leanboard.metrics.trace import Provenance, Quantity
from leanboard.runners.backends.base import Device, ModelFiles
from leanboard.runners.grid import TechniqueSpec
from leanboard.runners.machine.calibration import Calibration, Ceiling
from leanboard.runners.machine.disturbance import Disturbance
from leanboard.runners.work import (
    Architecture,
    arithmetic_of,
    ceilings,
    counted,
    embedding_width,
    read_architecture,
    roofline_facts,
)

SMOLLM2 = {
    "head_dim": 64,
    "hidden_size": 576,
    "num_attention_heads": 9,
    "num_hidden_layers": 30,
    "num_key_value_heads": 3,
    "tie_word_embeddings": True,
    "vocab_size": 49152,
}
PARAMETERS = 134_515_008
CPU = Device("cpu", 2, "float32")
TECHNIQUES = "leanboard.runners.techniques"
INT8_DYNAMIC = TechniqueSpec(
    "int8-dynamic",
    {"_target_": f"{TECHNIQUES}.quantization.int8_dynamic.Int8Dynamic", "lm_head": True},
)
INT8_WEIGHTS = TechniqueSpec(
    "int8-weight-only",
    {"_target_": f"{TECHNIQUES}.quantization.int8_weight_only.Int8WeightOnly"},
)
BF16 = TechniqueSpec("bf16", {"_target_": f"{TECHNIQUES}.formats.bf16.BFloat16"})
Q8_0 = TechniqueSpec(
    "gguf-q8_0", {"_target_": f"{TECHNIQUES}.quantization.gguf.Gguf", "type": "q8_0"}
)
FLOAT32 = arithmetic_of("transformers", CPU, [])


def folder(tmp_path: Path, config: dict[str, Any]) -> Path:
    (tmp_path / "config.json").write_text(json.dumps(config))
    return tmp_path


def architecture(tmp_path: Path, **changes: Any) -> Architecture:
    found = read_architecture(folder(tmp_path, {**SMOLLM2, **changes}))
    assert found is not None
    return found


def values(tmp_path: Path, **changes: Any) -> dict[str, float]:
    arithmetic = arithmetic_of("transformers", CPU, [])
    facts = counted(architecture(tmp_path, **changes), arithmetic, PARAMETERS)
    return {name: fact.value for name, fact in facts.items()}


def test_smollm2_costs_what_its_shapes_say(tmp_path: Path) -> None:
    assert values(tmp_path) == {
        # Two FLOPs a parameter of the layers, and of the tied matrix as the head.
        "linear_flops_per_token": 2 * (PARAMETERS - 49152 * 576),
        "head_flops_per_token": 2 * 49152 * 576,
        "attention_flops_per_position": 4 * 9 * 64 * 30,
        "kv_formula_bytes_per_token": 46_080,
        "unread_weight_bytes": 0,
    }


def test_an_embedding_that_is_not_the_head_is_not_read(tmp_path: Path) -> None:
    found = values(tmp_path, tie_word_embeddings=False)
    assert found["unread_weight_bytes"] == 4 * 49152 * 576
    assert found["linear_flops_per_token"] == 2 * (PARAMETERS - 2 * 49152 * 576)


@pytest.mark.parametrize(
    ("changes", "window_layers"),
    [
        ({"layer_types": ["sliding_attention"] * 5 + ["full_attention"]}, 5),
        ({"sliding_window_pattern": 6}, 25),
        ({}, 30),
        ({"use_sliding_window": False}, 0),
        ({"sliding_window": None}, 0),
    ],
)
def test_layers_with_a_sliding_window_are_told_apart(
    tmp_path: Path, changes: dict[str, Any], window_layers: int
) -> None:
    found = architecture(tmp_path, **{"sliding_window": 512, **changes})
    assert found.window_layers == window_layers


def test_what_windowed_layers_cost_is_a_fact_of_its_own(tmp_path: Path) -> None:
    kinds = ["sliding_attention"] * 20 + ["full_attention"] * 10
    found = values(tmp_path, sliding_window=512, layer_types=kinds)
    assert found["attention_flops_per_position"] == 4 * 9 * 64 * 10
    assert found["window_attention_flops_per_position"] == 4 * 9 * 64 * 20
    assert found["window_kv_bytes_per_token"] == 46_080 * 20 / 30
    assert found["kv_formula_bytes_per_token"] == 46_080
    assert found["attention_window"] == 512


def test_the_text_part_of_a_larger_model_is_read(tmp_path: Path) -> None:
    found = read_architecture(folder(tmp_path, {"text_config": SMOLLM2, "vision_config": {}}))
    assert found is not None
    assert (found.layers, found.tied) == (30, True)


@pytest.mark.parametrize(
    "changes", [{"num_local_experts": 8}, {"kv_lora_rank": 512}, {"vocab_size": None}]
)
def test_of_another_kind_of_model_nothing_is_counted(
    tmp_path: Path, changes: dict[str, Any]
) -> None:
    assert read_architecture(folder(tmp_path, {**SMOLLM2, **changes})) is None


def test_absent_shapes_follow_from_the_others(tmp_path: Path) -> None:
    plain = {k: v for k, v in SMOLLM2.items() if k not in ("head_dim", "num_key_value_heads")}
    found = read_architecture(folder(tmp_path, plain))
    assert found is not None
    assert (found.head_dim, found.kv_heads) == (64, 9)


@pytest.mark.parametrize(
    ("backend", "device", "techniques", "dtype", "cache_bytes"),
    [
        ("transformers", CPU, [], "float32", 4),
        ("transformers", CPU, [BF16], "bfloat16", 2),
        ("transformers", CPU, [INT8_WEIGHTS], "float32", 4),
        ("transformers", CPU, [INT8_DYNAMIC], "int8", 4),
        ("transformers", Device("cuda", 2, "bfloat16"), [], "bfloat16", 2),
        ("openvino", CPU, [], "float32", 4),
        ("llamacpp", replace(CPU, reference_dtype="float16"), [], "float32", 2),
        ("llamacpp", replace(CPU, reference_dtype="float16"), [Q8_0], "int8", 2),
    ],
)
def test_an_arm_computes_in_the_dtype_of_its_backend_and_techniques(
    backend: str, device: Device, techniques: list[TechniqueSpec], dtype: str, cache_bytes: int
) -> None:
    found = arithmetic_of(backend, device, techniques)
    assert (found.dtype, found.kv_element_bytes) == (dtype, cache_bytes)


@pytest.mark.parametrize(
    ("file_type", "width", "bits"),
    [("q8_0", 576, 8.5), ("q4_k_m", 576, 5.5), ("q4_k_m", 512, 4.5), ("q2_k", 576, 4.5)],
)
def test_an_embedding_apart_has_the_bytes_of_the_type_that_its_rows_allow(
    tmp_path: Path, file_type: str, width: int, bits: float
) -> None:
    target = {"_target_": f"{TECHNIQUES}.quantization.gguf.Gguf", "type": file_type}
    techniques = [TechniqueSpec(f"gguf-{file_type}", target)]
    config = {**SMOLLM2, "hidden_size": width, "tie_word_embeddings": False}
    model = files(folder(tmp_path, config))
    arithmetic = arithmetic_of("llamacpp", CPU, techniques, embedding_width(model.folder))
    facts = roofline_facts(model, arithmetic, None, {})
    assert facts["unread_weight_bytes"].value == 49152 * width * bits / 8


def test_a_head_that_is_quantised_apart_leaves_the_embedding_unread(tmp_path: Path) -> None:
    arithmetic = arithmetic_of("transformers", CPU, [INT8_DYNAMIC])
    facts = counted(architecture(tmp_path), arithmetic, PARAMETERS)
    assert facts["unread_weight_bytes"].value == 4 * 49152 * 576


def calibration(*dtypes: str) -> Calibration:
    best = Ceiling(per_s=2e11, median_per_s=1.9e11, spread=0.01, repeats=50, kernel="mm 1024")
    return Calibration(
        method_version=1,
        device="cpu",
        threads=2,
        torch="2.13.0",
        measured_at=datetime(2026, 1, 1, tzinfo=UTC),
        flops_per_s=dict.fromkeys(dtypes, best),
        missing={},
        bytes_per_s=best.model_copy(update={"per_s": 5e10}),
        disturbance=Disturbance(),
    )


def files(where: Path) -> ModelFiles:
    return ModelFiles("smollm2", "a" * 64, where, None, where, "float", PARAMETERS)


def test_the_ceilings_are_those_of_the_arm_s_dtype(tmp_path: Path) -> None:
    model = files(folder(tmp_path, SMOLLM2))
    facts = roofline_facts(model, FLOAT32, calibration("float32"), {})
    assert facts["peak_flops_per_s"].value == 2e11
    assert facts["peak_bytes_per_s"].value == 5e10
    half = arithmetic_of("transformers", CPU, [BF16])
    other = roofline_facts(model, half, calibration("float32"), {})
    assert "peak_flops_per_s" not in other
    assert "peak_bytes_per_s" in other


@pytest.mark.parametrize(("narrow", "expected"), [(5e9, 2e11), (4e11, 4e11)])
def test_a_dtype_that_torch_has_no_kernel_for_is_widened(narrow: float, expected: float) -> None:
    found = calibration("float32")
    slow = found.flops_per_s["float32"].model_copy(update={"per_s": narrow})
    both = found.model_copy(update={"flops_per_s": {**found.flops_per_s, "int8": slow}})
    assert ceilings(both, "int8")["peak_flops_per_s"].value == expected


def test_without_a_calibration_there_are_shapes_and_no_ceilings(tmp_path: Path) -> None:
    facts = roofline_facts(files(folder(tmp_path, SMOLLM2)), FLOAT32, None, {})
    assert "linear_flops_per_token" in facts
    assert not {"peak_flops_per_s", "peak_bytes_per_s"} & set(facts)


def test_a_model_of_another_kind_has_ceilings_and_no_shapes(tmp_path: Path) -> None:
    model = files(folder(tmp_path, {**SMOLLM2, "num_local_experts": 8}))
    facts = roofline_facts(model, FLOAT32, calibration("float32"), {})
    assert set(facts) == {"peak_flops_per_s", "peak_bytes_per_s"}


def told(**counts: float) -> dict[str, Quantity]:
    return {name: Quantity(count, "1", Provenance.COUNTED) for name, count in counts.items()}


def test_layers_that_multiply_in_bfloat16_are_held_to_its_ceiling(tmp_path: Path) -> None:
    model = files(folder(tmp_path, SMOLLM2))
    here = calibration("bfloat16")
    assert "peak_flops_per_s" not in roofline_facts(model, FLOAT32, here, {})
    assert "peak_flops_per_s" in roofline_facts(model, FLOAT32, here, told(bfloat16_layers=210))


def test_a_pruned_model_costs_what_is_left_of_it(tmp_path: Path) -> None:
    model = files(folder(tmp_path, SMOLLM2))
    # 512 of 1536 neurons out of 30 layers: three matrices, 576 wide.
    kept = PARAMETERS - 30 * 3 * 512 * 576
    whole = roofline_facts(model, FLOAT32, None, {})
    pruned = roofline_facts(model, FLOAT32, None, told(parameters_kept=kept))
    assert pruned["linear_flops_per_token"].value == 2 * (kept - 49152 * 576)
    unchanged = set(whole) - {"linear_flops_per_token"}
    assert {name: whole[name] for name in unchanged} == {name: pruned[name] for name in unchanged}


def test_layers_that_were_dropped_have_no_cache_and_no_attention(tmp_path: Path) -> None:
    kinds = ["sliding_attention"] * 20 + ["full_attention"] * 10
    model = files(folder(tmp_path, {**SMOLLM2, "sliding_window": 512, "layer_types": kinds}))
    left = told(layers_kept=24, window_layers_kept=15)
    facts = roofline_facts(model, FLOAT32, None, left)
    assert facts["kv_formula_bytes_per_token"].value == 46_080 * 24 / 30
    assert facts["window_kv_bytes_per_token"].value == 46_080 * 15 / 30
    assert facts["attention_flops_per_position"].value == 4 * 9 * 64 * 9
    assert facts["window_attention_flops_per_position"].value == 4 * 9 * 64 * 15
