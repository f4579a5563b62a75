"""llama.cpp on GGUF files, through the shared library of a ready wheel."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import ClassVar

from leanboard.results.errors import ConfigError, UnsupportedError
from leanboard.runners.backends.base import Device, ModelFiles
from leanboard.runners.backends.llama_context import FLASH_ATTENTION
from leanboard.runners.backends.llama_engine import LlamaEngine
from leanboard.runners.backends.llama_library import load_library
from leanboard.runners.backends.llama_model import loaded_model
from leanboard.runners.cache import Say
from leanboard.runners.gguf_files import gguf_file
from leanboard.runners.techniques.base import Technique

_REFERENCE = {"float16": "f16", "float32": "f32"}


@dataclass(frozen=True, slots=True)
class LlamaCppBackend:
    """Runs GGUF files with llama.cpp on the CPU.

    Args:
        flash_attention: ``auto`` (llama.cpp decides), ``on`` or ``off``.
    """

    name: ClassVar[str] = "llamacpp"
    version: ClassVar[int] = 1
    forks_after_import: ClassVar[bool] = False

    flash_attention: str = "auto"

    def __post_init__(self) -> None:
        """Check the settings."""
        if self.flash_attention not in FLASH_ATTENTION:
            raise ConfigError(
                f"backend.flash_attention={self.flash_attention!r} is unknown; "
                f"choose {', '.join(FLASH_ATTENTION)}."
            )

    def reference_dtype(self, device: Device) -> str:  # noqa: ARG002
        """Return the dtype of this backend's baseline: float16, as in llama.cpp's own tables."""
        return "float16"

    def prepare(
        self, model: ModelFiles, techniques: Sequence[Technique], device: Device, say: Say
    ) -> None:
        """Make the file that ``load`` will read, so that making it is no part of a measured load.

        Raises:
            UnsupportedError: if no GGUF can be made of the model, or a technique cannot be done.
            FetchError: if the file cannot be written.
        """
        gguf_file(model, self._file_type(techniques, device), say)

    def import_libraries(self) -> None:
        """Load llama.cpp's shared library.

        Raises:
            MissingDependencyError: if it is not installed, or not as pinned.
        """
        load_library()

    @contextmanager
    def load(
        self, model: ModelFiles, techniques: Sequence[Technique], device: Device
    ) -> Iterator[LlamaEngine]:
        """Load the GGUF file that the techniques ask for; make it first if it is not there.

        A technique does all it does here through its ``load_options``.

        Raises:
            UnsupportedError: if the device or a technique cannot be done here.
            ConfigError: if the file cannot be read.
            OutOfMemoryError: if it does not fit into memory.
            MissingDependencyError: if the library is not installed, or not as pinned.
        """
        if device.kind != "cpu":
            raise UnsupportedError(
                f"Backend {self.name} runs on the CPU here, not on {device.kind}: "
                "the wheel that carries llama.cpp is built without CUDA."
            )
        file_type = self._file_type(techniques, device)
        library = load_library()
        file = gguf_file(model, file_type)
        with (
            loaded_model(library, file, model.name) as loaded,
            closing(LlamaEngine(loaded, device.threads, self.flash_attention)) as engine,
        ):
            yield engine

    def _file_type(self, techniques: Sequence[Technique], device: Device) -> str:
        """Return the one type of file that the techniques ask for, else the reference."""
        asked: dict[str, str] = {}
        for technique in techniques:
            label = type(technique).__name__
            if self.name not in technique.backends:
                raise UnsupportedError(
                    f"Technique {label} cannot be done on backend {self.name}; "
                    f"it runs on {', '.join(sorted(technique.backends))}."
                )
            file_type = technique.load_options().gguf_type
            if file_type is None:
                raise UnsupportedError(
                    f"Technique {label} names no GGUF type, and backend {self.name} "
                    "can do nothing else for it."
                )
            asked[file_type] = label
        if len(asked) > 1:
            raise UnsupportedError(
                f"The techniques ask for different GGUF types ({', '.join(sorted(asked))}); "
                "a file has one."
            )
        if asked:
            return next(iter(asked))
        if device.reference_dtype not in _REFERENCE:
            raise UnsupportedError(
                f"Backend {self.name} has no reference in {device.reference_dtype}; "
                f"choose {', '.join(sorted(_REFERENCE))}."
            )
        return _REFERENCE[device.reference_dtype]
