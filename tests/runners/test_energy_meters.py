"""Counters, power samples and RAPL: the joules of replayed power, and every fault of theirs."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from replay_meter import World

from leanboard.runners.energy import nvml_energy, rapl
from leanboard.runners.energy.counters import Counter, CounterGauge, update_s
from leanboard.runners.energy.curve import Sample
from leanboard.runners.energy.meters import CodecarbonMeter, Meter, MeterError, MeterGoneError
from leanboard.runners.energy.nvml_energy import PowerGauge
from leanboard.runners.energy.probes import Probe, Reading
from leanboard.runners.energy.sampled_meter import Gauge, SampledMeter, ThreadSampler
from leanboard.runners.machine import nvml

MICROJOULE = 1e-6
RANGE = 262_143_328_850
"""``max_energy_range_uj`` of many Intel processors: 262 kJ."""


class NVMLError(Exception):
    pass


def metered(world: World, gauge: Gauge) -> Meter:
    return SampledMeter(gauge, world.clock, world.sampler)


def gpu_counter(world: World) -> Meter:
    return metered(world, CounterGauge("nvml-energy", (world.counter(),), 0.1, 0.05))


def gpu_power(world: World) -> Meter:
    return metered(world, PowerGauge(world.watts, 0.1))


def two_packages(world: World, offset: int = 0) -> Meter:
    shares = {"package-0": 0.5, "package-1": 0.375, "dram of package-0": 0.125}
    counters = tuple(
        world.counter(
            name,
            joules_per_count=MICROJOULE,
            update_s=0.001,
            wraps_at=RANGE,
            offset=offset,
            share=share,
        )
        for name, share in shares.items()
    )
    return metered(world, CounterGauge("rapl", counters, 0.001, 0.1))


def codecarbon(world: World) -> Meter:
    started_j: list[float] = []

    def stop() -> SimpleNamespace:
        return SimpleNamespace(energy_consumed=(world.joules() - started_j[-1]) / 3.6e6)

    tracker = SimpleNamespace(start_task=lambda: started_j.append(world.joules()), stop_task=stop)
    return CodecarbonMeter(tracker)


KINDS: dict[str, tuple[Callable[[World], Meter], float]] = {
    "nvml-energy": (gpu_counter, 0.1),
    "nvml-power": (gpu_power, 0.1),
    "rapl": (two_packages, 0.001),
    "codecarbon": (codecarbon, 0.0),
}


def measure(world: World, meter: Meter, seconds: float) -> Reading:
    with Probe(meter, world.clock).window() as window:
        world.wait(seconds)
    return window.reading


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=40, deadline=None)
@given(
    power_w=st.floats(5.0, 900.0),
    seconds=st.floats(1.01, 12.0),
    started_s=st.floats(0.0, 1000.0),
)
def test_constant_power_gives_power_times_time_within_the_resolution(
    kind: str, power_w: float, seconds: float, started_s: float
) -> None:
    make, resolution_s = KINDS[kind]
    world = World((0.0, power_w), now_s=started_s)
    reading = measure(world, make(world), seconds)
    assert reading.reason is None
    # One update more or less, and the rounding of three counters.
    assert reading.energy_j == pytest.approx(
        power_w * seconds, abs=power_w * resolution_s + 0.002, rel=1e-9
    )


@settings(max_examples=40, deadline=None)
@given(power_w=st.floats(5.0, 900.0), before_j=st.floats(0.0, 3000.0))
def test_a_wrap_gives_the_same_joules_as_no_wrap(power_w: float, before_j: float) -> None:
    readings = []
    for offset in (0, RANGE - round(before_j / MICROJOULE)):
        world = World((0.0, power_w))
        readings.append(measure(world, two_packages(world, offset), 10.0).energy_j)
    assert readings[0] is not None
    assert readings[1] == pytest.approx(readings[0], abs=1e-5)


def test_steps_of_power_are_integrated_from_samples() -> None:
    world = World((0.0, 50.0), (2.0, 250.0), (4.0, 50.0))
    # 2 x 50 + 2 x 250 + 2 x 50; a trapezoid is late by half a period at each step, which cancels
    assert measure(world, gpu_power(world), 6.0).energy_j == pytest.approx(700.0, rel=0.02)


def test_a_counter_that_only_the_ends_of_the_window_read_is_right_too() -> None:
    world = World((0.0, 100.0))
    with Probe(gpu_counter(world), world.clock).window() as window:
        world.now_s += 2.0
    assert window.reading.energy_j == pytest.approx(200.0)


class TestFaults:
    def test_a_window_shorter_than_ten_updates_is_null(self) -> None:
        world = World((0.0, 100.0))
        reading = measure(world, gpu_counter(world), 0.5)
        assert reading.energy_j is None
        assert reading.reason == (
            "0.5 s window, what is read moves every 0.1 s: 10 updates are needed"
        )

    def test_a_gpu_counter_that_goes_back_is_null(self) -> None:
        counts = iter([5000, 6000, 1000])
        counter = Counter("GPU", lambda: next(counts), 1e-3)
        world = World((0.0, 1.0))
        meter = metered(world, CounterGauge("nvml-energy", (counter,), 0.1, 1.5))
        reading = measure(world, meter, 2.0)
        assert reading.energy_j is None
        assert reading.reason == "the counter of GPU went back by 5 J"

    def test_a_rapl_counter_that_is_reset_is_not_taken_for_a_wrap(self) -> None:
        with pytest.raises(MeterError, match=r"package-0 went back: 2\.62e\+05 J in 0\.1 s"):
            rapl_counter().used_j(1_000_000, 0, 0.1)

    def test_a_rapl_counter_that_jumps_is_null(self) -> None:
        with pytest.raises(MeterError, match=r"jumped: 5e\+03 J in 1 s"):
            rapl_counter().used_j(0, 5_000_000_000, 1.0)

    def test_one_wrap_is_taken_in(self) -> None:
        # 30 J before the end of the range, 50 J after it
        used = rapl_counter().used_j(RANGE - 30_000_000, 50_000_000, 1.0)
        assert used == pytest.approx(80.0)

    def test_a_window_that_may_hold_more_than_one_wrap_is_null(self) -> None:
        with pytest.raises(MeterError, match="may have wrapped unseen"):
            rapl_counter().used_j(10, 20, 300.0)

    def test_a_counter_that_stops_moving_in_the_middle_is_null(self) -> None:
        world = World((0.0, 100.0), (3.0, 0.0))
        reading = measure(world, gpu_counter(world), 6.0)
        assert reading.energy_j is None
        assert "the counter stood still for" in str(reading.reason)

    def test_samples_that_stop_for_a_while_are_null(self) -> None:
        world = World((0.0, 100.0))
        with Probe(gpu_power(world), world.clock).window() as window:
            world.wait(1.0)
            world.now_s += 0.5
            world.wait(1.0)
        assert window.reading.energy_j is None
        assert "at most 0.25 s are allowed" in str(window.reading.reason)

    def test_a_clock_that_steps_forward_is_null(self) -> None:
        world = World((0.0, 100.0))
        with Probe(gpu_counter(world), world.clock).window() as window:
            world.wait(1.0)
            world.now_s += 3600.0
            world.wait(1.0)
        assert window.reading.energy_j is None
        assert "no reading for 3.6e+03 s" in str(window.reading.reason)

    @pytest.mark.parametrize("kind", KINDS)
    def test_a_clock_that_steps_back_is_null(self, kind: str) -> None:
        world = World((0.0, 100.0), now_s=100.0)
        with Probe(KINDS[kind][0](world), world.clock).window() as window:
            world.wait(2.0)
            world.now_s -= 5.0
        assert window.reading.energy_j is None
        assert "the clock" in str(window.reading.reason)

    def test_a_probe_that_dies_between_readings_spoils_this_window_and_all_later_ones(
        self,
    ) -> None:
        world = World((0.0, 100.0))
        alive = True

        def watts() -> float:
            if not alive:
                raise MeterGoneError("GPU is lost")
            return world.watts()

        probe = Probe(metered(world, PowerGauge(watts, 0.1)), world.clock)
        with probe.window() as first:
            world.wait(2.0)
        with probe.window() as second:
            world.wait(1.0)
            alive = False
            world.wait(1.0)
            alive = True
        with probe.window() as third:
            world.wait(2.0)
        assert first.reading.energy_j == pytest.approx(200.0)
        assert [w.reading.energy_j for w in (second, third)] == [None, None]
        assert [w.reading.reason for w in (second, third)] == ["GPU is lost"] * 2
        assert probe.gone == "GPU is lost"


def rapl_counter() -> Counter:
    return Counter("package-0", lambda: 0, MICROJOULE, RANGE)


class TestUpdatePeriod:
    def test_it_is_the_time_between_changes(self) -> None:
        world = World((0.0, 100.0))
        counter = world.counter(update_s=0.1)
        assert update_s(counter, world.clock, world.wait) == pytest.approx(0.1, abs=0.002)

    def test_a_counter_that_does_not_move_is_refused(self) -> None:
        world = World((0.0, 0.0))
        with pytest.raises(MeterError, match="the counter of GPU moved 0 times in 2 s"):
            update_s(world.counter(), world.clock, world.wait)


class TestThread:
    def test_it_takes_samples_until_it_is_asked_to_end(self) -> None:
        three = threading.Event()
        times = iter(range(1_000_000))

        def take() -> Sample:
            time_s = float(next(times))
            if time_s == 2.0:
                three.set()
            return Sample(time_s, (1.0,))

        sampler = ThreadSampler(take, 0.0)
        sampler.start()
        assert three.wait(10.0)
        taken = sampler.stop()
        assert [sample.time_s for sample in taken[:3]] == [0.0, 1.0, 2.0]

    def test_a_reading_that_fails_is_told_at_the_end(self) -> None:
        failed = threading.Event()

        def take() -> Sample:
            failed.set()
            raise MeterGoneError("GPU is lost")

        sampler = ThreadSampler(take, 0.0)
        sampler.start()
        assert failed.wait(10.0)
        with pytest.raises(MeterGoneError, match="GPU is lost"):
            sampler.stop()

    def test_a_reading_that_hangs_is_not_waited_for(self) -> None:
        entered, free = threading.Event(), threading.Event()

        def take() -> Sample:
            entered.set()
            free.wait(10.0)
            return Sample(0.0, (1.0,))

        sampler = ThreadSampler(take, 0.0, join_s=0.0)
        sampler.start()
        assert entered.wait(10.0)
        with pytest.raises(MeterGoneError, match="hangs"):
            sampler.stop()
        free.set()

    @pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
    def test_a_thread_that_dies_of_anything_else_is_seen(self) -> None:
        entered = threading.Event()

        def take() -> Sample:
            entered.set()
            raise ZeroDivisionError

        sampler = ThreadSampler(take, 0.0)
        sampler.start()
        assert entered.wait(10.0)
        with pytest.raises(MeterGoneError, match="the thread that takes readings died"):
            sampler.stop()


@pytest.fixture
def powercap(tmp_path: Path) -> Path:
    """A machine of two packages, one with memory of its own, and all that must not be counted."""
    zones = {
        "intel-rapl:0": "package-0",
        "intel-rapl:0:0": "core",
        "intel-rapl:0:1": "dram",
        "intel-rapl:1": "package-1",
        "intel-rapl:1:0": "uncore",
        "intel-rapl:2": "psys",
        "intel-rapl-mmio:0": "package-0",
    }
    for zone, name in zones.items():
        folder = tmp_path / zone
        folder.mkdir()
        (folder / "name").write_text(f"{name}\n")
        (folder / "energy_uj").write_text("1000\n")
        (folder / "max_energy_range_uj").write_text(f"{RANGE}\n")
    (tmp_path / "intel-rapl").mkdir()
    return tmp_path


class TestRapl:
    def test_packages_and_their_memory_are_counted_once(self, powercap: Path) -> None:
        counters = rapl.find(powercap)
        names = [counter.name for counter in counters]
        assert names == ["package-0", "package-1", "dram of package-0"]
        assert {counter.wraps_at for counter in counters} == {RANGE}
        assert counters[0].read() == 1000

    def test_a_machine_without_it_says_so(self, tmp_path: Path) -> None:
        with pytest.raises(MeterError, match=r"no RAPL counter \(a virtual machine"):
            rapl.find(tmp_path / "powercap")

    def test_no_permission_is_a_reason_with_a_way_out(
        self, powercap: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        read = Path.read_text

        def guarded(file: Path, *args: str, **kwargs: str) -> str:
            if file.name == "energy_uj":
                raise PermissionError(13, "Permission denied", str(file))
            return read(file, *args, **kwargs)

        monkeypatch.setattr(Path, "read_text", guarded)
        with pytest.raises(MeterError, match="only root may read it: sudo chmod"):
            rapl.find(powercap)

    def test_psys_alone_is_not_taken_for_the_processor(self, tmp_path: Path) -> None:
        zone = tmp_path / "intel-rapl:0"
        zone.mkdir()
        (zone / "name").write_text("psys")
        with pytest.raises(MeterError, match="no package, only psys"):
            rapl.find(tmp_path)

    @pytest.mark.parametrize("text", ["", "n/a"])
    def test_a_counter_that_is_no_number_is_a_reason(self, powercap: Path, text: str) -> None:
        (powercap / "intel-rapl:0" / "energy_uj").write_text(text)
        with pytest.raises(MeterGoneError, match="energy_uj is no number"):
            rapl.find(powercap)

    def test_a_counter_that_vanishes_is_a_reason(self, powercap: Path) -> None:
        counter = rapl.find(powercap)[0]
        (powercap / "intel-rapl:0" / "energy_uj").unlink()
        with pytest.raises(MeterGoneError, match="energy_uj cannot be read"):
            counter.read()

    def test_its_meter_says_what_it_covers(
        self, powercap: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(rapl, "update_s", lambda _: 0.001)
        meter = rapl.open_meter(powercap)
        assert (meter.source, meter.resolution_s) == ("rapl", 0.001)
        assert meter.covers == "package-0, package-1, dram of package-0"


class Card:
    """An NVML whose one GPU has what it is told to have."""

    NVMLError = NVMLError
    NVML_SUCCESS = 0
    NVML_FI_DEV_POWER_INSTANT = 186
    NVML_DEVICE_ARCH_AMPERE = 7

    def __init__(self, *, field_error: int = 0, architecture: int = 7, usage: bool = True) -> None:
        self.field_error = field_error
        self.architecture = architecture
        self.usage = usage

    def nvmlDeviceGetHandleByIndex(self, index: int) -> str:  # noqa: N802
        return f"gpu{index}"

    def nvmlDeviceGetTotalEnergyConsumption(self, _: str) -> int:  # noqa: N802
        raise NVMLError("Not Supported")

    def nvmlDeviceGetFieldValues(self, _: str, fields: list[int]) -> list[SimpleNamespace]:  # noqa: N802
        assert fields == [186]
        return [SimpleNamespace(nvmlReturn=self.field_error, value=SimpleNamespace(uiVal=70_500))]

    def nvmlDeviceGetPowerUsage(self, _: str) -> int:  # noqa: N802
        if not self.usage:
            raise NVMLError("Not Supported")
        return 60_000

    def nvmlDeviceGetArchitecture(self, _: str) -> int:  # noqa: N802
        return self.architecture


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch) -> Callable[[Card], None]:
    return lambda card: monkeypatch.setattr(nvml, "library", lambda: (card, None))


class TestNvmlPower:
    def test_instantaneous_power_is_preferred(self, install: Callable[[Card], None]) -> None:
        install(Card())
        gauge = nvml_energy.find_power()
        assert gauge.read() == (70.5,)
        assert gauge.resolution_s == 0.1

    def test_a_mean_over_a_second_needs_longer_windows(
        self, install: Callable[[Card], None]
    ) -> None:
        install(Card(field_error=3))
        gauge = nvml_energy.find_power()
        assert gauge.read() == (60.0,)
        assert gauge.resolution_s == 1.0

    def test_older_cards_give_power_as_it_is(self, install: Callable[[Card], None]) -> None:
        install(Card(field_error=3, architecture=4))
        assert nvml_energy.find_power().resolution_s == 0.1

    def test_a_divided_gpu_has_no_counter_of_its_own(self, install: Callable[[Card], None]) -> None:
        card = Card()
        card.nvmlDeviceGetMigMode = lambda _: (1, 1)  # type: ignore[attr-defined]
        install(card)
        with pytest.raises(MeterError, match="its counters are of the whole card"):
            nvml_energy.open_power()
        card.nvmlDeviceGetMigMode = lambda _: (0, 0)  # type: ignore[attr-defined]
        assert nvml_energy.find_power().read() == (70.5,)

    def test_no_sensor_is_a_reason(self, install: Callable[[Card], None]) -> None:
        install(Card(field_error=3, usage=False))
        with pytest.raises(MeterError, match="the GPU's power cannot be read: Not Supported"):
            nvml_energy.open_power()
