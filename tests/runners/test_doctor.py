"""The doctor: what can be measured here, what not, why, and what to do."""

from __future__ import annotations

import json
import os
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner
from fake_machine import FakeMachine, whole_machine

from leanboard.results.errors import ConfigError
from leanboard.results.schema import Gpu
from leanboard.runners import planning
from leanboard.runners.commands import doctor
from leanboard.runners.doctor import checks_software
from leanboard.runners.doctor.checks_software import EXTRAS
from leanboard.runners.doctor.diagnosis import diagnose, report_json, summary
from leanboard.runners.doctor.finding import Finding, Sources
from leanboard.runners.machine.calibration import Resources
from leanboard.runners.machine.hardware import Machine

GPU = Gpu(
    name="NVIDIA X",
    memory_bytes=80 * 2**30,
    driver="580.1",
    power_limit_w=700.0,
    power_limit_default_w=700.0,
    persistence=True,
    throttle=("gpu-idle",),
    processes=0,
)


@pytest.fixture
def bare(tmp_path: Path) -> Sources:
    """A machine that shows nothing and has nothing installed."""
    for name in ("proc", "sys", "cache", "locks"):
        (tmp_path / name).mkdir()
    return Sources(
        proc=tmp_path / "proc",
        sys=tmp_path / "sys",
        cache=tmp_path / "cache",
        locks=tmp_path / "locks",
        installed=lambda _: None,
        gpus=lambda: ((), "no NVIDIA driver"),
        energy=lambda _: ("none", ("nvml-energy: no driver",)),
        environ={},
        machine=lambda: "some-machine",
        pause=lambda _: None,
        now_s=lambda: 1e9,
    )


@pytest.fixture
def fake(bare: Sources) -> FakeMachine:
    """The same machine, to be filled with what it shows."""
    return FakeMachine(bare.proc, bare.sys)


def find(findings: list[Finding], area: str, name: str) -> Finding:
    (found,) = [f for f in findings if (f.area, f.name) == (area, name)]
    return found


def test_a_bare_machine_says_what_is_missing_and_how_to_get_it(bare: Sources) -> None:
    findings = diagnose(bare)
    for extra in EXTRAS:
        assert find(findings, "software", extra).status == "missing"
        assert find(findings, "software", extra).fix == f"pip install 'leanboard[{extra}]'"
    assert find(findings, "energy", "GPU").message == "no NVIDIA driver"
    assert find(findings, "energy", "CPU, measured").status == "missing"
    assert find(findings, "energy", "CPU, modelled").status == "missing"
    assert find(findings, "memory", "peak").status == "missing"
    assert find(findings, "other load", "others").status == "missing"
    assert find(findings, "processor", "clock").status == "missing"
    assert find(findings, "places", "models").fix == "leanboard fetch"
    assert summary(findings).startswith("can measure: nothing; cannot: the clock, ")


def test_this_machine_is_looked_at_without_an_error(tmp_path: Path) -> None:
    findings = diagnose(Sources(cache=tmp_path, locks=tmp_path, pause=lambda _: None))
    assert {finding.status for finding in findings} <= {"ok", "warn", "missing"}
    assert find(findings, "software", "transformers").status == "ok"
    assert find(findings, "memory", "peak").status == "ok"
    assert all(finding.message for finding in findings)


def test_findings_come_area_by_area(bare: Sources) -> None:
    areas = [finding.area for finding in diagnose(replace(bare, gpus=lambda: ((GPU,), None)))]
    starts = [area for at, area in enumerate(areas) if at == 0 or areas[at - 1] != area]
    assert starts == [
        *("processor", "other load", "memory", "energy", "GPU 0", "software", "places"),
    ]


def test_two_looks_at_the_same_machine_find_the_same(tmp_path: Path, bare: Sources) -> None:
    shown = whole_machine(tmp_path / "whole")
    at = replace(bare, proc=shown.proc, sys=shown.sys)
    assert diagnose(at) == diagnose(at)


def test_modelled_energy_is_called_modelled(bare: Sources) -> None:
    finding = find(diagnose(replace(bare, installed=lambda _: "1.0")), "energy", "CPU, modelled")
    assert finding.status == "ok"
    assert "never compared" in finding.message
    assert finding.quantity == "modelled CPU energy"


