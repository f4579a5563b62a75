"""The doctor: what can be measured here, what not, why, and what to do."""

from __future__ import annotations

from pathlib import Path

import pytest

from leanboard.runners import doctor
from leanboard.runners.doctor import EXTRAS, Finding, Sources, diagnose


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
        gpus=lambda: (0, "no NVIDIA driver"),
    )


def find(findings: list[Finding], area: str) -> Finding:
    (found,) = [finding for finding in findings if finding.area == area]
    return found


def test_a_bare_machine_says_what_is_missing_and_how_to_get_it(bare: Sources) -> None:
    findings = diagnose(bare)
    for extra in EXTRAS:
        assert find(findings, extra).status == "missing"
        assert find(findings, extra).fix == f"pip install 'leanboard[{extra}]'"
    assert find(findings, "GPU energy").message == "no NVIDIA driver"
    assert find(findings, "CPU energy, measured").status == "missing"
    assert find(findings, "CPU energy, modelled").status == "missing"
    assert find(findings, "peak memory").status == "missing"
    assert find(findings, "models").fix == "leanboard fetch"


def test_this_machine_is_looked_at_without_an_error(tmp_path: Path) -> None:
    findings = diagnose(Sources(cache=tmp_path, locks=tmp_path))
    assert {finding.status for finding in findings} <= {"ok", "warn", "missing"}
    assert find(findings, "transformers").status == "ok"
    assert find(findings, "peak memory").status == "ok"
    assert all(finding.message for finding in findings)


def test_modelled_energy_is_called_modelled(bare: Sources) -> None:
    at = Sources(bare.proc, bare.sys, bare.cache, bare.locks, lambda _: "1.0", bare.gpus)
    finding = find(diagnose(at), "CPU energy, modelled")
    assert finding.status == "ok"
    assert "never compared" in finding.message


def test_a_gpu_is_measured_by_its_counter(bare: Sources) -> None:
    at = Sources(bare.proc, bare.sys, bare.cache, bare.locks, bare.installed, lambda: (2, None))
    assert find(diagnose(at), "GPU energy") == Finding(
        "GPU energy", "ok", "2 GPU: NVML's energy counter"
    )


def test_a_readable_rapl_counter_is_not_claimed_to_be_used(bare: Sources) -> None:
    counter = bare.sys / "class" / "powercap" / "intel-rapl:0" / "energy_uj"
    counter.parent.mkdir(parents=True)
    counter.write_text("1\n")
    finding = find(diagnose(bare), "CPU energy, measured")
    assert finding.status == "warn"
    assert "does not use it yet" in finding.message


def test_a_governor_that_moves_the_clock_is_a_warning(bare: Sources) -> None:
    folder = bare.sys / "devices" / "system" / "cpu" / "cpu0" / "cpufreq"
    folder.mkdir(parents=True)
    (folder / "scaling_governor").write_text("powersave\n")
    assert "cpupower" in find(diagnose(bare), "clock").fix
    (folder / "scaling_governor").write_text("performance\n")
    assert find(diagnose(bare), "clock").status == "ok"


def test_a_container_s_limits_are_said(bare: Sources) -> None:
    (bare.proc / "self").mkdir()
    (bare.proc / "self" / "cgroup").write_text("0::/\n")
    group = bare.sys / "fs" / "cgroup"
    group.mkdir(parents=True)
    (group / "cpu.max").write_text("200000 100000\n")
    (group / "memory.max").write_text(f"{3 * 2**30}\n")
    assert find(diagnose(bare), "limits").message == (
        "the container grants 2 cores and 3.0 GiB; respected"
    )


def test_a_full_disk_is_a_warning(bare: Sources, monkeypatch: pytest.MonkeyPatch) -> None:
    class Usage:
        free = 2**20

    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda _: Usage)
    finding = find(diagnose(bare), "disk")
    assert finding.status == "warn"
    assert "free some space" in finding.fix


def test_noisy_neighbours_are_a_warning(bare: Sources) -> None:
    (bare.proc / "stat").write_text("cpu  50 0 20 20 0 0 0 10 0 0\n")
    warnings = [f for f in diagnose(bare) if f.area == "processor" and f.status == "warn"]
    assert "10%" in warnings[0].message


def test_converted_models_are_counted(bare: Sources) -> None:
    (bare.cache / "models" / "abc" / "float32-transformers-5").mkdir(parents=True)
    assert find(diagnose(bare), "models") == Finding("models", "ok", "1 converted in the cache")
