"""Bring a model from the Hugging Face hub: safetensors, config and tokenizer, nothing else."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from leanboard.results.errors import FetchError, MissingDependencyError
from leanboard.runners.cache import Say

_ALLOWED = ["*.safetensors", "*.json", "*.jinja", "*.model", "merges.txt", "vocab.txt"]
_IGNORED = ["*/*"]
_ID = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?")

Snapshot = Callable[..., str]


def looks_like_id(name: str) -> bool:
    """Whether a text can be a Hugging Face id (``ORG/NAME`` or ``NAME``)."""
    return _ID.fullmatch(name) is not None and not name.endswith(".gguf")


def snapshot(
    model_id: str, revision: str | None, cache: Path, say: Say, download: Snapshot | None = None
) -> tuple[Path, str]:
    """Return the folder of the model's files and the commit that they are of.

    Raises:
        FetchError: if there is no network, no such model or revision, or no leave to read it.
        MissingDependencyError: if huggingface_hub is not installed.
    """
    errors = _errors()
    say(f"Fetching {model_id} from the Hugging Face hub.")
    options: dict[str, Any] = {
        "repo_id": model_id,
        "revision": revision,
        "cache_dir": cache / "hub",
        "allow_patterns": _ALLOWED,
        "ignore_patterns": _IGNORED,
    }
    expected: tuple[type[Exception], ...] = (OSError, ValueError, *errors)
    try:
        folder = Path((download if download is not None else _download)(**options))
    except expected as error:
        raise FetchError(_explain(model_id, revision, error)) from error
    return folder, folder.name


def _download(**options: Any) -> str:
    from huggingface_hub import snapshot_download

    return str(snapshot_download(**options))


def _errors() -> tuple[type[Exception], ...]:
    try:
        from huggingface_hub.errors import HfHubHTTPError
    except ImportError as error:
        raise MissingDependencyError(
            "A Hugging Face id needs huggingface_hub: pip install 'leanboard[transformers]'."
        ) from error
    # Its base is the HTTP library's own error, which differs between versions of the hub client.
    bases = [base for base in HfHubHTTPError.__mro__ if base.__name__ == "HTTPError"]
    return (HfHubHTTPError, *(base for base in bases if issubclass(base, Exception)))


def _explain(model_id: str, revision: str | None, error: Exception) -> str:
    kinds = {kind.__name__ for kind in type(error).__mro__}
    if "GatedRepoError" in kinds:
        return (
            f"{model_id} is gated: accept its terms on the hub and log in with `hf auth login`, "
            "then try again."
        )
    if "RevisionNotFoundError" in kinds:
        return f"{model_id} has no revision {revision}. Correct model.revision."
    if "RepositoryNotFoundError" in kinds:
        return (
            f"There is no folder {model_id} here, and the hub has no model of that name (or it is "
            "private: `hf auth login`). Correct model.id."
        )
    if isinstance(error, OSError) and error.errno == 28:
        return f"The disk is full: {model_id} was not fetched. Free some space, or use cache=DIR."
    if {"LocalEntryNotFoundError", "HTTPError", "ConnectionError"} & kinds:
        return (
            f"There is no folder {model_id} here, and the Hugging Face hub cannot be reached. "
            "Check the path or the network, or use a model that pip brings: "
            "model=smollm2-135m-instruct."
        )
    return f"{model_id} could not be fetched: {error}. Check model.id and model.revision."
