"""NVIDIA's management library: which GPUs there are, and their energy counters."""

from __future__ import annotations

import os
from collections.abc import Mapping
from types import ModuleType

from leanboard.results.schema import Gpu


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
    power_mw = _read(nvml, "nvmlDeviceGetPowerManagementLimit", handle)
    clock_mhz = _read(nvml, "nvmlDeviceGetMaxClockInfo", handle, nvml.NVML_CLOCK_SM)
    cuda = _read(nvml, "nvmlSystemGetCudaDriverVersion")
    persistence = _read(nvml, "nvmlDeviceGetPersistenceMode", handle)
    return Gpu(
        name=str(nvml.nvmlDeviceGetName(handle)),
        memory_bytes=int(nvml.nvmlDeviceGetMemoryInfo(handle).total),
        driver=str(nvml.nvmlSystemGetDriverVersion()),
        cuda=f"{cuda // 1000}.{cuda % 1000 // 10}" if cuda is not None else None,
        power_limit_w=power_mw / 1000 if power_mw is not None else None,
        sm_clock_hz=clock_mhz * 1e6 if clock_mhz is not None else None,
        persistence=bool(persistence) if persistence is not None else None,
    )


def _read(nvml: ModuleType, name: str, *arguments: object) -> int | None:
    """Call a function that not every device supports."""
    try:
        return int(getattr(nvml, name)(*arguments))
    except nvml.NVMLError:
        return None


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
