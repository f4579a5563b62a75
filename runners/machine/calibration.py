"""Ceilings of this machine for the roofline: measured once, kept in the cache, looked up."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from leanboard.results.errors import LeanboardError
from leanboard.runners.cache import Say, file_lock, write_text
from leanboard.runners.lock import measuring
from leanboard.runners.machine.allocator import with_huge_pages
from leanboard.runners.machine.disturbance import Disturbance, objection

METHOD_VERSION = 3
"""Raised whenever the same machine would show other ceilings."""

_TIMEOUT_S = 300.0


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Ceiling(_Frozen):
    """The most of one kind of work that was done in a second.

    Attributes:
        per_s: the best repeat over all kernels and sizes: a roofline is a ceiling.
        median_per_s: median over the repeats of the kernel that reached it.
        spread: interquartile range of these repeats over their median.
        kernel: which one that was, with its size.
    """

    per_s: float = Field(gt=0)
    median_per_s: float = Field(gt=0)
    spread: float = Field(ge=0)
    repeats: int = Field(ge=1)
    kernel: str


class Calibration(_Frozen):
    """What a machine did at best with so many threads, through torch.

    Attributes:
        torch: version of torch; ``None`` where it is not installed, and then only the bandwidth is
            known, by numpy.
        flops_per_s: peak by dtype.
        missing: why there is no peak, by dtype.
        bytes_per_s: memory bandwidth, bytes read and written.
        disturbance: what else went on meanwhile.
    """

    method_version: int
    device: str
    threads: int = Field(ge=1)
    torch: str | None
    measured_at: datetime
    flops_per_s: dict[str, Ceiling]
    missing: dict[str, str]
    bytes_per_s: Ceiling | None
    disturbance: Disturbance


class _Stored(_Frozen):
    """The file of one machine."""

    machine_id: str
    calibrations: tuple[Calibration, ...]


@dataclass(frozen=True, slots=True)
class Resources:
    """What is calibrated: a device and the CPU threads that drive it."""

    device: str
    threads: int

    def fit(self, calibration: Calibration) -> bool:
        """Whether a calibration is of these resources, this method and the torch that is here."""
        here = (METHOD_VERSION, self.device, self.threads, _installed_torch())
        made = (calibration.method_version, calibration.device, calibration.threads)
        return here == (*made, calibration.torch)


def stored(cache: Path, machine_id: str, resources: Resources) -> Calibration | None:
    """Return the calibration of these resources; ``None`` if there is none that fits.

    Reading it takes milliseconds: no torch is imported.
    """
    found = _read(cache, machine_id)
    return next((one for one in reversed(found) if resources.fit(one)), None)


def calibrate(
    cache: Path,
    machine_id: str,
    resources: Resources,
    say: Say,
    measure: Callable[[Resources, Say], dict[str, Any]] | None = None,
) -> Calibration:
    """Measure the ceilings anew in a process of their own, and keep them in the cache.

    Args:
        cache: root of the cache.
        machine_id: identity of this machine, as records name it.
        resources: device and threads.
        say: told what is being measured, and of waiting.
        measure: what measures; a process of its own outside tests. The machine's measuring lock
            is the caller's to hold.

    Raises:
        LeanboardError: if the process cannot be started, fails or hangs, the machine is busy with
            something else (the ceilings would be too low, and none is kept), or the cache cannot
            be written.
    """
    found = (measure or _in_a_process)(resources, say)
    try:
        made = Calibration(
            method_version=METHOD_VERSION,
            device=resources.device,
            threads=resources.threads,
            measured_at=datetime.now(UTC).replace(microsecond=0),
            **{**found, "torch": _installed_torch()},
        )
    except ValidationError as error:
        raise LeanboardError(f"the calibration gave no usable numbers: {error}") from error
    reason = objection(made.disturbance)
    if reason is not None:
        raise LeanboardError(
            f"{reason} during the calibration. Its ceilings would be too low, so none is kept. "
            f"When the machine is idle: `leanboard doctor --calibrate --threads {made.threads}`."
        )
    try:
        _keep(cache, machine_id, made, resources)
    except OSError as error:
        raise LeanboardError(
            f"the calibration cannot be kept in {_path(cache, machine_id).parent}: "
            f"{error.strerror or error}. Make that folder writable, or name another: cache=FOLDER."
        ) from error
    return made


def ensure_calibrated(
    cache: Path, machine_id: str, resources: Resources, say: Say
) -> Calibration | None:
    """Return the calibration of these resources; measure it first if there is none.

    It takes half a minute once. It holds the machine's measuring lock while it measures: call it
    before a run takes that lock. A calibration that fails, or cannot be kept, is said and costs the
    run nothing else: ``None``.
    """
    found = stored(cache, machine_id, resources)
    if found is not None:
        return found
    try:
        with measuring(resources.device, say):
            say("Measuring what this machine can do at best, once (half a minute).")
            return calibrate(cache, machine_id, resources, say)
    except LeanboardError as error:
        say(f"No roofline: {error}")
        return None


def ceiling_rows(calibration: Calibration) -> Iterator[tuple[str, ...]]:
    """Yield a table row a ceiling: name, best, median, spread, and the kernel or the reason."""
    for dtype, peak in calibration.flops_per_s.items():
        unit = "TOP/s" if dtype.startswith("int") else "TFLOP/s"
        yield _row(dtype, peak, 1e12, unit)
    for dtype, reason in calibration.missing.items():
        yield dtype, "none", "", "", reason
    if calibration.bytes_per_s is not None:
        yield _row("memory", calibration.bytes_per_s, 1e9, "GB/s")


def _row(name: str, found: Ceiling, scale: float, unit: str) -> tuple[str, ...]:
    best, middle = (f"{value / scale:.3g} {unit}" for value in (found.per_s, found.median_per_s))
    return name, best, middle, f"{found.spread:.1%}", found.kernel


def _installed_torch() -> str | None:
    """Return torch's version without importing it, build included where the package says it."""
    try:
        return metadata.version("torch")
    except metadata.PackageNotFoundError:
        return None


