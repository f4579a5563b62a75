"""A lean record says what its record says, but for the samples, in a fraction of the memory."""

from __future__ import annotations

import pickle
import sys
import tracemalloc
from typing import Any

from record_factory import make_environment, make_record, make_run

from leanboard.results.document import record_from_text, record_to_text
from leanboard.results.lean import Lean
from leanboard.results.schema import Record

LEFT_OUT = ("samples", "weights", "pairs")


def without_samples(record: Record) -> dict[str, Any]:
    fields = record.model_dump()
    for number in (*fields["measurements"].values(), *fields["comparisons"]):
        number |= {name: None for name in LEFT_OUT if name in number}
    return fields


def candidate() -> Record:
    return make_record(techniques=["bf16"], baseline=make_run(), warnings=["first", "second"])


def test_only_samples_are_left_out() -> None:
    for record in (
        candidate(),
        make_record(kind="accuracy"),
        make_record(status="failed"),
        make_record(environment=make_environment(gpu="Example GPU")),
    ):
        lean = Lean().record(record)
        assert lean.model_dump() == without_samples(record)
        assert isinstance(lean, Record)


def test_a_candidate_has_samples_and_pairs_to_leave_out() -> None:
    record = candidate()
    assert any(m.samples for m in record.measurements.values())
    assert any(c.pairs for c in record.comparisons)


def test_what_is_not_set_stays_unset() -> None:
    record = candidate()
    fields = record.measurements["tpot_s"].model_fields_set - {"reason"}
    older = record.measurements["tpot_s"].model_copy()
    older.__pydantic_fields_set__.discard("reason")
    lean = Lean().measurements({"tpot_s": older})["tpot_s"]
    assert lean.model_fields_set == fields


def test_runs_share_what_they_have_in_common() -> None:
    lean = Lean()
    first, second = (lean.record(make_record(techniques=["bf16"], number=n)) for n in (1, 2))
    assert first.cell.model is second.cell.model
    assert first.cell.techniques[0] is second.cell.techniques[0]
    assert first.environment is second.environment
    assert first.machine_id is second.machine_id
    gaps = [name for name, m in first.measurements.items() if m.value is None]
    assert gaps
    assert all(first.measurements[name] is second.measurements[name] for name in gaps)


def test_runs_that_differ_in_their_surroundings_share_the_rest_of_them() -> None:
    lean, plain = Lean(), make_environment()
    noisy = plain.model_copy(update={"swap_used_bytes": 1})
    first, second = (lean.record(make_record(environment=one)) for one in (plain, noisy))
    assert (first.environment, second.environment) == (plain, noisy)
    assert first.environment.cpu is second.environment.cpu
    assert first.environment.packages is second.environment.packages


def test_runs_of_different_things_share_nothing_that_differs() -> None:
    lean = Lean()
    first = lean.record(make_record(techniques=["bf16"]))
    second = lean.record(make_record(techniques=["int8-dynamic"]))
    assert (first.block.arm, second.block.arm) == ("bf16", "int8-dynamic")
    assert first.cell.techniques != second.cell.techniques


def test_a_lean_record_takes_less_than_a_third_of_the_memory() -> None:
    texts = [record_to_text(make_record(techniques=["bf16"], number=n)) for n in range(12)]
    sizes = []
    for lean in (None, Lean()):
        tracemalloc.start()
        records = map(record_from_text, texts)
        kept = [record if lean is None else lean.record(record) for record in records]
        sizes.append(tracemalloc.get_traced_memory()[0])
        tracemalloc.stop()
        assert len(kept) == len(texts)
    assert sizes[1] < sizes[0] / 3


def test_what_another_process_sends_is_as_lean_and_says_the_same() -> None:
    record = candidate()
    record.measurements["tpot_s"].__pydantic_fields_set__.discard("reason")
    lean = Lean().record(record)
    sent = pickle.loads(pickle.dumps(lean))
    assert sent == lean
    assert type(sent.measurements["tpot_s"]) is type(lean.measurements["tpot_s"])
    assert "reason" not in sent.measurements["tpot_s"].model_fields_set
    sizes = {sys.getsizeof(vars(one.measurements["tpot_s"])) for one in (sent, lean)}
    assert len(sizes) == 1
