"""What this machine can measure and what not, why, and how to change that."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Literal

from leanboard.runners import memory, nvml
from leanboard.runners.cpu import cpu_info, cpu_limit, is_virtual, steal_share, turbo, usable_cores
from leanboard.runners.lock import lock_path
from leanboard.runners.packages import has_pip

EXTRAS = {
    "transformers": ("torch", "transformers", "torchao", "safetensors", "gguf"),
    "llamacpp": ("xllamacpp", "gguf"),
    "accuracy": ("lm-eval", "datasets"),
    "energy": ("codecarbon", "nvidia-ml-py"),
}
"""Packages of each extra in pyproject that a measurement needs."""

_CACHE = Path("~/.cache/leanboard")
_ROOM_BYTES = 3 * 2**30
_STEAL_SHARE = 0.02
_GIB = 2**30


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at.

    Args:
        status: ``ok``, ``warn`` (it works, with a limit) or ``missing`` (it cannot be measured).
        fix: what to do about it; empty where there is nothing to do.
    """

    area: str
    status: Literal["ok", "warn", "missing"]
    message: str
    fix: str = ""


@dataclass(frozen=True, slots=True)
class Sources:
    """Where to look; tests look elsewhere."""

    proc: Path = Path("/proc")
    sys: Path = Path("/sys")
    cache: Path = field(default_factory=_CACHE.expanduser)
    locks: Path | None = None
    installed: Callable[[str], str | None] = field(default_factory=lambda: installed_version)
    gpus: Callable[[], tuple[int, str | None]] = field(default_factory=lambda: count_gpus)


