"""Energy windows: gross joules, provenance, and a reason where there are none."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
from replay_meter import ReplayMeter

from leanboard.metrics.trace import Provenance
from leanboard.results.errors import ArmError
from leanboard.runners import meters, nvml
from leanboard.runners.backends.base import Device
from leanboard.runners.meters import CodecarbonMeter, NullMeter, NvmlMeter
from leanboard.runners.probes import Probe, Reading, Window, choose_probe, expected_source

CPU = Device("cpu", 2, "float32")
CUDA = Device("cuda", 2, "bfloat16")


class Ticks:
    """A clock that moves one second a look."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        self.now += 1.0
        return self.now


class NVMLError(Exception):
    pass


def fake_nvml(counters_mj: list[int | None]) -> SimpleNamespace:
    """Return an NVML whose energy counter shows these values, one a read; None fails."""
    values = iter(counters_mj)

    def read(_: object) -> int:
        value = next(values)
        if value is None:
            raise NVMLError("Not Supported")
        return value

    return SimpleNamespace(
        NVMLError=NVMLError,
        nvmlDeviceGetTotalEnergyConsumption=read,
        nvmlDeviceGetHandleByIndex=lambda index: f"gpu{index}",
        nvmlDeviceGetHandleByUUID=lambda uuid: uuid,
    )


def test_a_window_has_its_times_its_joules_and_their_source() -> None:
    probe = Probe(ReplayMeter([2.5], "rapl", Provenance.MEASURED), Ticks())
    with probe.window() as window:
        pass
    assert window.reading == Reading(1.0, 2.0, 2.5, "rapl", Provenance.MEASURED, None)


def test_a_replay_that_is_over_gives_none_with_a_reason() -> None:
    probe = Probe(ReplayMeter([0.0], "rapl", Provenance.MEASURED), Ticks())
    with probe.window() as first:
        pass
    with probe.window() as second:
        pass
    assert first.reading.energy_j == 0.0
    assert first.reading.reason is None
    assert second.reading.energy_j is None
    assert second.reading.reason == "the replay is over"


def test_a_window_closes_also_when_what_runs_in_it_fails() -> None:
    probe = Probe(ReplayMeter([1.0], "rapl", Provenance.MEASURED), Ticks())
    seen: list[Window] = []

    def fails() -> None:
        with probe.window() as window:
            seen.append(window)
            raise ArmError("out of luck")

    with pytest.raises(ArmError):
        fails()
    assert seen[0].reading.energy_j == 1.0


def test_an_open_window_has_no_reading() -> None:
    with pytest.raises(RuntimeError, match="still open"):
        _ = Window().reading


def test_nothing_to_read_is_none_and_says_why() -> None:
    with Probe(NullMeter("no counter here"), Ticks()).window() as window:
        pass
    assert window.reading.energy_j is None
    assert window.reading.source == "none"
    assert window.reading.reason == "no counter here"


def test_nvml_s_millijoules_become_joules() -> None:
    meter = NvmlMeter(fake_nvml([10_000, 12_500]), "gpu0")
    with Probe(meter, Ticks()).window() as window:
        pass
    assert window.reading.energy_j == 2.5
    assert window.reading.source == "nvml-energy"
    assert window.reading.provenance is Provenance.MEASURED


def test_a_counter_that_fails_gives_the_driver_s_reason() -> None:
    meter = NvmlMeter(fake_nvml([10_000, None]), "gpu0")
    with Probe(meter, Ticks()).window() as window:
        pass
    assert window.reading.energy_j is None
    assert window.reading.reason == "the GPU's energy counter cannot be read: Not Supported"


def test_codecarbon_s_kilowatt_hours_become_modelled_joules() -> None:
    calls: list[str] = []
    tracker = SimpleNamespace(
        start_task=lambda: calls.append("start"),
        stop_task=lambda: SimpleNamespace(energy_consumed=1e-6),
    )
    with Probe(CodecarbonMeter(tracker), Ticks()).window() as window:
        calls.append("work")
    assert calls == ["start", "work"]
    assert window.reading.energy_j == pytest.approx(3.6)
    assert window.reading.provenance is Provenance.MODELLED


def test_a_gpu_is_read_by_its_counter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nvml, "library", lambda: (fake_nvml([1000, 1000, 1000, 4000]), None))
    probe = choose_probe(CUDA)
    with probe.window() as window:
        pass
    assert probe.source == "nvml-energy"
    assert window.reading.energy_j == 3.0


def test_a_gpu_without_a_counter_is_not_estimated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nvml, "library", lambda: (fake_nvml([None, None]), None))
    with choose_probe(CUDA).window() as window:
        pass
    assert window.reading.energy_j is None
    assert "Not Supported" in str(window.reading.reason)


def test_a_gpu_without_a_driver_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nvml, "library", lambda: (None, "no NVIDIA driver"))
    with choose_probe(CUDA).window() as window:
        pass
    assert window.reading.reason == "no NVIDIA driver"
    assert expected_source("cuda") == "none"


def test_without_codecarbon_a_cpu_has_no_joules(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent() -> None:
        raise ImportError("codecarbon")

    monkeypatch.setattr(meters, "_tracker", absent)
    with choose_probe(CPU).window() as window:
        pass
    assert window.reading.energy_j is None
    assert "leanboard[energy]" in str(window.reading.reason)


def test_a_tracker_that_could_not_start_becomes_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(meters, "_tracker", lambda: SimpleNamespace(start_task=lambda: None))
    with choose_probe(CPU).window() as window:
        pass
    assert "codecarbon could not start" in str(window.reading.reason)


def test_cuda_s_first_device_is_found_among_all() -> None:
    library = fake_nvml([])
    assert nvml.first_gpu(library, {}) == "gpu0"
    assert nvml.first_gpu(library, {"CUDA_VISIBLE_DEVICES": "3,1"}) == "gpu3"
    assert nvml.first_gpu(library, {"CUDA_VISIBLE_DEVICES": "GPU-ab12"}) == "GPU-ab12"


def test_codecarbon_itself_is_quiet_writes_nothing_and_is_modelled(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    probe = Probe(CodecarbonMeter(meters._tracker()))
    with probe.window() as window:
        sum(range(100_000))
    assert window.reading.energy_j is not None
    assert window.reading.energy_j > 0
    assert window.reading.provenance is Provenance.MODELLED
    assert list(tmp_path.iterdir()) == []
    assert capfd.readouterr() == ("", "")
