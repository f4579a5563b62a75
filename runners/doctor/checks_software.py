"""The doctor's look at what is installed, kept and calibrated."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator

from leanboard.runners.doctor.finding import Finding, Sources
from leanboard.runners.lock import lock_path
from leanboard.runners.packages import has_pip

EXTRAS = {
    "transformers": ("torch", "transformers", "torchao", "safetensors", "gguf"),
    "llamacpp": ("xllamacpp", "gguf"),
    "openvino": ("openvino",),
    "quantization": ("bitsandbytes", "hqq", "optimum-quanto", "scipy"),
    "accuracy": ("lm-eval", "datasets", "nltk", "langdetect", "immutabledict"),
    "energy": ("codecarbon", "nvidia-ml-py"),
}
"""Packages of each extra in pyproject that a measurement needs."""

_QUANTITIES = {
    "transformers": "latency with torch",
    "llamacpp": "latency with llama.cpp",
    "openvino": "latency with OpenVINO",
    "accuracy": "accuracy",
}
_SOFTWARE, _PLACES = "software", "places"
_ROOM_BYTES = 3 * 2**30
_GIB = 2**30
_DAY_S = 86_400.0
_STALE_DAYS = 30


def check_software(at: Sources) -> Iterator[Finding]:
    """Look for the packages of each extra."""
    for extra, packages in EXTRAS.items():
        found = {name: at.installed(name) for name in packages}
        absent = [name for name, version in found.items() if version is None]
        quantity = _QUANTITIES.get(extra, "")
        if absent:
            message, fix = (
                f"not installed: {', '.join(absent)}",
                f"pip install 'leanboard[{extra}]'",
            )
            yield Finding(_SOFTWARE, extra, "missing", message, fix, quantity)
        else:
            message = ", ".join(f"{name} {version}" for name, version in found.items())
            yield Finding(_SOFTWARE, extra, "ok", message, "", quantity)
    if not has_pip():
        message = "models and data are fetched with pip, and this Python has none"
        yield Finding(_SOFTWARE, "pip", "missing", message, "python -m ensurepip")


def check_places(at: Sources) -> Iterator[Finding]:
    """Look at the cache, the measuring lock and the calibration."""
    yield from _disk(at)
    lock = lock_path("cpu", at.locks)
    if os.access(lock if lock.exists() else lock.parent, os.W_OK):
        message = "one measurement at a time on this machine"
        yield Finding(_PLACES, "measuring lock", "ok", message)
    else:
        message = f"{lock} cannot be opened, so nothing can be measured"
        fix = "remove it, or set another TMPDIR"
        yield Finding(_PLACES, "measuring lock", "missing", message, fix)
    models = list((at.cache / "models").glob("*/float32-*"))
    if models:
        yield Finding(_PLACES, "models", "ok", f"{len(models)} converted in the cache")
    else:
        message = "none in the cache yet; a run fetches what it needs"
        yield Finding(_PLACES, "models", "warn", message, "leanboard fetch")
    yield _calibration(at)


def _disk(at: Sources) -> Iterator[Finding]:
    existing = next(folder for folder in [at.cache, *at.cache.parents] if folder.exists())
    free = shutil.disk_usage(existing).free
    if free < _ROOM_BYTES:
        message = f"{free / _GIB:.1f} GiB free for the cache; the quickstart needs about 2"
        yield Finding(_PLACES, "disk", "warn", message, "free some space, or use cache=DIR")
    else:
        yield Finding(_PLACES, "disk", "ok", f"{free / _GIB:.1f} GiB free for the cache")
    if not os.access(existing, os.W_OK):
        message = f"the cache {at.cache} cannot be written"
        yield Finding(_PLACES, "disk", "missing", message, "use cache=DIR")


def _calibration(at: Sources) -> Finding:
    quantity, fix = "MFU and MBU", "leanboard doctor --calibrate"
    file = at.cache / "calibration" / f"{at.machine()}.json"
    try:
        made_s = file.stat().st_mtime
    except OSError:
        message = "the peaks of this machine have not been measured"
        return Finding(_PLACES, "calibration", "missing", message, fix, quantity)
    days = max(0, int((at.now_s() - made_s) / _DAY_S))
    message = f"measured {days} day{'s' * (days != 1)} ago"
    if days > _STALE_DAYS:
        return Finding(_PLACES, "calibration", "warn", message, fix, quantity)
    return Finding(_PLACES, "calibration", "ok", message, "", quantity)