def installed_version(package: str) -> str | None:
    """Return the version of an installed package, ``None`` if it is not there."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def count_gpus() -> tuple[int, str | None]:
    """Return how many GPUs NVML shows, and why there are none where there are none."""
    library, reason = nvml.library()
    if library is None:
        return 0, reason
    count = len(nvml.gpus(library))
    return count, None if count > 0 else "the NVIDIA driver shows no GPU"


def diagnose(sources: Sources | None = None) -> list[Finding]:
    """Look at everything that a measurement needs; nothing is fetched."""
    at = sources if sources is not None else Sources()
    checks = (_processor, _clock, _limits, _memory, _energy, _extras, _places)
    return [finding for check in checks for finding in check(at)]


def _processor(at: Sources) -> Iterator[Finding]:
    cpu = cpu_info(at.proc, at.sys)
    cores = usable_cores(at.proc, at.sys)
    yield Finding("processor", "ok", f"{cpu.name}, {cores} cores usable")
    steal = steal_share(at.proc)
    if steal is not None and steal > _STEAL_SHARE:
        message = f"the hypervisor gave {steal:.0%} of the CPU time to others: expect noise"
        yield Finding("processor", "warn", message, "use a dedicated machine")
    elif is_virtual(at.proc):
        yield Finding("processor", "warn", "a virtual machine: neighbours may add noise")


def _clock(at: Sources) -> Iterator[Finding]:
    governor = cpu_info(at.proc, at.sys).governor
    if governor is None:
        yield Finding("clock", "warn", "the frequency governor cannot be read")
    elif governor == "performance":
        yield Finding("clock", "ok", "governor 'performance'")
    else:
        message = f"governor '{governor}': the clock follows the load"
        yield Finding("clock", "warn", message, "sudo cpupower frequency-set -g performance")
    boosting = turbo(at.sys)
    if boosting:
        message = "turbo is on: the clock falls as the chip warms up"
        yield Finding("clock", "warn", message, "turn turbo off for steadier numbers")


def _limits(at: Sources) -> Iterator[Finding]:
    cores = cpu_limit(at.proc, at.sys)
    limit = memory.memory_limit_bytes(at.sys / "fs" / "cgroup", at.proc)
    words = [] if cores is None else [f"{cores:g} cores"]
    words += [] if limit is None else [f"{limit / _GIB:.1f} GiB"]
    if words:
        yield Finding("limits", "ok", f"the container grants {' and '.join(words)}; respected")
    else:
        yield Finding("limits", "ok", "no container limit on CPU or memory")


def _memory(at: Sources) -> Iterator[Finding]:
    available = memory.available_bytes(at.sys / "fs" / "cgroup", at.proc)
    if available is None:
        yield Finding("memory", "warn", "how much is available cannot be read")
    else:
        status: Literal["ok", "warn"] = "ok" if available > _ROOM_BYTES else "warn"
        yield Finding("memory", status, f"{available / _GIB:.1f} GiB available")
    if memory.process_memory(at.proc) is None:
        message = "the kernel does not show a process's resident memory"
        yield Finding("peak memory", "missing", message)
        return
    refused = memory.reset_peak(at.proc)
    if refused is not None:
        yield Finding("peak memory", "missing", refused, "run outside of this sandbox")
    else:
        yield Finding("peak memory", "ok", "measured, high-water mark reset after the load")


def _energy(at: Sources) -> Iterator[Finding]:
    count, reason = at.gpus()
    if count > 0:
        yield Finding("GPU energy", "ok", f"{count} GPU: NVML's energy counter")
    else:
        yield Finding("GPU energy", "missing", str(reason), "check with nvidia-smi")
    yield _rapl(at)
    if at.installed("codecarbon") is not None:
        message = "codecarbon: modelled from constants and time, never compared"
        yield Finding("CPU energy, modelled", "ok", message)
    else:
        fix = "pip install 'leanboard[energy]'"
        yield Finding("CPU energy, modelled", "missing", "codecarbon is not installed", fix)


def _rapl(at: Sources) -> Finding:
    counters = sorted((at.sys / "class" / "powercap").glob("intel-rapl*/energy_uj"))
    area = "CPU energy, measured"
    if not counters:
        return Finding(area, "missing", "no RAPL counter (a virtual machine, or an old kernel)")
    if not os.access(counters[0], os.R_OK):
        fix = "sudo chmod -R a+r /sys/class/powercap/intel-rapl/"
        return Finding(area, "missing", "RAPL is there, but only root may read it", fix)
    return Finding(area, "warn", "RAPL is readable, but this version does not use it yet")


def _extras(at: Sources) -> Iterator[Finding]:
    for extra, packages in EXTRAS.items():
        found = {name: at.installed(name) for name in packages}
        absent = [name for name, version in found.items() if version is None]
        if absent:
            message = f"not installed: {', '.join(absent)}"
            yield Finding(extra, "missing", message, f"pip install 'leanboard[{extra}]'")
        else:
            yield Finding(extra, "ok", ", ".join(f"{k} {v}" for k, v in found.items()))
    if not has_pip():
        message = "models and data are fetched with pip, and this Python has none"
        yield Finding("pip", "missing", message, "python -m ensurepip")


def _places(at: Sources) -> Iterator[Finding]:
    existing = next(folder for folder in [at.cache, *at.cache.parents] if folder.exists())
    free = shutil.disk_usage(existing).free
    if free < _ROOM_BYTES:
        message = f"{free / _GIB:.1f} GiB free for the cache; the quickstart needs about 2"
        yield Finding("disk", "warn", message, "free some space, or use cache=DIR")
    else:
        yield Finding("disk", "ok", f"{free / _GIB:.1f} GiB free for the cache")
    if not os.access(existing, os.W_OK):
        message = f"the cache {at.cache} cannot be written"
        yield Finding("disk", "missing", message, "use cache=DIR")
    lock = lock_path("cpu", at.locks)
    if os.access(lock if lock.exists() else lock.parent, os.W_OK):
        yield Finding("measuring lock", "ok", "one measurement at a time on this machine")
    else:
        message = f"{lock} cannot be opened, so nothing can be measured"
        yield Finding("measuring lock", "missing", message, "remove it, or set another TMPDIR")
    models = list((at.cache / "models").glob("*/float32-*"))
    if models:
        yield Finding("models", "ok", f"{len(models)} converted in the cache")
    else:
        message = "none in the cache yet; a run fetches what it needs"
        yield Finding("models", "warn", message, "leanboard fetch")
