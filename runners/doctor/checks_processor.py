"""The doctor's look at the processor, its clock and what it is allowed."""

from __future__ import annotations

from collections.abc import Iterator

from leanboard.results.schema import Cpu
from leanboard.runners.doctor.finding import Finding, Sources
from leanboard.runners.machine import memory
from leanboard.runners.machine.cpu import (
    clock_moves,
    cpu_info,
    cpu_limit,
    cpuset_cores,
    is_virtual,
    throttled_share,
    turbo,
    usable_cores,
)
from leanboard.runners.machine.variables import variables

_AREA = "processor"
_CPUS = "/sys/devices/system/cpu"
_THROTTLED_SHARE = 0.01
_GIB = 2**30


def check_processor(at: Sources) -> Iterator[Finding]:
    """Look at the processor: what it is, how its clock is ruled, which cores are to be had."""
    cpu = cpu_info(at.proc, at.sys)
    yield Finding(_AREA, "processor", "ok", _description(at, cpu))
    if is_virtual(at.proc):
        message = "a virtual machine: neighbours may take time, caches and bandwidth"
        yield Finding(_AREA, "virtualised", "warn", message, "use a dedicated machine")
    yield _clock(at, cpu)
    yield _governor(cpu)
    yield _turbo(at)
    yield _smt(cpu)
    yield from _limits(at)
    yield _variables(at)


def _description(at: Sources, cpu: Cpu) -> str:
    cores = f"{usable_cores(at.proc, at.sys)} of {cpu.online_cores or cpu.logical_cores} cores"
    caches = [f"{kind} {size // 1024} KiB" for kind, size in cpu.cache_bytes.items()]
    return ", ".join([cpu.name, f"{cores} usable", *caches])


def _clock(at: Sources, cpu: Cpu) -> Finding:
    said = f"{cpu.clock_hz / 1e9:.2f} GHz" if cpu.clock_hz is not None else "no clock"
    if clock_moves(at.proc, at.sys):
        return Finding(_AREA, "clock", "ok", f"{said} now, read after each round", "", "the clock")
    message = f"the system shows {said} whatever the cores do: throttling cannot be seen"
    fix = "measure outside of the virtual machine" if is_virtual(at.proc) else ""
    return Finding(_AREA, "clock", "missing", message, fix, "the clock")


def _governor(cpu: Cpu) -> Finding:
    if cpu.governor is None:
        return Finding(_AREA, "governor", "warn", "the frequency governor cannot be read")
    if cpu.governor != "performance":
        message = f"'{cpu.governor}': the clock follows the load"
        fix = "sudo cpupower frequency-set -g performance"
        return Finding(_AREA, "governor", "warn", message, fix)
    preference = cpu.energy_preference
    if preference not in {None, "performance"}:
        message = f"'performance', but the processor is told to prefer '{preference}'"
        fix = f"echo performance | sudo tee {_CPUS}/cpu*/cpufreq/energy_performance_preference"
        return Finding(_AREA, "governor", "warn", message, fix)
    return Finding(_AREA, "governor", "ok", "'performance'")


def _turbo(at: Sources) -> Finding:
    boosting = turbo(at.sys)
    if boosting is None:
        return Finding(_AREA, "turbo", "warn", "whether the clock may rise cannot be read")
    if not boosting:
        return Finding(_AREA, "turbo", "ok", "off")
    intel = (at.sys / "devices" / "system" / "cpu" / "intel_pstate" / "no_turbo").exists()
    file = f"{_CPUS}/intel_pstate/no_turbo" if intel else f"{_CPUS}/cpufreq/boost"
    fix = f"echo {int(intel)} | sudo tee {file}"
    return Finding(_AREA, "turbo", "warn", "on: the clock falls as the chip warms up", fix)


def _smt(cpu: Cpu) -> Finding:
    if cpu.smt is None:
        return Finding(_AREA, "SMT", "warn", "whether threads share cores cannot be read")
    if not cpu.smt:
        return Finding(_AREA, "SMT", "ok", "off: a thread has its core alone")
    message = "on: two threads on one core slow each other"
    cores = f"hardware.threads={cpu.physical_cores}, or " if cpu.physical_cores is not None else ""
    fix = f"{cores}echo off | sudo tee {_CPUS}/smt/control"
    return Finding(_AREA, "SMT", "warn", message, fix)


def _limits(at: Sources) -> Iterator[Finding]:
    cores, cpuset = cpu_limit(at.proc, at.sys), cpuset_cores(at.proc, at.sys)
    limit = memory.memory_limit_bytes(at.sys / "fs" / "cgroup", at.proc)
    online = cpu_info(at.proc, at.sys).online_cores
    words = [] if cores is None else [f"{cores:g} cores"]
    words += [f"the use of {cpuset} cores"] if cpuset is not None and cpuset != online else []
    words += [] if limit is None else [f"{limit / _GIB:.1f} GiB"]
    if words:
        message = f"the container grants {' and '.join(words)}; respected"
    else:
        message = "no container limit on CPU or memory"
    yield Finding(_AREA, "limits", "ok", message)
    throttled = throttled_share(at.proc, at.sys)
    if throttled is not None and throttled > _THROTTLED_SHARE:
        message = f"the container ran out of its CPU time in {throttled:.0%} of its periods"
        fix = "raise the container's CPU limit, or use fewer hardware.threads"
        yield Finding(_AREA, "limits", "warn", message, fix)


def _variables(at: Sources) -> Finding:
    found = variables(at.environ)
    if not found:
        return Finding(_AREA, "thread pools", "ok", "no variable changes them, or the kernels")
    said = ", ".join(name if value is True else f"{name}={value}" for name, value in found.items())
    fix = f"unset {' '.join(found)}, unless it is meant: it stands on the record"
    return Finding(_AREA, "thread pools", "warn", f"set: {said}", fix)