def _path(cache: Path, machine_id: str) -> Path:
    return cache / "calibration" / f"{machine_id}.json"


def _read(cache: Path, machine_id: str) -> tuple[Calibration, ...]:
    """Return what is stored; a file that is absent or damaged holds nothing."""
    try:
        text = _path(cache, machine_id).read_text(encoding="utf-8")
        return _Stored.model_validate_json(text).calibrations
    except (OSError, ValidationError, UnicodeDecodeError):
        return ()


def _keep(cache: Path, machine_id: str, made: Calibration, resources: Resources) -> None:
    path = _path(cache, machine_id)
    with file_lock(path.with_name(f".{path.name}.lock"), lambda: None):
        others = [one for one in _read(cache, machine_id) if not resources.fit(one)]
        whole = _Stored(machine_id=machine_id, calibrations=(*others, made))
        write_text(path, whole.model_dump_json(indent=1) + "\n")


def _in_a_process(resources: Resources, say: Say) -> dict[str, Any]:
    """Measure in a fresh process: its thread pools are clean, and torch stays out of this one."""
    command = ["-m", "leanboard.runners.machine.ceilings", str(os.getpid()), resources.device]
    errors: list[str] = []
    with _process([sys.executable, *command, str(resources.threads)], errors) as lines:
        for line in lines:
            message = _message(line)
            if "found" in message:
                found: dict[str, Any] = message["found"]
                return found
            say(f"Calibrating {resources.device}, {resources.threads} threads: {message['doing']}")
    last = errors[-1].strip().splitlines()[-1:] if errors else []
    raise LeanboardError(
        f"the calibration process ended without a result: {' '.join(last) or 'no message'}. "
        "Give the command again; `leanboard doctor` says what is missing."
    )


def _message(line: str) -> dict[str, Any]:
    try:
        message: dict[str, Any] = json.loads(line)
    except json.JSONDecodeError as error:
        raise LeanboardError(
            f"the calibration process wrote {line.strip()[:60]!r}, which is no message of it. "
            "Give the command again; if it says the same, please report it."
        ) from error
    return message


@contextmanager
def _process(command: Sequence[str], errors: list[str]) -> Iterator[Iterator[str]]:
    """Give the lines of a process; it is ended on leaving, and after five minutes at the latest."""
    with _started(command) as process:
        timer = threading.Timer(_TIMEOUT_S, process.kill)
        reader = threading.Thread(target=lambda: errors.append(process.stderr.read()))  # type: ignore[union-attr]
        timer.start()
        reader.start()
        try:
            yield _lines(process, reader)
        finally:
            timer.cancel()
            process.kill()
            reader.join()


def _lines(process: subprocess.Popen[str], reader: threading.Thread) -> Iterator[str]:
    """Yield what a process writes; when it writes no more, let it say its last words."""
    yield from process.stdout or ()
    reader.join()


def _started(command: Sequence[str]) -> subprocess.Popen[str]:
    try:
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
            errors="replace",
            env=with_huge_pages(os.environ),
            start_new_session=True,
        )
    except OSError as error:
        raise LeanboardError(
            f"the calibration process cannot be started: {error.strerror or error}. Close other "
            "programs, or raise the limit on processes or memory."
        ) from error
