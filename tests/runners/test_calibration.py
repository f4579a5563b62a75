"""Calibration: kept for the resources and the torch that it was made with, and for no other."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from leanboard.results.errors import LeanboardError
from leanboard.runners.machine import calibration
from leanboard.runners.machine.calibration import (
    Resources,
    calibrate,
    ceiling_rows,
    ensure_calibrated,
    stored,
)
from leanboard.runners.machine.conditions import Conditions
from leanboard.runners.machine.disturbance import Disturbance, disturbance

MACHINE = "toy-2c-4gib-00000000"
TWO, ONE = Resources("cpu", 2), Resources("cpu", 1)
Say = Callable[[str], None]


def silent(_: str) -> None:
    """Say nothing."""


def found(peak: float = 2e11, **changes: Any) -> dict[str, Any]:
    best = {"median_per_s": 1e11, "spread": 0.0, "repeats": 9, "kernel": "mm 512"}
    return {
        "flops_per_s": {"float32": {"per_s": peak, **best}},
        "missing": {"int8": "this torch has no int8 product"},
        "bytes_per_s": {"per_s": 5e10, **best},
        "torch": "2.13.0",
        "disturbance": {"other_cores": 0.0, "steal_share": 0.0, "gpu_others": None},
        **changes,
    }


def measuring(peak: float = 2e11, **changes: Any) -> Callable[[Resources, Say], dict[str, Any]]:
    return lambda resources, say: found(peak, **changes)


def test_what_was_measured_is_found_again(tmp_path: Path) -> None:
    assert stored(tmp_path, MACHINE, TWO) is None
    made = calibrate(tmp_path, MACHINE, TWO, silent, measuring())
    assert stored(tmp_path, MACHINE, TWO) == made
    assert made.flops_per_s["float32"].per_s == 2e11
    assert made.missing == {"int8": "this torch has no int8 product"}


def test_each_number_of_threads_and_each_machine_has_its_own(tmp_path: Path) -> None:
    two = calibrate(tmp_path, MACHINE, TWO, silent, measuring(2e11))
    one = calibrate(tmp_path, MACHINE, ONE, silent, measuring(1e11))
    assert stored(tmp_path, MACHINE, TWO) == two
    assert stored(tmp_path, MACHINE, ONE) == one
    assert stored(tmp_path, MACHINE, Resources("cuda", 2)) is None
    assert stored(tmp_path, "other-machine", TWO) is None


def test_measuring_again_replaces_what_was_there(tmp_path: Path) -> None:
    calibrate(tmp_path, MACHINE, TWO, silent, measuring(1e11))
    again = calibrate(tmp_path, MACHINE, TWO, silent, measuring(3e11))
    assert stored(tmp_path, MACHINE, TWO) == again
    text = (tmp_path / "calibration" / f"{MACHINE}.json").read_text()
    assert text.count('"method_version"') == 1


@pytest.mark.parametrize(
    ("name", "value"), [("METHOD_VERSION", 99), ("_installed_torch", lambda: "9.0")]
)
def test_another_method_or_torch_is_not_taken_for_this_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: object
) -> None:
    calibrate(tmp_path, MACHINE, TWO, silent, measuring())
    monkeypatch.setattr(calibration, name, value)
    assert stored(tmp_path, MACHINE, TWO) is None


@pytest.mark.parametrize("text", ["", "{", '{"machine_id": 3}', "\udcff"])
def test_a_damaged_file_holds_nothing_and_is_replaced(tmp_path: Path, text: str) -> None:
    path = tmp_path / "calibration" / f"{MACHINE}.json"
    path.parent.mkdir()
    path.write_bytes(text.encode(errors="surrogateescape"))
    assert stored(tmp_path, MACHINE, TWO) is None
    made = calibrate(tmp_path, MACHINE, TWO, silent, measuring())
    assert stored(tmp_path, MACHINE, TWO) == made


@pytest.mark.parametrize("peak", [0.0, -1.0, float("inf"), float("nan")])
def test_a_rate_that_is_none_is_refused(tmp_path: Path, peak: float) -> None:
    with pytest.raises(LeanboardError, match="no usable numbers"):
        calibrate(tmp_path, MACHINE, TWO, silent, measuring(peak))
    assert stored(tmp_path, MACHINE, TWO) is None


def test_a_machine_without_torch_has_its_bandwidth_alone(tmp_path: Path) -> None:
    made = calibrate(tmp_path, MACHINE, TWO, silent, measuring(flops_per_s={}))
    assert made.flops_per_s == {}
    assert made.bytes_per_s is not None


@contextmanager
def no_lock(device: str, say: Say) -> Any:
    say(f"lock of {device}")
    yield


def test_a_run_measures_only_what_is_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    monkeypatch.setattr(calibration, "measuring", no_lock)
    monkeypatch.setattr(calibration, "_in_a_process", measuring())
    first = ensure_calibrated(tmp_path, MACHINE, TWO, said.append)
    assert first is not None
    assert said[0] == "lock of cpu"
    said.clear()
    assert ensure_calibrated(tmp_path, MACHINE, TWO, said.append) == first
    assert said == []


def unwritable(folder: Path) -> Path:
    """Return a cache that no user can write to, not even root: a file."""
    folder.joinpath("cache").touch()
    return folder / "cache"


def fails_to_start(*_: object, **__: object) -> None:
    raise OSError(11, "Resource temporarily unavailable")


@contextmanager
def chatty(command: object, errors: list[str]) -> Any:
    yield iter(['{"doing": "float32 products"}\n', "Using 2 threads\n"])


def test_a_calibration_that_cannot_be_kept_leaves_the_run_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    monkeypatch.setattr(calibration, "measuring", no_lock)
    monkeypatch.setattr(calibration, "_in_a_process", measuring())
    assert ensure_calibrated(unwritable(tmp_path), MACHINE, TWO, said.append) is None
    assert said[-1].startswith("No roofline: the calibration cannot be kept in ")
    assert said[-1].endswith("Make that folder writable, or name another: cache=FOLDER.")


@pytest.mark.parametrize(
    ("name", "fault", "message"),
    [
        ("subprocess.Popen", fails_to_start, "cannot be started: Resource temporarily unavailable"),
        ("_process", chatty, "wrote 'Using 2 threads', which is no message"),
    ],
)
def test_a_calibration_that_fails_leaves_the_run_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, fault: object, message: str
) -> None:
    said: list[str] = []
    monkeypatch.setattr(calibration, "measuring", no_lock)
    monkeypatch.setattr(f"leanboard.runners.machine.calibration.{name}", fault)
    assert ensure_calibrated(tmp_path, MACHINE, TWO, said.append) is None
    assert said[-1].startswith("No roofline: ")
    assert message in said[-1]


def test_a_busy_machine_leaves_the_run_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    monkeypatch.setattr(calibration, "measuring", no_lock)
    busy = measuring(disturbance={"other_cores": 1.0})
    monkeypatch.setattr(calibration, "_in_a_process", busy)
    assert ensure_calibrated(tmp_path, MACHINE, TWO, said.append) is None
    assert said[-1].startswith("No roofline: other programs kept")


@pytest.mark.process
def test_a_process_that_dies_says_its_last_words() -> None:
    with pytest.raises(LeanboardError, match=r"ended without a result: .*KeyError"):
        calibration._in_a_process(Resources("no-such-device", 1), silent)


@pytest.mark.parametrize(
    ("beside", "said"),
    [
        # Even where a core is left for every thread: memory is shared.
        ({"other_cores": 1.0}, r"other programs kept 1\.00 cores busy"),
        ({"other_cores": 0.21}, r"other programs kept 0\.21 cores busy"),
        (
            {"other_cores": 0.0, "steal_share": 0.03},
            r"the hypervisor gave 3\.0% of this machine's time to others",
        ),
        ({"gpu_others": 1}, "1 other process used the GPU"),
        ({"gpu_others": 2}, "2 other processes used the GPU"),
    ],
)
@pytest.mark.parametrize("threads", [1, 2])
def test_a_machine_that_others_use_keeps_no_ceiling(
    tmp_path: Path, beside: dict[str, float], said: str, threads: int
) -> None:
    resources = Resources("cpu", threads)
    with pytest.raises(
        LeanboardError, match=f"{said} during the calibration.*--threads {threads}`"
    ):
        calibrate(tmp_path, MACHINE, resources, silent, measuring(disturbance=beside))
    assert stored(tmp_path, MACHINE, resources) is None


@pytest.mark.parametrize("beside", [{}, {"other_cores": 0.2, "steal_share": 0.02, "gpu_others": 0}])
def test_a_little_of_others_or_what_cannot_be_known_is_allowed(
    tmp_path: Path, beside: dict[str, float]
) -> None:
    made = calibrate(tmp_path, MACHINE, TWO, silent, measuring(disturbance=beside))
    assert made.disturbance == Disturbance(**beside)


@pytest.mark.parametrize(
    ("other_cpu_s", "seconds", "looks", "expected"),
    [
        (3.0, 10.0, [None, 2, 0], Disturbance(other_cores=0.3, gpu_others=2)),
        (3.0, 10.0, [], Disturbance(other_cores=0.3)),
        (None, 10.0, [None], Disturbance()),
        (3.0, 0.0, [0], Disturbance(gpu_others=0)),
    ],
)
def test_what_is_not_known_is_none_and_no_zero(
    other_cpu_s: float | None, seconds: float, looks: list[int | None], expected: Disturbance
) -> None:
    assert disturbance(Conditions(other_cpu_s=other_cpu_s), seconds, looks) == expected


def test_a_table_shows_each_ceiling_and_the_reason_for_none(tmp_path: Path) -> None:
    made = calibrate(tmp_path, MACHINE, TWO, silent, measuring())
    assert list(ceiling_rows(made)) == [
        ("float32", "0.2 TFLOP/s", "0.1 TFLOP/s", "0.0%", "mm 512"),
        ("int8", "none", "", "", "this torch has no int8 product"),
        ("memory", "50 GB/s", "100 GB/s", "0.0%", "mm 512"),
    ]
