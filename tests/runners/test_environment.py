"""The environment's snapshot and the processor as Linux shows it."""

from __future__ import annotations

import getpass
import re
import socket
import subprocess
from pathlib import Path

import pytest

from leanboard.results.identity import machine_id
from leanboard.results.schema import Environment
from leanboard.runners import cpu, environment, nvml

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
