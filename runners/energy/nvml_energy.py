"""The energy of CUDA's device 0 by NVML: its counter, or samples of its power.

Sources: NVML, ``nvmlDeviceGetTotalEnergyConsumption`` (Volta and newer),
``nvmlDeviceGetPowerUsage`` (a mean over 1 s on Ampere and newer, GA100 apart) and the field
``NVML_FI_DEV_POWER_INSTANT``. A sensor may look at a part of the time only: Yang et al.,
Part-time Power Measurements, arXiv 2312.02741.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import ModuleType

from leanboard.metrics.trace import Provenance
from leanboard.runners.energy.counters import Counter, CounterGauge, update_s
from leanboard.runners.energy.curve import Curve, Sample, integrated
from leanboard.runners.energy.meters import Meter, MeterError, MeterGoneError
from leanboard.runners.energy.sampled_meter import SampledMeter
from leanboard.runners.machine import nvml

COUNTER = "nvml-energy"
POWER = "nvml-power"
_GPU = "GPU and its board"
_JOULES_PER_COUNT = 1e-3
_PERIOD_S = 0.05
_LONGEST_S = 5 * _PERIOD_S
# Power sensors are updated every 20 to 100 ms (arXiv 2312.02741).
_SENSOR_S = 0.1
_AVERAGE_S = 1.0


@dataclass(frozen=True, slots=True)
class PowerGauge:
    """Samples of a GPU's power.

    Args:
        watts: reads the power.
        resolution_s: time that one reading stands for.
        period_s: time between two readings.
    """

    watts: Callable[[], float]
    resolution_s: float
    period_s: float = _PERIOD_S
    source: str = POWER
    covers: str = _GPU
    provenance: Provenance = Provenance.MEASURED

    def read(self) -> tuple[float, ...]:
        """Return the power in watts."""
        return (self.watts(),)

    def curve(self, samples: Sequence[Sample]) -> Curve:
        """Return the joules over time, by the trapezoid rule.

        Raises:
            MeterError: if readings are missing or the clock stepped.
        """
        return integrated(samples, _LONGEST_S, self.resolution_s)


def find_counter() -> Counter:
    """Return the energy counter of CUDA's device 0, read once.

    Raises:
        MeterError: without a driver, a device, or a counter of this device alone.
    """
    library, handle = _first_gpu()

    def read() -> int:
        try:
            return int(library.nvmlDeviceGetTotalEnergyConsumption(handle))
        except library.NVMLError as error:
            raise MeterGoneError(f"the GPU's energy counter cannot be read: {error}") from error

    read()
    return Counter(_GPU, read, _JOULES_PER_COUNT)


def open_counter() -> Meter:
    """Return a meter of the energy counter, with its update period measured.

    Raises:
        MeterError: if there is none, it cannot be read or does not move.
    """
    counter = find_counter()
    return SampledMeter(CounterGauge(COUNTER, (counter,), update_s(counter), _PERIOD_S))


def find_power() -> PowerGauge:
    """Return the power gauge of CUDA's device 0, read once: instantaneous power if it has it.

    Raises:
        MeterError: without a driver, a device, or a power sensor.
    """
    library, handle = _first_gpu()
    instant = PowerGauge(lambda: _instant_w(library, handle), _SENSOR_S)
    try:
        instant.read()
    except MeterError:
        usage = PowerGauge(lambda: _usage_w(library, handle), _span_s(library, handle))
        usage.read()
        return usage
    return instant


def open_power() -> Meter:
    """Return a meter of power samples.

    Raises:
        MeterError: if there is no power sensor.
    """
    return SampledMeter(find_power())


def _first_gpu() -> tuple[ModuleType, object]:
    library, reason = nvml.library()
    if library is None:
        raise MeterError(str(reason))
    try:
        handle = nvml.first_gpu(library)
    except library.NVMLError as error:
        raise MeterError(f"NVML does not show CUDA's device 0: {error}") from error
    if nvml.mig_mode(library, handle):
        raise MeterError("the GPU is divided (MIG), and its counters are of the whole card")
    return library, handle


def _instant_w(library: ModuleType, handle: object) -> float:
    try:
        (field,) = library.nvmlDeviceGetFieldValues(handle, [library.NVML_FI_DEV_POWER_INSTANT])
    except library.NVMLError as error:
        raise MeterGoneError(f"the GPU's power cannot be read: {error}") from error
    if field.nvmlReturn != library.NVML_SUCCESS:
        raise MeterGoneError(f"the GPU's power cannot be read: NVML error {field.nvmlReturn}")
    return float(field.value.uiVal) / 1000


def _usage_w(library: ModuleType, handle: object) -> float:
    try:
        return float(library.nvmlDeviceGetPowerUsage(handle)) / 1000
    except library.NVMLError as error:
        raise MeterGoneError(f"the GPU's power cannot be read: {error}") from error


def _span_s(library: ModuleType, handle: object) -> float:
    """Return the time that one reading of the power usage stands for; at worst a mean over 1 s."""
    try:
        recent = library.nvmlDeviceGetArchitecture(handle) >= library.NVML_DEVICE_ARCH_AMPERE
    except library.NVMLError:
        return _AVERAGE_S
    return _AVERAGE_S if recent else _SENSOR_S