def test_a_gpu_is_measured_by_the_probe_that_would_be_used(bare: Sources) -> None:
    two = replace(bare, gpus=lambda: ((GPU, GPU), None), energy=lambda _: ("nvml-energy", ()))
    assert find(diagnose(two), "energy", "GPU") == Finding(
        "energy", "GPU", "ok", "nvml-energy of the first of 2 GPU", "", "measured GPU energy"
    )
    worse = replace(two, energy=lambda _: ("nvml-power", ("nvml-energy: Not Supported",)))
    assert find(diagnose(worse), "energy", "GPU").status == "warn"
    assert "Not Supported" in find(diagnose(worse), "energy", "GPU").message
    none = replace(two, energy=lambda _: ("none", ("nvml-energy: no permission",)))
    assert find(diagnose(none), "energy", "GPU").status == "missing"


def test_a_rapl_counter_measures_the_processor(bare: Sources, fake: FakeMachine) -> None:
    zone = {"name": "package-0", "energy_uj": "1", "max_energy_range_uj": "9"}
    fake.put(fake.sys / "class" / "powercap" / "intel-rapl:0", zone)
    finding = find(diagnose(bare), "energy", "CPU, measured")
    assert (finding.status, finding.message) == ("ok", "RAPL: package-0")


def test_a_counter_that_only_root_may_read_says_what_to_type(
    bare: Sources, fake: FakeMachine, monkeypatch: pytest.MonkeyPatch
) -> None:
    zone = {"name": "package-0", "energy_uj": "1", "max_energy_range_uj": "9"}
    fake.put(fake.sys / "class" / "powercap" / "intel-rapl:0", zone)
    read = Path.read_text

    def refuse(file: Path, encoding: str | None = None, errors: str | None = None) -> str:
        if file.name == "energy_uj":
            raise PermissionError(13, "Permission denied")
        return read(file, encoding, errors)

    monkeypatch.setattr(Path, "read_text", refuse)
    finding = find(diagnose(bare), "energy", "CPU, measured")
    assert finding.status == "missing"
    assert finding.message == "RAPL is there, but only root may read it"
    assert finding.fix.startswith("sudo chmod ")


def test_a_governor_that_moves_the_clock_is_a_warning(bare: Sources, fake: FakeMachine) -> None:
    fake.put(fake.cpus, {"cpu0/cpufreq/scaling_governor": "powersave"})
    assert "cpupower" in find(diagnose(bare), "processor", "governor").fix
    fake.put(fake.cpus, {"cpu0/cpufreq/scaling_governor": "performance"})
    assert find(diagnose(bare), "processor", "governor").status == "ok"
    fake.put(fake.cpus, {"cpu0/cpufreq/energy_performance_preference": "power"})
    finding = find(diagnose(bare), "processor", "governor")
    assert "energy_performance_preference" in finding.fix


@pytest.mark.parametrize(
    ("file", "on", "off"), [("intel_pstate/no_turbo", "0", "1"), ("cpufreq/boost", "1", "0")]
)
def test_turbo_says_how_to_turn_it_off(
    bare: Sources, fake: FakeMachine, file: str, on: str, off: str
) -> None:
    fake.put(fake.cpus, {file: on})
    finding = find(diagnose(bare), "processor", "turbo")
    assert finding.status == "warn"
    assert finding.fix == f"echo {off} | sudo tee /sys/devices/system/cpu/{file}"
    fake.put(fake.cpus, {file: off})
    assert find(diagnose(bare), "processor", "turbo").status == "ok"


def test_threads_that_share_a_core_are_a_warning(bare: Sources, fake: FakeMachine) -> None:
    fake.put(fake.cpus, {"smt/active": "1"})
    assert "smt/control" in find(diagnose(bare), "processor", "SMT").fix
    fake.put(fake.cpus, {"smt/active": "0"})
    assert find(diagnose(bare), "processor", "SMT").status == "ok"


def test_only_a_clock_that_moves_can_be_measured(bare: Sources, fake: FakeMachine) -> None:
    fake.clocks(2600.0, flags="hypervisor")
    finding = find(diagnose(bare), "processor", "clock")
    assert finding.status == "missing"
    assert finding.fix
    assert "cannot: the clock" in summary(diagnose(bare))
    fake.clocks(2600.0, flags="aperfmperf")
    assert find(diagnose(bare), "processor", "clock").status == "ok"


def test_a_virtual_machine_is_named_as_one(bare: Sources, fake: FakeMachine) -> None:
    fake.clocks(2600.0)
    assert "virtualised" not in {finding.name for finding in diagnose(bare)}
    fake.clocks(2600.0, flags="hypervisor")
    assert find(diagnose(bare), "processor", "virtualised").status == "warn"


