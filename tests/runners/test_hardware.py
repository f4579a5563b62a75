"""From a hardware config to the device that is here; GPUs as NVML shows them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pynvml
import pytest
import yaml

from leanboard import suites
from leanboard.results.errors import ConfigError
from leanboard.results.schema import Gpu
from leanboard.runners.machine import hardware, nvml
from leanboard.runners.machine.hardware import HardwareConfig, Machine, resolve_device


class NVMLError(Exception):
    pass


def unsupported(*_: object) -> int:
    raise NVMLError("Not Supported")


def driver(**functions: object) -> Any:
    """Return an NVML that knows a GPU's name and memory, and these functions."""
    known: dict[str, object] = {
        "NVMLError": NVMLError,
        "nvmlDeviceGetCount": lambda: 1,
        "nvmlDeviceGetHandleByIndex": lambda index: index,
        "nvmlDeviceGetName": lambda _: "NVIDIA X",
        "nvmlDeviceGetMemoryInfo": lambda _: SimpleNamespace(total=80 * 2**30),
        "nvmlSystemGetDriverVersion": lambda: "580.1",
    }
    return SimpleNamespace(**(known | functions))


def test_a_gpu_is_described_in_base_units_and_unknown_stays_none() -> None:
    library = driver(
        nvmlSystemGetCudaDriverVersion=lambda: 13020,
        nvmlDeviceGetPowerManagementLimit=lambda _: 700_000,
        nvmlDeviceGetMaxClockInfo=lambda *_: 1980,
        nvmlDeviceGetPersistenceMode=unsupported,
    )
    (gpu,) = nvml.gpus(library)
    assert gpu.cuda == "13.2"
    assert gpu.power_limit_w == 700.0
    assert gpu.sm_clock_hz == 1.98e9
    assert gpu.memory_bytes == 80 * 2**30
    assert gpu.persistence is None


def test_a_gpu_that_says_everything_is_told_in_full() -> None:
    highest, now, asked = {1: 1980, 2: 3201}, {1: 345, 2: 1593}, {1: 1830, 2: 3201}
    library = driver(
        nvmlSystemGetCudaDriverVersion=lambda: 12080,
        nvmlDeviceGetPowerManagementLimit=lambda _: 600_000,
        nvmlDeviceGetPowerManagementDefaultLimit=lambda _: 700_000,
        nvmlDeviceGetEnforcedPowerLimit=lambda _: 550_000,
        nvmlDeviceGetMaxClockInfo=lambda _, kind: highest[kind],
        nvmlDeviceGetClockInfo=lambda _, kind: now[kind],
        nvmlDeviceGetApplicationsClock=lambda _, kind: asked[kind],
        nvmlDeviceGetPersistenceMode=lambda _: 1,
        nvmlDeviceGetCudaComputeCapability=lambda _: (9, 0),
        nvmlDeviceGetComputeMode=lambda _: 3,
        nvmlDeviceGetCurrentEccMode=lambda _: 1,
        nvmlDeviceGetMigMode=lambda _: [0, 1],
        nvmlDeviceGetMaxPcieLinkGeneration=lambda _: 5,
        nvmlDeviceGetMaxPcieLinkWidth=lambda _: 16,
        nvmlDeviceGetTemperature=lambda *_: 41,
        nvmlDeviceGetCurrentClocksEventReasons=lambda _: 0x1 | 0x40,
        nvmlDeviceGetComputeRunningProcesses=lambda _: [SimpleNamespace(pid=7)],
    )
    assert nvml.gpus(library) == (
        Gpu(
            name="NVIDIA X",
            memory_bytes=80 * 2**30,
            driver="580.1",
            cuda="12.8",
            power_limit_w=600.0,
            sm_clock_hz=1.98e9,
            persistence=True,
            power_limit_default_w=700.0,
            power_limit_enforced_w=550.0,
            sm_clock_now_hz=3.45e8,
            sm_clock_application_hz=1.83e9,
            memory_clock_hz=3.201e9,
            memory_clock_now_hz=1.593e9,
            memory_clock_application_hz=3.201e9,
            compute_capability="9.0",
            compute_mode="exclusive-process",
            ecc=True,
            mig=False,
            pcie_generation=5,
            pcie_width=16,
            temperature_c=41.0,
            throttle=("gpu-idle", "hw-thermal-slowdown"),
            processes=1,
        ),
    )


def test_a_driver_that_refuses_everything_leaves_only_the_name() -> None:
    functions = [name for name in dir(pynvml) if name.startswith("nvmlDeviceGet")]
    known = set(vars(driver()))
    library = driver(**{name: unsupported for name in functions if name not in known})
    (gpu,) = nvml.gpus(library)
    assert gpu == Gpu(name="NVIDIA X", memory_bytes=80 * 2**30, driver="580.1")


def test_every_function_that_is_asked_for_is_one_of_nvml_s() -> None:
    asked = []

    class Asked(SimpleNamespace):
        def __getattr__(self, name: str) -> object:
            if not name.startswith("nvml"):
                raise AttributeError(name)
            asked.append(name)
            return unsupported

    library: Any = Asked(**vars(driver()))
    assert len(nvml.gpus(library)) == 1
    assert len(asked) > 5
    assert [name for name in asked if not hasattr(pynvml, name)] == []


def test_reasons_are_read_by_either_of_their_names() -> None:
    old = driver(nvmlDeviceGetCurrentClocksThrottleReasons=lambda _: 0x4)
    assert nvml.throttle_reasons(old, 0) == ("sw-power-cap",)
    assert nvml.throttle_reasons(driver(), 0) is None
    none = driver(nvmlDeviceGetCurrentClocksEventReasons=lambda _: 0)
    assert nvml.throttle_reasons(none, 0) == ()


