"""The C interface of llama.cpp, as the xllamacpp wheel carries it.

Structures go by value, so they must be those of exactly one version: the pinned one. Any other is
refused, and known default values show a drift before it can do harm.
"""

from __future__ import annotations

import ctypes
import importlib.util
import logging
from collections import deque
from functools import cache
from importlib import metadata
from pathlib import Path

from leanboard.results.errors import MissingDependencyError
from leanboard.runners.backends.llama_header import (
    CONTEXT_DEFAULTS,
    LIBRARY_VERSION,
    MODEL_DEFAULTS,
    SIGNATURES,
    ContextParams,
    LogCallback,
    ModelParams,
)

PACKAGE = "xllamacpp"
PINNED_VERSION = "2026.10.11549"
_INSTALL = "pip install 'leanboard[llamacpp]'"
_WARNING = 3
_log = logging.getLogger(__name__)


class Library:
    """llama.cpp's functions, with their types, and the last lines of its log.

    Attributes:
        c: the functions, by their names in llama.h.
        system_info: the instruction sets that its kernels use.
    """

    def __init__(self, c: ctypes.CDLL) -> None:
        """Declare the functions, check the structures, and take over the log.

        Raises:
            MissingDependencyError: if this is not the library that was pinned.
        """
        self.c = c
        self._lines: deque[str] = deque(maxlen=6)
        # llama.cpp keeps the pointer: the object must live as long as the library.
        self._callback = LogCallback(self._note)
        _declare(c)
        _check(c)
        c.llama_log_set(self._callback, None)
        c.llama_backend_init()
        self.system_info: str = c.llama_print_system_info().decode()

    def model_params(self) -> ModelParams:
        """Return the default parameters of a model."""
        return ModelParams.from_buffer_copy(self.c.llama_model_default_params())

    def context_params(self) -> ContextParams:
        """Return the default parameters of a context."""
        return ContextParams.from_buffer_copy(self.c.llama_context_default_params())

    def complaints(self) -> str:
        """Return the last warnings and errors of llama.cpp, and forget them."""
        text = " / ".join(self._lines)
        self._lines.clear()
        return text or "llama.cpp gave no reason"

    def _note(self, level: int, text: bytes, _: int | None) -> None:
        line = text.decode(errors="replace").strip()
        if level in {_WARNING, _WARNING + 1} and line:
            self._lines.append(line)
            _log.debug("%s", line)


def _declare(c: ctypes.CDLL) -> None:
    for name, (result, arguments) in SIGNATURES.items():
        try:
            function = getattr(c, name)
        except AttributeError as error:
            raise _other_library(f"it has no function {name}") from error
        function.restype, function.argtypes = result, arguments


def _check(c: ctypes.CDLL) -> None:
    version = c.llama_version()
    if version != LIBRARY_VERSION:
        raise _other_library(f"llama.cpp calls itself {version!r}")
    defaults = (
        (c.llama_model_default_params(), MODEL_DEFAULTS),
        (c.llama_context_default_params(), CONTEXT_DEFAULTS),
    )
    for params, known in defaults:
        for field, value in known.items():
            found = getattr(params, field)
            if found != value:
                raise _other_library(f"the default of {field} is {found!r}, not {value!r}")


def _other_library(what: str) -> MissingDependencyError:
    return MissingDependencyError(
        f"The llama.cpp library is not the one of {PACKAGE} {PINNED_VERSION}: {what}. "
        f"Install the pinned one: {_INSTALL}."
    )


def check_version() -> None:
    """Check that the pinned version of the package is installed.

    Raises:
        MissingDependencyError: if it is not.
    """
    try:
        version = metadata.version(PACKAGE)
    except metadata.PackageNotFoundError as error:
        raise MissingDependencyError(
            f"{PACKAGE} is needed to run GGUF models with llama.cpp: {_INSTALL}."
        ) from error
    if version != PINNED_VERSION:
        raise MissingDependencyError(
            f"{PACKAGE} {version} is installed, but leanboard speaks to llama.cpp as it is in "
            f"{PINNED_VERSION}: {_INSTALL}."
        )


@cache
def load_library() -> Library:
    """Return the library, loaded and checked, once a process.

    Raises:
        MissingDependencyError: if it is not installed, or not in the pinned version.
    """
    check_version()
    return Library(open_library(_library_file()))


def _library_file() -> Path:
    """Return the shared library of the package, without importing the package."""
    folder = package_folder(PACKAGE)
    files = sorted(folder.glob("xllamacpp*.so")) if folder is not None else []
    if not files:
        raise MissingDependencyError(
            f"{PACKAGE} is installed without its shared library. Install it again: {_INSTALL}."
        )
    return files[0]


def package_folder(name: str) -> Path | None:
    """Return the folder of an installed package without importing it."""
    spec = importlib.util.find_spec(name)
    return Path(spec.origin).parent if spec is not None and spec.origin is not None else None


def open_library(file: Path) -> ctypes.CDLL:
    """Open the shared library.

    It needs libgomp.so.1, which a lean Debian lacks and the wheel does not carry; torch does.

    Raises:
        MissingDependencyError: if it, or a library that it needs, cannot be loaded.
    """
    try:
        return ctypes.CDLL(str(file))
    except OSError as error:
        torch = package_folder("torch")
        openmp = torch / "lib" / "libgomp.so.1" if torch is not None else None
        if "libgomp" not in str(error) or openmp is None or not openmp.exists():
            raise _cannot_load(error) from error
    try:
        ctypes.CDLL(str(openmp), mode=ctypes.RTLD_GLOBAL)
        return ctypes.CDLL(str(file))
    except OSError as error:
        raise _cannot_load(error) from error


def _cannot_load(error: OSError) -> MissingDependencyError:
    return MissingDependencyError(
        f"llama.cpp's library cannot be loaded: {error}. It needs libgomp (apt install libgomp1) "
        f"and the x86-64 Linux wheel of {PACKAGE} {PINNED_VERSION}."
    )