def test_a_container_s_limits_are_said(bare: Sources, fake: FakeMachine) -> None:
    fake.put(fake.proc, {"self/cgroup": "0::/"})
    group = {"cpu.max": "200000 100000", "memory.max": str(3 * 2**30)}
    fake.put(fake.sys / "fs" / "cgroup", group | {"cpuset.cpus.effective": "0-3"})
    assert find(diagnose(bare), "processor", "limits").message == (
        "the container grants 2 cores and the use of 4 cores and 3.0 GiB; respected"
    )
    stat = {"cpu.stat": "nr_periods 100\nnr_throttled 30"}
    fake.put(fake.sys / "fs" / "cgroup", stat)
    limits = [finding for finding in diagnose(bare) if finding.name == "limits"]
    assert [finding.status for finding in limits] == ["ok", "warn"]
    assert "30% of its periods" in limits[1].message


def test_variables_that_change_thread_pools_are_a_warning(bare: Sources) -> None:
    assert find(diagnose(bare), "processor", "thread pools").status == "ok"
    environ = {"OMP_NUM_THREADS": "1", "LD_PRELOAD": "/srv/someone/x.so", "HOME": "/srv/someone"}
    finding = find(diagnose(replace(bare, environ=environ)), "processor", "thread pools")
    assert finding.status == "warn"
    assert finding.message == "set: LD_PRELOAD, OMP_NUM_THREADS=1"
    assert finding.fix.startswith("unset LD_PRELOAD OMP_NUM_THREADS")


def load(bare: Sources, fake: FakeMachine, busy: int, idle: int, stolen: int) -> list[Finding]:
    """Diagnose a machine whose counters move so while the doctor looks."""
    fake.machine(busy=10, idle=100_000)
    fake.process(41, user=5)

    def pause(seconds: float) -> None:
        assert seconds == 1.0
        fake.machine(busy=10 + busy, idle=100_000 + idle, stolen=stolen)
        fake.process(41, user=5 + busy)

    return diagnose(replace(bare, pause=pause))


def test_a_quiet_machine_is_found_quiet(bare: Sources, fake: FakeMachine) -> None:
    findings = load(bare, fake, busy=2, idle=198, stolen=0)
    assert find(findings, "other load", "others") == Finding(
        "other load",
        "others",
        "ok",
        "1% of the CPU is in use; watched in each round",
        "",
        "the load of others",
    )
    assert find(findings, "other load", "steal").status == "ok"


def test_who_else_computes_is_named(bare: Sources, fake: FakeMachine) -> None:
    finding = find(load(bare, fake, busy=50, idle=150, stolen=0), "other load", "others")
    assert finding.status == "warn"
    assert finding.message == "25% of the CPU is in use by others (spinner)"


def test_a_program_that_only_changed_its_name_is_not_called_busy(
    bare: Sources, fake: FakeMachine
) -> None:
    fake.machine(busy=10, idle=1000)
    fake.process(41, user=5000)

    def pause(_: float) -> None:
        fake.machine(busy=60, idle=1150)
        fake.process(41, user=5000)
        fake.put(fake.proc, {"41/comm": "renamed"})

    finding = find(diagnose(replace(bare, pause=pause)), "other load", "others")
    assert finding.message == "25% of the CPU is in use by others"


def test_the_doctor_does_not_count_itself_among_the_others(
    bare: Sources, fake: FakeMachine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "getpid", lambda: 41)
    finding = find(load(bare, fake, busy=50, idle=150, stolen=0), "other load", "others")
    assert finding.message == "25% of the CPU is in use by others"


def test_noisy_neighbours_are_a_warning(bare: Sources, fake: FakeMachine) -> None:
    finding = find(load(bare, fake, busy=0, idle=180, stolen=20), "other load", "steal")
    assert finding.status == "warn"
    assert finding.message.startswith("the hypervisor gave 10.0% of the CPU time to others, 0.0%")


def test_stalls_are_a_warning(bare: Sources, fake: FakeMachine) -> None:
    fake.put(fake.proc, {"pressure/cpu": "some avg10=0.50 avg60=0 avg300=0 total=1"})
    assert find(load(bare, fake, 0, 100, 0), "other load", "pressure").status == "ok"
    fake.put(fake.proc, {"pressure/memory": "some avg10=40.00 avg60=0 avg300=0 total=1"})
    finding = find(load(bare, fake, 0, 100, 0), "other load", "pressure")
    assert finding.status == "warn"
    assert "memory 40%" in finding.message


