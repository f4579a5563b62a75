"""GPU memory of a generation: what torch's allocator held, and what the driver sees."""

from __future__ import annotations

import os
from types import ModuleType
from typing import TYPE_CHECKING

from leanboard.metrics.trace import Provenance, Quantity
from leanboard.runners.machine import nvml

if TYPE_CHECKING:
    import torch


class CudaMemory:
    """Watches the memory of this process on one GPU.

    Args:
        device: where torch counts.
        library: NVML, initialised; ``None`` leaves out what only the driver can say.
        pid: the process that the driver is asked about.
    """

    def __init__(
        self, device: torch.device, library: ModuleType | None, pid: int | None = None
    ) -> None:
        """Hand back what loading has freed: the driver would count it as used."""
        import torch

        self._device = device
        self._library = library
        self._pid = os.getpid() if pid is None else pid
        torch.cuda.empty_cache()

    def reset(self) -> None:
        """Start a new window: the peaks fall to what is held now."""
        import torch

        torch.cuda.reset_peak_memory_stats(self._device)

    def facts(self) -> dict[str, Quantity]:
        """Return the peaks since ``reset`` and the process's use now; unknown ones are left out.

        torch keeps what it has reserved, so that the use after a generation is also its highest.
        """
        import torch

        found = {
            "peak_allocated_bytes": torch.cuda.max_memory_allocated(self._device),
            "peak_reserved_bytes": torch.cuda.max_memory_reserved(self._device),
        }
        if self._library is not None:
            used = nvml.process_memory_bytes(self._library, self._pid)
            if used is not None:
                found["process_memory_bytes"] = used
        return {name: Quantity(value, "B", Provenance.MEASURED) for name, value in found.items()}


def cuda_memory(device: torch.device) -> CudaMemory | None:
    """Return what watches a device's memory; ``None`` unless it is a GPU."""
    if device.type != "cuda":
        return None
    library, _ = nvml.library()
    return CudaMemory(device, library)
