"""What a token costs: FLOPs and bytes by the model's shapes, and in which dtype an arm computes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from leanboard.metrics.trace import Provenance, Quantity
from leanboard.runners.backends.base import Device, ModelFiles
from leanboard.runners.checkpoint import read_json
from leanboard.runners.gguf_mixes import FILE_TYPES, embedding_bytes
from leanboard.runners.machine.calibration import Calibration
from leanboard.runners.techniques.facts import BFLOAT16_LAYERS

if TYPE_CHECKING:
    from leanboard.runners.grid import TechniqueSpec

_DTYPE_BYTES = {"float32": 4.0, "bfloat16": 2.0, "float16": 2.0}
_GGUF_OF = {"float32": "f32", "float16": "f16"}
# llama.cpp keeps keys and values in float16, whatever the weights are.
_LLAMA_CACHE_BYTES = 2.0
# Not every parameter works on every token, or attention is of another kind: not counted here.
_OTHER_SHAPES = (
    "kv_lora_rank",
    "n_routed_experts",
    "num_experts",
    "num_local_experts",
    "ssm_cfg",
    "vocab_size_per_layer_input",
)
_NEEDED = ("num_hidden_layers", "hidden_size", "num_attention_heads", "vocab_size")


@dataclass(frozen=True, slots=True)
class Architecture:
    """Shapes of a dense decoder.

    Args:
        window_layers: layers (of ``layers``) that attend to the last ``window`` positions only.
        tied: whether the input embedding is the output head too.
    """

    layers: int
    window_layers: int
    window: int
    hidden: int
    heads: int
    kv_heads: int
    head_dim: int
    vocabulary: int
    tied: bool


@dataclass(frozen=True, slots=True)
class Arithmetic:
    """In what an arm computes and keeps things.

    Args:
        dtype: dtype of the matrix products, as calibrations name it. A quantised weight that is
            expanded first counts as what it is expanded to.
        kv_element_bytes: bytes of an element of the cache, by the backend's default.
        embedding_bytes: bytes of a weight of the input embedding.
        unties_head: whether the output head is stored apart from a tied embedding.
    """

    dtype: str
    kv_element_bytes: float
    embedding_bytes: float
    unties_head: bool


def roofline_facts(
    model: ModelFiles,
    arithmetic: Arithmetic,
    calibration: Calibration | None,
    told: Mapping[str, Quantity],
) -> dict[str, Quantity]:
    """Return the facts that the roofline and the check of the cache need.

    What is not known is left out, and the metrics say so: of a model that is no dense decoder
    nothing is counted, and without a calibration there are no ceilings.

    Args:
        model: its ``config.json`` and its number of parameters.
        arithmetic: in what the arm computes.
        calibration: of this device with these threads.
        told: facts that the arm told: what its techniques left of the model.
    """
    architecture = read_architecture(model.folder)
    facts: dict[str, Quantity] = {}
    if architecture is not None:
        shapes, parameters = what_is_left(architecture, model.parameters, told)
        facts |= counted(shapes, arithmetic, parameters)
    if calibration is not None:
        dtype = "bfloat16" if BFLOAT16_LAYERS in told else arithmetic.dtype
        facts |= ceilings(calibration, dtype)
    return facts


def what_is_left(
    architecture: Architecture, parameters: int, told: Mapping[str, Quantity]
) -> tuple[Architecture, int]:
    """Return the shapes and the parameters that techniques left of a model.

    Args:
        architecture: of the model as its checkpoint has it.
        parameters: of the same, tied ones once.
        told: facts of the arm: ``parameters_kept``, ``layers_kept``, ``window_layers_kept``.
    """

    def left(name: str, whole: int) -> int:
        return int(told[name].value) if name in told else whole

    shapes = replace(
        architecture,
        layers=left("layers_kept", architecture.layers),
        window_layers=left("window_layers_kept", architecture.window_layers),
    )
    return shapes, left("parameters_kept", parameters)


def embedding_width(folder: Path) -> int:
    """Return the length of a row of the input embedding; 0 where the shapes are not known."""
    architecture = read_architecture(folder)
    return 0 if architecture is None else architecture.hidden


def read_architecture(folder: Path) -> Architecture | None:
    """Read the shapes from ``config.json``; ``None`` if it is no dense decoder that is known.

    Raises:
        ConfigError: if the file is damaged.
    """
    whole = read_json(folder / "config.json")
    config = whole.get("text_config", whole)
    if any(config.get(key) for key in _OTHER_SHAPES):
        return None
    if not all(isinstance(config.get(key), int) and config[key] > 0 for key in _NEEDED):
        return None
    heads = config["num_attention_heads"]
    window_layers, window = _window(config)
    return Architecture(
        layers=config["num_hidden_layers"],
        window_layers=window_layers,
        window=window,
        hidden=config["hidden_size"],
        heads=heads,
        kv_heads=config.get("num_key_value_heads") or heads,
        head_dim=config.get("head_dim") or config["hidden_size"] // heads,
        vocabulary=config["vocab_size"],
        tied=bool(config.get("tie_word_embeddings", whole.get("tie_word_embeddings", True))),
    )


def _window(config: Mapping[str, Any]) -> tuple[int, int]:
    """Return how many layers have a sliding window, and its size."""
    window = config.get("sliding_window")
    if not isinstance(window, int) or config.get("use_sliding_window") is False:
        return 0, 0
    kinds = config.get("layer_types")
    if isinstance(kinds, list):
        return sum(kind == "sliding_attention" for kind in kinds), window
    layers: int = config["num_hidden_layers"]
    pattern = config.get("sliding_window_pattern")
    # Every so many layers one attends to all positions.
    return layers - (layers // pattern if isinstance(pattern, int) and pattern > 0 else 0), window


def arithmetic_of(
    backend: str, device: Device, techniques: Sequence[TechniqueSpec], width: int = 0
) -> Arithmetic:
    """Return in what an arm computes.

    llama.cpp multiplies quantised weights by activations that it rounds to int8, and float16
    weights in float32. A GGUF file mixes types: the embedding's follows from its width, too.
    OpenVINO is told to compute in its reference, float32, and to keep it so.

    Args:
        backend: name of the backend.
        device: its reference dtype is the arm's where no technique has one.
        techniques: of the arm, in order.
        width: length of a row of the input embedding; 0 is one that every block divides.
    """
    built = [technique.build() for technique in techniques]
    options = [technique.load_options() for technique in built]
    unties = any(technique.component().params.get("lm_head") is True for technique in techniques)
    asked = next((option.dtype for option in options if option.dtype), device.reference_dtype)
    if backend == "llamacpp":
        types = [option.gguf_type for option in options if option.gguf_type]
        kind = types[0] if types else _GGUF_OF.get(asked, asked)
        dtype = "float32" if kind in ("f16", "f32") else "int8"
        size = embedding_bytes(kind, width) if kind in FILE_TYPES else 0.0
        return Arithmetic(dtype, _LLAMA_CACHE_BYTES, size, unties)
    size = _DTYPE_BYTES.get(asked, 4.0)
    products = next((technique.products for technique in built if technique.products), asked)
    return Arithmetic(products, size, size, unties)


def counted(
    architecture: Architecture, arithmetic: Arithmetic, parameters: int
) -> dict[str, Quantity]:
    """Return what a token costs, by the shapes.

    Args:
        architecture: the shapes.
        arithmetic: in what the arm computes.
        parameters: parameters of the model, tied ones once.
    """
    a = architecture
    matrix = a.vocabulary * a.hidden
    body = parameters - matrix * (1 if a.tied else 2)
    # Scores and sums of values: two products of 2 FLOPs an element each.
    attention = 4.0 * a.heads * a.head_dim
    kv = 2.0 * a.kv_heads * a.head_dim * arithmetic.kv_element_bytes
    apart = not a.tied or arithmetic.unties_head
    facts = {
        "linear_flops_per_token": (2.0 * body, "FLOP"),
        "head_flops_per_token": (2.0 * matrix, "FLOP"),
        "attention_flops_per_position": (attention * (a.layers - a.window_layers), "FLOP"),
        "kv_formula_bytes_per_token": (kv * a.layers, "B"),
        "unread_weight_bytes": (arithmetic.embedding_bytes * matrix if apart else 0.0, "B"),
    }
    if a.window_layers > 0:
        facts |= {
            "window_attention_flops_per_position": (attention * a.window_layers, "FLOP"),
            "window_kv_bytes_per_token": (kv * a.window_layers, "B"),
            "attention_window": (float(a.window), "tok"),
        }
    return {name: Quantity(v, unit, Provenance.COUNTED) for name, (v, unit) in facts.items()}


def ceilings(calibration: Calibration, dtype: str) -> dict[str, Quantity]:
    """Return the peak of a dtype and the memory bandwidth, as far as they were measured.

    Values of fewer bits can be widened before they are multiplied: where torch has no kernel for a
    dtype and is slower at it than at float32, float32 is what the machine can do.
    """
    facts: dict[str, Quantity] = {}
    known, bandwidth = calibration.flops_per_s, calibration.bytes_per_s
    if dtype in known:
        peak = max(known[name].per_s for name in (dtype, "float32") if name in known)
        facts["peak_flops_per_s"] = Quantity(peak, "FLOP/s", Provenance.MEASURED)
    if bandwidth is not None:
        facts["peak_bytes_per_s"] = Quantity(bandwidth.per_s, "B/s", Provenance.MEASURED)
    return facts
