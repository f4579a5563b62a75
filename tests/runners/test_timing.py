"""Launch after launch: fresh processes, rounds that go on, arms that fail or take turns."""

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from fake_worker import FakeWorker
from replay_meter import World

from leanboard.results.errors import ArmError
from leanboard.results.schema import Procedure
from leanboard.runners import launches, timing
from leanboard.runners.arms import RunningArm
from leanboard.runners.energy.meters import NullMeter
from leanboard.runners.energy.probes import Probe
from leanboard.runners.machine.conditions import Watch
from leanboard.runners.machine.memory_use import MemoryGauge, MemoryWatch
from leanboard.runners.prompts import Prompt, PromptSet
from leanboard.runners.rounds import Instruments
from leanboard.runners.timing import Timing
from leanboard.runners.workloads import WorkloadConfig

LABELS = ("none", "a", "b")
GAUGE = MemoryGauge(lambda pid: 90, "a test", "cpu", 900)


@pytest.fixture
def worker(monkeypatch: pytest.MonkeyPatch) -> type[FakeWorker]:
    monkeypatch.setattr(launches, "Worker", FakeWorker)
    return FakeWorker.fresh()


def _workload(name: str) -> Any:
    config = WorkloadConfig(name, 8, 4, 1, 3, 0)
    prompts = PromptSet(
        prompts=tuple(Prompt(f"p{n}", "x") for n in range(3)),
        warmups=tuple(Prompt(f"w{n}", "x") for n in range(2)),
        sha256="0" * 64,
        source="local",
    )
    return SimpleNamespace(config=config, prompts=prompts)


def _block(workloads: Sequence[str] = ("chat",), **changes: object) -> Any:
    plain = {"name": "p", "version": 1, "rounds": 8, "warmup_rounds": 1, "seed": 0, "timeout_s": 9}
    spec = SimpleNamespace(
        procedure=Procedure.model_validate({**plain, **changes}),
        device=SimpleNamespace(kind="cpu", memory_cap_bytes=None),
        backend={},
        backend_name="fake",
        build_backend=lambda: SimpleNamespace(forks_after_import=False),
    )
    arms = tuple(SimpleNamespace(label=x, spec=SimpleNamespace(techniques=())) for x in LABELS)
    return SimpleNamespace(
        spec=spec,
        arms=arms,
        model=SimpleNamespace(identity=SimpleNamespace(parameters=10, name="m"), files=None),
        profile=SimpleNamespace(reference_dtype="float32"),
        workloads=tuple(_workload(name) for name in workloads),
    )