def test_memory_that_is_swapped_out_is_a_warning(bare: Sources, fake: FakeMachine) -> None:
    fake.put(fake.proc, {"meminfo": f"SwapTotal: {2**20} kB\nSwapFree: {2**20} kB"})
    assert find(diagnose(bare), "memory", "swap").message == "nothing is swapped out"
    fake.put(fake.proc, {"meminfo": f"SwapTotal: {2**20} kB\nSwapFree: 0 kB"})
    finding = find(diagnose(bare), "memory", "swap")
    assert finding.message.startswith("1.0 GiB are swapped out")
    assert finding.fix.startswith("sudo swapoff")


def test_a_kernel_that_takes_cold_pages_away_is_a_warning(bare: Sources, fake: FakeMachine) -> None:
    daemon = "kernel/mm/damon/admin/kdamonds/0"
    fake.put(
        fake.sys, {f"{daemon}/state": "off", f"{daemon}/contexts/0/schemes/0/action": "pageout"}
    )
    assert not [finding for finding in diagnose(bare) if finding.name == "paging"]
    fake.put(fake.sys, {f"{daemon}/state": "on"})
    finding = find(diagnose(bare), "memory", "paging")
    assert (finding.status, "DAMON" in finding.message) == ("warn", True)


def test_a_gpu_as_it_should_be_has_no_warning(bare: Sources) -> None:
    findings = diagnose(replace(bare, gpus=lambda: ((GPU,), None)))
    assert {f.status for f in findings if f.area == "GPU 0"} == {"ok"}


@pytest.mark.parametrize(
    ("state", "name", "message", "fix"),
    [
        ({"processes": 2}, "shared", "2 processes of others", "CUDA_VISIBLE_DEVICES"),
        ({"processes": 1}, "shared", "1 process of others", "CUDA_VISIBLE_DEVICES"),
        ({"throttle": ("gpu-idle", "hw-slowdown")}, "throttling", ": hw-slowdown", "cool"),
        ({"persistence": False}, "persistence", "off", "sudo nvidia-smi -i 1 -pm 1"),
        ({"power_limit_w": 300.0}, "power cap", "300 W", "sudo nvidia-smi -i 1 -pl 700"),
        ({"mig": True}, "MIG", "MIG is on", "nvidia-smi -i 1 -mig 0"),
    ],
)
def test_a_gpu_s_trouble_is_said_with_what_to_type(
    bare: Sources, state: dict[str, object], name: str, message: str, fix: str
) -> None:
    troubled = GPU.model_copy(update=state)
    findings = diagnose(replace(bare, gpus=lambda: ((GPU, troubled), None)))
    finding = find(findings, "GPU 1", name)
    assert finding.status == "warn"
    assert message in finding.message
    assert fix in finding.fix
    assert {f.status for f in findings if f.area == "GPU 0"} == {"ok"}


def test_what_a_driver_hides_is_not_called_fine(bare: Sources) -> None:
    silent = Gpu(name="NVIDIA X", memory_bytes=2**30, driver="1")
    findings = diagnose(replace(bare, gpus=lambda: ((silent,), None)))
    found = {f.name: f.status for f in findings if f.area == "GPU 0"}
    assert found == {
        "device": "ok",
        "shared": "warn",
        "throttling": "missing",
        "power cap": "warn",
        "persistence": "warn",
    }


def test_a_calibration_has_an_age(bare: Sources) -> None:
    finding = find(diagnose(bare), "places", "calibration")
    assert (finding.status, finding.fix) == ("missing", "leanboard doctor --calibrate")
    file = bare.cache / "calibration" / "some-machine.json"
    file.parent.mkdir()
    file.write_text("{}")
    os.utime(file, (1e9 - 86_400, 1e9 - 86_400))
    assert find(diagnose(bare), "places", "calibration").message == "measured 1 day ago"
    assert find(diagnose(bare), "places", "calibration").status == "ok"
    later = replace(bare, now_s=lambda: 1e9 + 40 * 86_400)
    assert find(diagnose(later), "places", "calibration").status == "warn"


def test_a_full_disk_is_a_warning(bare: Sources, monkeypatch: pytest.MonkeyPatch) -> None:
    class Usage:
        free = 2**20

    monkeypatch.setattr(checks_software.shutil, "disk_usage", lambda _: Usage)
    finding = find(diagnose(bare), "places", "disk")
    assert finding.status == "warn"
    assert "free some space" in finding.fix


