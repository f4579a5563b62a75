"""What the check of followed instructions (ifeval) needs, and what makes it repeatable."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import util
from pathlib import Path

from leanboard.results.errors import ConfigError, MissingDependencyError

_PACKAGES = ("immutabledict", "langdetect", "nltk")
_PUNKT = "tokenizers/punkt_tab/english"
_SEED = 0


def check_instructions(nltk_data: Path | None) -> None:
    """Check that ifeval's packages are there, and nltk's rules for where a sentence ends.

    lm-eval would download the rules on import; here they must be there before.

    Args:
        nltk_data: a folder with ``tokenizers/punkt_tab`` in it, searched from now on beside
            nltk's own places; ``None`` adds none.

    Raises:
        MissingDependencyError: if a package is not installed.
        ConfigError: if the rules are not found.
    """
    absent = [name for name in _PACKAGES if util.find_spec(name) is None]
    if absent:
        raise MissingDependencyError(
            f"Task ifeval needs the package {absent[0]}: pip install 'leanboard[accuracy]'."
        )
    import nltk

    if nltk_data is not None and str(nltk_data) not in nltk.data.path:
        nltk.data.path.append(str(nltk_data))
    try:
        nltk.data.find(_PUNKT)
    except LookupError as error:
        raise ConfigError(
            f"Task ifeval counts sentences with nltk's punkt_tab, which is not there ({_PUNKT}). "
            "With a network: python -m nltk.downloader punkt_tab. Without: accuracy.nltk_data="
            "FOLDER, where FOLDER holds tokenizers/punkt_tab."
        ) from error


@contextmanager
def repeatable() -> Iterator[None]:
    """Let the detection of languages, which draws at random, give the same answer every time."""
    if "langdetect" not in sys.modules:
        yield
        return
    from langdetect import DetectorFactory

    before = DetectorFactory.seed
    DetectorFactory.seed = _SEED
    try:
        yield
    finally:
        DetectorFactory.seed = before
