"""The doctor's look at what else uses the machine, and at its memory."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path

from leanboard.runners.doctor.finding import Finding, Sources, Status
from leanboard.runners.machine import memory, system
from leanboard.runners.machine.conditions import MachineTicks, machine_ticks, process_ticks
from leanboard.runners.machine.cpu import read_text, steal_share

_LOAD, _MEMORY = "other load", "memory"
_LOOK_S = 1.0
_STEAL_SHARE = 0.02
_BUSY_SHARE = 0.05
_PRESSURE_SHARE = 0.1
_NAMED, _NAMED_SHARE = 3, 0.02
_ROOM_BYTES = 3 * 2**30
_GIB = 2**30


def check_load(at: Sources) -> Iterator[Finding]:
    """Look for a second at who else computes, and at what the hypervisor takes."""
    before, busy_before = machine_ticks(at.proc), _processes(at.proc)
    at.pause(_LOOK_S)
    after, busy_after = machine_ticks(at.proc), _processes(at.proc)
    if before is None or after is None or after.total <= before.total:
        message = "the kernel does not show how the CPU's time is spent"
        yield Finding(_LOAD, "others", "missing", message, "", "the load of others")
        yield Finding(_LOAD, "steal", "missing", message, "", "stolen time")
        return
    total = after.total - before.total
    names = _busiest(at.proc, busy_before, busy_after, _NAMED_SHARE * total)
    yield _others(before, after, names)
    yield _steal(at, (after.stolen - before.stolen) / total)
    yield _pressure(at)


def _processes(proc: Path) -> dict[int, int]:
    """Return the clock ticks that each process has had, this one left out."""
    pids = [int(folder.name) for folder in proc.glob("[0-9]*") if folder.name.isdigit()]
    found = {pid: process_ticks(pid, proc) for pid in pids if pid != os.getpid()}
    return {pid: ticks.cpu for pid, ticks in found.items() if ticks is not None}


def _busiest(proc: Path, before: Mapping[int, int], after: Mapping[int, int], least: float) -> str:
    """Return the names of the programs that took most of the look; none below ``least`` ticks."""
    ticks: Counter[str] = Counter()
    for pid, now in after.items():
        ticks[read_text(proc / str(pid) / "comm").strip()] += now - before.get(pid, 0)
    return ", ".join(name for name, count in ticks.most_common(_NAMED) if name and count >= least)


def _others(before: MachineTicks, after: MachineTicks, names: str) -> Finding:
    share = (after.busy - before.busy) / (after.total - before.total)
    if share <= _BUSY_SHARE:
        message = f"{share:.0%} of the CPU is in use; watched in each round"
        return Finding(_LOAD, "others", "ok", message, "", "the load of others")
    message = f"{share:.0%} of the CPU is in use by others" + (f" ({names})" if names else "")
    fix = "end it, or wait until it is done"
    return Finding(_LOAD, "others", "warn", message, fix, "the load of others")


def _steal(at: Sources, share: float) -> Finding:
    since_boot = steal_share(at.proc)
    long = f", {since_boot:.1%} since boot" if since_boot is not None else ""
    message = f"the hypervisor gave {share:.1%} of the CPU time to others{long}"
    if max(share, since_boot or 0.0) > _STEAL_SHARE:
        fix = "use a dedicated machine"
        return Finding(_LOAD, "steal", "warn", f"{message}: expect noise", fix, "stolen time")
    return Finding(_LOAD, "steal", "ok", message, "", "stolen time")


def _pressure(at: Sources) -> Finding:
    waits = system.pressure(at.proc)
    if not waits:
        message = "the kernel keeps no pressure stall information"
        return Finding(_LOAD, "pressure", "warn", message, "boot with psi=1")
    said = ", ".join(f"{resource} {share:.0%}" for resource, share in waits.items())
    message = f"share of 10 s in which some task waited: {said}"
    high = max(waits.values()) > _PRESSURE_SHARE
    fix = "end what else runs, or wait until it is done" if high else ""
    return Finding(_LOAD, "pressure", "warn" if high else "ok", message, fix)


def check_memory(at: Sources) -> Iterator[Finding]:
    """Look at the memory there is, at swapping, and at whether a peak can be measured."""
    available = memory.available_bytes(at.sys / "fs" / "cgroup", at.proc)
    if available is None:
        yield Finding(_MEMORY, "available", "warn", "how much is available cannot be read")
    else:
        status: Status = "ok" if available > _ROOM_BYTES else "warn"
        fix = "" if status == "ok" else "close other programs, or use a smaller model"
        yield Finding(_MEMORY, "available", status, f"{available / _GIB:.1f} GiB", fix)
    yield _swap(at)
    yield from _paged_out(at)
    yield _peak(at)


def _swap(at: Sources) -> Finding:
    space, used = system.swap_bytes(at.proc)
    if space is None or used is None:
        return Finding(_MEMORY, "swap", "warn", "whether memory is swapped out cannot be read")
    if used > 0:
        message = f"{used / _GIB:.1f} GiB are swapped out: reading them back takes milliseconds"
        return Finding(_MEMORY, "swap", "warn", message, "sudo swapoff -a && sudo swapon -a")
    return Finding(_MEMORY, "swap", "ok", "nothing is swapped out" if space > 0 else "none")


def _paged_out(at: Sources) -> Iterator[Finding]:
    """Tell of a kernel that takes cold pages away; of all others there is nothing to tell."""
    if "pageout" in (system.damon(at.sys) or ""):
        message = "the kernel pages out what was not touched lately (DAMON): arms that wait lose it"
        fix = "echo off > /sys/kernel/mm/damon/admin/kdamonds/0/state, as root"
        yield Finding(_MEMORY, "paging", "warn", message, fix)


def _peak(at: Sources) -> Finding:
    quantity = "peak memory"
    if memory.process_memory(at.proc) is None:
        message = "the kernel does not show a process's resident memory"
        return Finding(_MEMORY, "peak", "missing", message, "run on Linux", quantity)
    refused = memory.reset_peak(at.proc)
    if refused is not None:
        fix = "run outside of this sandbox"
        return Finding(_MEMORY, "peak", "missing", refused, fix, quantity)
    message = "measured, high-water mark reset before each batch"
    return Finding(_MEMORY, "peak", "ok", message, "", quantity)
