"""Where a record comes from: the licence of its model, the code that made it, and when."""

from __future__ import annotations

import getpass
import re
import socket
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from importlib import metadata

from leanboard.results.schema import Environment, Record
from leanboard.results.submission.finding import Finding

OPEN_LICENCES = frozenset(
    {
        "afl-3.0",
        "apache-2.0",
        "bigscience-openrail-m",
        "bsd-2-clause",
        "bsd-3-clause",
        "cc-by-4.0",
        "cc-by-sa-3.0",
        "cc-by-sa-4.0",
        "cc0-1.0",
        "creativeml-openrail-m",
        "gemma",
        "isc",
        "llama2",
        "llama3",
        "llama3.1",
        "llama3.2",
        "llama3.3",
        "mit",
        "mpl-2.0",
        "openrail",
        "unlicense",
    }
)
"""Licences under which anyone may get and use a model; others are taken as they are stated."""

_UNSTATED = frozenset(
    {"", "?", "n/a", "na", "noassertion", "none", "null", "other", "todo", "unknown"}
)
_RELEASE = re.compile(r"\d+\.\d+\.\d+")
_COMMIT = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?")
_AHEAD = timedelta(days=1)
"""How far a clock may be ahead."""
_GENERIC = frozenset(
    {
        "admin",
        "builder",
        "cloud",
        "debian",
        "desktop",
        "docker",
        "jenkins",
        "laptop",
        "leanboard",
        "linux",
        "localhost",
        "nobody",
        "root",
        "runner",
        "server",
        "ubuntu",
        "user",
        "vagrant",
    }
)
_SHORTEST_NAME = 4
_MEASURE_CLEAN = (
    "commit or undo your changes (git status), then measure again; what was changed is not on the "
    "record"
)


@dataclass(frozen=True, slots=True)
class Circumstances:
    """Where and when a submission is checked.

    Args:
        now: the time, with its zone.
        version: version of the leanboard that checks.
        own_names: names of the user and the machine that may be whoever submits.
    """

    now: datetime
    version: str
    own_names: tuple[str, ...] = ()

    @classmethod
    def here(cls) -> Circumstances:
        """Return those of this machine, now."""
        return cls(datetime.now(UTC), metadata.version("leanboard"), _own_names())


def licence_findings(record: Record) -> Iterator[Finding]:
    """Yield what is wrong with the licence that a record states for its model."""
    licence = record.cell.model.licence
    if licence.strip().lower() in _UNSTATED:
        yield Finding(
            f"cell.model.licence is '{licence}': the model's licence is not stated",
            "name it (an SPDX identifier where there is one) in the model's YAML or with "
            "model.licence=..., then measure again",
        )


def licence_note(record: Record) -> str:
    """Return what a reader of the check is told of a licence that is stated."""
    licence = record.cell.model.licence
    known = licence.strip().lower() in OPEN_LICENCES
    return licence if known else f"{licence}: as stated, not on the list of known open licences"


def origin_findings(record: Record, around: Circumstances) -> Iterator[Finding]:
    """Yield what is wrong with the code that made a record, and with its dates."""
    yield from _version_findings(record.environment, around.version)
    yield from _git_findings(record.environment)
    yield from _date_findings(record, around.now)


def _version_findings(environment: Environment, ours: str) -> Iterator[Finding]:
    version = environment.packages.get("leanboard")
    if version is None:
        yield Finding(
            "environment.packages names no leanboard: nobody can tell what measured",
            "install leanboard (pip, or make setup in a clone) and measure again",
        )
    elif not _RELEASE.fullmatch(version):
        yield Finding(
            f"environment.packages.leanboard is {version}: not a version that was published",
            "measure again with a release, or with a clone at a commit of the project",
        )
    elif _numbers(version) > _numbers(ours):
        yield Finding(
            f"environment.packages.leanboard is {version}, but the newest version is {ours}",
            "measure again with a version that was published",
        )


def _numbers(version: str) -> tuple[int, ...]:
    """Return the first three numbers of a version, to compare it with another."""
    return tuple(map(int, re.findall(r"\d+", version)[:3]))


def _git_findings(environment: Environment) -> Iterator[Finding]:
    sha, dirty = environment.git_sha, environment.git_dirty
    if dirty:
        message = "environment.git_dirty is true: the code was not that of a commit"
        yield Finding(message, _MEASURE_CLEAN)
    if sha is not None and not _COMMIT.fullmatch(sha):
        yield Finding(f"environment.git_sha is '{sha}', which names no commit", _MEASURE_CLEAN)
    if sha is not None and dirty is None:
        yield Finding(
            f"environment.git_sha is {sha}, but git_dirty is null: nobody can tell whether the "
            "code was that of the commit",
            _MEASURE_CLEAN,
        )


def _date_findings(record: Record, now: datetime) -> Iterator[Finding]:
    times = record.times
    if times.finished_at > now + _AHEAD:
        yield Finding(
            f"times.finished_at is {times.finished_at.isoformat()}, which is yet to come",
            "set the clock of the machine, then measure again",
        )
    due = f"{times.started_at.astimezone(UTC):%Y%m%dT%H%M%SZ}"
    if not record.run_id.startswith(due):
        yield Finding(
            f"run_id is {record.run_id}, but times.started_at gives {due}",
            "submit the record as leanboard wrote it",
        )


def _own_names() -> tuple[str, ...]:
    """Return the names of this user and machine, without those that anyone may have."""
    host = socket.gethostname()
    names = {host, host.partition(".")[0]}
    with suppress(KeyError, OSError):  # a container may run as a user without a name
        names.add(getpass.getuser())
    telling = (n for n in names if len(n) >= _SHORTEST_NAME and n.lower() not in _GENERIC)
    return tuple(sorted(telling))
