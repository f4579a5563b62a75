"""Columns that join several records: costs of answers, compression, fidelity, brittleness."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from record_factory import Run, make_run, make_task, make_workload, request_observation

from leanboard.metrics.trace import AnswerObservation, AnswerTrace, Provenance
from leanboard.results.derive import NEVER_COMPARED
from leanboard.results.derived_columns import DERIVED
from leanboard.results.export import wide_frame, write_exports
from leanboard.results.macro_scores import BASELINE
from leanboard.results.schema import Measurement
from leanboard.results.store import Entry, Loaded
from leanboard.results.table import table

Found = dict[str, Measurement]


def answers(right: int, *, items: int = 400, tokens: int = 0) -> AnswerObservation:
    """Return generated answers of 5 tokens of which the first are right."""
    return AnswerObservation(
        answers=tuple(
            AnswerTrace(
                str(i),
                {"acc": float(i < right)},
                (-1.0,) * 4,
                output_ids=tuple(range(tokens)) if i % 2 else (7,) * tokens,
            )
            for i in range(items)
        )
    )


def text(kl_nats: float, agreeing: int) -> AnswerObservation:
    return AnswerObservation(
        answers=tuple(
            AnswerTrace(
                str(i),
                {},
                (-10.0 - i,),
                tokens=10,
                text_bytes=40,
                kl_nats=kl_nats * (i + 1),
                agreeing=agreeing,
                kl_rest=0.0,
            )
            for i in range(5)
        )
    )


class Bench:
    """A baseline and the candidate ``bf16``, timed and scored."""

    def __init__(self, provenance: Provenance = Provenance.MEASURED) -> None:
        self.runs = [make_run(observation=request_observation(energy_provenance=provenance))]
        candidate = request_observation(
            arm="bf16", weight_bytes=269_030_016, energy_provenance=provenance
        )
        self.runs.append(
            make_run(techniques=["bf16"], observation=candidate, baseline=self.runs[0])
        )

    def score(self, task: str, before: AnswerObservation, after: AnswerObservation) -> None:
        """Score both arms on a task."""
        asked: dict[str, Any] = {"kind": "accuracy", "task": make_task(task, limit=400)}
        baseline = make_run(observation=before, **asked)
        candidate = make_run(observation=after, techniques=["bf16"], baseline=baseline, **asked)
        self.runs += [baseline, candidate]

    def entries(self) -> tuple[Entry, ...]:
        """Return the records as a store gives them."""
        return tuple(entry(run) for run in self.runs)

    def found(self, arm: str = "bf16") -> Found:
        """Return what the row of an arm shows."""
        (row,) = (row for row in table(self.entries()) if row.label == arm)
        return dict(row.measurements)


def entry(run: Run) -> Entry:
    return Entry(run.record, "local", Path(f"{run.record.run_id}.json"))


@pytest.fixture
def bench() -> Bench:
    made = Bench()
    made.score("arc_easy", answers(200), answers(160))
    return made


def value(found: Found, name: str) -> float:
    number = found[name].value
    assert number is not None
    return number


def test_every_derived_column_has_a_value_or_a_reason(bench: Bench) -> None:
    for arm in ("none", "bf16"):
        found = bench.found(arm)
        assert all(found[name].unit == column.unit for name, column in DERIVED.items())
        assert [n for n in DERIVED if found[n].value is None and not found[n].reason] == []


def test_costs_divide_what_a_request_took_by_the_share_of_right_answers(bench: Bench) -> None:
    found = bench.found()
    assert value(found, "accuracy") == 0.4
    assert value(found, "ipw") == pytest.approx(0.4 / 8.0)  # the factory's machine draws 8 W
    energy_j = value(found, "energy_per_request_j")
    assert value(found, "ipj") == pytest.approx(0.4 / energy_j)
    assert value(found, "energy_per_correct_j") == pytest.approx(energy_j / 0.4)
    assert value(found, "time_per_correct_s") == pytest.approx(value(found, "e2e_s") / 0.4)
    assert found["ipw"].provenance is Provenance.MEASURED


def test_requests_of_a_batch_share_the_seconds_of_the_machine() -> None:
    asked = make_workload(batch_size=4)
    timed = make_run(workload=asked, observation=request_observation(workload=asked))
    bench = Bench()
    bench.score("arc_easy", answers(200), answers(160))
    scored = [run for run in bench.runs if run.record.cell.kind == "accuracy"]
    (row,) = table([entry(run) for run in (timed, *scored) if not run.record.cell.techniques])
    found = dict(row.measurements)
    assert value(found, "accuracy") == 0.5
    # Two attempts for a right answer, each a quarter of the batch.
    assert value(found, "time_per_correct_s") == pytest.approx(value(found, "e2e_s") / 4 / 0.5)
    assert found["time_per_correct_s"].summary == "accuracy, e2e_s and the batch size"


def test_modelled_joules_give_no_intelligence_per_watt() -> None:
    bench = Bench(Provenance.MODELLED)
    bench.score("arc_easy", answers(200), answers(160))
    found = bench.found()
    for name in ("ipw", "ipj", "energy_per_correct_j"):
        assert (found[name].value, found[name].reason) == (None, NEVER_COMPARED)
    assert found["time_per_correct_s"].value is not None


def test_an_arm_that_is_never_right_has_no_cost_of_a_right_answer() -> None:
    bench = Bench()
    bench.score("arc_easy", answers(200), answers(0))
    found = bench.found()
    assert found["energy_per_correct_j"].reason == "accuracy must be above 0, it is 0.0"
    assert value(found, "ipw") == 0


def test_without_scores_there_is_nothing_to_divide(bench: Bench) -> None:
    reason = "no task with accuracy was scored for this arm"
    (row,) = table([entry(bench.runs[0])])
    for name in ("ipw", "time_per_correct_s", "compression_rate", "dsi", "knowledge_change"):
        assert row.measurements[name].reason == reason


def test_the_compression_rate_by_hand(bench: Bench) -> None:
    # Half the bytes, four fifths of the score.
    found = bench.found()
    assert value(found, "compression_rate") == pytest.approx(2 * 0.8)
    ratio, rate = found["accuracy_ratio"].interval, found["compression_rate"].interval
    assert ratio is not None
    assert rate is not None
    assert (rate.low, rate.high) == pytest.approx((2 * ratio.low, 2 * ratio.high))
    assert found["compression_rate"].provenance is Provenance.COUNTED
    assert bench.found("none")["compression_rate"].reason == BASELINE


def test_the_ratio_of_an_only_task_is_the_one_of_its_record(bench: Bench) -> None:
    compared = {(c.metric, c.statistic): c for c in bench.runs[-1].record.comparisons}
    own, found = compared["acc", "ratio"], bench.found()["accuracy_ratio"]
    assert own.interval is not None
    assert found.interval is not None
    assert found.value == own.value
    assert found.interval.model_dump() == own.interval.model_dump()


def test_a_compression_rate_needs_the_weights_of_both_arms(bench: Bench) -> None:
    (row,) = (r for r in table(bench.entries()[1:]) if r.label == "bf16")
    found = row.measurements["compression_rate"]
    assert found.reason == "the weights of both arms are not known"


def test_fidelity_is_averaged_over_texts_and_over_tasks() -> None:
    bench = Bench()
    bench.score("wiki", text(0.0, 10), text(0.1, 9))
    bench.score("books", text(0.0, 10), text(0.2, 8))
    bench.score("gsm8k", answers(200, tokens=5), answers(200, tokens=5))
    found = bench.found()
    # Nats of five windows of ten tokens: 0.1 (1 + 2 + 3 + 4 + 5) / 50, and twice that.
    assert value(found, "kl_to_baseline") == pytest.approx((0.03 + 0.06) / 2)
    assert found["kl_to_baseline"].summary == "mean of books, wiki"
    assert value(found, "top1_agreement") == pytest.approx(0.85)
    assert value(found, "greedy_agreement") == 1
    assert found["output_length_ratio"].reason == (
        "gsm8k: every answer has 5 tokens: the length is fixed"
    )
    assert bench.found("none")["kl_to_baseline"].reason == BASELINE


def test_arms_are_averaged_over_the_same_texts_or_not_at_all() -> None:
    bench = Bench()
    bench.score("wiki", text(0.0, 10), text(0.1, 9))
    bench.score("books", text(0.0, 10), text(0.2, 8))
    other = request_observation(arm="int8-weight-only")
    bench.runs.append(
        make_run(techniques=["int8-weight-only"], observation=other, baseline=bench.runs[0])
    )
    wiki = make_task("wiki", limit=400)
    bench.runs.append(
        make_run(
            kind="accuracy",
            task=wiki,
            observation=text(0.3, 9),
            techniques=["int8-weight-only"],
            baseline=bench.runs[2],
        )
    )
    assert bench.found("bf16")["kl_to_baseline"].summary == "mean of books, wiki"
    alone = bench.found("int8-weight-only")
    for name in ("kl_to_baseline", "top1_agreement"):
        assert (alone[name].value, alone[name].reason) == (
            None,
            "books: this arm lacks it, others have it",
        )


def test_what_was_not_scored_beside_the_baseline_says_so(bench: Bench) -> None:
    assert bench.found()["kl_to_baseline"].reason == "nothing of the kind was scored"


def test_brittleness_over_tasks_by_hand(bench: Bench) -> None:
    # arc_easy keeps 160 of 200, ifeval 180 of 150: retentions 0.8 and 1.2.
    bench.score("ifeval", answers(150), answers(180))
    found = bench.found()
    assert value(found, "dsi") == pytest.approx(0.2)
    assert value(found, "generalization_gap") == pytest.approx(1.2 - 0.8)
    assert value(found, "transfer_ratio") == pytest.approx(0.8 / 1.2)
    assert "noise alone: about" in (found["dsi"].reason or "")
    assert found["transfer_ratio"].reason == "no interval; ifeval is kept best"
    assert value(found, "knowledge_change") == pytest.approx(-0.1)
    assert value(found, "instruction_change") == pytest.approx(0.075)
    assert found["knowledge_change"].interval is not None
    assert found["truthfulness_change"].reason == ("no task of the average asks for truthfulness")


def test_one_task_is_no_brittleness(bench: Bench) -> None:
    assert bench.found()["dsi"].reason == "one domain says nothing about others"


def test_downloads_hold_derived_columns_and_the_gate(bench: Bench, tmp_path: Path) -> None:
    frame = wide_frame(bench.entries()).set_index("techniques")
    assert frame.loc["bf16", "compression_rate"] == pytest.approx(1.6)
    assert frame.loc["bf16", "ipw__provenance"] == "measured"
    assert frame.loc["bf16", "gate"] == "fail"
    assert pd.isna(frame.loc["none", "gate"])
    assert frame.loc["none", "gate_reason"] == BASELINE
    assert frame.loc["none", "gate_threshold"] == 0.99
    write_exports(Loaded(bench.entries(), ()), tmp_path)
    dictionary = (tmp_path / "data-dictionary.csv").read_text().splitlines()
    names = [line.partition(",")[0] for line in dictionary]
    assert {*DERIVED, "gate", "gate_reason", "gate_threshold"} <= set(names)
