"""The Hugging Face hub: what is asked of it, and what its refusals mean."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from leanboard.results.errors import FetchError
from leanboard.runners import hub


def quiet(_: str) -> None:
    pass


def test_only_weights_config_and_tokenizer_are_asked_of_the_hub(tmp_path: Path) -> None:
    asked: list[dict[str, Any]] = []

    def download(**options: Any) -> str:
        asked.append(options)
        return str(tmp_path / "snapshots" / "0123abc")

    folder, commit = hub.snapshot("org/x", "main", tmp_path, quiet, download)
    assert folder.name == commit == "0123abc"
    assert asked[0]["revision"] == "main"
    text = {"*.json", "*.jinja", "*.model", "merges.txt", "vocab.txt"}
    assert set(asked[0]["allow_patterns"]) == {"*.safetensors", *text}
    assert asked[0]["ignore_patterns"] == ["*/*"]


def _hub_error(name: str) -> Exception:
    from huggingface_hub import errors

    kind = getattr(errors, name)
    if name == "LocalEntryNotFoundError":
        return kind("no connection")
    request = SimpleNamespace(url="", method="GET")
    response = SimpleNamespace(headers={}, request=request, status_code=404)
    return kind("no", response=response)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("LocalEntryNotFoundError", "hub cannot be reached"),
        ("RepositoryNotFoundError", "the hub has no model of that name"),
        ("GatedRepoError", "is gated: accept its terms"),
        ("RevisionNotFoundError", "has no revision main"),
    ],
)
def test_the_hub_s_refusals_say_the_next_step(tmp_path: Path, name: str, said: str) -> None:
    def download(**_: Any) -> str:
        raise _hub_error(name)

    with pytest.raises(FetchError, match=said):
        hub.snapshot("org/x", "main", tmp_path, quiet, download)


def test_what_cannot_be_an_id_is_no_id() -> None:
    assert hub.looks_like_id("org/name-1.5B_v2")
    assert not hub.looks_like_id("./folder")
    assert not hub.looks_like_id("a/b/c")
    assert not hub.looks_like_id("models/toy.gguf")