class Ran:
    """A block that was timed, with what could be seen of it."""

    def __init__(self, block: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(launches, "load_message", lambda block, arm: {})
        world = World((0.0, 0.0))
        instruments = Instruments(
            procedure=block.spec.procedure,
            probe=Probe(NullMeter("nothing counts here")),
            watch=Watch(),
            memory=MemoryWatch(GAUGE, world.clock, world.sampler),
            loaded=lambda _: None,
            advance=lambda *_: None,
        )
        self.arms = tuple(RunningArm(arm) for arm in block.arms)
        self.ready: list[str] | None = None
        self.timing = Timing(block, self.arms, instruments, Path("logs"))
        self.timing.run(self._end)
        self.sampling = [self.timing.sampling(workload) for workload in block.workloads]

    def _end(self, ready: Sequence[RunningArm]) -> None:
        assert self.ready is None, "the end comes once"
        self.ready = [arm.label for arm in ready]

    def rounds(self, arm: int, workload: str = "chat") -> list[tuple[int, int]]:
        """Return (launch, round) of an arm's timed requests."""
        requests = self.arms[arm].observation(workload).requests
        return [(r.launch, r.round) for r in requests if not r.warmup]


def test_every_launch_starts_every_arm_anew_and_round_numbers_go_on(
    worker: type[FakeWorker], monkeypatch: pytest.MonkeyPatch
) -> None:
    ran = Ran(_block(rounds_per_launch=3), monkeypatch)
    assert sorted(worker.started) == sorted(LABELS * 3)
    assert worker.alive == []
    expected = [(0, 0), (0, 1), (0, 2), (1, 3), (1, 4), (1, 5), (2, 6), (2, 7)]
    assert all(ran.rounds(arm) == expected for arm in range(3))
    assert (ran.sampling[0].launches, ran.sampling[0].rounds) == (3, 8)
    assert ran.sampling[0].warmup_rounds == (1, 1, 1)
    assert ran.ready == list(LABELS), "the last launch's processes still hold their models"


def test_what_was_around_a_round_says_which_launch_and_round_it_was(
    worker: type[FakeWorker], monkeypatch: pytest.MonkeyPatch
) -> None:
    ran = Ran(_block(rounds=2, rounds_per_launch=1), monkeypatch)
    seen = ran.arms[1].observation("chat").rounds
    assert [(r.launch, r.round, r.warmup) for r in seen] == [
        (0, 0, True),
        (0, 0, False),
        (1, 1, True),
        (1, 1, False),
    ]
    assert {r.peak_memory_bytes for r in seen} == {100}
    assert worker.most_alive == 3


def test_every_timed_round_leaves_readings_of_memory_and_a_warm_up_none(
    worker: type[FakeWorker], monkeypatch: pytest.MonkeyPatch
) -> None:
    ran = Ran(_block(rounds=2, rounds_per_launch=1), monkeypatch)
    seen = ran.arms[1].observation("chat")
    assert [(s.name, s.value) for s in seen.series] == [("memory_bytes", (90.0, 90.0))] * 2
    assert seen.facts["memory_total_bytes"].value == 900


def test_arms_that_do_not_fit_together_take_turns(
    worker: type[FakeWorker], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(timing, "fits_together", lambda block, arms: False)
    ran = Ran(_block(rounds=2, rounds_per_launch=1), monkeypatch)
    assert worker.most_alive == 1
    assert sorted(worker.started) == sorted(LABELS * 2)
    assert all(ran.rounds(arm) == [(0, 0), (1, 1)] for arm in range(3))
    assert not ran.sampling[0].side_by_side
    assert ran.ready == [], "no process is left that all arms could be scored in"


@pytest.mark.parametrize(("available", "together"), [(None, True), (10**12, True), (10**6, False)])
def test_arms_are_loaded_side_by_side_only_where_memory_allows(
    available: int | None, together: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(launches.memory, "device_available_bytes", lambda kind: available)
    assert launches.fits_together(_block(), 3) is together


def test_equal_arms_end_an_adaptive_procedure_at_the_second_look(
    worker: type[FakeWorker], monkeypatch: pytest.MonkeyPatch
) -> None:
    block = _block(rounds_per_launch=1, max_rounds=64, target_width=0.05)
    ran = Ran(block, monkeypatch)
    assert (ran.sampling[0].stopped_by, ran.sampling[0].looks) == ("width", (8, 16))
    assert ran.sampling[0].widths == {"tpot_s": pytest.approx(0.0)}
    assert len(worker.started) == 3 * 16


def test_noise_goes_on_to_the_most_rounds(
    worker: type[FakeWorker], monkeypatch: pytest.MonkeyPatch
) -> None:
    noise = iter([0.01, 0.02, 0.013, 0.03, 0.011] * 1000)
    worker.step_s = lambda label, batch: next(noise)
    block = _block(rounds_per_launch=1, max_rounds=24, target_width=0.05)
    sampling = Ran(block, monkeypatch).sampling[0]
    assert (sampling.stopped_by, sampling.rounds, sampling.looks) == ("rounds", 24, (8, 16, 24))


def test_a_workload_that_is_done_leaves_the_launches_to_the_others(
    worker: type[FakeWorker], monkeypatch: pytest.MonkeyPatch
) -> None:
    block = _block(("chat", "long"), rounds_per_launch=1, max_rounds=32, target_width=0.05)
    block.workloads[1].config = WorkloadConfig("long", 8, 1, 1, 3, 0)  # no TPOT: never narrow
    chat, long = Ran(block, monkeypatch).sampling
    assert (chat.stopped_by, chat.rounds) == ("width", 16)
    assert (long.stopped_by, long.rounds, long.widths) == ("rounds", 32, {"tpot_s": None})


@pytest.mark.parametrize("op", ["import_libraries", "load", "generate"])
@pytest.mark.parametrize("broken", ["none", "a"])
def test_an_arm_that_breaks_drops_out_and_the_others_go_on(
    op: str, broken: str, worker: type[FakeWorker], monkeypatch: pytest.MonkeyPatch
) -> None:
    def breaks(asked: str, label: str) -> None:
        if (asked, label) == (op, broken) and worker.started.count(label) == 3:
            raise ArmError(f"{label} broke at {op}")

    worker.breaks = breaks
    ran = Ran(_block(rounds_per_launch=1, max_rounds=16, target_width=0.05), monkeypatch)
    index = LABELS.index(broken)
    assert worker.started.count(broken) == 3, "it is not started again"
    failure = ran.arms[index].failure("chat", ran.sampling[0].rounds)
    assert str(failure) == f"{broken} broke at {op}"
    others = [arm for arm in range(3) if arm != index]
    # Without a baseline there is nothing to wait for beyond the first look.
    expected = 8 if broken == "none" else 16
    assert all(len(ran.rounds(arm)) == expected for arm in others)
    assert all(ran.arms[arm].failure("chat", expected) is None for arm in others)
    assert ran.ready == [LABELS[arm] for arm in others]


def test_without_a_baseline_an_adaptive_procedure_ends_at_its_first_look(
    worker: type[FakeWorker], monkeypatch: pytest.MonkeyPatch
) -> None:
    def breaks(op: str, label: str) -> None:
        if label == "none":
            raise ArmError("no baseline")

    worker.breaks = breaks
    block = _block(rounds_per_launch=1, max_rounds=64, target_width=0.05)
    sampling = Ran(block, monkeypatch).sampling[0]
    assert (sampling.stopped_by, sampling.rounds) == ("nothing", 8)


def test_a_block_whose_arms_have_all_failed_comes_to_an_end(
    worker: type[FakeWorker], monkeypatch: pytest.MonkeyPatch
) -> None:
    def breaks(op: str, label: str) -> None:
        raise ArmError("no")

    worker.breaks = breaks
    ran = Ran(_block(rounds_per_launch=1, max_rounds=64, target_width=0.05), monkeypatch)
    assert all(str(arm.failure("chat", 8)) == "no" for arm in ran.arms)
    assert ran.sampling[0].stopped_by == "nothing"
    assert len(worker.started) == 3
    assert ran.ready == []


def test_a_warm_up_goes_on_until_no_arm_drifts(
    worker: type[FakeWorker], monkeypatch: pytest.MonkeyPatch
) -> None:
    cold = [0.03, 0.02, 0.015, 0.011, 0.011, 0.011, 0.011]
    worker.step_s = lambda label, batch: cold[min(batch, 6)] if label == "a" else 0.01
    block = _block(rounds=8, warmup_rounds=1, max_warmup_rounds=10)
    sampling = Ran(block, monkeypatch).sampling[0]
    assert sampling.warmup_ended == "seen"
    assert sampling.warmup_rounds == (5,)


def test_a_warm_up_that_does_not_end_is_cut_off_and_said(
    worker: type[FakeWorker], monkeypatch: pytest.MonkeyPatch
) -> None:
    worker.step_s = lambda label, batch: 0.1 * 0.7**batch
    sampling = Ran(_block(warmup_rounds=1, max_warmup_rounds=4), monkeypatch).sampling[0]
    assert (sampling.warmup_ended, sampling.warmup_rounds) == ("cap", (4,))
