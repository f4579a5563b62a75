"""What the operating system is set to, and how busy it is, as Linux shows it."""

from __future__ import annotations

import re
from pathlib import Path

from leanboard.runners.machine.cpu import read_text

_PROC = Path("/proc")
_SYS = Path("/sys")
_DECIMAL = re.compile(r"\d+(\.\d+)?", re.ASCII)

Setting = bool | int | str | None


def settings(proc: Path = _PROC, sys: Path = _SYS) -> dict[str, Setting]:
    """Return settings of the kernel that move numbers; ``None`` where it does not say."""
    huge_pages = sys / "kernel" / "mm" / "transparent_hugepage"
    clock_source = sys / "devices" / "system" / "clocksource" / "clocksource0"
    nodes = list((sys / "devices" / "system" / "node").glob("node[0-9]*"))
    return {
        "transparent_hugepages": _chosen(huge_pages / "enabled"),
        "transparent_hugepages_defrag": _chosen(huge_pages / "defrag"),
        "numa_nodes": len(nodes) or None,
        "numa_balancing": _number(proc / "sys" / "kernel" / "numa_balancing"),
        "address_randomisation": _number(proc / "sys" / "kernel" / "randomize_va_space"),
        "overcommit": _number(proc / "sys" / "vm" / "overcommit_memory"),
        "swappiness": _number(proc / "sys" / "vm" / "swappiness"),
        "clock_source": read_text(clock_source / "current_clocksource").strip() or None,
        "damon": damon(sys),
    }


def damon(sys: Path = _SYS) -> str | None:
    """Return what the kernel does with memory by how it is accessed: ``off``, or its actions.

    ``pageout`` takes pages away that were not touched lately: an arm that waits may have to read
    its mapped weights again. Source: the kernel's documentation of DAMON's sysfs interface.
    """
    daemons = sys / "kernel" / "mm" / "damon" / "admin" / "kdamonds"
    if not daemons.is_dir():
        return None
    schemes = "contexts/*/schemes/*/action"
    running = [d for d in daemons.glob("[0-9]*") if read_text(d / "state").strip() == "on"]
    actions = {read_text(file).strip() for daemon in running for file in daemon.glob(schemes)}
    return ", ".join(sorted(actions - {"", "stat"})) or "off"


def _chosen(file: Path) -> str | None:
    """Return the word in brackets of a file that lists its choices."""
    words = read_text(file).split()
    return next((word.strip("[]") for word in words if word.startswith("[")), None)


def _number(file: Path) -> int | None:
    text = read_text(file).strip()
    return int(text) if text.isdigit() else None


def load_average(proc: Path = _PROC) -> float | None:
    """Return the mean number of tasks that ran or waited to run in the last minute."""
    words = read_text(proc / "loadavg").split()
    return float(words[0]) if words and _DECIMAL.fullmatch(words[0]) else None


def pressure(proc: Path = _PROC) -> dict[str, float]:
    """Return the share of the last ten seconds in which some task waited for each resource.

    Empty where the kernel keeps no pressure stall information.
    """
    shares = {}
    for resource in ("cpu", "io", "memory"):
        for line in read_text(proc / "pressure" / resource).splitlines():
            kind, _, rest = line.partition(" ")
            figures = dict(word.split("=", 1) for word in rest.split() if "=" in word)
            if kind == "some" and _DECIMAL.fullmatch(figures.get("avg10", "")):
                shares[resource] = round(float(figures["avg10"]) / 100, 6)
    return shares


def swap_bytes(proc: Path = _PROC) -> tuple[int | None, int | None]:
    """Return (swap space there is, swap space in use); ``None`` where the system does not say."""
    sizes = {}
    for line in read_text(proc / "meminfo").splitlines():
        name, _, rest = line.partition(":")
        words = rest.split()
        if name in {"SwapTotal", "SwapFree"} and words and words[0].isdigit():
            sizes[name] = int(words[0]) * 1024
    if len(sizes) < 2:
        return None, None
    return sizes["SwapTotal"], sizes["SwapTotal"] - sizes["SwapFree"]
