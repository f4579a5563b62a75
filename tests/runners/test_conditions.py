"""What is around a round: counters before and after, by hand, and what happens without them."""

from __future__ import annotations

import os
import shutil
from dataclasses import asdict, fields
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from fake_machine import FakeMachine

from leanboard.metrics.trace import RoundTrace
from leanboard.runners.machine import conditions, nvml
from leanboard.runners.machine.conditions import Conditions, Watch, other_processes

PID = 41


@pytest.fixture
def fake(tmp_path: Path) -> FakeMachine:
    machine = FakeMachine(tmp_path / "proc", tmp_path / "sys")
    machine.clocks(2000.0, 2000.0)
    machine.machine(busy=1000, idle=5000, stolen=100)
    machine.process(PID, user=300, system=100, faults=7)
    machine.thread(PID, PID, 10)
    machine.thread(PID, PID + 1, 20)
    return machine


def watch(fake: FakeMachine, gpu: Any = None) -> Watch:
    return Watch(fake.proc, fake.sys, ticks_per_s=100, gpu=gpu)


def test_a_round_worked_by_hand(fake: FakeMachine) -> None:
    """400 ticks pass: 250 busy (150 of the process), 130 idle, 20 stolen."""
    looking = watch(fake)
    mark = looking.start(PID)
    fake.machine(busy=1250, idle=5130, stolen=120)
    fake.process(PID, user=430, system=120, faults=9)
    fake.thread(PID, PID, 13)
    fake.thread(PID, PID + 1, 20)
    fake.thread(PID, PID + 2, 4)
    assert looking.stop(mark) == Conditions(
        cpu_s=1.5, other_cpu_s=1.0, steal_share=0.05, minor_faults=2, switches=7
    )


def test_the_fields_are_those_of_a_round_s_trace() -> None:
    names = {field.name for field in fields(Conditions)}
    assert names == {field.name for field in fields(RoundTrace)} - {
        *("launch", "round", "warmup", "started_s", "ended_s", "peak_memory_bytes")
    }
    trace = RoundTrace(0, 1, False, 0.0, 1.0, **asdict(Conditions(cpu_s=0.5)))
    assert trace.cpu_s == 0.5


def test_nothing_passed_is_zero_and_no_share(fake: FakeMachine) -> None:
    looking = watch(fake)
    around = looking.stop(looking.start(PID))
    assert (around.cpu_s, around.other_cpu_s, around.steal_share) == (0.0, 0.0, None)
    assert (around.minor_faults, around.switches) == (0, 0)


def test_rounded_ticks_never_give_less_than_nothing_to_others(fake: FakeMachine) -> None:
    looking = watch(fake)
    mark = looking.start(PID)
    fake.machine(busy=1010, idle=5010, stolen=100)
    fake.process(PID, user=312, system=100, faults=7)
    assert looking.stop(mark).other_cpu_s == 0.0


def test_a_process_that_died_in_the_round_has_no_figures(fake: FakeMachine) -> None:
    looking = watch(fake)
    mark = looking.start(PID)
    shutil.rmtree(fake.proc / str(PID))
    fake.machine(busy=1100, idle=5000, stolen=200)
    assert looking.stop(mark) == Conditions(steal_share=0.5)


def test_another_process_with_the_same_number_is_not_mistaken_for_it(fake: FakeMachine) -> None:
    looking = watch(fake)
    mark = looking.start(PID)
    fake.machine(busy=1100, idle=5000, stolen=100)
    fake.process(PID, user=900, faults=900, started=200)
    assert looking.stop(mark) == Conditions(steal_share=0.0)


def test_counters_that_go_backwards_give_nothing(fake: FakeMachine) -> None:
    looking = watch(fake)
    mark = looking.start(PID)
    fake.machine(busy=10, idle=50, stolen=1)
    around = looking.stop(mark)
    assert (around.other_cpu_s, around.steal_share) == (None, None)
    assert around.cpu_s == 0.0