@pytest.mark.parametrize(
    ("constant", "name"),
    [
        ("GpuIdle", "gpu-idle"),
        ("ApplicationsClocksSetting", "applications-clocks-setting"),
        ("SwPowerCap", "sw-power-cap"),
        ("HwSlowdown", "hw-slowdown"),
        ("SyncBoost", "sync-boost"),
        ("SwThermalSlowdown", "sw-thermal-slowdown"),
        ("HwThermalSlowdown", "hw-thermal-slowdown"),
        ("HwPowerBrakeSlowdown", "hw-power-brake-slowdown"),
        ("DisplayClockSetting", "display-clock-setting"),
    ],
)
def test_every_reason_has_nvml_s_bit(constant: str, name: str) -> None:
    bit = getattr(pynvml, f"nvmlClocksEventReason{constant}")
    library = driver(nvmlDeviceGetCurrentClocksEventReasons=lambda _: bit)
    assert nvml.throttle_reasons(library, 0) == (name,)


def test_a_library_of_another_version_gives_nothing() -> None:
    class NVMLLibraryMismatchError(Exception):
        pass

    def mismatch(_: object) -> None:
        raise NVMLLibraryMismatchError

    library = driver(
        nvmlDeviceGetComputeRunningProcesses=mismatch,
        NVMLLibraryMismatchError=NVMLLibraryMismatchError,
    )
    assert nvml.process_ids(library, 0) is None


def test_a_process_that_draws_uses_the_gpu_too() -> None:
    def processes(*pids: int) -> Callable[[object], list[SimpleNamespace]]:
        return lambda _: [SimpleNamespace(pid=pid) for pid in pids]

    computing = {"nvmlDeviceGetComputeRunningProcesses": processes(7, 9)}
    drawing = {"nvmlDeviceGetGraphicsRunningProcesses": processes(8, 9)}
    assert nvml.process_ids(driver(**computing), 0) == (7, 9)
    assert nvml.process_ids(driver(**computing, **drawing), 0) == (7, 8, 9)
    assert nvml.process_ids(driver(**drawing), 0) is None


def test_without_a_driver_there_are_no_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nvml, "library", lambda: (None, "no NVIDIA driver"))
    assert nvml.gpus() == ()
    assert hardware.cuda_missing() == "no NVIDIA driver"


def machine(cores: int, missing: str | None = "no NVIDIA driver") -> Machine:
    answer: Callable[[], str | None] = lambda: missing  # noqa: E731
    return Machine(cores=lambda: cores, cuda_missing=answer)


@pytest.mark.parametrize(
    "path", sorted((Path(suites.__path__[0]) / "hardware").glob("*.yaml")), ids=lambda p: p.stem
)
def test_every_profile_of_the_menu_resolves_on_a_machine_that_has_it(path: Path) -> None:
    config = HardwareConfig(**yaml.safe_load(path.read_text()))
    profile, device = resolve_device(config, machine(4, missing=None))
    assert profile.name != "auto"
    assert profile.threads == device.threads <= 4
    assert profile.device == device.kind


def test_auto_becomes_the_gpu_where_there_is_one() -> None:
    auto = HardwareConfig("auto", "auto")
    profile, device = resolve_device(auto, machine(4, missing=None))
    assert (profile.name, profile.device, profile.reference_dtype) == ("cuda", "cuda", "bfloat16")
    profile, device = resolve_device(auto, machine(4))
    assert (profile.name, profile.device, profile.reference_dtype) == ("cpu", "cpu", "float32")
    assert (device.kind, device.threads) == ("cpu", 4)


def test_auto_and_cpu_are_the_same_profile_on_a_machine_without_gpu() -> None:
    auto, named = HardwareConfig("auto", "auto"), HardwareConfig("cpu", "cpu")
    assert resolve_device(auto, machine(4)) == resolve_device(named, machine(4))


def test_a_gpu_that_is_not_there_says_how_to_check() -> None:
    with pytest.raises(ConfigError, match=r"no NVIDIA driver\. Check with `nvidia-smi`"):
        resolve_device(HardwareConfig("cuda", "cuda"), machine(4))


def test_more_threads_than_cores_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"may use 4 cores\. Use hardware\.threads=4"):
        resolve_device(HardwareConfig("cpu", "cpu", threads=5), machine(4))


def test_a_memory_cap_reaches_the_record_and_the_backend() -> None:
    capped = HardwareConfig("cpu", "cpu", threads=1, memory_cap_bytes=2**30)
    profile, device = resolve_device(capped, machine(4))
    assert profile.memory_cap_bytes == device.memory_cap_bytes == 2**30
    assert profile.threads == 1


@pytest.mark.parametrize("device", ["cuda", "auto"])
def test_a_memory_cap_on_a_gpu_is_refused(device: str) -> None:
    capped = HardwareConfig(device, device, memory_cap_bytes=2**30)
    with pytest.raises(ConfigError, match=r"not for the GPU's\. Use .*=null, or hardware=cpu"):
        resolve_device(capped, machine(4, missing=None))


def test_a_memory_cap_holds_where_auto_finds_no_gpu() -> None:
    capped = HardwareConfig("auto", "auto", memory_cap_bytes=2**30)
    assert resolve_device(capped, machine(4))[1].memory_cap_bytes == 2**30


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"device": "tpu"}, r"hardware\.device is 'tpu'"),
        ({"device": "cpu", "threads": 0}, r"hardware\.threads is 0"),
        ({"device": "cpu", "memory_cap_bytes": "4g"}, r"hardware\.memory_cap_bytes is '4g'"),
    ],
)
def test_a_value_that_does_not_fit_is_named(values: dict[str, object], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        HardwareConfig("x", **values)
