"""NVIDIA's management library: which GPUs there are, how they are set, and what holds them down."""

from __future__ import annotations

import os
from collections.abc import Mapping
from types import ModuleType
from typing import Any

from leanboard.results.schema import Gpu

IDLE = "gpu-idle"
_CHOSEN = "applications-clocks-setting"
# nvml.h: nvmlClocksEventReasons. These constants never change; their names in pynvml have.
_THROTTLE_BITS = {
    0x1: IDLE,
    0x2: _CHOSEN,
    0x4: "sw-power-cap",
    0x8: "hw-slowdown",
    0x10: "sync-boost",
    0x20: "sw-thermal-slowdown",
    0x40: "hw-thermal-slowdown",
    0x80: "hw-power-brake-slowdown",
    0x100: "display-clock-setting",
}
UNFORCED = frozenset({IDLE, _CHOSEN})
"""Reasons for a low clock that are no throttling: nothing to do, or a clock that was asked for."""
# nvml.h: nvmlComputeMode_t.
_COMPUTE_MODES = ("default", "exclusive-thread", "prohibited", "exclusive-process")
# nvml.h: nvmlClockType_t and nvmlTemperatureSensors_t.
_SM, _MEMORY, _DIE = 1, 2, 0


def library() -> tuple[ModuleType | None, str | None]:
    """Return (pynvml, initialised, ``None``), or (``None``, the reason why it cannot be used)."""
    try:
        import pynvml
    except ImportError:
        return None, "nvidia-ml-py is not installed: pip install 'leanboard[energy]'"
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as error:
        return None, f"no NVIDIA driver ({_text(error)})"
    return pynvml, None


def _text(error: Exception) -> str:
    return str(error) or type(error).__name__


def gpus(nvml: ModuleType | None = None) -> tuple[Gpu, ...]:
    """Return every GPU that NVML shows; none without a driver."""
    if nvml is None:
        nvml, _ = library()
    if nvml is None:
        return ()
    try:
        count = int(nvml.nvmlDeviceGetCount())
        return tuple(_gpu(nvml, nvml.nvmlDeviceGetHandleByIndex(i)) for i in range(count))
    except nvml.NVMLError:
        return ()


def _gpu(nvml: ModuleType, handle: object) -> Gpu:
    cuda = _call(nvml, "nvmlSystemGetCudaDriverVersion")
    capability = _call(nvml, "nvmlDeviceGetCudaComputeCapability", handle)
    mode = _call(nvml, "nvmlDeviceGetComputeMode", handle)
    mig = mig_mode(nvml, handle)
    pids = process_ids(nvml, handle)
    return Gpu(
        name=str(nvml.nvmlDeviceGetName(handle)),
        memory_bytes=int(nvml.nvmlDeviceGetMemoryInfo(handle).total),
        driver=str(nvml.nvmlSystemGetDriverVersion()),
        cuda=f"{cuda // 1000}.{cuda % 1000 // 10}" if cuda is not None else None,
        power_limit_w=_power_w(nvml, "nvmlDeviceGetPowerManagementLimit", handle),
        sm_clock_hz=_clock_hz(nvml, "nvmlDeviceGetMaxClockInfo", handle, _SM),
        persistence=_flag(_call(nvml, "nvmlDeviceGetPersistenceMode", handle)),
        power_limit_default_w=_power_w(nvml, "nvmlDeviceGetPowerManagementDefaultLimit", handle),
        power_limit_enforced_w=_power_w(nvml, "nvmlDeviceGetEnforcedPowerLimit", handle),
        sm_clock_now_hz=sm_clock_hz(nvml, handle),
        sm_clock_application_hz=_clock_hz(nvml, "nvmlDeviceGetApplicationsClock", handle, _SM),
        memory_clock_hz=_clock_hz(nvml, "nvmlDeviceGetMaxClockInfo", handle, _MEMORY),
        memory_clock_now_hz=_clock_hz(nvml, "nvmlDeviceGetClockInfo", handle, _MEMORY),
        memory_clock_application_hz=_clock_hz(
            nvml, "nvmlDeviceGetApplicationsClock", handle, _MEMORY
        ),
        compute_capability=".".join(map(str, capability)) if capability is not None else None,
        compute_mode=_COMPUTE_MODES[mode] if mode in range(len(_COMPUTE_MODES)) else None,
        ecc=_flag(_call(nvml, "nvmlDeviceGetCurrentEccMode", handle)),
        mig=mig,
        pcie_generation=_call(nvml, "nvmlDeviceGetMaxPcieLinkGeneration", handle),
        pcie_width=_call(nvml, "nvmlDeviceGetMaxPcieLinkWidth", handle),
        temperature_c=_call(nvml, "nvmlDeviceGetTemperature", handle, _DIE),
        throttle=throttle_reasons(nvml, handle),
        processes=len(pids) if pids is not None else None,
    )


