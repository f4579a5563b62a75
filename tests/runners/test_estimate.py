from pathlib import Path

import pytest
from record_factory import make_run

from leanboard.results.store import Store
from leanboard.runners.estimate import Estimate, History
from leanboard.runners.grid import BlockSpec, blocks


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
