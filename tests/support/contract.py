"""What the contract test checks of which technique, and with which knobs: data of its tests.

python tests/support/contract.py          prints docs/contract.md
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra.utils import instantiate
from omegaconf import OmegaConf

import leanboard.suites
from leanboard.runners.techniques.base import MadeTechnique

MENU = Path(inspect.getfile(leanboard.suites)).parent
YAMLS = {path.stem: path for path in sorted((MENU / "technique").glob("*.yaml"))}
NAMES = tuple(name for name in YAMLS if name != "none")
BACKENDS = {
    path.stem: instantiate(OmegaConf.load(path))
    for path in sorted((MENU / "backend").glob("*.yaml"))
}

SMALL: Mapping[str, Mapping[str, object]] = {
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


def technique(name: str, **knobs: object) -> Any:
    """Return a technique of the menu with knobs that fit the random Llama."""
    return instantiate(OmegaConf.load(YAMLS[name]), **{**SMALL.get(name, {}), **knobs})


TECHNIQUES: Mapping[str, Any] = {name: technique(name) for name in NAMES}
ON_TORCH = tuple(name for name in NAMES if "transformers" in TECHNIQUES[name].backends)
ON_LLAMACPP = tuple(name for name in NAMES if "llamacpp" in TECHNIQUES[name].backends)
ELSEWHERE = tuple(
    (name, backend)
    for name in NAMES
    for backend in BACKENDS
    if backend not in TECHNIQUES[name].backends
)
"""Techniques and the backends that cannot do them."""

CURVES: Mapping[str, tuple[str, tuple[object, ...], str]] = {
    "block-influence": ("layers", (3, 2, 1), "weight_bytes"),
    "cfsp": ("ratio", (0.75, 0.5, 0.25), "weight_bytes"),
    "contextual": ("density", (0.2, 0.5, 1.0), "active_ffn_share"),
    "cospadi": ("kept", (0.3, 0.5, 0.8), "weight_bytes"),
    "drop-layers": ("layers", (3, 2, 1), "weight_bytes"),
    "fp8": ("group", (64, 32, 16), "weight_bytes"),
    "gguf-q8_0": ("type", ("q4_0", "q4_1", "q5_0", "q5_1", "q8_0"), "weight_bits"),
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

NO_CURVE: Mapping[str, str] = {
    "bf16": "no knob",
    "bnb-int8": "its knob is of the product: every weight is stored alike",
    "fp16": "no knob",
    "heal": "its knobs are of the training: bytes and compute stay",
    "int8-dynamic": "a weight has 8 bits whatever its knobs",
    "int8-weight-only": "a weight has 8 bits whatever its knob",
    "prompt-lookup": "its knobs are of drafting: bytes stay, and its compute depends on the text",
    "static-cache": "its knobs are of how the cache is kept: bytes of the weights stay",
    "torch-compile": "its knobs are the compiler's: bytes stay",
    **dict.fromkeys((n for n in ON_LLAMACPP if n != "gguf-q8_0"), "a value of gguf-q8_0's"),
}
"""Why a technique has no such knob."""

_WEIGHTS = 2 * (2 * 64 * 64 + 2 * 64 * 32 + 3 * 64 * 128)
"""Weights of the linear layers of the random Llama, its output head apart."""
_ROWS = 2 * (64 + 32 + 32 + 64 + 128 + 128 + 64)
"""Their rows."""
_NORMS_OF_A_LAYER = 2 * 64

Facts = Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Claim:
    """The bytes that a technique claims to store of the random Llama.

    Args:
        words: what the page says.
        of: the bytes, from the baseline's and from the facts that the engine tells.
    """

    words: str
    of: Callable[[float, Facts], float]


def _layers(bits: float, words: str) -> Claim:
    return Claim(words, lambda plain, _: plain - 4 * _WEIGHTS + _WEIGHTS * bits / 8)


_SAME = Claim("the baseline's", lambda plain, _: plain)
_HALF = Claim("half of the baseline's", lambda plain, _: plain / 2)
_ONE_LAYER = Claim(
    "a decoder layer less", lambda plain, _: plain - 2 * _WEIGHTS - 4 * _NORMS_OF_A_LAYER
)
_PARAMETERS = Claim(
    "4 for each of `parameters_kept`", lambda _, facts: 4 * facts["parameters_kept"]
)
_SHARE = Claim(
    "`kept_share` of the layers'",
    lambda plain, facts: plain - 4 * _WEIGHTS * (1 - facts["kept_share"]),
)
_BITS = Claim(
    "`weight_bits` for each weight of the layers",
    lambda plain, facts: plain - 4 * _WEIGHTS + _WEIGHTS * facts["weight_bits"] / 8,
)
_ROW_SCALES = _layers(8 + 32 * _ROWS / _WEIGHTS, "8 bits a weight, 4 bytes a row")
_ROW_POINTS = _layers(8 + 40 * _ROWS / _WEIGHTS, "8 bits a weight, 5 bytes a row")
_PACKED = _layers(4 + 20 / 64, "4 bits a weight, 20 for every 64")
_TYPE_BITS = {"f32": 32, "q4_0": 4.5, "q4_1": 5, "q5_0": 5.5, "q5_1": 6, "q8_0": 8.5}
"""Bits of a weight in the types of llama.cpp with blocks of 32, scales and minima included."""
_TYPES = Claim(
    "those of its tensors' types",
    lambda _, facts: sum(
        bits / 8 * facts.get(f"tensor_type_{name}", 0) for name, bits in _TYPE_BITS.items()
    ),
)

CLAIMS: Mapping[str, Claim] = {
    "bf16": _HALF,
    "block-influence": _ONE_LAYER,
    "bnb-int8": _ROW_SCALES,
    "bnb-nf4": _BITS,
    "cfsp": _PARAMETERS,
    "contextual": _SAME,
    "cospadi": _SHARE,
    "drop-layers": _ONE_LAYER,
    "fp16": _HALF,
    "fp8": _ROW_SCALES,
    "gptq": _PACKED,
    "heal": _SAME,
    "hqq": _BITS,
    "int8-dynamic": _ROW_POINTS,
    "int8-weight-only": _ROW_POINTS,
    "maestro": _PARAMETERS,
    "mask-weights": _SAME,
    "minifloat": _SAME,
    "mixed-hessian": _BITS,
    "mixed-ilp": _BITS,
    "prompt-lookup": _SAME,
    "prune-width": _PARAMETERS,
    "quanto": _BITS,
    "random-sharing": _SHARE,
    "rtn": _PACKED,
    "sirius": _SAME,
    "soft-prompt": Claim(
        "the baseline's and `prompt_bytes`", lambda plain, facts: plain + facts["prompt_bytes"]
    ),
    "static-cache": _SAME,
    "svd": _PARAMETERS,
    "torch-compile": _SAME,
    "wanda": _SAME,
    "whitened-svd": _PARAMETERS,
    **dict.fromkeys(ON_LLAMACPP, _TYPES),
}
"""What each technique claims to store, with the knobs of ``SMALL``."""

NOT_PAIRED = ("torch-compile",)
"""Traced for seconds in every pair: its own tests combine it with packed weights."""


def partners(name: str) -> tuple[str, ...]:
    """Return the techniques on torch that a run would start together with one of them."""
    one = TECHNIQUES[name]
    return tuple(
        other
        for other in ON_TORCH
        if other not in (name, *one.conflicts, *NOT_PAIRED)
        and (one.exclusive is None or one.exclusive != TECHNIQUES[other].exclusive)
    )


@dataclass(frozen=True, slots=True)
class Check:
    """A column of the table: what is checked, of which techniques, and by which tests.

    Args:
        title: head of the column.
        what: what is checked, in words.
        tests: names of the tests.
        names: the techniques that they run on.
        cell: what stands in the row of one of these.
    """

    title: str
    what: str
    tests: tuple[str, ...]
    names: tuple[str, ...]
    cell: Callable[[str], str] = lambda _: "yes"


def _knob(name: str) -> str:
    knob, values, fact = CURVES[name]
    return f"`{knob}` {', '.join(map(str, values))}: `{fact}` rises"


def _elsewhere(name: str) -> str:
    return ", ".join(backend for each, backend in ELSEWHERE if each == name)


def _excludes(name: str) -> str:
    one = TECHNIQUES[name]
    slot = [f"all that decide `{one.exclusive}`"] if one.exclusive is not None else []
    return ", ".join([*slot, *sorted(one.conflicts)])


CHECKS: Mapping[str, Check] = {
    "answers": Check(
        "answers",
        "It gives as many tokens as were asked for, each with a time, and finite scores; the bytes "
        "of weights and cache are counted.",
        ("test_a_technique_gives_the_asked_length_and_finite_scores",),
        NAMES,
    ),
    "changes": Check(
        "changes",
        "It changes what runs: the logits, the decoding or the compiled model.",
        ("test_a_technique_changes_what_the_backend_runs",),
        ON_TORCH,
    ),
    "restored": Check(
        "restored",
        "Afterwards weights, modules, settings and logits are what they were, to the bit, also "
        "after a failure. llama.cpp reads a file of its own for each type: there is nothing to put "
        "back.",
        (
            "test_a_technique_puts_everything_back",
            "test_a_technique_puts_everything_back_after_a_failure",
        ),
        ON_TORCH,
    ),
    "bytes": Check(
        "bytes of the weights",
        "What is stored, scales and zero points included, is what is claimed, to the byte.",
        ("test_a_technique_stores_the_bytes_that_it_claims",),
        NAMES,
        lambda name: CLAIMS[name].words,
    ),
    "knob": Check(
        "knob",
        "Bytes, bits or the share that is computed rise from each value of the knob to the next.",
        ("test_a_knob_moves_what_it_should",),
        tuple(CURVES),
        _knob,
    ),
    "trained": Check(
        "trained",
        "It takes steps of an optimiser while it is made if it says so, and only then.",
        ("test_what_takes_gradient_steps_says_that_it_trains",),
        tuple(name for name in NAMES if isinstance(TECHNIQUES[name], MadeTechnique)),
        lambda name: "yes" if TECHNIQUES[name].trained else "no",
    ),
    "elsewhere": Check(
        "unsupported on",
        "A backend that cannot do it says so, by the names of technique and backend, before it "
        "reads a model.",
        ("test_a_backend_that_cannot_do_a_technique_says_so_before_it_reads_a_model",),
        tuple(dict.fromkeys(name for name, _ in ELSEWHERE)),
        _elsewhere,
    ),
    "excludes": Check(
        "excludes",
        "Two that exclude each other are refused before anything is loaded, by both names.",
        ("test_of_techniques_that_decide_the_same_one_is_applied",),
        tuple(name for name in NAMES if _excludes(name)),
        _excludes,
    ),
    "pairs": Check(
        "combined with",
        "On a random Llama of 32 by 64, each of these pairs, in both orders, answers or is refused "
        "in words, and leaves nothing behind.",
        ("test_every_pair_that_is_allowed_answers_or_is_refused_and_leaves_nothing_behind",),
        tuple(name for name in ON_TORCH if name not in NOT_PAIRED),
        lambda name: f"{len(partners(name))} others",
    ),
}
"""The columns of the table, by the name that tests ask for their techniques with."""

_HEAD = """# What the contract test checks