def _call(nvml: ModuleType, name: str, *arguments: object) -> Any:
    """Return what a function of NVML says; ``None`` where device, driver or binding lacks it."""
    function = getattr(nvml, name, None)
    mismatch = getattr(nvml, "NVMLLibraryMismatchError", nvml.NVMLError)
    if function is None:
        return None
    try:
        return function(*arguments)
    except (nvml.NVMLError, mismatch):
        return None


def _power_w(nvml: ModuleType, name: str, handle: object) -> float | None:
    power_mw = _call(nvml, name, handle)
    return power_mw / 1000 if power_mw is not None else None


def _clock_hz(nvml: ModuleType, name: str, handle: object, kind: int) -> float | None:
    clock_mhz = _call(nvml, name, handle, kind)
    return clock_mhz * 1e6 if clock_mhz is not None else None


def _flag(value: int | None) -> bool | None:
    return None if value is None else bool(value)


def sm_clock_hz(nvml: ModuleType, handle: object) -> float | None:
    """Return the clock of the streaming multiprocessors now."""
    return _clock_hz(nvml, "nvmlDeviceGetClockInfo", handle, _SM)


def throttle_reasons(nvml: ModuleType, handle: object) -> tuple[str, ...] | None:
    """Return why the clocks are below their highest now; see ``UNFORCED`` for harmless reasons.

    Source: NVML, ``nvmlDeviceGetCurrentClocksEventReasons`` (called throttle reasons until 535).
    """
    bits = _call(nvml, "nvmlDeviceGetCurrentClocksEventReasons", handle)
    if bits is None:
        bits = _call(nvml, "nvmlDeviceGetCurrentClocksThrottleReasons", handle)
    if bits is None:
        return None
    return tuple(name for bit, name in _THROTTLE_BITS.items() if int(bits) & bit)


def process_ids(nvml: ModuleType, handle: object) -> tuple[int, ...] | None:
    """Return the processes that compute or draw on the GPU, as the driver numbers them.

    In a container those may be numbers of the host, or none at all.
    """
    computing = _call(nvml, "nvmlDeviceGetComputeRunningProcesses", handle)
    if computing is None:
        return None
    # A GPU for computing alone does not know of drawing.
    drawing = _call(nvml, "nvmlDeviceGetGraphicsRunningProcesses", handle) or ()
    return tuple(sorted({int(process.pid) for process in (*computing, *drawing)}))


def mig_mode(nvml: ModuleType, handle: object) -> bool | None:
    """Return whether the GPU is divided (MIG): its counters are then of the whole card."""
    mode = _call(nvml, "nvmlDeviceGetMigMode", handle)
    return bool(mode[0]) if mode is not None else None


def first_gpu(nvml: ModuleType, environ: Mapping[str, str] = os.environ) -> object:
    """Return NVML's handle of the GPU that CUDA calls device 0.

    CUDA numbers only the devices in ``CUDA_VISIBLE_DEVICES``, NVML all of them.

    Raises:
        NVMLError: if there is no such GPU.
    """
    first = environ.get("CUDA_VISIBLE_DEVICES", "").split(",")[0].strip()
    if first.startswith(("GPU-", "MIG-")):
        return nvml.nvmlDeviceGetHandleByUUID(first)
    return nvml.nvmlDeviceGetHandleByIndex(int(first) if first.isdigit() else 0)


def process_memory_bytes(nvml: ModuleType, pid: int) -> int | None:
    """Return the bytes of CUDA's device 0 that the driver accounts to a process.

    ``None`` where the driver does not say, as in a container whose process numbers it lacks.
    """
    try:
        processes = nvml.nvmlDeviceGetComputeRunningProcesses(first_gpu(nvml))
    except nvml.NVMLError:
        return None
    used = [process.usedGpuMemory for process in processes if process.pid == pid]
    return int(used[0]) if used and used[0] is not None else None