def test_converted_models_are_counted(bare: Sources) -> None:
    (bare.cache / "models" / "abc" / "float32-transformers-5").mkdir(parents=True)
    assert find(diagnose(bare), "places", "models") == Finding(
        "places", "models", "ok", "1 converted in the cache"
    )


def test_the_last_line_says_what_can_be_measured() -> None:
    findings = [
        Finding("a", "b", "ok", "x", "", "peak memory"),
        Finding("a", "c", "warn", "x", "", "stolen time"),
        Finding("a", "d", "missing", "x", "", "the clock"),
        Finding("a", "e", "missing", "x"),
    ]
    assert summary(findings) == (
        "can measure: peak memory, stolen time; cannot: the clock; 1 warning"
    )


def test_a_report_is_json_with_every_finding(
    bare: Sources, monkeypatch: pytest.MonkeyPatch
) -> None:
    findings = diagnose(bare)
    said = json.loads(report_json(findings))
    assert said["summary"] == summary(findings)
    assert [Finding(**finding) for finding in said["findings"]] == findings
    monkeypatch.setattr("leanboard.runners.doctor.diagnosis.diagnose", lambda: findings)
    result = CliRunner().invoke(doctor, ["--json"])
    assert json.loads(result.output) == said


def test_the_table_ends_with_the_summary(bare: Sources, monkeypatch: pytest.MonkeyPatch) -> None:
    from rich.console import Console

    findings = diagnose(bare)
    monkeypatch.setattr("leanboard.runners.doctor.diagnosis.diagnose", lambda: findings)
    console = Console(width=400, record=True, quiet=False, file=None)
    with console.capture() as captured:
        planning.show_findings(console)
    lines = captured.get().rstrip().splitlines()
    assert lines[-1] == summary(findings)
    assert all(any(finding.message in line for line in lines) for finding in findings)


class Calibrating:
    """A machine of four cores that is calibrated without measuring anything."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, cuda_missing: str | None) -> None:
        self.asked: list[tuple[str, int]] = []
        here = Machine(cores=lambda: 4, cuda_missing=lambda: cuda_missing)
        monkeypatch.setattr("leanboard.runners.machine.hardware.THIS_MACHINE", here)
        monkeypatch.setattr("leanboard.runners.lock.measuring", lambda *_: nullcontext())
        monkeypatch.setattr("leanboard.runners.machine.environment.snapshot", lambda: None)
        monkeypatch.setattr("leanboard.results.identity.machine_id", lambda _: "some-machine")
        monkeypatch.setattr("leanboard.runners.machine.calibration.calibrate", self._calibrate)
        monkeypatch.setattr("leanboard.runners.machine.calibration.ceiling_rows", lambda _: [])

    def _calibrate(self, cache: object, machine: str, resources: Resources, say: object) -> None:
        self.asked.append((resources.device, resources.threads))


@pytest.mark.parametrize(
    ("options", "cuda_missing", "asked"),
    [
        ([], "no driver", [("cpu", 4), ("cpu", 1)]),
        ([], None, [("cpu", 4), ("cpu", 1), ("cuda", 4)]),
        (["--threads", "2"], "no driver", [("cpu", 2)]),
        (["--threads", "2", "--threads", "3", "--threads", "2"], None, None),
    ],
)
def test_each_number_of_threads_that_is_asked_for_is_calibrated(
    monkeypatch: pytest.MonkeyPatch,
    options: list[str],
    cuda_missing: str | None,
    asked: list[tuple[str, int]] | None,
) -> None:
    machine = Calibrating(monkeypatch, cuda_missing)
    result = CliRunner().invoke(doctor, ["--calibrate", *options], catch_exceptions=False)
    assert machine.asked == (asked or [("cpu", 3), ("cpu", 2), ("cuda", 3), ("cuda", 2)])
    last = "leanboard doctor --calibrate --threads N"
    assert result.output.rstrip().endswith(last)


def test_more_threads_than_cores_are_not_calibrated(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Calibrating(monkeypatch, "no driver")
    with pytest.raises(ConfigError, match=r"may use 4 cores\. Use --threads 4 or fewer"):
        CliRunner().invoke(doctor, ["--calibrate", "--threads", "5"], catch_exceptions=False)
    assert machine.asked == []


def test_threads_without_a_calibration_are_a_mistake() -> None:
    result = CliRunner().invoke(doctor, ["--threads", "2"])
    assert result.exit_code == 2
    assert "--threads needs --calibrate" in result.output
