"""The environment's snapshot and the processor as Linux shows it."""

from __future__ import annotations

import getpass
import json
import os
import re
import socket
import subprocess
from pathlib import Path

import pytest
from fake_machine import whole_machine

from leanboard.results.identity import machine_id, software_id
from leanboard.results.schema import Cpu, Environment, Gpu
from leanboard.runners.machine import cpu, environment, nvml, system

PUBLISHED = Path(__file__).resolve().parents[2] / "results" / "records"
MACHINE = "amd-epyc-2c-24gib-d2a842d0"

CPUINFO = """processor\t: 0
model name\t: Some CPU @ 2.00GHz
physical id\t: 0
core id\t\t: 0
flags\t\t: fpu smep avx2 avx512f fma f16c hypervisor amx_bf16 ssse3

processor\t: 1
model name\t: Some CPU @ 2.00GHz
physical id\t: 0
core id\t\t: 0
flags\t\t: fpu
"""


@pytest.fixture(scope="module")
def here() -> Environment:
    return environment.snapshot()


@pytest.fixture
def roots(tmp_path: Path) -> tuple[Path, Path]:
    proc, sys = tmp_path / "proc", tmp_path / "sys"
    (proc / "self").mkdir(parents=True)
    (proc / "cpuinfo").write_text(CPUINFO)
    (proc / "self" / "cgroup").write_text("0::/box\n")
    (sys / "fs" / "cgroup" / "box").mkdir(parents=True)
    return proc, sys


def test_the_snapshot_names_no_host_user_or_path(here: Environment) -> None:
    text = here.model_dump_json()
    words = set(re.findall(r'"((?:[^"\\]|\\.)*)"', text))
    assert socket.gethostname() not in words
    assert getpass.getuser() not in words
    assert not re.search(r'(?:^|[\s":=,(])~?/\w', text), "no absolute path"


def test_the_snapshot_survives_the_schema_and_names_the_machine(here: Environment) -> None:
    assert Environment.model_validate_json(here.model_dump_json()) == here
    assert re.fullmatch(r"[a-z0-9-]+-[0-9a-f]{8}", machine_id(here))


def test_the_snapshot_says_what_numbers_depend_on(here: Environment) -> None:
    assert here.packages["torch"]
    assert here.packages["leanboard"]
    assert list(here.packages) == sorted(here.packages)
    assert set(here.packages) <= set(environment.PACKAGES)
    assert here.cpu.logical_cores >= 1
    assert here.memory_bytes > 2**30
    assert here.threads["usable"] <= here.cpu.logical_cores


def test_a_machine_of_files_is_told_in_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1})
    fake = whole_machine(tmp_path)
    found = environment.snapshot("cpu", fake.proc, fake.sys, {"OMP_NUM_THREADS": "1"})
    assert found.memory_bytes == 8 * 2**30
    assert (found.cpu_limit, found.cpuset_cores, found.memory_limit_bytes) == (1.5, 2, 4 * 2**30)
    assert (found.swap_bytes, found.swap_used_bytes) == (2 * 2**30, 2**30)
    assert (found.load_average, found.steal_share) == (0.5, 0.01)
    assert found.pressure == {"cpu": 0.125, "memory": 0.0}
    assert found.threads == {"usable": 1}
    assert found.variables == {"OMP_NUM_THREADS": "1"}
    assert found.settings == {
        "turbo": True,
        "transparent_hugepages": "madvise",
        "transparent_hugepages_defrag": "never",
        "numa_nodes": 1,
        "numa_balancing": 1,
        "address_randomisation": 2,
        "overcommit": 0,
        "swappiness": 60,
        "clock_source": "tsc",
        "damon": "pageout",
    }
    assert found.cpu == Cpu(
        name="Some CPU @ 2.00GHz",
        architecture=found.cpu.architecture,
        logical_cores=2,
        physical_cores=2,
        frequency_hz=3.5e9,
        governor="powersave",
        flags=("avx2",),
        microcode="0xb000040",
        sockets=1,
        threads_per_core=2,
        smt=True,
        online_cores=4,
        isolated_cores=1,
        cache_bytes={"L1d": 48 * 2**10, "L3": 32 * 2**20},
        min_frequency_hz=8e8,
        frequency_cap_hz=3.2e9,
        clock_hz=3e9,
        frequency_driver="intel_pstate",
        energy_preference="balance_power",
        vulnerabilities={"spectre_v1": "Mitigation: usercopy/swapgs barriers"},
    )


def test_the_same_machine_gives_the_same_snapshot(tmp_path: Path) -> None:
    fake = whole_machine(tmp_path)
    first, second = (environment.snapshot("cpu", fake.proc, fake.sys, {}) for _ in range(2))
    assert first == second
    assert first.model_dump_json() == second.model_dump_json()


