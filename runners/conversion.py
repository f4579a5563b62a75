"""Convert a GGUF file once into safetensors (float32) with config and tokenizer.

Runs as a process of its own, so that its memory and imports leave no trace in a measurement:
``python -m leanboard.runners.conversion FILE.gguf FOLDER``.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections import Counter
from importlib import metadata
from pathlib import Path
from typing import Any

from leanboard.results.errors import (
    ConfigError,
    FetchError,
    LeanboardError,
    MissingDependencyError,
    OutOfMemoryError,
)
from leanboard.runners.cache import Say, build_once
from leanboard.runners.machine.memory import require_memory

_TIMEOUT_S = 1800.0
NOTE = "origin.json"
# Measured: 3.1 GiB at most for a model of 1.0 GiB in float32, libraries included.
_COPIES = 3


def converted_folder(gguf: Path, content_hash: str, cache: Path, say: Say) -> Path:
    """Return the folder of the converted model; convert first if it is not there.

    Args:
        gguf: the file as published.
        content_hash: its sha256, part of the folder's name beside transformers' version.
        cache: root of the cache.
        say: receives one line before the conversion starts.

    Raises:
        MissingDependencyError: if transformers or gguf is not installed.
        OutOfMemoryError: if the expanded weights do not fit into the memory three times.
        ConfigError: if transformers cannot read the file.
        FetchError: if the result cannot be written.
    """
    target = model_cache(content_hash, cache) / f"float32-transformers-{_version('transformers')}"
    _version("gguf")

    def build(part: Path) -> None:
        say(f"Converting {gguf.name} to safetensors, once (about half a minute).")
        _convert_in_child(gguf, part)

    try:
        return build_once(target, build, say)
    except OSError as error:
        raise FetchError(
            f"The converted model could not be written to {target.parent}: "
            f"{error.strerror or error}. Free some space or choose another place with cache=DIR."
        ) from error


def model_cache(content_hash: str, cache: Path) -> Path:
    """Return the folder that holds everything derived from one model."""
    return cache / "models" / content_hash


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError as error:
        raise MissingDependencyError(
            f"{package} is needed to read a GGUF model: pip install 'leanboard[transformers]'."
        ) from error


def _convert_in_child(gguf: Path, folder: Path) -> None:
    command = [sys.executable, "-m", "leanboard.runners.conversion", str(gguf), str(folder)]
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise ConfigError(
            f"Converting {gguf.name} took more than {_TIMEOUT_S / 60:.0f} minutes and was stopped. "
            "Use a smaller model, or its safetensors: model.id=FOLDER."
        ) from error
    if done.returncode != 0:
        raise explain(gguf.name, done.returncode, done.stderr)


def explain(name: str, returncode: int, stderr: str) -> LeanboardError:
    """Turn what a failed conversion left behind into the error for the user."""
    lines = [line for line in stderr.strip().splitlines() if line.strip()]
    last = lines[-1] if lines else "no message"
    kind, _, message = last.partition(": ")
    if kind.rpartition(".")[2] == "OutOfMemoryError":
        return OutOfMemoryError(message)
    if returncode == -signal.SIGKILL or kind == "MemoryError":
        return OutOfMemoryError(
            f"The conversion of {name} ran out of memory. Close other programs, raise the "
            "container's limit, or use a smaller model."
        )
    if "No space left" in stderr:
        return FetchError(f"The disk is full: {name} was not converted. Free some space.")
    return ConfigError(
        f"transformers cannot read {name} (exit code {returncode}): {last}. "
        "Use the model's safetensors: model.id=FOLDER."
    )


def convert(gguf: Path, folder: Path) -> None:
    """Write the model of a GGUF file to a folder as float32 safetensors, with a note of origin."""
    # First, because it is quick and fails on a file that is damaged.
    origin = read_origin(gguf)
    weights = sum(origin["elements"].values())
    require_memory(weights * 4 * _COPIES, f"Converting {gguf.name}")
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model: Any = AutoModelForCausalLM.from_pretrained(
        gguf.parent, gguf_file=gguf.name, dtype=torch.float32
    )
    # The weights are plain floats now; a later load must not treat them as quantised.
    model.hf_quantizer = None
    if hasattr(model.config, "quantization_config"):
        del model.config.quantization_config
    model.save_pretrained(folder)
    tokenizer: Any = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
    tokenizer.save_pretrained(folder)
    (folder / NOTE).write_text(json.dumps(origin, indent=1, sort_keys=True))


def read_origin(gguf: Path) -> dict[str, Any]:
    """Return ``weights_origin`` (type of most weights), ``family`` and the type counts."""
    from gguf import GGUFReader

    reader = GGUFReader(gguf)
    counts: Counter[str] = Counter()
    for tensor in reader.tensors:
        counts[tensor.tensor_type.name.lower()] += int(tensor.n_elements)
    architecture = reader.get_field("general.architecture")
    return {
        "weights_origin": dominant_type(counts),
        "family": str(architecture.contents()) if architecture is not None else "unknown",
        "elements": dict(sorted(counts.items())),
    }


def dominant_type(counts: Counter[str]) -> str:
    """Return the tensor type of most weights; unquantised types are ``float``."""
    name = counts.most_common(1)[0][0]
    return "float" if name in {"f32", "f16", "bf16", "f64"} else name


if __name__ == "__main__":
    convert(Path(sys.argv[1]), Path(sys.argv[2]))
