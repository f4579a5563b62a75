"""Reading a model for torch: safetensors only, quietly, and again where it must be put back."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from importlib import util
from pathlib import Path
from typing import TYPE_CHECKING, Any

from leanboard.metrics.trace import Quantity
from leanboard.results.errors import (
    ArmError,
    ConfigError,
    MissingDependencyError,
    OutOfMemoryError,
    UnsupportedError,
)
from leanboard.runners.backends.base import ModelFiles, Vocabulary

if TYPE_CHECKING:
    import torch
    from transformers import Cache, PreTrainedTokenizerBase

DTYPES = ("float32", "bfloat16", "float16")

_OUT_OF_MEMORY = ("out of memory", "can't allocate memory", "STATUS_ALLOC_FAILED")

# torchao ships kernels for other devices and Pythons, and says so at every import.
_IMPORT_NOISE = {
    "torchao": "Failed to load",
    "torch.utils._pytree": "is an Enum subclass",
    # bitsandbytes looks for a kernel of a hub, and has its own.
    "bitsandbytes.backends.cpu.ops": "Failed to load CPU gemm_4bit_forward",
}


@dataclass
class TorchTarget:
    """What a technique may change: the loaded module and how it generates.

    Args:
        reload: reads the model from its files again, as it was first loaded.
        new_cache: gives an empty key-value cache through which spans are scored.
        facts: what the techniques counted of themselves.
        notes: what a reader of its scores must know of the techniques.
        no_likelihoods: why likelihoods are refused; ``None`` where they are not.
        made: folder that the technique being applied filled before.
        pieces: gives calibration text as token ids; ``None`` where there is none.
    """

    model: torch.nn.Module
    reload: Callable[[], torch.nn.Module]
    generation: dict[str, Any] = field(default_factory=dict)
    new_cache: Callable[[], Cache] | None = None
    facts: dict[str, Quantity] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    no_likelihoods: str | None = None
    made: Path | None = None
    pieces: Callable[[int, int, int], torch.Tensor] | None = None

    def restore(self, names: list[str]) -> None:
        """Read these modules' parameters again from the checkpoint, replacing what is there.

        The old ones are dropped first, so that this needs no more memory than the load did.
        """
        if not names:
            return
        for name in names:
            parameters = self.model.get_submodule(name)._parameters
            parameters.update(dict.fromkeys(parameters))
        fresh = dict(self.reload().named_modules())
        for name in names:
            # What another technique put there is in no checkpoint; that one takes it away itself.
            if name in fresh:
                self.model.get_submodule(name)._parameters.update(fresh[name]._parameters)
        self.model.tie_weights()

    def calibration(self, samples: int, tokens: int, seed: int) -> torch.Tensor:
        """Return pieces of real text as token ids, int64, (samples, tokens)."""
        if self.pieces is None:
            raise UnsupportedError(
                "There is no calibration text: data.passages_path=FILE gives it."
            )
        return self.pieces(samples, tokens, seed)


def load_model(model: ModelFiles, *, dtype: str, device: str, attention: str) -> torch.nn.Module:
    """Read a causal language model from its folder, ready to run.

    Raises:
        ConfigError: if the folder holds no safetensors, or they cannot be read.
        OutOfMemoryError: if it does not fit.
    """
    if dtype not in DTYPES:
        raise ConfigError(f"Unknown dtype {dtype!r}; the backend can load {', '.join(DTYPES)}.")
    if not any(model.folder.glob("*.safetensors")):
        raise ConfigError(
            f"Model {model.name} has no safetensors in its folder; pickled weights (*.bin, *.pt) "
            "are never loaded. Convert it with save_pretrained(..., safe_serialization=True)."
        )
    with quiet_libraries(), torch_failures(f"loading {model.name}"):
        import torch
        from transformers import AutoModelForCausalLM, GenerationConfig

        with _readable(model):
            loaded = AutoModelForCausalLM.from_pretrained(
                model.folder,
                dtype=getattr(torch, dtype),
                attn_implementation=attention,
                use_safetensors=True,
                trust_remote_code=False,
                local_files_only=True,
            )
        # The model's own sampling settings and its end-of-text would change what is measured.
        loaded.generation_config = GenerationConfig(pad_token_id=0)
        _own_storage(loaded)
        return loaded.to(device).eval()


def _own_storage(model: torch.nn.Module) -> None:
    """Copy the parameters out of the mapped checkpoint file, tied ones once.

    One tensor that stays mapped keeps every page of the file resident, also the pages of weights
    that a technique has replaced; the memory of such an arm would be overstated.
    """
    for tensor in (*model.parameters(), *model.buffers()):
        tensor.data = tensor.data.clone()


def load_tokenizer(model: ModelFiles) -> PreTrainedTokenizerBase:
    """Read the tokenizer that lies beside the weights."""
    with quiet_libraries():
        from transformers import AutoTokenizer

        with _readable(model):
            return AutoTokenizer.from_pretrained(
                model.folder, trust_remote_code=False, local_files_only=True
            )


def load_config(model: ModelFiles) -> Any:
    """Read the model's config, without its weights."""
    with quiet_libraries():
        from transformers import AutoConfig

        with _readable(model):
            return AutoConfig.from_pretrained(
                model.folder, trust_remote_code=False, local_files_only=True
            )


