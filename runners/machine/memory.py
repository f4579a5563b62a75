"""Memory of this process and of this machine, in bytes."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from leanboard.results.errors import OutOfMemoryError
from leanboard.runners.machine import nvml

_PROC = Path("/proc")
_CGROUP = Path("/sys/fs/cgroup")
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
# cgroup v1 writes "no limit" as a number near 2^63.
_NO_LIMIT_BYTES = 1 << 60
_DTYPE_BYTES = {"float32": 4.0, "bfloat16": 2.0, "float16": 2.0, "int8": 1.0}
# Buffers, activations and the KV cache beside the weights, and the libraries themselves.
_OVERHEAD_SHARE = 0.15
_OVERHEAD_BYTES = 600 * 2**20


@dataclass(frozen=True, slots=True)
class ProcessMemory:
    """What the kernel says of this process, in bytes.

    Args:
        resident: pages in memory now (VmRSS).
        peak: the most since start or since ``reset_peak`` (VmHWM).
        anonymous: the part of ``resident`` that no file backs (RssAnon).
        file_backed: the part that files back (RssFile): mapped weights, libraries.
    """

    resident: int
    peak: int
    anonymous: int
    file_backed: int


def process_memory(proc: Path = _PROC) -> ProcessMemory | None:
    """Read ``/proc/self/status``; ``None`` where the system does not say."""
    try:
        sizes = parse_status((proc / "self" / "status").read_text())
        return ProcessMemory(sizes["VmRSS"], sizes["VmHWM"], sizes["RssAnon"], sizes["RssFile"])
    except (OSError, KeyError):
        return None


def resident_bytes(pid: int, proc: Path = _PROC) -> int | None:
    """Return the resident set of a process; ``None`` if it is gone or hidden.

    Source: proc_pid_statm(5). Microseconds, while ``smaps_rollup`` would hold up page faults.
    """
    try:
        words = (proc / str(pid) / "statm").read_bytes().split()
    except OSError:
        return None
    pages = int(words[1]) if len(words) > 1 and words[1].isdigit() else 0
    # A process that has ended shows zeros until it is reaped.
    return pages * _PAGE_BYTES if pages > 0 else None


def parse_status(text: str) -> dict[str, int]:
    """Return the sizes of a status file (lines ``Name: N kB``) in bytes."""
    sizes = {}
    for line in text.splitlines():
        name, _, rest = line.partition(":")
        words = rest.split()
        if len(words) == 2 and words[1] == "kB":
            sizes[name] = int(words[0]) * 1024
    return sizes


def reset_peak(proc: Path = _PROC) -> str | None:
    """Set the peak (VmHWM) back to what is resident now.

    Returns:
        ``None`` if it was done, else the reason why it cannot be.
    """
    try:
        (proc / "self" / "clear_refs").write_text("5")
    except OSError as error:
        return f"the kernel does not let the peak be reset: {error.strerror or error}"
    return None


def memory_limit_bytes(cgroup: Path = _CGROUP, proc: Path = _PROC) -> int | None:
    """Return the smallest memory limit of this process's control groups; ``None`` if unlimited."""
    limits = [_limit(folder, name) for folder, name in _memory_files(cgroup, proc)]
    return min((limit for limit in limits if limit is not None), default=None)


def available_bytes(cgroup: Path = _CGROUP, proc: Path = _PROC) -> int | None:
    """Return the memory that can still be had: the system's, or the control group's rest if less.

    Page cache counts as available, in the group as in the system.
    """
    rests = [_group_rest(folder, name) for folder, name in _memory_files(cgroup, proc)]
    with suppress(OSError, KeyError):
        rests.append(parse_status((proc / "meminfo").read_text())["MemAvailable"])
    return min((rest for rest in rests if rest is not None), default=None)


def device_available_bytes(kind: str) -> int | None:
    """Return the memory that models can be loaded into: the system's, or the first GPU's."""
    if kind != "cuda":
        return available_bytes()
    gpu = _gpu_memory()
    return None if gpu is None else int(gpu.free)


def device_total_bytes(kind: str, cgroup: Path = _CGROUP, proc: Path = _PROC) -> int | None:
    """Return the memory that there is: the machine's, its container's limit, or the first GPU's."""
    if kind != "cuda":
        limit, total = memory_limit_bytes(cgroup, proc), total_bytes(proc)
        return total if limit is None else min(limit, total)
    gpu = _gpu_memory()
    return None if gpu is None else int(gpu.total)


def _gpu_memory() -> Any:
    """Return what NVML says of the first GPU's memory; ``None`` without one."""
    library, _ = nvml.library()
    if library is None:
        return None
    try:
        return library.nvmlDeviceGetMemoryInfo(nvml.first_gpu(library))
    except library.NVMLError:
        return None


def total_bytes(proc: Path = _PROC) -> int:
    """Return the machine's memory in bytes."""
    return parse_status((proc / "meminfo").read_text())["MemTotal"]


def _memory_files(cgroup: Path, proc: Path) -> list[tuple[Path, str]]:
    """Return (folder, file of the limit) of this process's group and all groups above it."""
    try:
        lines = (proc / "self" / "cgroup").read_text().splitlines()
    except OSError:
        return []
    found = []
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            root, name = cgroup, "memory.max"
        elif "memory" in controllers.split(","):
            root, name = cgroup / "memory", "memory.limit_in_bytes"
        else:
            continue
        folder = root / path.lstrip("/")
        # Inside a container the path is that of the host: the root still holds the limit.
        found += [(f, name) for f in [folder, *folder.parents] if f.is_relative_to(root)]
    return found


def _limit(folder: Path, name: str) -> int | None:
    try:
        text = (folder / name).read_text().strip()
    except OSError:
        return None
    return int(text) if text.isdigit() and int(text) < _NO_LIMIT_BYTES else None


def _group_rest(folder: Path, name: str) -> int | None:
    limit = _limit(folder, name)
    if limit is None:
        return None
    usage = "memory.current" if name == "memory.max" else "memory.usage_in_bytes"
    try:
        used = int((folder / usage).read_text())
        stat = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
    except (OSError, ValueError):
        return limit
    reclaimable = int(stat.get("inactive_file", stat.get("total_inactive_file", "0")))
    return max(0, limit - used + reclaimable)


def required_bytes(parameters: int, dtype: str) -> int:
    """Return what loading a model of this size takes: weights, buffers and libraries.

    A rule of thumb that refuses what cannot fit; it is never reported as a measurement.
    """
    weights = parameters * _DTYPE_BYTES.get(dtype, 4.0)
    return int(weights * (1 + _OVERHEAD_SHARE)) + _OVERHEAD_BYTES


def require_memory(
    needed_bytes: int,
    purpose: str,
    cap_bytes: int | None = None,
    available: Callable[[], int | None] = available_bytes,
) -> None:
    """Raise OutOfMemoryError if the memory at hand, or the profile's cap, is less than needed."""
    found = available()
    if cap_bytes is not None and needed_bytes > cap_bytes:
        raise OutOfMemoryError(
            f"{purpose} needs about {needed_bytes / 2**30:.1f} GiB, and the hardware profile "
            f"allows {cap_bytes / 2**30:.1f} GiB. Raise hardware.memory_cap_bytes or use a smaller "
            "model."
        )
    if found is not None and needed_bytes > found:
        raise OutOfMemoryError(
            f"{purpose} needs about {needed_bytes / 2**30:.1f} GiB, and {found / 2**30:.1f} GiB "
            "are available. Close other programs, raise the container's limit, or use a smaller "
            "model."
        )
