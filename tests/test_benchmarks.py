"""The benchmarks of the benchmark: they must be able to fail."""

import random
from itertools import pairwise
from pathlib import Path

import pytest
from record_factory import make_run

from benchmarks import making
from benchmarks.noise import launches_of, specification
from benchmarks.replay import drawn, replay
from benchmarks.twice import Pair, pairs
from leanboard.results.schema import Procedure
from leanboard.results.store import Store
from leanboard.runners import config
from leanboard.runners.grid import TechniqueSpec
from leanboard.runners.techniques.lowrank.cospadi import CoSpaDi
from leanboard.runners.techniques.lowrank.maestro import Maestro
from leanboard.runners.techniques.quantization.gptq import Gptq


def procedure() -> Procedure:
    return specification(0.05).procedure


def launches(draw: random.Random, between: float, within: float) -> list[list[list[float]]]:
    """Return recorded trials of the same against the same, with launches that differ."""
    trials = []
    for _ in range(40):
        trial = []
        for _ in range(12):
            shift = draw.gauss(0, between)
            trial.append([2.718281828 ** (shift + draw.gauss(0, within)) for _ in range(2)])
        trials.append(trial)
    return trials


def test_replays_of_noisy_launches_hold_the_truth_as_often_as_they_say() -> None:
    series = launches(random.Random(1), between=0.02, within=0.02)
    seen = replay(series, "tpot_s", procedure(), 600)
    assert 0.92 <= seen.hold_one / seen.trials <= 0.98
    assert seen.median_width <= 0.05


def test_replays_find_a_rule_out_that_takes_rounds_of_a_launch_for_independent() -> None:
    # Each launch told as two: what differs between launches then looks like twice the evidence.
    series = launches(random.Random(2), between=0.03, within=0.001)
    split = [[[ratio] for launch in trial for ratio in launch] for trial in series]
    naive = procedure().model_copy(update={"rounds_per_launch": 1})
    honest = replay(series, "tpot_s", procedure(), 400)
    fooled = replay(split, "tpot_s", naive, 400)
    assert honest.hold_one / honest.trials >= 0.92
    assert fooled.hold_one / fooled.trials < 0.90


def test_neighbouring_launches_are_drawn_together_and_change_sides_together() -> None:
    series = [[[2.0 + trial + n / 100] for n in range(8)] for trial in range(3)]
    draw = drawn(series, random.Random(3))
    seen = [next(draw)[0] for _ in range(24)]
    plain = [ratio if ratio > 1 else 1 / ratio for ratio in seen]
    assert sorted(plain) == pytest.approx(sorted(n for trial in series for (n,) in trial))
    follow = [round(b - a, 6) == 0.01 for a, b in pairwise(plain)]
    assert sum(follow) >= 12, "most launches come after their neighbour"
    same = [(a > 1) == (b > 1) for a, b, f in zip(seen, seen[1:], follow, strict=False) if f]
    assert sum(same) >= 12, "and on its side"


def test_a_trial_s_block_holds_the_baseline_the_same_again_and_a_slower_one() -> None:
    spec = specification(0.05)
    assert [arm.label for arm in spec.arms] == ["none", "same", "slower"]
    assert spec.arms[2].techniques[0].target["share"] == 0.05
    assert launches_of([], "tpot_s", 2) == []


@pytest.fixture
def stores(tmp_path: Path) -> tuple[Path, Path]:
    found = []
    for name in ("first", "second"):
        store = Store(tmp_path / name, "local")
        baseline = make_run()
        candidate = make_run(techniques=["bf16"], baseline=baseline)
        for run in (baseline, candidate):
            store.write(run.record, run.traces)
        found.append(store.root)
    return found[0], found[1]


def test_two_runs_of_the_same_agree_in_every_cell(stores: tuple[Path, Path]) -> None:
    found = pairs(*stores)
    assert {pair.metric for pair in found} == {"tpot_s", "ttft_s"}
    assert all(pair.agrees for pair in found)


def test_a_cell_that_a_run_lacks_does_not_agree(stores: tuple[Path, Path], tmp_path: Path) -> None:
    found = pairs(stores[0], tmp_path / "empty")
    assert found
    assert not any(pair.agrees for pair in found)


@pytest.mark.parametrize(
    ("ratio", "agrees"), [((1.0, 0.9, 1.1), True), ((1.2, 1.1, 1.3), False), (None, False)]
)
def test_cells_agree_where_the_interval_holds_1(
    ratio: tuple[float, float, float] | None, agrees: bool
) -> None:
    assert Pair("cell", "tpot_s", 1.0, 1.0, ratio).agrees is agrees


def test_a_technique_that_takes_too_long_to_be_made_does_not_hold(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    took_s = {Gptq(): 299.0, CoSpaDi(): 301.0, Maestro(): 540.0}
    monkeypatch.setattr(making, "seconds", took_s.__getitem__)
    lines = [making.line(making.Variant("it", technique))[0] for technique in took_s]
    assert [each.held for each in lines] == [True, False, None], "what is trained has no bound"
    assert lines[-1].claim == "it: trained"


def test_what_is_calibrated_and_makes_something_is_timed() -> None:
    found = {variant.label for variant in making.variants()}
    assert {"cfsp", "cospadi", "gptq", "maestro", "mixed-ilp", "wanda", "whitened-svd"} <= found
    assert found.isdisjoint({"none", "rtn", "svd", "prune-width"})


def test_what_suites_ask_for_is_timed_once_unless_it_is_the_menus(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cospadi, maestro = (config.named("technique", name) for name in ("cospadi", "maestro"))
    asked = [
        TechniqueSpec("maestro", {**maestro, "kept": 0.6}),
        TechniqueSpec("cospadi", cospadi),
        TechniqueSpec("cospadi", {**cospadi, "places": "mask"}),
        TechniqueSpec("cospadi", {**cospadi, "places": "mask"}),
    ]
    monkeypatch.setattr(making, "_of_suites", lambda: iter(asked))
    menu = [variant.label for variant in making.variants()]
    found = [variant.label for variant in making.variants(suites=True)]
    assert found == [*menu, "cospadi places=mask"]


def test_a_benchmark_of_no_calibrated_technique_says_so(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit):
        making.main(["rtn"])
    assert "of rtn nothing is calibrated" in capsys.readouterr().err
