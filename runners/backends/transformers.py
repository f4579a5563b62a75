"""Hugging Face transformers on torch: the reference backend."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, ClassVar

from leanboard.results.errors import ConfigError, UnsupportedError
from leanboard.runners.backends.base import Device, ModelFiles
from leanboard.runners.backends.torch_engine import TransformersEngine
from leanboard.runners.backends.torch_loading import (
    TorchTarget,
    import_libraries,
    load_model,
    load_tokenizer,
    quiet_libraries,
)
from leanboard.runners.making import (
    calibration_pieces,
    made,
    made_folder,
    make_apart,
    making_facts,
    require_made,
    unmade,
)
from leanboard.runners.techniques.base import MadeTechnique, Technique
from leanboard.runners.techniques.facts import noted

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedTokenizerBase

_ATTENTION = ("sdpa", "eager")


@dataclass(frozen=True, slots=True)
class TransformersBackend:
    """Runs safetensors checkpoints with Hugging Face transformers.

    Args:
        attention: attention implementation, ``sdpa`` or ``eager``.
    """

    name: ClassVar[str] = "transformers"
    version: ClassVar[int] = 1
    forks_after_import: ClassVar[bool] = True

    attention: str = "sdpa"

    def __post_init__(self) -> None:
        """Check the settings."""
        if self.attention not in _ATTENTION:
            raise ConfigError(
                f"backend.attention={self.attention!r} is unknown; choose {', '.join(_ATTENTION)}."
            )

    def reference_dtype(self, device: Device) -> str:
        """Return the dtype of this backend's baseline: float32 on a CPU, bfloat16 on CUDA."""
        return "bfloat16" if device.kind == "cuda" else "float32"

    def prepare(
        self,
        model: ModelFiles,
        techniques: Sequence[Technique],
        device: Device,
        say: Callable[[str], None],
    ) -> None:
        """Make what techniques read and the cache lacks, in a process of its own."""
        if unmade(model, techniques, asked_dtype(techniques, device), device):
            make_apart(self, model, techniques, device, say)

    def make(
        self, model: ModelFiles, techniques: Sequence[Technique], device: Device
    ) -> Iterator[str]:
        """Make what each technique will read, those before it applied; yield lines of progress.

        Raises:
            UnsupportedError: if a technique cannot do it on this model or device.
            OutOfMemoryError: if it does not fit into memory.
        """
        with ExitStack() as stack:
            target, _ = self._loaded(stack, model, techniques, device)
            dtype = asked_dtype(techniques, device)
            for place, technique in enumerate(techniques):
                target.made = None
                if isinstance(technique, MadeTechnique):
                    target.made = made_folder(model, techniques[: place + 1], dtype, device)
                    yield from made(technique, target, target.made)
                stack.enter_context(technique.apply(target))

    def import_libraries(self) -> None:
        """Import torch, transformers and, if it is installed, torchao.

        Raises:
            MissingDependencyError: if torch or transformers is not installed.
        """
        import_libraries()

    @contextmanager
    def load(
        self, model: ModelFiles, techniques: Sequence[Technique], device: Device
    ) -> Iterator[TransformersEngine]:
        """Load the model, apply the techniques in order, and take them off on exit.

        Raises:
            UnsupportedError: if a technique cannot be done here.
            ConfigError: if the files or the wanted dtypes do not fit.
            OutOfMemoryError: if it does not fit into memory.
            MissingDependencyError: if torch or transformers is not installed.
        """
        dtype = asked_dtype(techniques, device)
        with ExitStack() as stack:
            target, tokenizer = self._loaded(stack, model, techniques, device)
            folders = []
            for place, technique in enumerate(techniques):
                target.made = require_made(model, techniques[: place + 1], dtype, device)
                folders.append(target.made)
                stack.enter_context(technique.apply(target))
            stack.enter_context(noted(target, making_facts(folders)))
            shares = all(technique.shares_prefixes for technique in techniques)
            yield TransformersEngine(target, tokenizer, shares_prefixes=shares)

    def _loaded(
        self,
        stack: ExitStack,
        model: ModelFiles,
        techniques: Sequence[Technique],
        device: Device,
    ) -> tuple[TorchTarget, PreTrainedTokenizerBase]:
        """Load model and tokenizer, no technique applied."""
        for technique in techniques:
            self._check_supported(technique)
        dtype = asked_dtype(techniques, device)

        def read() -> torch.nn.Module:
            return load_model(model, dtype=dtype, device=device.kind, attention=self.attention)

        stack.enter_context(quiet_libraries())
        stack.enter_context(_threads(device.threads))
        target = TorchTarget(model=read(), reload=read)
        tokenizer = load_tokenizer(model)
        target.pieces = partial(calibration_pieces, tokenizer, model.calibration)
        return target, tokenizer

    def _check_supported(self, technique: Technique) -> None:
        if self.name not in technique.backends:
            raise UnsupportedError(
                f"Technique {type(technique).__name__} cannot be done on backend {self.name}; "
                f"it runs on {', '.join(sorted(technique.backends))}."
            )


def asked_dtype(techniques: Sequence[Technique], device: Device) -> str:
    """Return the dtype that the techniques ask for, else the reference of the device.

    Raises:
        ConfigError: if they ask for different ones.
    """
    options = [technique.load_options() for technique in techniques]
    asked = {option.dtype for option in options if option.dtype is not None}
    if len(asked) > 1:
        raise ConfigError(f"The techniques ask for different dtypes: {', '.join(sorted(asked))}.")
    return asked.pop() if asked else device.reference_dtype


@contextmanager
def _threads(threads: int) -> Iterator[None]:
    """Let torch use this many threads, and put the old number back."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)