def test_a_machine_that_shows_nothing_has_no_invented_value(tmp_path: Path) -> None:
    (tmp_path / "meminfo").write_text("MemTotal: 1024 kB\n")
    found = environment.snapshot("cpu", tmp_path, tmp_path, {})
    assert found.load_average is found.steal_share is found.cpu_limit is None
    assert found.swap_bytes is found.swap_used_bytes is found.cpuset_cores is None
    assert found.pressure == found.variables == found.libraries == {}
    assert set(found.settings.values()) == {None}
    kept = {"name", "architecture", "logical_cores"}
    assert set(found.cpu.model_dump(exclude=kept, exclude_defaults=True)) == set()


def test_published_records_keep_the_name_of_their_machine() -> None:
    files = sorted((PUBLISHED / MACHINE).glob("*/*.json"))
    assert files
    for file in files:
        record = json.loads(file.read_text())
        found = Environment.model_validate(record["environment"])
        assert machine_id(found) == record["machine_id"] == MACHINE
        assert software_id(found) == record["software_id"]


def test_what_the_environment_says_beyond_the_hardware_changes_no_identity() -> None:
    file = min((PUBLISHED / MACHINE).glob("*/*.json"))
    before = Environment.model_validate(json.loads(file.read_text())["environment"])
    fields = {
        "container": "docker",
        "virtualised": "kvm",
        "cpuset_cores": 1,
        "pressure": {"cpu": 0.5},
        "libraries": {"torch_blas": "mkl"},
        "variables": {"OMP_NUM_THREADS": "1"},
        "threads": {"torch": 2},
        "swap_used_bytes": 5,
        "load_average": 9.0,
        "cpu": before.cpu.model_copy(
            update={"microcode": "0x1", "smt": True, "clock_hz": 1e9, "governor": "powersave"}
        ),
    }
    after = before.model_copy(update=fields)
    assert after != before
    assert machine_id(after) == machine_id(before)
    assert software_id(after) == software_id(before)


def test_a_gpu_s_state_changes_no_identity(here: Environment) -> None:
    cold = Gpu(name="NVIDIA X", memory_bytes=1, driver="1", temperature_c=30)
    warm = cold.model_copy(update={"temperature_c": 80, "power_limit_w": 300.0, "processes": 2})
    ids = {machine_id(here.model_copy(update={"gpus": (gpu,)})) for gpu in (cold, warm)}
    assert len(ids) == 1


def test_a_hypervisor_and_a_container_are_told_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = {"--vm": "kvm", "--container": "docker"}
    monkeypatch.setattr(environment, "_output", lambda command: said.get(command[-1]))
    fake = whole_machine(tmp_path)
    found = environment.snapshot("cpu", fake.proc, fake.sys, {})
    assert (found.virtualised, found.container) == ("kvm", "docker")
    said.clear()
    assert environment.snapshot("cpu", fake.proc, fake.sys, {}).virtualised is None
    fake.clocks(2000.0, flags="hypervisor")
    assert environment.snapshot("cpu", fake.proc, fake.sys, {}).virtualised == "hypervisor"


