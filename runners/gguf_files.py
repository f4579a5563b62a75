"""GGUF files whose weights are of one tensor type, made once from the published file."""

from __future__ import annotations

import os
import tempfile
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from leanboard.results.errors import (
    ConfigError,
    FetchError,
    MissingDependencyError,
    UnsupportedError,
)
from leanboard.runners.backends.base import ModelFiles
from leanboard.runners.cache import Say, file_lock

if TYPE_CHECKING:
    from gguf import GGMLQuantizationType, GGUFReader, GGUFWriter
    from gguf.gguf_reader import ReaderTensor

# Raised whenever the same source and type would give another file.
_FORMAT_VERSION = 1

# Tensor type -> ``general.file_type`` of llama.cpp (enum llama_ftype).
TYPES = {"f32": 0, "f16": 1, "q4_0": 2, "q4_1": 3, "q8_0": 7, "q5_0": 8, "q5_1": 9}
_FILE_TYPE = "general.file_type"
_QUANTIZATION_VERSION = "general.quantization_version"


def _silent(_: str) -> None:
    """Say nothing."""


def gguf_file(model: ModelFiles, tensor_type: str, say: Say = _silent) -> Path:
    """Return a GGUF file whose weight matrices are of a tensor type; make it if it is not there.

    If the published file already is of that type, it is returned as it is. Otherwise every
    matrix is expanded to float32 and rounded to the type, except tensors that already have it,
    whose bytes are copied. Vectors (norms, biases) stay as they are; a matrix whose rows are not
    a multiple of the type's block becomes float16, as in llama.cpp. All metadata is copied.

    Args:
        model: the model; its ``gguf`` is the source.
        tensor_type: one of ``TYPES``.
        say: receives a line before the work starts, or while another process does it.

    Raises:
        UnsupportedError: if the model was not published as GGUF.
        ConfigError: if the type is unknown, or the source cannot be read.
        MissingDependencyError: if gguf is not installed.
        FetchError: if the file cannot be written.
    """
    if tensor_type not in TYPES:
        raise ConfigError(f"No GGUF type {tensor_type!r} here; choose {', '.join(sorted(TYPES))}.")
    if model.gguf is None:
        raise UnsupportedError(
            f"{model.name} has no GGUF file: llama.cpp runs models that are published as GGUF. "
            "Convert it with llama.cpp's convert_hf_to_gguf.py and give model.id=FILE.gguf, "
            "or use backend=transformers."
        )
    stem = f"{model.content_hash[:16]}-{tensor_type}-v{_FORMAT_VERSION}-gguf{_gguf_version()}"
    target, published = model.gguf_cache / f"{stem}.gguf", model.gguf_cache / f"{stem}.published"
    if target.exists():
        return target
    if published.exists():
        return model.gguf
    try:
        return _make_once(model.gguf, target, published, tensor_type, say)
    except OSError as error:
        raise FetchError(
            f"The {tensor_type} file could not be written to {target.parent}: "
            f"{error.strerror or error}. Free some space or choose another place with cache=DIR."
        ) from error


def _gguf_version() -> str:
    try:
        return metadata.version("gguf")
    except metadata.PackageNotFoundError as error:
        raise MissingDependencyError(
            "gguf is needed to make GGUF files: pip install 'leanboard[llamacpp]'."
        ) from error


def _make_once(source: Path, target: Path, published: Path, tensor_type: str, say: Say) -> Path:
    def waiting() -> None:
        say(f"Waiting for another leanboard that is making {target.name}.")

    with file_lock(target.parent / f".{target.name}.lock", waiting):
        if target.exists():
            return target
        if published.exists():
            return source
        reader = _read(source)
        if _value(reader, _FILE_TYPE) == TYPES[tensor_type]:
            # Parsing the metadata takes seconds; the empty note spares it the next time.
            published.touch()
            return source
        say(f"Making a {tensor_type} file of {source.name}, once.")
        _make(reader, target, tensor_type)
    return target


