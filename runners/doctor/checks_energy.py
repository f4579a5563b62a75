"""The doctor's look at what counts joules, and at the GPUs."""

from __future__ import annotations

from collections.abc import Iterator

from leanboard.results.schema import Gpu
from leanboard.runners.doctor.finding import Finding, Sources
from leanboard.runners.energy import rapl
from leanboard.runners.energy.meters import MeterError
from leanboard.runners.machine.nvml import UNFORCED

_ENERGY = "energy"
_GIB = 2**30


def check_energy(at: Sources) -> Iterator[Finding]:
    """Look for counters of energy, best first, and for a model of it."""
    yield _gpu_energy(at)
    yield _cpu_energy(at)
    quantity = "modelled CPU energy"
    if at.installed("codecarbon") is not None:
        message = "codecarbon: modelled from constants and time, never compared"
        yield Finding(_ENERGY, "CPU, modelled", "ok", message, "", quantity)
    else:
        fix = "pip install 'leanboard[energy]'"
        message = "codecarbon is not installed"
        yield Finding(_ENERGY, "CPU, modelled", "missing", message, fix, quantity)


def _gpu_energy(at: Sources) -> Finding:
    found, reason = at.gpus()
    if not found:
        fix = "check with nvidia-smi"
        return Finding(_ENERGY, "GPU", "missing", str(reason), fix, "measured GPU energy")
    source, refusals = at.energy("cuda")
    if source == "none":
        return Finding(_ENERGY, "GPU", "missing", "; ".join(refusals), "", "measured GPU energy")
    message = "; ".join([f"{source} of the first of {len(found)} GPU", *refusals])
    return Finding(_ENERGY, "GPU", "warn" if refusals else "ok", message, "", "measured GPU energy")


def _cpu_energy(at: Sources) -> Finding:
    quantity = "measured CPU energy"
    try:
        counters = rapl.find(at.sys / "class" / "powercap")
    except MeterError as error:
        # The reason ends with the command that helps, where there is one.
        message, _, fix = str(error).partition(": ")
        return Finding(_ENERGY, "CPU, measured", "missing", message, fix, quantity)
    message = f"RAPL: {', '.join(counter.name for counter in counters)}"
    return Finding(_ENERGY, "CPU, measured", "ok", message, "", quantity)


def check_gpus(at: Sources) -> Iterator[Finding]:
    """Look at how each GPU is set, and at what holds it down now."""
    found, _ = at.gpus()
    for index, gpu in enumerate(found):
        area = f"GPU {index}"
        yield Finding(area, "device", "ok", _description(gpu))
        yield _company(area, gpu)
        yield _throttle(area, gpu)
        yield _power_cap(area, gpu, index)
        yield _persistence(area, gpu, index)
        if gpu.mig:
            message = "MIG is on: parts of the device may belong to others"
            yield Finding(area, "MIG", "warn", message, f"sudo nvidia-smi -i {index} -mig 0")


def _description(gpu: Gpu) -> str:
    words = [gpu.name, f"{gpu.memory_bytes / _GIB:.0f} GiB", f"driver {gpu.driver}"]
    if gpu.cuda is not None:
        words.append(f"CUDA {gpu.cuda}")
    if gpu.sm_clock_now_hz is not None and gpu.sm_clock_hz is not None:
        now, highest = gpu.sm_clock_now_hz / 1e6, gpu.sm_clock_hz / 1e6
        words.append(f"{now:.0f} of {highest:.0f} MHz now")
    if gpu.ecc is not None:
        words.append(f"ECC {'on' if gpu.ecc else 'off'}")
    return ", ".join(words)


def _company(area: str, gpu: Gpu) -> Finding:
    if gpu.processes is None:
        return Finding(area, "shared", "warn", "the driver does not show who uses it")
    if gpu.processes > 0:
        message = f"{gpu.processes} process{'es' * (gpu.processes > 1)} of others compute on it"
        fix = "end them (nvidia-smi lists them), or choose with CUDA_VISIBLE_DEVICES"
        return Finding(area, "shared", "warn", message, fix)
    return Finding(area, "shared", "ok", "nobody else computes on it")


def _throttle(area: str, gpu: Gpu) -> Finding:
    if gpu.throttle is None:
        message = "the driver does not say why the clock is held down"
        return Finding(area, "throttling", "missing", message, "", "GPU throttling")
    forced = [reason for reason in gpu.throttle if reason not in UNFORCED]
    if forced:
        message = f"the clock is held down: {', '.join(forced)}"
        fix = "let it cool and check its fans, or raise its power cap"
        return Finding(area, "throttling", "warn", message, fix, "GPU throttling")
    return Finding(area, "throttling", "ok", "nothing holds the clock down", "", "GPU throttling")


def _power_cap(area: str, gpu: Gpu, index: int) -> Finding:
    cap, default = gpu.power_limit_w, gpu.power_limit_default_w
    if cap is None or default is None:
        return Finding(area, "power cap", "warn", "the driver does not show it")
    if cap < default:
        message = f"{cap:.0f} W, below the default of {default:.0f} W"
        fix = f"sudo nvidia-smi -i {index} -pl {default:.0f}"
        return Finding(area, "power cap", "warn", message, fix)
    return Finding(area, "power cap", "ok", f"{cap:.0f} W")


def _persistence(area: str, gpu: Gpu, index: int) -> Finding:
    if gpu.persistence is None:
        return Finding(area, "persistence", "warn", "the driver does not show it")
    if not gpu.persistence:
        message = "off: the driver unloads between processes and forgets its clocks"
        return Finding(area, "persistence", "warn", message, f"sudo nvidia-smi -i {index} -pm 1")
    return Finding(area, "persistence", "ok", "on")
