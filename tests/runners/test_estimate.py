from dataclasses import replace
from pathlib import Path

import pytest
from record_factory import make_run

from leanboard.results.schema import Procedure
from leanboard.results.store import Entry, Store
from leanboard.runners.estimate import Estimate, History, Key, batches
from leanboard.runners.grid import BlockSpec, blocks
from leanboard.runners.sampling import Sampler, Warmup


def _spec(*overrides: str) -> BlockSpec:
    (spec,) = blocks(["hardware=cpu-1t", *overrides])
    return spec


def test_work_never_seen_is_estimated_by_a_rule_that_grows_with_the_work() -> None:
    small, large = _spec("procedure.rounds=2"), _spec("procedure.rounds=20")
    estimate = Estimate.of(small, History())
    assert 0 < estimate.block_s(small) < estimate.block_s(large)


def test_more_threads_are_expected_to_take_less_time() -> None:
    spec = _spec()
    one = Estimate.of(spec, History())
    two = Estimate(one.history, one.parameters, one.bytes_per_parameter, threads=2)
    workload, arm = spec.workloads[0], spec.arms[0]
    assert two.batch_s(spec, arm, workload) < one.batch_s(spec, arm, workload)


@pytest.mark.parametrize(
    ("budget_s", "looks"),
    [
        (1.0, 1),  # the budget is over long before it is looked at
        (200.0, 1),  # a look is 2 arms x (2 loads x 5 s + (12 + 2 x 3) batches x 5 s) = 200 s
        (201.0, 2),
        (900.0, 5),
        (86400.0, 5),  # 60 rounds are five looks
    ],
)
def test_a_time_budget_ends_at_the_first_look_after_it(budget_s: float, looks: int) -> None:
    spec = _spec(
        "technique=bf16",
        "procedure=full",
        "procedure.rounds_per_launch=6",
        "procedure.max_warmup_rounds=3",
        f"procedure.time_budget_s={budget_s}",
        "accuracy=none",
    )

    class Five(Estimate):
        def load_s(self, *_: object) -> float:
            return 5.0

        def batch_s(self, *_: object) -> float:
            return 5.0

    estimate = Five.of(spec, History())
    assert estimate.block_s(spec) == looks * 200.0


@pytest.mark.parametrize(
    ("rounds", "each", "most", "expected"),
    [
        (8, None, None, 9),  # one launch with its warm-up
        (8, 1, None, 16),
        (12, 2, 60, 90),
        (12, 5, 60, 75),  # launches of 5, 5 and 2 rounds up to each look
    ],
)
def test_batches_are_those_of_whole_launches_up_to_the_last_look(
    rounds: int, each: int | None, most: int | None, expected: int
) -> None:
    plain = {"name": "p", "version": 1, "warmup_rounds": 1, "seed": 0, "timeout_s": 60}
    limits = {"rounds": rounds, "rounds_per_launch": each, "max_rounds": most}
    procedure = Procedure.model_validate({**plain, **limits})
    assert batches(procedure) == expected
    sampler = Sampler(procedure)
    while not sampler.done:
        sampler.note(Warmup(1, capped=False))
        if sampler.end_launch():
            sampler.look({"tpot_s": 1.0})
    assert sampler.rounds + sum(sampler.warmups) == expected


def test_choosing_prompts_is_counted_by_the_batch_with_the_reference() -> None:
    spec = _spec("backend=llamacpp", "workload=batch8", "accuracy=none")
    estimate = Estimate.of(spec, History())
    batch_s = estimate.batch_s(spec, spec.arms[0], spec.workloads[0])
    # 40 prompts and 16 for the warm-up, eight at a time.
    assert estimate.choosing_s(spec) == pytest.approx(7 * batch_s)
    key = Key(spec.model.name, "transformers", 1, "none", "batch8/128x64x8")
    seen = replace(estimate, history=History(batch_s={key: 3.0}))
    assert seen.choosing_s(spec) == 21.0


def test_an_arm_that_is_only_scored_is_loaded_once() -> None:
    spec = replace(_spec("accuracy=none"), workloads=())
    estimate = Estimate.of(spec, History())
    assert estimate.block_s(spec) == estimate.load_s(spec, spec.arms[0])


def test_earlier_records_of_the_machine_replace_the_rule(tmp_path: Path) -> None:
    run = make_run()
    store = Store(tmp_path, "local")
    store.write(run.record, run.traces)
    record = run.record
    assert record.times.measure_s is not None
    known = History.of(store.entries(), record.machine_id)
    assert record.sampling is not None
    rounds = record.sampling.rounds + sum(record.sampling.warmup_rounds)
    (key,) = known.batch_s
    assert (key.model, key.arm, key.work) == (record.cell.model.name, "none", "chat/128x32x1")
    assert known.batch_s[key] == pytest.approx(record.times.measure_s / rounds)
    assert History.of(store.entries(), "another-machine") == History()


def test_a_plan_knows_how_long_making_took_on_this_machine(tmp_path: Path) -> None:
    record = make_run(techniques=["cfsp"]).record
    told = record.model_copy(update={"facts": {"making_s": {"value": 42, "unit": "s"}}})
    spec = _spec("technique=cfsp")
    assert Estimate.of(spec, History()).making_s(spec, spec.arms[1]) is None
    known = History.of([Entry(told, "local", tmp_path)], record.machine_id)
    (key,) = known.making_s
    assert (key.arm, key.work) == ("cfsp", "")
    assert known.making_s[key] == 42


def test_the_newest_record_names_the_weights_and_the_text_of_the_calibration(
    tmp_path: Path,
) -> None:
    record = make_run(techniques=["cfsp"]).record
    cell = record.cell
    (component,) = cell.techniques

    def at(day: int, weights: str, text: str | None) -> Entry:
        model = cell.model.model_copy(update={"content_hash": weights})
        made = (component.model_copy(update={"calibration": text}),)
        times = record.times.model_copy(update={"started_at": f"2026-11-0{day}T00:00:00Z"})
        changed = cell.model_copy(update={"model": model, "techniques": made})
        newer = record.model_copy(update={"cell": changed, "times": times})
        return Entry(newer, "local", tmp_path)

    entries = [at(2, "b" * 64, "2" * 64), at(1, "a" * 64, "1" * 64), at(3, "c" * 64, None)]
    known = History.of(entries, record.machine_id)
    assert (known.weights, known.text) == ({cell.model.name: "c" * 64}, "2" * 64)


def test_answers_that_are_written_out_are_expected_to_take_longer_than_choices() -> None:
    written, chosen = (
        _spec("accuracy=instructions", f"accuracy.tasks=[{task}]", "accuracy.num_fewshot=0")
        for task in ("ifeval", "truthfulqa_mc2")
    )
    one_item = [spec.accuracy.sizes()[0]._replace(items=1) for spec in (written, chosen)]
    estimate = Estimate.of(written, History())
    arm = written.arms[0]
    assert estimate.score_s(written, arm, one_item[0]) > estimate.score_s(chosen, arm, one_item[1])
