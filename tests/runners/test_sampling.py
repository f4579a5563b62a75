"""How many rounds a workload gets."""

import pytest

from leanboard.results.schema import Procedure
from leanboard.runners.sampling import Sampler, Warmup

_NARROW, _WIDE = {"tpot_s": 0.01}, {"tpot_s": 0.30}


def procedure(**changes: object) -> Procedure:
    fixed = {"name": "p", "version": 1, "rounds": 8, "warmup_rounds": 1, "seed": 0}
    return Procedure.model_validate({**fixed, "timeout_s": 60, **changes})


def adaptive(**changes: object) -> Procedure:
    return procedure(**{"rounds_per_launch": 8, "max_rounds": 64, "target_width": 0.05, **changes})


def run_launch(sampler: Sampler, seconds: float = 1.0) -> bool:
    sampler.note(Warmup(1, capped=False))
    sampler.spent_s += seconds
    return sampler.end_launch()


def test_a_fixed_procedure_runs_its_rounds_in_one_launch_and_never_looks() -> None:
    sampler = Sampler(procedure())
    assert sampler.next_rounds == range(8)
    assert not run_launch(sampler)
    assert sampler.done
    summary = sampler.summary(side_by_side=True)
    assert (summary.stopped_by, summary.launches, summary.rounds) == ("fixed", 1, 8)
    assert (summary.looks, summary.widths, summary.warmup_ended) == ((), {}, "fixed")


def test_round_numbers_go_on_from_launch_to_launch() -> None:
    sampler = Sampler(procedure(rounds=7, rounds_per_launch=3))
    seen = []
    while not sampler.done:
        seen.append(list(sampler.next_rounds))
        run_launch(sampler)
    assert seen == [[0, 1, 2], [3, 4, 5], [6]]


def test_widths_are_looked_at_only_at_multiples_of_the_rounds() -> None:
    sampler = Sampler(procedure(rounds=4, rounds_per_launch=3, max_rounds=12, target_width=0.05))
    looks = []
    while not sampler.done:
        if run_launch(sampler):
            looks.append(sampler.rounds)
            sampler.look(_WIDE)
    assert looks == [4, 8, 12]
    assert sampler.stopped_by == "rounds"


def test_intervals_that_are_narrow_twice_in_a_row_end_the_rounds() -> None:
    sampler = Sampler(adaptive())
    for widths in (_WIDE, _NARROW, _NARROW):
        assert not sampler.done
        assert run_launch(sampler)
        sampler.look(widths)
    summary = sampler.summary(side_by_side=False)
    assert (summary.stopped_by, summary.looks, summary.widths) == ("width", (8, 16, 24), _NARROW)
    assert not summary.side_by_side


def test_an_interval_that_is_not_there_is_not_narrow() -> None:
    sampler = Sampler(adaptive())
    for _ in range(3):
        run_launch(sampler)
        sampler.look({"tpot_s": None})
    assert not sampler.done


def test_the_time_budget_ends_the_rounds_at_the_next_checkpoint() -> None:
    sampler = Sampler(procedure(rounds_per_launch=4, max_rounds=64, time_budget_s=15.0))
    assert not run_launch(sampler, seconds=20.0), "half way to a checkpoint nothing is decided"
    assert run_launch(sampler, seconds=20.0)
    sampler.look(_WIDE)
    assert sampler.stopped_by == "time"


def test_the_longest_warm_up_of_the_arms_is_on_the_record() -> None:
    sampler = Sampler(procedure(max_warmup_rounds=6))
    sampler.note(Warmup(3, capped=False))
    sampler.note(Warmup(6, capped=True))
    sampler.end_launch()
    summary = sampler.summary(side_by_side=True)
    assert (summary.warmup_rounds, summary.warmup_ended) == ((6,), "cap")


def test_without_a_ratio_that_could_come_the_rounds_end() -> None:
    sampler = Sampler(adaptive())
    run_launch(sampler)
    sampler.look({})
    assert sampler.stopped_by == "nothing"


@pytest.mark.parametrize(
    "changes",
    [
        {"target_width": 0.05},
        {"time_budget_s": 60},
        {"max_rounds": 4, "rounds_per_launch": 1},
        {"max_rounds": 20, "rounds_per_launch": 1},
        {"max_rounds": 16},
        {"warmup_rounds": 3, "max_warmup_rounds": 2},
        {"rounds_per_launch": 0},
    ],
)
def test_limits_that_contradict_one_another_are_refused(changes: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"max_rounds|less than|greater than"):
        procedure(**changes)
