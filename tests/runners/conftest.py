"""Models that tests of the backends share."""

from __future__ import annotations

import pytest
from llama_gguf import with_gguf

from leanboard.runners.backends.base import ModelFiles


@pytest.fixture(scope="session")
def tiny(tiny_llama: ModelFiles, tmp_path_factory: pytest.TempPathFactory) -> ModelFiles:
    """The random Llama, also as GGUF. Read only."""
    return with_gguf(tiny_llama, tmp_path_factory.mktemp("tiny-gguf"))