def test_the_power_source_is_the_probe_that_would_be_used(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(nvml, "library", lambda: (None, "no driver"))
    assert environment.snapshot("cpu").power_source == "codecarbon"
    assert environment.snapshot("cuda").power_source == "none"


def git(root: Path, *words: str) -> None:
    identity = ["-c", "user.name=a", "-c", "user.email=a@b"]
    subprocess.run(["git", "-C", str(root), *identity, *words], check=True, capture_output=True)


def test_a_checkout_has_a_commit_and_is_dirty_after_an_edit(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q")
    (tmp_path / "a").write_text("1")
    git(tmp_path, "add", "a")
    git(tmp_path, "commit", "-q", "-m", "a")
    sha, dirty = environment.git_state(tmp_path)
    assert re.fullmatch(r"[0-9a-f]{40}", str(sha))
    assert dirty is False
    (tmp_path / "new").write_text("not part of the checkout")
    assert environment.git_state(tmp_path)[1] is False
    (tmp_path / "a").write_text("2")
    assert environment.git_state(tmp_path) == (sha, True)


def test_a_wheel_has_no_commit_even_inside_of_another_checkout(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q")
    site = tmp_path / "site-packages"
    site.mkdir()
    assert environment.git_state(site) == (None, None)


def test_a_command_that_is_not_there_gives_none() -> None:
    assert environment._output(["no-such-command-anywhere"]) is None
    assert environment._output(["false"]) is None


def test_only_the_flags_that_choose_kernels_are_kept(roots: tuple[Path, Path]) -> None:
    info = cpu.cpu_info(*roots)
    assert info.flags == ("amx_bf16", "avx2", "avx512f", "f16c", "fma")
    assert info.name == "Some CPU @ 2.00GHz"
    assert info.physical_cores == 1
    assert info.governor is None
    assert info.frequency_hz is None
    assert cpu.is_virtual(roots[0])


def test_governor_and_clock_are_read_where_the_system_shows_them(
    roots: tuple[Path, Path],
) -> None:
    folder = roots[1] / "devices" / "system" / "cpu" / "cpu0" / "cpufreq"
    folder.mkdir(parents=True)
    (folder / "scaling_governor").write_text("powersave\n")
    (folder / "cpuinfo_max_freq").write_text("3500000\n")
    info = cpu.cpu_info(*roots)
    assert (info.governor, info.frequency_hz) == ("powersave", 3.5e9)


@pytest.mark.parametrize(
    ("path", "text", "expected"),
    [
        ("intel_pstate/no_turbo", "0", True),
        ("intel_pstate/no_turbo", "1", False),
        ("cpufreq/boost", "1", True),
        ("cpufreq/boost", "0", False),
    ],
)
def test_turbo_is_read_from_either_place(
    roots: tuple[Path, Path], path: str, text: str, expected: bool
) -> None:
    assert cpu.turbo(roots[1]) is None
    file = roots[1] / "devices" / "system" / "cpu" / path
    file.parent.mkdir(parents=True)
    file.write_text(text)
    assert cpu.turbo(roots[1]) is expected


def test_a_group_s_quota_limits_the_cores(
    roots: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cpu.os, "sched_getaffinity", lambda _: set(range(8)))
    quota = roots[1] / "fs" / "cgroup" / "box" / "cpu.max"
    assert cpu.cpu_limit(*roots) is None
    assert cpu.usable_cores(*roots) == 8
    quota.write_text("250000 100000\n")
    assert cpu.cpu_limit(*roots) == 2.5
    assert cpu.usable_cores(*roots) == 2
    quota.write_text("50000 100000\n")
    assert cpu.usable_cores(*roots) == 1
    quota.write_text("max 100000\n")
    assert cpu.cpu_limit(*roots) is None


def test_a_v1_quota_limits_the_cores_too(roots: tuple[Path, Path]) -> None:
    (roots[0] / "self" / "cgroup").write_text("3:cpu,cpuacct:/box\n")
    folder = roots[1] / "fs" / "cgroup" / "cpu" / "box"
    folder.mkdir(parents=True)
    (folder / "cpu.cfs_period_us").write_text("100000\n")
    (folder / "cpu.cfs_quota_us").write_text("-1\n")
    assert cpu.cpu_limit(*roots) is None
    (folder / "cpu.cfs_quota_us").write_text("400000\n")
    assert cpu.cpu_limit(*roots) == 4.0


def test_stolen_time_is_a_share_of_all_time(tmp_path: Path) -> None:
    assert cpu.steal_share(tmp_path) is None
    (tmp_path / "stat").write_text("cpu  50 0 20 20 0 0 0 10 0 0\ncpu0 1 2 3\n")
    assert cpu.steal_share(tmp_path) == 0.1


@pytest.mark.parametrize(
    ("text", "cores"), [("0-3,8", [0, 1, 2, 3, 8]), ("5", [5]), ("", []), ("\n", []), ("x", [])]
)
def test_a_list_of_cores_is_read(text: str, cores: list[int]) -> None:
    assert cpu.parse_cores(text) == cores


def test_a_quota_s_throttling_is_a_share_of_its_periods(roots: tuple[Path, Path]) -> None:
    assert cpu.throttled_share(*roots) is None
    stat = roots[1] / "fs" / "cgroup" / "box" / "cpu.stat"
    stat.write_text("nr_periods 0\nnr_throttled 0\n")
    assert cpu.throttled_share(*roots) is None
    stat.write_text("usage_usec 1\nnr_periods 8\nnr_throttled 2\n")
    assert cpu.throttled_share(*roots) == 0.25


def test_a_v1_cpuset_is_read_too(roots: tuple[Path, Path]) -> None:
    (roots[0] / "self" / "cgroup").write_text("3:cpuset:/box\n2:cpu:/\n")
    folder = roots[1] / "fs" / "cgroup" / "cpuset" / "box"
    folder.mkdir(parents=True)
    assert cpu.cpuset_cores(*roots) is None
    (folder / "cpuset.effective_cpus").write_text("0-2,7\n")
    assert cpu.cpuset_cores(*roots) == 4


def test_threads_of_a_core_come_from_cpuinfo_where_there_is_no_topology(tmp_path: Path) -> None:
    (tmp_path / "cpuinfo").write_text("processor: 0\nsiblings: 8\ncpu cores: 4\n")
    info = cpu.cpu_info(tmp_path, tmp_path)
    assert (info.threads_per_core, info.smt) == (2, True)


def test_no_swap_is_zero_and_not_unknown(tmp_path: Path) -> None:
    assert system.swap_bytes(tmp_path) == (None, None)
    (tmp_path / "meminfo").write_text("SwapTotal: 0 kB\nSwapFree: 0 kB\n")
    assert system.swap_bytes(tmp_path) == (0, 0)
