"""What the doctor's checks look at, and what they say."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Literal

from leanboard.results.identity import machine_id
from leanboard.results.schema import Gpu
from leanboard.runners.energy import probes
from leanboard.runners.machine import environment, nvml

Status = Literal["ok", "warn", "missing"]
_CACHE = Path("~/.cache/leanboard")


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at.

    Args:
        area: what it belongs to (``processor``, ``energy`` ...).
        name: the thing itself.
        status: ``ok``, ``warn`` (it works, with a limit) or ``missing`` (it cannot be measured).
        fix: what to do about it; empty where there is nothing to do.
        quantity: what can be measured thanks to it, or cannot where it is ``missing``.
    """

    area: str
    name: str
    status: Status
    message: str
    fix: str = ""
    quantity: str = ""


@dataclass(frozen=True, slots=True)
class Sources:
    """Where to look; tests look elsewhere.

    Args:
        gpus: the GPUs, and why there are none where there are none.
        energy: the source of joules of a kind of device, and why not a better one.
        machine: identity of this machine.
        pause: waits for so many seconds, while the load is looked at.
        now_s: seconds since 1970.
    """

    proc: Path = Path("/proc")
    sys: Path = Path("/sys")
    cache: Path = field(default_factory=_CACHE.expanduser)
    locks: Path | None = None
    installed: Callable[[str], str | None] = field(default_factory=lambda: installed_version)
    gpus: Callable[[], tuple[tuple[Gpu, ...], str | None]] = field(
        default_factory=lambda: find_gpus
    )
    energy: Callable[[str], tuple[str, tuple[str, ...]]] = probes.look
    environ: Mapping[str, str] = field(default_factory=lambda: os.environ)
    machine: Callable[[], str] = field(default_factory=lambda: this_machine)
    pause: Callable[[float], None] = time.sleep
    now_s: Callable[[], float] = time.time


def installed_version(package: str) -> str | None:
    """Return the version of an installed package, ``None`` if it is not there."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def find_gpus() -> tuple[tuple[Gpu, ...], str | None]:
    """Return the GPUs that NVML shows, and why there are none where there are none."""
    library, reason = nvml.library()
    if library is None:
        return (), reason
    found = nvml.gpus(library)
    return found, None if found else "the NVIDIA driver shows no GPU"


def this_machine() -> str:
    """Return the identity under which records of this machine are kept."""
    return machine_id(environment.snapshot())
