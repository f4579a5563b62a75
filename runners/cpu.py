"""The processor and its limits, as Linux shows them."""

from __future__ import annotations

import math
import os
import platform
import re
from pathlib import Path

from leanboard.results.schema import Cpu

_PROC = Path("/proc")
_SYS = Path("/sys")
# Instruction sets that decide which kernels run.
_FLAGS = re.compile(
    r"avx|amx|f16c$|fma$|sse4_2$|bmi2$|neon|asimd|sve|sme\d*$|i8mm|bf16|fphp$|dotprod|vnni"
)


def usable_cores(proc: Path = _PROC, sys: Path = _SYS) -> int:
    """Return how many threads can run at once: allowed cores, or the group's CPU limit if less."""
    allowed = len(os.sched_getaffinity(0))
    limit = cpu_limit(proc, sys)
    return allowed if limit is None else max(1, min(allowed, math.floor(limit)))


def cpu_limit(proc: Path = _PROC, sys: Path = _SYS) -> float | None:
    """Return the CPU time that the control groups grant, in cores; ``None`` if unlimited."""
    limits = [_quota(folder) for folder in _groups(proc, sys / "fs" / "cgroup")]
    return min((limit for limit in limits if limit is not None), default=None)


def _groups(proc: Path, cgroup: Path) -> list[Path]:
    """Return the folders of this process's CPU group and of all groups above it."""
    found = []
    for line in read_text(proc / "self" / "cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            root = cgroup
        elif "cpu" in controllers.split(","):
            root = cgroup / "cpu"
        else:
            continue
        folder = root / path.lstrip("/")
        # Inside a container the path is that of the host: the root still holds the limit.
        found += [f for f in [folder, *folder.parents] if f.is_relative_to(root)]
    return found


def _quota(folder: Path) -> float | None:
    words = read_text(folder / "cpu.max").split()
    if not words:
        words = [read_text(folder / f"cpu.cfs_{name}_us").strip() for name in ("quota", "period")]
    if len(words) == 2 and all(word.isdigit() for word in words) and int(words[1]) > 0:
        return int(words[0]) / int(words[1])
    return None


def read_text(path: Path) -> str:
    """Return the text of a system file; empty where there is none or it cannot be read."""
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def cpu_info(proc: Path = _PROC, sys: Path = _SYS) -> Cpu:
    """Return the processor: name, cores that this process may use, clocks and instruction sets."""
    processors = parse_cpuinfo(read_text(proc / "cpuinfo"))
    first = processors[0] if processors else {}
    flags = first.get("flags", first.get("Features", "")).split()
    scaling = sys / "devices" / "system" / "cpu" / "cpu0" / "cpufreq"
    highest_khz = read_text(scaling / "cpuinfo_max_freq").strip()
    return Cpu(
        name=first.get("model name") or platform.processor() or platform.machine(),
        architecture=platform.machine(),
        logical_cores=len(os.sched_getaffinity(0)),
        physical_cores=_physical_cores(processors),
        frequency_hz=int(highest_khz) * 1e3 if highest_khz.isdigit() else None,
        governor=read_text(scaling / "scaling_governor").strip() or None,
        flags=tuple(sorted(flag for flag in set(flags) if _FLAGS.match(flag))),
    )


def parse_cpuinfo(text: str) -> list[dict[str, str]]:
    """Return one mapping a processor of ``/proc/cpuinfo``."""
    blocks = [block for block in text.split("\n\n") if block.strip()]
    processors = []
    for block in blocks:
        pairs = (line.partition(":") for line in block.splitlines())
        processors.append({key.strip(): value.strip() for key, _, value in pairs})
    return processors


def _physical_cores(processors: list[dict[str, str]]) -> int | None:
    cores = {(p.get("physical id"), p.get("core id")) for p in processors if "core id" in p}
    return len(cores) or None


def is_virtual(proc: Path = _PROC) -> bool:
    """Whether the processor says that a hypervisor is underneath (x86)."""
    processors = parse_cpuinfo(read_text(proc / "cpuinfo"))
    return bool(processors) and "hypervisor" in processors[0].get("flags", "").split()


def steal_share(proc: Path = _PROC) -> float | None:
    """Return the share of CPU time since boot that the hypervisor gave to others."""
    words = read_text(proc / "stat").partition("\n")[0].split()
    times = [int(word) for word in words[1:9] if word.isdigit()]
    if len(times) < 8 or sum(times) == 0:
        return None
    return times[7] / sum(times)


def turbo(sys: Path = _SYS) -> bool | None:
    """Whether the clock may rise above its base; ``None`` where the system does not say."""
    folder = sys / "devices" / "system" / "cpu"
    off = read_text(folder / "intel_pstate" / "no_turbo").strip()
    on = read_text(folder / "cpufreq" / "boost").strip()
    if off in {"0", "1"}:
        return off == "0"
    return on == "1" if on in {"0", "1"} else None
