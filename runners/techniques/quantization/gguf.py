"""A GGUF file with quantised tensors, for llama.cpp."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import ClassVar

from leanboard.results.errors import ConfigError
from leanboard.runners.techniques.base import FILE_TYPE, LoadOptions, Target, TechniqueDefaults

TYPES = (
    "q8_0", "q6_k", "q5_k_m", "q5_1", "q5_0", "q4_k_m", "q4_1", "q4_0", "q3_k_m", "q2_k",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Gguf(TechniqueDefaults):
    """Load weights quantised in blocks, rounded by llama.cpp's own kernels to its own mix of types.

    ``q8_0`` to ``q4_0`` have blocks of 32 weights with a float16 scale each, for ``_1`` a minimum
    too. The K types have blocks of 256 in which 6-bit or 4-bit numbers scale groups of 16 or 32
    weights, and their mixes store some matrices finer than the name says: values and the last
    matrix of the MLP in some layers. Every type but ``q8_0`` stores the output matrix (or the
    embedding that is tied to it) in the blocks of ``q6_k``. A matrix whose rows are no multiple of
    256 gets a type with blocks of 32 instead, often a larger one: a warning of the record counts
    them, and its facts ``weight_bits`` and ``tensor_type_...`` say what was really written. No
    importance matrix is used.

    The file is the change: the backend makes it once and loads it. A model that was published in
    the type that is asked for is loaded as it was published.

    Source: llama.cpp, https://github.com/ggml-org/llama.cpp (ggml's quantised types;
    src/llama-quant.cpp for the mixes).

    Library: llama.cpp's own quantising and computing kernels, in the library of xllamacpp
    (``leanboard[llamacpp]``); gguf reads and writes the file. Which matrix gets which type is
    leanboard's table of llama.cpp's rules, as that library does not export its quantiser.

    Limits: On the CPU only and with AVX2 kernels, as the library's wheel is built. A model without
    a GGUF file has to be a plain Llama of floats. The mixes are known for dense decoders, not for
    experts.

    Args:
        type: type of the file: ``q8_0``, ``q6_k``, ``q5_k_m``, ``q5_1``, ``q5_0``, ``q4_k_m``,
            ``q4_1``, ``q4_0``, ``q3_k_m`` or ``q2_k``.
    """

    version: ClassVar[int] = 1
    backends: ClassVar[frozenset[str]] = frozenset({"llamacpp"})
    exclusive: ClassVar[str | None] = FILE_TYPE
    quantises: ClassVar[bool] = True

    type: str

    def __post_init__(self) -> None:
        """Check the knob."""
        if self.type not in TYPES:
            raise ConfigError(
                f"type={self.type!r} is no GGUF type here; choose {', '.join(TYPES)}."
            )

    def load_options(self) -> LoadOptions:
        """Ask for a file of this type."""
        return LoadOptions(gguf_type=self.type)

    def apply(self, target: Target) -> AbstractContextManager[None]:  # noqa: ARG002
        """Do nothing: the file that was loaded is the change."""
        return nullcontext()
