"""From a hardware config to the device that is here; GPUs as NVML shows them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

from leanboard import suites
from leanboard.results.errors import ConfigError
from leanboard.runners import hardware, nvml
from leanboard.runners.hardware import HardwareConfig, Machine, resolve_device


def test_a_gpu_is_described_in_base_units_and_unknown_stays_none() -> None:
    class NVMLError(Exception):
        pass

    def unsupported(_: object) -> int:
        raise NVMLError("Not Supported")

    library = SimpleNamespace(
        NVMLError=NVMLError,
        NVML_CLOCK_SM=1,
        nvmlDeviceGetCount=lambda: 1,
        nvmlDeviceGetHandleByIndex=lambda index: index,
        nvmlDeviceGetName=lambda _: "NVIDIA X",
        nvmlDeviceGetMemoryInfo=lambda _: SimpleNamespace(total=80 * 2**30),
        nvmlSystemGetDriverVersion=lambda: "580.1",
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
