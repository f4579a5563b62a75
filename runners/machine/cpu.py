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
_DECIMAL = re.compile(r"\d+(\.\d+)?", re.ASCII)


def usable_cores(proc: Path = _PROC, sys: Path = _SYS) -> int:
    """Return how many threads can run at once: allowed cores, or the group's CPU limit if less."""
    allowed = len(os.sched_getaffinity(0))
    limit = cpu_limit(proc, sys)
    return allowed if limit is None else max(1, min(allowed, math.floor(limit)))


def cpu_limit(proc: Path = _PROC, sys: Path = _SYS) -> float | None:
    """Return the CPU time that the control groups grant, in cores; ``None`` if unlimited."""
    limits = [_quota(folder) for folder in _groups(proc, sys / "fs" / "cgroup")]
    return min((limit for limit in limits if limit is not None), default=None)


def cpuset_cores(proc: Path = _PROC, sys: Path = _SYS) -> int | None:
    """Return how many cores the control group may use; ``None`` where it does not say."""
    for folder in _groups(proc, sys / "fs" / "cgroup", "cpuset"):
        for name in ("cpuset.cpus.effective", "cpuset.effective_cpus"):
            cores = parse_cores(read_text(folder / name))
            if cores:
                return len(cores)
    return None


def throttled_share(proc: Path = _PROC, sys: Path = _SYS) -> float | None:
    """Return the share of its quota's periods in which the control group ran out of CPU time.

    It counts since the group was made; ``None`` where there is no quota.
    """
    for folder in _groups(proc, sys / "fs" / "cgroup"):
        words = read_text(folder / "cpu.stat").split()
        counts = dict(zip(words[::2], words[1::2], strict=False))
        periods = int(counts.get("nr_periods", "0"))
        if periods > 0:
            return int(counts.get("nr_throttled", "0")) / periods
    return None


def _groups(proc: Path, cgroup: Path, controller: str = "cpu") -> list[Path]:
    """Return the folders of this process's group and of all groups above it, nearest first."""
    found = []
    for line in read_text(proc / "self" / "cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            root = cgroup
        elif controller in controllers.split(","):
            root = cgroup / controller
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
    """Return the processor: name, cores that this process may use, caches, clocks and more."""
    processors = parse_cpuinfo(read_text(proc / "cpuinfo"))
    first = processors[0] if processors else {}
    flags = first.get("flags", first.get("Features", "")).split()
    cpus = sys / "devices" / "system" / "cpu"
    scaling = cpus / "cpu0" / "cpufreq"
    threads = _threads_per_core(first, cpus)
    return Cpu(
        name=first.get("model name") or platform.processor() or platform.machine(),
        architecture=platform.machine(),
        logical_cores=len(os.sched_getaffinity(0)),
        physical_cores=_physical_cores(processors),
        frequency_hz=read_khz(scaling / "cpuinfo_max_freq"),
        governor=read_text(scaling / "scaling_governor").strip() or None,
        flags=tuple(sorted(flag for flag in set(flags) if _FLAGS.match(flag))),
        microcode=first.get("microcode"),
        sockets=len({p["physical id"] for p in processors if "physical id" in p}) or None,
        threads_per_core=threads,
        smt=_smt(cpus, threads),
        online_cores=len(parse_cores(read_text(cpus / "online"))) or None,
        isolated_cores=_isolated_cores(cpus),
        cache_bytes=_caches(cpus / "cpu0" / "cache"),
        min_frequency_hz=read_khz(scaling / "cpuinfo_min_freq"),
        frequency_cap_hz=read_khz(scaling / "scaling_max_freq"),
        clock_hz=clock_hz(proc, sys),
        frequency_driver=read_text(scaling / "scaling_driver").strip() or None,
        energy_preference=read_text(scaling / "energy_performance_preference").strip() or None,
        vulnerabilities=_vulnerabilities(cpus / "vulnerabilities"),
    )


def read_khz(path: Path) -> float | None:
    """Return a clock of cpufreq in hertz; ``None`` where the system does not show it."""
    text = read_text(path).strip()
    return int(text) * 1e3 if text.isdigit() else None


def parse_cores(text: str) -> list[int]:
    """Return the cores of a list such as ``0-3,8``."""
    cores: list[int] = []
    for part in text.strip().split(","):
        low, _, high = part.partition("-")
        if low.isdigit():
            cores += range(int(low), (int(high) if high.isdigit() else int(low)) + 1)
    return cores


def clock_hz(proc: Path = _PROC, sys: Path = _SYS) -> float | None:
    """Return the mean clock of the usable cores now.

    Where neither cpufreq nor the processor says how fast it runs, as in most virtual machines, the
    kernel shows the nominal clock: see ``clock_moves``.
    """
    cpus = sys / "devices" / "system" / "cpu"
    cores = sorted(os.sched_getaffinity(0))
    clocks = [read_khz(cpus / f"cpu{core}" / "cpufreq" / "scaling_cur_freq") for core in cores]
    known = [clock for clock in clocks if clock is not None]
    if not known:
        processors = parse_cpuinfo(read_text(proc / "cpuinfo"))
        allowed = [p for p in processors if p.get("processor") in {str(core) for core in cores}]
        shown = [p.get("cpu MHz", "") for p in allowed]
        known = [float(text) * 1e6 for text in shown if _DECIMAL.fullmatch(text)]
    return sum(known) / len(known) if known else None


def clock_moves(proc: Path = _PROC, sys: Path = _SYS) -> bool:
    """Whether what ``clock_hz`` says follows the clock that the cores really run at.

    Source: ``arch_freq_get_on_cpu`` of Linux, which falls back to the nominal clock where the
    processor does not count its cycles (APERF/MPERF) and no cpufreq driver is there.
    """
    if (sys / "devices" / "system" / "cpu" / "cpu0" / "cpufreq" / "scaling_cur_freq").exists():
        return True
    processors = parse_cpuinfo(read_text(proc / "cpuinfo"))
    return bool(processors) and "aperfmperf" in processors[0].get("flags", "").split()


def _threads_per_core(first: dict[str, str], cpus: Path) -> int | None:
    siblings = parse_cores(read_text(cpus / "cpu0" / "topology" / "thread_siblings_list"))
    if siblings:
        return len(siblings)
    threads, cores = first.get("siblings", ""), first.get("cpu cores", "")
    return int(threads) // int(cores) if threads.isdigit() and cores.isdigit() else None


def _smt(cpus: Path, threads_per_core: int | None) -> bool | None:
    active = read_text(cpus / "smt" / "active").strip()
    if active in {"0", "1"}:
        return active == "1"
    return None if threads_per_core is None else threads_per_core > 1


def _isolated_cores(cpus: Path) -> int | None:
    file = cpus / "isolated"
    return len(parse_cores(read_text(file))) if file.exists() else None


def _caches(folder: Path) -> dict[str, int]:
    """Return the bytes of each cache of the first core: ``L1d``, ``L1i``, ``L2``, ``L3``."""
    sizes = {}
    for cache in sorted(folder.glob("index[0-9]*")):
        level, kind = read_text(cache / "level").strip(), read_text(cache / "type").strip()
        size = read_text(cache / "size").strip()
        if size.endswith("K") and size[:-1].isdigit():
            letter = {"Data": "d", "Instruction": "i"}.get(kind, "")
            sizes[f"L{level}{letter}"] = int(size[:-1]) * 1024
    return sizes


def _vulnerabilities(folder: Path) -> dict[str, str]:
    found = {file.name: read_text(file).strip() for file in sorted(folder.glob("*"))}
    return {name: text for name, text in found.items() if text and text != "Not affected"}


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
