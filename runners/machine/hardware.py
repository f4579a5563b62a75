"""From a hardware config to the device that is really here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from leanboard.results.errors import ConfigError
from leanboard.results.schema import DeviceProfile
from leanboard.runners.backends.base import Device
from leanboard.runners.machine import nvml
from leanboard.runners.machine.cpu import usable_cores

AUTO = "auto"
_DEVICES = (AUTO, "cpu", "cuda")
_REFERENCE_DTYPE = {"cpu": "float32", "cuda": "bfloat16"}


@dataclass(frozen=True, slots=True)
class HardwareConfig:
    """One YAML of suites/hardware.

    Args:
        device: ``auto``, ``cpu`` or ``cuda``.
        threads: CPU threads; ``None`` takes every core that this process may use.
        memory_cap_bytes: most memory that an arm may use; ``None`` takes what there is. Only on a
            CPU: what an arm holds on a GPU cannot be capped.

    Raises:
        ConfigError: if a value does not fit.
    """

    name: str
    device: str
    threads: int | None = None
    memory_cap_bytes: int | None = None

    def __post_init__(self) -> None:
        if self.device not in _DEVICES:
            raise ConfigError(
                f"hardware.device is {self.device!r}; it can be: {', '.join(_DEVICES)}."
            )
        for name in ("threads", "memory_cap_bytes"):
            value = getattr(self, name)
            if value is not None and (not isinstance(value, int) or value < 1):
                raise ConfigError(f"hardware.{name} is {value!r}; it must be at least 1, or null.")


@dataclass(frozen=True, slots=True)
class Machine:
    """What is asked of the machine; tests put other answers in.

    Args:
        cores: threads that can run at once.
        cuda_missing: ``None`` if CUDA can be used, else the reason why not.
    """

    cores: Callable[[], int]
    cuda_missing: Callable[[], str | None]


def cuda_missing() -> str | None:
    """Return why CUDA cannot be used here; ``None`` if it can."""
    library, reason = nvml.library()
    if library is None:
        return reason
    if not nvml.gpus(library):
        return "the NVIDIA driver shows no GPU"
    try:
        import torch
    except ImportError:
        return "torch is not installed: pip install 'leanboard[transformers]'"
    if not torch.cuda.is_available():
        return f"this torch ({torch.__version__}) has no CUDA, or does not fit the driver"
    return None


THIS_MACHINE = Machine(cores=usable_cores, cuda_missing=cuda_missing)


def resolve_device(
    hardware: HardwareConfig, machine: Machine = THIS_MACHINE
) -> tuple[DeviceProfile, Device]:
    """Return the profile for the record and the device for the backend, nothing left open.

    Raises:
        ConfigError: if the hardware is not here, or cannot be limited as asked.
    """
    kind = _kind(hardware, machine)
    if kind == "cuda" and hardware.memory_cap_bytes is not None:
        raise ConfigError(
            f"hardware.memory_cap_bytes is {hardware.memory_cap_bytes}, and hardware="
            f"{hardware.name} is the GPU here: the cap would hold for the host's memory alone, not "
            "for the GPU's. Use hardware.memory_cap_bytes=null, or hardware=cpu."
        )
    cores = machine.cores()
    if hardware.threads is not None and hardware.threads > cores:
        raise ConfigError(
            f"hardware.threads is {hardware.threads}, and this process may use {cores} cores. "
            f"Use hardware.threads={cores} or fewer (null takes all)."
        )
    threads = hardware.threads if hardware.threads is not None else cores
    profile = DeviceProfile(
        name=kind if hardware.name == AUTO else hardware.name,
        device=kind,
        threads=threads,
        memory_cap_bytes=hardware.memory_cap_bytes,
        reference_dtype=_REFERENCE_DTYPE[kind],
    )
    return profile, Device(kind, threads, _REFERENCE_DTYPE[kind], hardware.memory_cap_bytes)


def _kind(hardware: HardwareConfig, machine: Machine) -> Literal["cpu", "cuda"]:
    if hardware.device == "cpu":
        return "cpu"
    missing = machine.cuda_missing()
    if missing is None:
        return "cuda"
    if hardware.device == "cuda":
        raise ConfigError(
            f"hardware={hardware.name} needs an NVIDIA GPU: {missing}. Check with `nvidia-smi` and "
            "`leanboard doctor`, or use hardware=cpu."
        )
    return "cpu"
