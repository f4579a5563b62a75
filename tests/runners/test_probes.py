"""Energy probes: gross joules, provenance, a reason where there are none, and which is chosen."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
from replay_meter import ReplayMeter, World

from leanboard.metrics.trace import Provenance
from leanboard.results.errors import ArmError
from leanboard.runners.backends.base import Device
from leanboard.runners.energy import meters, nvml_energy, rapl
from leanboard.runners.energy.counters import Counter, CounterGauge
from leanboard.runners.energy.meters import CodecarbonMeter, MeterError, MeterGoneError, NullMeter
from leanboard.runners.energy.probes import (
    OTHERS_UNKNOWN,
    Probe,
    Reading,
    Window,
    choose_probe,
    expected_source,
    look,
)
from leanboard.runners.energy.sampled_meter import SampledMeter
from leanboard.runners.machine import nvml

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


def fake_nvml(counter_mj: Callable[[], int | None], power_mw: int | None) -> SimpleNamespace:
    """Return an NVML with an energy counter and a power sensor; ``None`` is not supported."""

    def supported(value: int | None) -> int:
        if value is None:
            raise NVMLError("Not Supported")
        return value

    def fields(_: object, ids: list[int]) -> list[SimpleNamespace]:
        value = SimpleNamespace(uiVal=supported(power_mw))
        return [SimpleNamespace(nvmlReturn=0, value=value) for _ in ids]

    return SimpleNamespace(
        NVMLError=NVMLError,
        NVML_SUCCESS=0,
        NVML_FI_DEV_POWER_INSTANT=186,
        NVML_DEVICE_ARCH_AMPERE=7,
        nvmlDeviceGetTotalEnergyConsumption=lambda _: supported(counter_mj()),
        nvmlDeviceGetFieldValues=fields,
        nvmlDeviceGetPowerUsage=lambda _: supported(power_mw),
        nvmlDeviceGetArchitecture=lambda _: 7,
        nvmlDeviceGetHandleByIndex=lambda index: f"gpu{index}",
        nvmlDeviceGetHandleByUUID=lambda uuid: uuid,
    )


def read(probe: Probe) -> Reading:
    with probe.window() as window:
        pass
    return window.reading


def test_a_window_has_its_times_its_joules_and_their_source() -> None:
    probe = Probe(ReplayMeter([2.5], "rapl", Provenance.MEASURED), Ticks())
    assert read(probe) == Reading(1.0, 2.0, 2.5, "rapl", Provenance.MEASURED, None)


def test_a_window_that_has_no_joules_spoils_no_other() -> None:
    probe = Probe(ReplayMeter([1.0, None, 3.0], "rapl", Provenance.MEASURED), Ticks())
    readings = [read(probe) for _ in range(3)]
    assert [reading.energy_j for reading in readings] == [1.0, None, 3.0]
    assert [reading.reason for reading in readings] == [None, "the replay is over", None]
    assert probe.gone is None


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
    reading = read(Probe(NullMeter("no counter here"), Ticks()))
    assert reading.energy_j is None
    assert reading.source == "none"
    assert reading.reason == "no counter here"


@pytest.mark.parametrize("step_s", [0.0, -3.0])
def test_a_clock_that_does_not_go_forward_gives_no_joules(step_s: float) -> None:
    times = iter([10.0, 10.0 + step_s])
    reading = read(
        Probe(ReplayMeter([5.0], "codecarbon", Provenance.MODELLED), lambda: next(times))
    )
    assert reading.energy_j is None
    assert reading.reason == f"the clock did not go forward: {step_s:g} s from start to end"


def test_a_meter_that_fails_at_the_start_gives_reasons_from_then_on() -> None:
    def broken() -> int:
        raise MeterGoneError("the GPU's energy counter cannot be read: GPU is lost")

    world = World((0.0, 100.0))
    gauge = CounterGauge("nvml-energy", (Counter("GPU", broken, 1e-3),), 0.1, 0.05)
    probe = Probe(SampledMeter(gauge, world.clock, world.sampler), Ticks())
    for _ in range(2):
        reading = read(probe)
        assert reading.energy_j is None
        assert reading.reason == "the GPU's energy counter cannot be read: GPU is lost"


class TestOthers:
    @pytest.mark.parametrize(
        ("counts", "reason"),
        [
            ([2, 0], "2 other processes used the GPU at the window's start"),
            ([0, 1], "1 other process used the GPU at the window's end"),
        ],
    )
    def test_a_gpu_that_another_process_uses_gives_no_joules(
        self, counts: list[int], reason: str
    ) -> None:
        found = iter(counts)
        meter = ReplayMeter([5.0, 6.0], "nvml-energy", Provenance.MEASURED)
        probe = Probe(meter, Ticks(), others=lambda: next(found, 0))
        first, second = read(probe), read(probe)
        assert first.energy_j is None
        assert first.reason == f"{reason}: its joules are of the whole device"
        assert second.energy_j == 6.0

    def test_nobody_else_leaves_the_joules(self) -> None:
        meter = ReplayMeter([5.0], "nvml-energy", Provenance.MEASURED)
        assert read(Probe(meter, Ticks(), others=lambda: 0)).energy_j == 5.0

    @pytest.mark.parametrize("counts", [[None], [0, None]], ids=["start", "end"])
    def test_where_it_is_not_known_there_are_no_joules(self, counts: list[int | None]) -> None:
        found = iter(counts)
        meter = ReplayMeter([5.0, 6.0], "nvml-energy", Provenance.MEASURED)
        probe = Probe(meter, Ticks(), others=lambda: next(found, 0))
        first, second = read(probe), read(probe)
        assert (first.energy_j, first.reason) == (None, OTHERS_UNKNOWN)
        assert second.energy_j == 6.0

    def test_a_part_of_such_a_window_has_none_either(self) -> None:
        world = World((0.0, 100.0))
        gauge = CounterGauge("nvml-energy", (world.counter(update_s=0.02),), 0.02, 0.05)
        meter = SampledMeter(gauge, world.clock, world.sampler)
        probe = Probe(meter, world.clock, others=lambda: None)
        with probe.window() as window:
            world.wait(6.0)
        assert window.part(2.0, 4.0).energy_j is None
        assert window.part(2.0, 4.0).reason == OTHERS_UNKNOWN


class TestParts:
    def test_a_part_of_a_measured_window_has_its_own_joules(self) -> None:
        world = World((0.0, 300.0), (2.0, 100.0))
        gauge = CounterGauge("nvml-energy", (world.counter(update_s=0.02),), 0.02, 0.05)
        probe = Probe(SampledMeter(gauge, world.clock, world.sampler), world.clock)
        with probe.window() as window:
            world.wait(6.0)
        assert window.reading.energy_j == pytest.approx(1000.0, abs=6.0)
        part = window.part(2.0, 6.0)
        assert (part.started_s, part.ended_s) == (2.0, 6.0)
        assert part.energy_j == pytest.approx(400.0, abs=6.0)

    def test_a_part_outside_of_the_window_has_none(self) -> None:
        probe = Probe(ReplayMeter([5.0], "rapl", Provenance.MEASURED), Ticks())
        with probe.window() as window:
            pass
        assert window.part(1.5, 3.0).reason == "the part is not inside its window"
        assert window.part(1.5, 3.0).energy_j is None

    def test_a_part_of_an_invalid_window_keeps_the_reason(self) -> None:
        probe = Probe(ReplayMeter([None], "rapl", Provenance.MEASURED), Ticks())
        with probe.window() as window:
            pass
        assert window.part(1.2, 1.8).reason == "the replay is over"

    def test_modelled_joules_have_no_parts(self) -> None:
        probe = Probe(ReplayMeter([5.0], "codecarbon", Provenance.MODELLED), Ticks())
        with probe.window() as window:
            pass
        assert window.part(1.2, 1.8).energy_j is None
        assert window.part(1.2, 1.8).reason == "modelled joules: phases are not separated"


class TestCodecarbon:
    def test_kilowatt_hours_become_modelled_joules(self) -> None:
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

    @pytest.mark.parametrize("energy_kwh", [0.0, -1.0, float("nan"), None])
    def test_no_energy_is_not_zero_energy(self, energy_kwh: float | None) -> None:
        answer = None if energy_kwh is None else SimpleNamespace(energy_consumed=energy_kwh)
        tracker = SimpleNamespace(start_task=lambda: None, stop_task=lambda: answer)
        reading = read(Probe(CodecarbonMeter(tracker), Ticks()))
        assert reading.energy_j is None
        assert reading.reason == "codecarbon gave no energy for this window"

    def test_a_tracker_that_dies_in_the_middle_becomes_a_reason(self) -> None:
        def stop() -> SimpleNamespace:
            raise KeyError("task")

        tracker = SimpleNamespace(start_task=lambda: None, stop_task=stop)
        probe = Probe(CodecarbonMeter(tracker), Ticks())
        assert [read(probe).reason for _ in range(2)] == ["codecarbon could not stop: 'task'"] * 2

    def test_itself_is_quiet_writes_nothing_and_is_modelled(
        self,
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


@pytest.fixture
def no_rapl(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent() -> None:
        raise MeterError("only root may read it")

    monkeypatch.setattr(rapl, "find", absent)
    monkeypatch.setattr(rapl, "open_meter", absent)


class TestChoice:
    def test_a_gpu_is_read_by_its_counter(self, monkeypatch: pytest.MonkeyPatch) -> None:
        library = fake_nvml(lambda: 1000, 70_000)
        monkeypatch.setattr(nvml, "library", lambda: (library, None))
        monkeypatch.setattr(nvml_energy, "update_s", lambda _: 0.02)
        probe = choose_probe(CUDA)
        assert (probe.source, probe.refusals) == ("nvml-energy", ())
        assert (probe.provenance, probe.min_window_s) == (Provenance.MEASURED, 0.2)
        assert probe.covers == "GPU and its board"

    def test_a_gpu_without_a_counter_is_sampled(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(nvml, "library", lambda: (fake_nvml(lambda: None, 70_000), None))
        probe = choose_probe(CUDA)
        assert (probe.source, probe.provenance) == ("nvml-power", Provenance.MEASURED)
        assert probe.min_window_s == 1.0
        assert probe.refusals == (
            "nvml-energy: the GPU's energy counter cannot be read: Not Supported",
        )

    def test_a_gpu_without_counter_and_sensor_is_not_estimated(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(nvml, "library", lambda: (fake_nvml(lambda: None, None), None))
        reading = read(choose_probe(CUDA))
        assert reading.energy_j is None
        assert reading.source == "none"
        assert reading.reason == (
            "nvml-energy: the GPU's energy counter cannot be read: Not Supported; "
            "nvml-power: the GPU's power cannot be read: Not Supported"
        )

    def test_a_gpu_without_a_driver_says_so(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(nvml, "library", lambda: (None, "no NVIDIA driver"))
        assert "nvml-energy: no NVIDIA driver" in str(read(choose_probe(CUDA)).reason)
        assert expected_source("cuda") == "none"

    def test_a_gpu_that_nvml_does_not_show_says_so(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def absent(_: int) -> None:
            raise NVMLError("Invalid Argument")

        library = fake_nvml(lambda: 1, 1)
        library.nvmlDeviceGetHandleByIndex = absent
        monkeypatch.setattr(nvml, "library", lambda: (library, None))
        assert "NVML does not show CUDA's device 0" in str(read(choose_probe(CUDA)).reason)

    def test_a_cpu_is_read_by_rapl_before_it_is_modelled(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        measured = ReplayMeter([1.0], "rapl", Provenance.MEASURED)
        monkeypatch.setattr(rapl, "open_meter", lambda: measured)
        monkeypatch.setattr(rapl, "find", lambda: ())
        assert choose_probe(CPU).source == "rapl"
        assert expected_source("cpu") == "rapl"

    @pytest.mark.usefixtures("no_rapl")
    def test_the_refusal_of_rapl_is_kept_beside_the_model(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        tracker = SimpleNamespace(
            start_task=lambda: None, stop_task=lambda: SimpleNamespace(energy_consumed=1e-6)
        )
        monkeypatch.setattr(meters, "_tracker", lambda: tracker)
        probe = choose_probe(CPU)
        assert (probe.source, probe.provenance) == ("codecarbon", Provenance.MODELLED)
        assert probe.refusals == ("rapl: only root may read it",)
        assert look("cpu") == ("codecarbon", ("rapl: only root may read it",))

    @pytest.mark.usefixtures("no_rapl")
    def test_without_codecarbon_a_cpu_has_no_joules(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(meters.util, "find_spec", lambda _: None)
        reading = read(choose_probe(CPU))
        assert reading.energy_j is None
        assert "rapl: only root may read it" in str(reading.reason)
        assert "leanboard[energy]" in str(reading.reason)
        assert expected_source("cpu") == "none"

    @pytest.mark.usefixtures("no_rapl")
    @pytest.mark.parametrize(
        "tracker", [SimpleNamespace(), SimpleNamespace(start_task=lambda: None)]
    )
    def test_a_tracker_that_could_not_start_becomes_a_reason(
        self, tracker: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(meters, "_tracker", lambda: tracker)
        assert "codecarbon: codecarbon could not st" in str(read(choose_probe(CPU)).reason)


def test_cuda_s_first_device_is_found_among_all() -> None:
    library = fake_nvml(lambda: 1, 1)
    assert nvml.first_gpu(library, {}) == "gpu0"
    assert nvml.first_gpu(library, {"CUDA_VISIBLE_DEVICES": "3,1"}) == "gpu3"
    assert nvml.first_gpu(library, {"CUDA_VISIBLE_DEVICES": "GPU-ab12"}) == "GPU-ab12"
