"""OpenVINO on the CPU: a graph exported from the safetensors, run as OpenVINO compiles it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import ClassVar

from leanboard.results.errors import UnsupportedError
from leanboard.runners.backends.base import Device, ModelFiles
from leanboard.runners.backends.openvino_engine import OpenVinoEngine
from leanboard.runners.backends.openvino_files import graph_file, make_graph, require_graph
from leanboard.runners.backends.openvino_model import CompiledGraph, require_openvino
from leanboard.runners.backends.torch_loading import (
    load_config,
    load_tokenizer,
    quiet_libraries,
    vocabulary_from,
)
from leanboard.runners.backends.torch_until import named_ends
from leanboard.runners.cache import Say
from leanboard.runners.making import make_apart
from leanboard.runners.techniques.base import Technique

_REFERENCE = "float32"


@dataclass(frozen=True, slots=True)
class OpenVinoBackend:
    """Runs safetensors checkpoints with OpenVINO's kernels on the CPU, in float32."""

    name: ClassVar[str] = "openvino"
    version: ClassVar[int] = 1
    forks_after_import: ClassVar[bool] = False

    def reference_dtype(self, device: Device) -> str:  # noqa: ARG002
        """Return the dtype of this backend's baseline."""
        return _REFERENCE

    def prepare(
        self, model: ModelFiles, techniques: Sequence[Technique], device: Device, say: Say
    ) -> None:
        """Export the model, in a process of its own, if the cache lacks its graph.

        Raises:
            UnsupportedError: if it cannot be exported, or a technique cannot be done here.
        """
        self._check_supported(techniques, device)
        if not graph_file(model).exists():
            make_apart(self, model, techniques, device, say)

    def make(
        self,
        model: ModelFiles,
        techniques: Sequence[Technique],  # noqa: ARG002
        device: Device,
    ) -> Iterator[str]:
        """Export the model; yield lines of progress.

        Raises:
            UnsupportedError: if it cannot be exported.
            OutOfMemoryError: if it does not fit into memory.
        """
        yield from make_graph(model, device)

    def import_libraries(self) -> None:
        """Import OpenVINO, and transformers for the tokenizer.

        Raises:
            MissingDependencyError: if one of them is not installed.
        """
        require_openvino()
        with quiet_libraries():
            # No more than the tokenizer needs: what is imported is in the memory that is measured.
            from transformers import AutoConfig, AutoTokenizer, GenerationConfig  # noqa: F401

    @contextmanager
    def load(
        self, model: ModelFiles, techniques: Sequence[Technique], device: Device
    ) -> Iterator[OpenVinoEngine]:
        """Read the graph that was exported before, and compile it.

        Raises:
            UnsupportedError: if the device, the model or a technique cannot be done here.
            ConfigError: if the tokenizer or the config cannot be read.
            OutOfMemoryError: if it does not fit into memory.
            MissingDependencyError: if OpenVINO or transformers is not installed.
        """
        self._check_supported(techniques, device)
        require_openvino()
        file = require_graph(model)
        config, tokenizer = load_config(model), load_tokenizer(model)
        yield OpenVinoEngine(
            CompiledGraph(file, device.threads),
            tokenizer,
            vocabulary_from(config, tokenizer),
            named_ends(config, model.folder, tokenizer),
        )

    def _check_supported(self, techniques: Sequence[Technique], device: Device) -> None:
        if device.kind != "cpu":
            raise UnsupportedError(
                f"Backend {self.name} runs on the CPU here, not on {device.kind}."
            )
        for technique in techniques:
            if self.name not in technique.backends:
                raise UnsupportedError(
                    f"Technique {type(technique).__name__} cannot be done on backend {self.name}; "
                    f"it runs on {', '.join(sorted(technique.backends))}."
                )
        if device.reference_dtype != _REFERENCE:
            raise UnsupportedError(
                f"Backend {self.name} has no reference in {device.reference_dtype}; "
                f"choose {_REFERENCE}."
            )