def test_a_system_that_shows_nothing_gives_nothing(tmp_path: Path) -> None:
    looking = Watch(tmp_path / "proc", tmp_path / "sys", ticks_per_s=100)
    assert looking.stop(looking.start(PID)) == Conditions()


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"\xff\xfe\x00",
        b"cpu  1 2 x 4 5 6 7 8\nnonvoluntary_ctxt_switches:\tmany",
        b"1 (a) " + b"x " * 40 + b"\nnonvoluntary_ctxt_switches:",
        b"processor\t: 0\nflags\t\t: aperfmperf\ncpu MHz\t\t: fast\n",
    ],
)
def test_no_text_of_the_system_is_an_error(fake: FakeMachine, text: bytes) -> None:
    for name in ("stat", f"{PID}/stat", f"{PID}/task/{PID}/status", "cpuinfo"):
        (fake.proc / name).write_bytes(text)
    (fake.proc / str(PID) / "task" / str(PID + 1) / "status").unlink()
    looking = watch(fake)
    assert looking.stop(looking.start(PID)) == Conditions()


def test_a_nominal_clock_is_no_clock(fake: FakeMachine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1})
    looking = watch(fake)
    assert looking.stop(looking.start(PID)).clock_hz is None
    fake.clocks(1800.0, 2200.0, flags="aperfmperf")
    looking = watch(fake)
    assert looking.stop(looking.start(PID)).clock_hz == 2.0e9
    fake.put(fake.cpus, {"cpu1/cpufreq/scaling_cur_freq": "3100000"})
    fake.put(fake.cpus, {"cpu0/cpufreq/scaling_cur_freq": "2900000"})
    looking = watch(fake)
    assert looking.stop(looking.start(PID)).clock_hz == 3.0e9


class NVMLError(Exception):
    pass


def driver(pids: list[int] | None, reasons: int = 0x5, clock_mhz: int = 1500) -> Any:
    def running(_: object) -> list[SimpleNamespace]:
        if pids is None:
            raise NVMLError("Not Supported")
        return [SimpleNamespace(pid=pid) for pid in pids]

    return SimpleNamespace(
        NVMLError=NVMLError,
        nvmlDeviceGetComputeRunningProcesses=running,
        nvmlDeviceGetCurrentClocksEventReasons=lambda _: reasons,
        nvmlDeviceGetClockInfo=lambda *_: clock_mhz,
        nvmlDeviceGetHandleByIndex=lambda index: index,
    )


def test_a_gpu_s_state_is_that_of_the_end_of_the_round(fake: FakeMachine) -> None:
    looking = watch(fake, gpu=(driver([PID, 42, 77]), "gpu0"))
    around = looking.stop(looking.start(PID), ours=[42])
    assert around.gpu_clock_hz == 1.5e9
    assert around.gpu_throttle == ("sw-power-cap",)
    assert around.gpu_others == 1
    assert looking.gpu_others([PID, 42, 77]) == 0


def test_a_driver_that_says_nothing_gives_nothing(fake: FakeMachine) -> None:
    silent = SimpleNamespace(NVMLError=NVMLError)
    looking = watch(fake, gpu=(silent, "gpu0"))
    around = looking.stop(looking.start(PID))
    assert (around.gpu_clock_hz, around.gpu_throttle, around.gpu_others) == (None, (), None)


@pytest.mark.parametrize(
    ("pids", "ours", "expected"),
    [
        ([1, 2, 3], {1, 2}, 1),
        ([1, 2], {1, 2}, 0),
        ([1], {1, 2}, 0),
        # Numbers of the host, none of ours: three processes and two of ours leave one for sure.
        ([901, 902, 903], {1, 2}, 1),
        # As many as ours are ours; of fewer it cannot be told whose they are.
        ([901, 902], {1, 2}, 0),
        ([901], {1, 2}, None),
        ([], {1}, None),
        (None, {1}, None),
    ],
)
def test_processes_of_others_are_counted_only_where_they_can_be_told(
    pids: list[int] | None, ours: set[int], expected: int | None
) -> None:
    assert other_processes(pids, ours) == expected


def test_a_cpu_arm_asks_no_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nvml, "library", lambda: pytest.fail("NVML was loaded"))
    assert conditions.watch_for("cpu").gpu_others([PID]) is None


def test_without_a_driver_a_cuda_arm_is_watched_on_the_cpu(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(nvml, "library", lambda: (None, "no driver"))
    assert conditions.watch_for("cuda").gpu_others([PID]) is None
    monkeypatch.setattr(nvml, "library", lambda: (driver([1, 2]), None))
    assert conditions.watch_for("cuda").gpu_others([1]) == 1


def test_this_process_can_be_watched() -> None:
    looking = Watch()
    around = looking.stop(looking.start(os.getpid()))
    assert around.cpu_s is not None
    assert around.other_cpu_s is not None
    assert around.switches is not None
