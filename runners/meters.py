"""Meters: what counts joules, and whether it measures or models them."""

from __future__ import annotations

from types import ModuleType
from typing import Protocol

from leanboard.metrics.trace import Provenance
from leanboard.runners import nvml

NVML = "nvml-energy"
CODECARBON = "codecarbon"
NONE = "none"
_JOULES_PER_KWH = 3.6e6
# codecarbon wants a country for its emissions; joules do not depend on it.
_COUNTRY = "USA"


class Emissions(Protocol):
    """The part of codecarbon's answer that is used."""

    energy_consumed: float
    """Energy of the task in kWh, CPU and memory together."""


class Tracker(Protocol):
    """The part of codecarbon's tracker that is used."""

    def start_task(self) -> None:
        """Begin a task."""

    def stop_task(self) -> Emissions | None:
        """End the task."""


class Meter(Protocol):
    """Something that counts joules between ``start`` and ``stop``."""

    source: str
    provenance: Provenance

    def start(self) -> None:
        """Begin to count."""

    def stop(self) -> float | None:
        """Return the joules since ``start``; ``None`` if there are none, see ``reason``."""

    @property
    def reason(self) -> str | None:
        """Why the latest ``stop`` gave nothing."""


class NullMeter:
    """Counts nothing, and says why."""

    source = NONE
    provenance = Provenance.MEASURED

    def __init__(self, reason: str) -> None:
        self.reason: str | None = reason

    def start(self) -> None:
        """Do nothing."""

    def stop(self) -> float | None:
        """Return nothing."""
        return None


class NvmlMeter:
    """The energy counter of one GPU (millijoules since the driver was loaded).

    Source: NVML, ``nvmlDeviceGetTotalEnergyConsumption`` (Volta and newer).
    """

    source = NVML
    provenance = Provenance.MEASURED

    def __init__(self, library: ModuleType, handle: object) -> None:
        self._library = library
        self._handle = handle
        self._started_mj: int | None = None
        self.reason: str | None = None

    def start(self) -> None:
        """Read the counter."""
        self._started_mj = self._read()

    def stop(self) -> float | None:
        """Return the difference to the counter at the start, in joules."""
        ended_mj = self._read()
        if self._started_mj is None or ended_mj is None:
            return None
        return (ended_mj - self._started_mj) / 1000

    def _read(self) -> int | None:
        try:
            return int(self._library.nvmlDeviceGetTotalEnergyConsumption(self._handle))
        except self._library.NVMLError as error:
            self.reason = f"the GPU's energy counter cannot be read: {error}"
            return None


class CodecarbonMeter:
    """codecarbon's model of CPU and memory power: constants times time, never a measurement.

    Args:
        tracker: an ``OfflineEmissionsTracker``; its first task takes seconds, later ones less than
            two milliseconds.
    """

    source = CODECARBON
    provenance = Provenance.MODELLED

    def __init__(self, tracker: Tracker) -> None:
        self._tracker = tracker
        self.reason: str | None = "codecarbon gave no energy for this window"

    def start(self) -> None:
        """Start a task."""
        self._tracker.start_task()

    def stop(self) -> float | None:
        """End the task and return its joules."""
        emissions = self._tracker.stop_task()
        return None if emissions is None else float(emissions.energy_consumed) * _JOULES_PER_KWH


def gpu_meter() -> Meter:
    """Return the energy counter of CUDA's device 0, or a null meter with the reason."""
    library, reason = nvml.library()
    if library is None:
        return NullMeter(str(reason))
    try:
        meter = NvmlMeter(library, nvml.first_gpu(library))
    except library.NVMLError as error:
        return NullMeter(f"NVML does not show CUDA's device 0: {error}")
    meter.start()
    return meter if meter.stop() is not None else NullMeter(str(meter.reason))


def cpu_meter() -> Meter:
    """Return codecarbon's model, started, or a null meter with the reason."""
    try:
        tracker = _tracker()
    except ImportError:
        return NullMeter("codecarbon is not installed: pip install 'leanboard[energy]'")
    meter = CodecarbonMeter(tracker)
    try:
        # codecarbon looks at the hardware in its first task, and hides errors until the second.
        for _ in range(2):
            meter.start()
            energy_j = meter.stop()
    except AttributeError as error:
        return NullMeter(f"codecarbon could not start: {error}")
    return meter if energy_j is not None else NullMeter("codecarbon could not start")


def _tracker() -> Tracker:
    """Return a tracker that is quiet, writes no file and asks no host for anything."""
    import logging

    from codecarbon import OfflineEmissionsTracker

    # Its own log_level counts only after the first lines.
    logging.getLogger("codecarbon").setLevel(logging.CRITICAL)
    tracker: Tracker = OfflineEmissionsTracker(
        project_name="leanboard",
        country_iso_code=_COUNTRY,
        output_methods=[],
        allow_multiple_runs=True,
        log_level="critical",
        tracking_mode="machine",
        measure_power_secs=3600,
    )
    return tracker
