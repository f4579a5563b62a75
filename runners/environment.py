"""A snapshot of everything around a run that can change a number."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from importlib import metadata
from pathlib import Path

from leanboard.results.schema import Environment
from leanboard.runners import memory, nvml
from leanboard.runners.cpu import (
    cpu_info,
    cpu_limit,
    is_virtual,
    read_text,
    steal_share,
    turbo,
    usable_cores,
)
from leanboard.runners.probes import expected_source

PACKAGES = (
    "codecarbon",
    "datasets",
    "gguf",
    "leanboard",
    "lm-eval",
    "numpy",
    "nvidia-ml-py",
    "safetensors",
    "tokenizers",
    "torch",
    "torchao",
    "transformers",
    "xllamacpp",
)
"""Packages that a number may depend on."""

_TIMEOUT_S = 10.0


def snapshot(device_kind: str | None = None) -> Environment:
    """Return the environment: no host name, no user, no absolute path.

    Args:
        device_kind: ``cpu`` or ``cuda``, for the power source; ``None`` takes the GPU if any.
    """
    gpus = nvml.gpus()
    kind = device_kind if device_kind is not None else ("cuda" if gpus else "cpu")
    sha, dirty = git_state(Path(__file__).resolve().parents[1])
    return Environment(
        cpu=cpu_info(),
        gpus=gpus,
        memory_bytes=memory.total_bytes(),
        memory_limit_bytes=memory.memory_limit_bytes(),
        cpu_limit=cpu_limit(),
        os=_os_name(),
        kernel=platform.release(),
        libc=" ".join(platform.libc_ver()).strip() or "unknown",
        python=platform.python_version(),
        packages=package_versions(),
        threads={"usable": usable_cores()},
        git_sha=sha,
        git_dirty=dirty,
        power_source=expected_source(kind),
        load_average=round(os.getloadavg()[0], 2),
        steal_share=steal_share(),
        virtualised=_virtualised(),
        settings=_settings(),
    )


def package_versions() -> dict[str, str]:
    """Return the versions of the installed packages that a number may depend on."""
    versions = {}
    for name in PACKAGES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return versions


def git_state(root: Path) -> tuple[str | None, bool | None]:
    """Return (commit, whether tracked files differ from it); (``None``, ``None``) in a wheel."""
    if not (root / ".git").exists():
        return None, None
    sha = _output(["git", "-C", str(root), "rev-parse", "HEAD"])
    changes = _output(["git", "-C", str(root), "status", "--porcelain", "--untracked-files=no"])
    return sha or None, None if changes is None else changes != ""


def _output(command: list[str]) -> str | None:
    """Return what a command prints; ``None`` if it is not there, fails or hangs."""
    if shutil.which(command[0]) is None:
        return None
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def _os_name() -> str:
    try:
        return platform.freedesktop_os_release()["PRETTY_NAME"]
    except (OSError, KeyError):
        return platform.system()


def _virtualised() -> str | None:
    named = _output(["systemd-detect-virt"])
    if named:
        return named
    return "hypervisor" if is_virtual() else None


def _settings() -> dict[str, bool | int | str | None]:
    """Return settings of the machine that move numbers; ``None`` where it does not say."""
    huge_pages = read_text(Path("/sys/kernel/mm/transparent_hugepage/enabled"))
    chosen = [word.strip("[]") for word in huge_pages.split() if word.startswith("[")]
    nodes = list(Path("/sys/devices/system/node").glob("node[0-9]*"))
    return {
        "turbo": turbo(),
        "transparent_hugepages": chosen[0] if chosen else None,
        "numa_nodes": len(nodes) or None,
    }