def vocabulary_of(model: torch.nn.Module, tokenizer: PreTrainedTokenizerBase) -> Vocabulary:
    """Return what accuracy needs to know of a loaded model's tokenizer, and of its window.

    Raises:
        ConfigError: if the tokenizer names no token that ends a text.
    """
    return vocabulary_from(model.config, tokenizer)


def vocabulary_from(whole: Any, tokenizer: PreTrainedTokenizerBase) -> Vocabulary:
    """Return the same from a model's config.

    Raises:
        ConfigError: if the tokenizer names no token that ends a text.
    """
    config: Any = whole.get_text_config()
    end = tokenizer.eos_token_id
    if end is None:
        raise ConfigError("The model's tokenizer names no end-of-text token; scoring needs one.")
    first = tokenizer.bos_token_id if tokenizer.bos_token_id is not None else end
    return Vocabulary(
        size=config.vocab_size,
        prefix_token_id=first,
        eot_token_id=end,
        max_length=config.max_position_embeddings,
        # Of any text: what comes first is put there by the tokenizer.
        adds_bos=first in tokenizer("a")["input_ids"][:1],
    )


@contextmanager
def _readable(model: ModelFiles) -> Iterator[None]:
    """Turn what the libraries say of unreadable files into one clear error."""
    from safetensors import SafetensorError

    try:
        yield
    except (OSError, ValueError, SafetensorError) as error:
        said = str(error).replace(str(model.folder), model.name)
        raise ConfigError(f"Model {model.name} cannot be loaded by transformers: {said}") from error


@contextmanager
def torch_failures(doing: str) -> Iterator[None]:
    """Turn torch's failures into leanboard's: out of memory apart from all others."""
    try:
        yield
    except MemoryError as error:
        raise OutOfMemoryError(f"Out of memory while {doing}.") from error
    except RuntimeError as error:
        said = str(error).strip().split("\n")[0]
        if is_out_of_memory(error):
            raise OutOfMemoryError(f"Out of memory while {doing}: {said}") from error
        raise ArmError(f"torch failed while {doing}: {said}") from error


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an error of torch's says that memory ran out.

    ``torch.OutOfMemoryError`` (CUDA) is a RuntimeError; the CPU allocator and the libraries that
    allocate by themselves (cuBLAS, cuDNN) only have a text.
    """
    said = str(error).strip().split("\n")[0]
    return isinstance(error, MemoryError) or any(text in said for text in _OUT_OF_MEMORY)


@contextmanager
def quiet_libraries() -> Iterator[None]:
    """Import torch and transformers, and load, without progress bars and known import noise.

    Raises:
        MissingDependencyError: if they are not installed.
    """
    with ExitStack() as stack:
        for name, text in _IMPORT_NOISE.items():
            logger = logging.getLogger(name)
            noise = _Without(text)
            logger.addFilter(noise)
            stack.callback(logger.removeFilter, noise)
        try:
            import torch  # noqa: F401
            from transformers.utils import logging as transformers_logging
        except ImportError as error:
            raise MissingDependencyError(
                "The transformers backend needs torch and transformers: "
                "pip install 'leanboard[transformers]'."
            ) from error
        _import_caches()
        if transformers_logging.is_progress_bar_enabled():
            transformers_logging.disable_progress_bar()
            stack.callback(transformers_logging.enable_progress_bar)
        yield


def _import_caches() -> None:
    """Import transformers' caches without hqq, which they import wherever it is installed.

    It is for a cache that nothing here uses, and takes 37 MiB of every arm.
    """
    if "transformers.cache_utils" in sys.modules:
        return
    from transformers import utils
    from transformers.utils import import_utils

    known = utils.is_hqq_available
    utils.is_hqq_available = import_utils.is_hqq_available = lambda *_: False
    try:
        import transformers.cache_utils  # noqa: F401
    finally:
        utils.is_hqq_available = import_utils.is_hqq_available = known


def import_libraries() -> None:
    """Import torch and transformers, and torchao where it is installed.

    transformers imports the rest of itself, and torchao, only as the first model is read.

    Raises:
        MissingDependencyError: if torch or transformers is not installed.
    """
    with quiet_libraries():
        from transformers import (  # noqa: F401
            AutoModelForCausalLM,
            AutoTokenizer,
            GenerationMixin,
            PreTrainedModel,
        )

        if util.find_spec("torchao") is not None:
            import torchao.quantization  # noqa: F401


class _Without(logging.Filter):
    """Drop the records whose message contains a text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self._text = text

    def filter(self, record: logging.LogRecord) -> bool:
        return self._text not in record.getMessage()