Made from the data of the tests by `python tests/support/contract.py`; a test holds the two equal.
Every technique of the menu runs on a random Llama of two layers, 64 wide with an MLP of 128
(`tests/runners/test_technique_contract.py`; pairs: `tests/runners/test_technique_pairs.py`), with
the menu's knobs or smaller ones where those do not fit it; a new one is picked up by its YAML. Of
each it is checked besides that it is a frozen dataclass that names its source, that its YAML has
every knob, and that what it declares is known and mutual. What a technique computes is held against
its paper's definition in a test file of its own.
"""


def page() -> str:
    """Return the page: each check in words, and the table of techniques."""
    return "\n".join(_lines()) + "\n"


def _lines() -> Iterator[str]:
    yield _HEAD
    for check in CHECKS.values():
        yield f"- *{check.title}*: {check.what} ({', '.join(f'`{test}`' for test in check.tests)})"
    yield "\n| technique | " + " | ".join(check.title for check in CHECKS.values()) + " |"
    yield "|---" * (1 + len(CHECKS)) + "|"
    for name in NAMES:
        cells = (check.cell(name) if name in check.names else "" for check in CHECKS.values())
        yield f"| [{name}](techniques.md#{name}) | {' | '.join(cells)} |"
    yield "\nWhere there is no knob that moves bytes or compute:\n"
    for name, reason in NO_CURVE.items():
        yield f"- {name}: {reason}."


if __name__ == "__main__":
    print(page(), end="")