def _read(source: Path) -> GGUFReader:
    import gguf

    try:
        return gguf.GGUFReader(source)
    except (ValueError, IndexError, KeyError) as error:
        raise ConfigError(
            f"{source.name} is no GGUF file that can be read: {error}. Fetch it again."
        ) from error


def _make(reader: GGUFReader, target: Path, tensor_type: str) -> None:
    """Write a temporary file beside the target, and rename it when it is complete."""
    prefix = f".{target.name}.part-"
    for stale in target.parent.glob(f"{prefix}*"):
        stale.unlink(missing_ok=True)
    descriptor, name = tempfile.mkstemp(prefix=prefix, dir=target.parent)
    os.close(descriptor)
    part = Path(name)
    try:
        _write(reader, part, tensor_type)
        with part.open("rb") as written:
            os.fsync(written.fileno())
        part.chmod(0o644)
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)


def _write(reader: GGUFReader, path: Path, tensor_type: str) -> None:
    """Write the converted model, one tensor in memory at a time."""
    import gguf

    writer = gguf.GGUFWriter(path, arch=str(_value(reader, "general.architecture")))
    try:
        writer.data_alignment = reader.alignment
        _copy_metadata(reader, writer, TYPES[tensor_type])
        kinds = [_kind(tensor, tensor_type) for tensor in reader.tensors]
        for tensor, kind in zip(reader.tensors, kinds, strict=True):
            shape = tuple(reversed(tensor.shape.tolist()))
            n_bytes = _bytes(tensor.n_elements, kind)
            # float32 says only that the shape counts elements; raw_dtype is what is stored.
            writer.add_tensor_info(tensor.name, shape, np.dtype("float32"), n_bytes, kind)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_ti_data_to_file()
        for tensor, kind in zip(reader.tensors, kinds, strict=True):
            writer.write_tensor_data(_converted(tensor, kind))
    finally:
        writer.close()


def _copy_metadata(reader: GGUFReader, writer: GGUFWriter, file_type: int) -> None:
    import gguf

    for field in reader.fields.values():
        # The writer gives these itself, or they are set below.
        if field.name.startswith("GGUF.") or field.name in {"general.architecture", _FILE_TYPE}:
            continue
        value_type = field.types[0]
        sub_type = field.types[-1] if value_type == gguf.GGUFValueType.ARRAY else None
        writer.add_key_value(field.name, field.contents(), value_type, sub_type=sub_type)
    writer.add_file_type(file_type)
    if _QUANTIZATION_VERSION not in reader.fields:
        writer.add_quantization_version(gguf.GGML_QUANT_VERSION)


def _kind(tensor: ReaderTensor, tensor_type: str) -> GGMLQuantizationType:
    """Return the type that a tensor gets: only matrices of weights are converted."""
    import gguf

    shape = tensor.shape.tolist()
    if len(shape) < 2 or not tensor.name.endswith("weight"):
        return tensor.tensor_type
    wanted = gguf.GGMLQuantizationType[tensor_type.upper()]
    block, _ = gguf.GGML_QUANT_SIZES[wanted]
    return wanted if shape[0] % block == 0 else gguf.GGMLQuantizationType.F16


def _bytes(elements: int, kind: GGMLQuantizationType) -> int:
    import gguf

    block, size = gguf.GGML_QUANT_SIZES[kind]
    return int(elements // block * size)


def _converted(tensor: ReaderTensor, kind: GGMLQuantizationType) -> np.ndarray[Any, Any]:
    import gguf

    data: np.ndarray[Any, Any] = tensor.data
    if tensor.tensor_type != kind:
        data = gguf.quants.quantize(gguf.quants.dequantize(data, tensor.tensor_type), kind)
    return data


def _value(reader: GGUFReader, key: str) -> object:
    """Return a metadata value, ``None`` if the file does not hold it."""
    field = reader.fields.get(key)
    return None if field is None else field.contents()
