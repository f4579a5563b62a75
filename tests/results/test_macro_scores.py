"""One number for all tasks of an arm, against the baseline's, and the gate on it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from record_factory import Run, answer_observation, make_model, make_run, make_task

from leanboard.metrics.gate import GateVerdict
from leanboard.metrics.trace import AnswerObservation, AnswerTrace
from leanboard.results.macro_scores import BASELINE
from leanboard.results.schema import Measurement
from leanboard.results.store import Entry
from leanboard.results.table import Row, table

TASKS = ("arc_easy", "hellaswag")


def row_of(*runs: Run) -> Row:
    """Return the row of the last timed arm."""
    records = [run.record for run in runs]
    timed = [record for record in records if record.cell.kind == "performance"]
    entries = [Entry(record, "local", Path(f"{record.run_id}.json")) for record in records]
    rows = {row.record.run_id: row for row in table(entries)}
    return rows[timed[-1].run_id]


def answers(right: int, items: int, choices: int = 4) -> AnswerObservation:
    """Return items of which the first are right."""
    return AnswerObservation(
        answers=tuple(
            AnswerTrace(str(i), {"acc": float(i < right)}, (-1.0,) * choices) for i in range(items)
        )
    )


def scored(
    task: str, observation: AnswerObservation, baseline: Run | None = None, **options: Any
) -> Run:
    asked = make_task(task, limit=len(observation.answers))
    return make_run(
        kind="accuracy",
        task=asked,
        observation=observation,
        techniques=[] if baseline is None else ["bf16"],
        baseline=baseline,
        **options,
    )


def joined(
    rights: dict[str, tuple[int, int]], items: int = 400, **options: Any
) -> tuple[Row, dict[str, Measurement]]:
    """Return the row of a candidate; ``rights`` are the baseline's and its right items by task."""
    timed = make_run(**options)
    runs = [timed]
    for task, (before, after) in rights.items():
        baseline = scored(task, answers(before, items), **options)
        runs += [baseline, scored(task, answers(after, items), baseline, **options)]
    row = row_of(*runs, make_run(techniques=["bf16"], baseline=timed, **options))
    return row, dict(row.measurements)


def test_the_average_and_its_difference_by_hand() -> None:
    row, found = joined({"arc_easy": (200, 180), "hellaswag": (160, 168)})
    assert found["accuracy"].value == pytest.approx((0.45 + 0.42) / 2)
    assert found["accuracy"].summary == "mean of arc_easy.acc, hellaswag.acc"
    # One task lost 0.05, the other gained 0.02.
    difference = found["accuracy_difference"]
    assert difference.value == pytest.approx(-0.015)
    assert difference.interval is not None
    first, second = (row.comparison(f"{task}.acc") for task in TASKS)
    assert first is not None
    assert second is not None
    assert first.interval is not None
    assert second.interval is not None
    below = ((-0.05 - first.interval.low) ** 2 + (0.02 - second.interval.low) ** 2) ** 0.5 / 2
    assert difference.interval.low == pytest.approx(-0.015 - below)
    assert found["accuracy_ratio"].value == pytest.approx(0.435 / 0.45)
    assert difference.n == 800


def test_scores_above_chance_start_where_guessing_ends() -> None:
    found = joined({"arc_easy": (200, 160), "hellaswag": (200, 280)})[1]["accuracy_above_chance"]
    assert found.value == pytest.approx(((0.4 - 0.25) / 0.75 + (0.7 - 0.25) / 0.75) / 2)
    assert found.interval is not None
    assert found.interval.low < (found.value or 0) < found.interval.high


def test_without_choices_nothing_is_known_of_chance() -> None:
    baseline = scored("gsm8k", answers(40, 100, choices=0))
    timed = make_run()
    found = row_of(baseline, timed).measurements["accuracy_above_chance"]
    assert found.reason == "what guessing would score is not known for any task"


@pytest.mark.parametrize(
    ("after", "verdict"),
    [(260, GateVerdict.PASS), (140, GateVerdict.FAIL), (198, GateVerdict.UNDECIDED)],
)
def test_the_gate_reads_the_interval_of_the_ratio(after: int, verdict: GateVerdict) -> None:
    row, found = joined({"arc_easy": (200, after)})
    assert row.gate.verdict is verdict
    interval = found["accuracy_ratio"].interval
    assert interval is not None
    assert row.gate.reason.startswith(f"[{interval.low:.3f}, {interval.high:.3f}]")


def test_equal_answers_to_enough_items_pass() -> None:
    assert joined({"arc_easy": (1600, 1600)}, items=2000)[0].gate.verdict is GateVerdict.PASS


def test_a_baseline_that_guesses_leaves_the_gate_undecided() -> None:
    gate = joined({"arc_easy": (110, 300)})[0].gate
    assert gate.verdict is GateVerdict.UNDECIDED
    assert "not shown to be above guessing" in gate.reason


def test_requantised_quality_is_shown_and_kept_out_of_the_gate() -> None:
    warning = "requantised: the weights were published quantised (q4_1)"
    row, found = joined({"arc_easy": (200, 140)}, warnings=[warning])
    assert found["accuracy_ratio"].value == pytest.approx(0.7)
    assert row.gate.verdict is None
    assert row.gate.reason.startswith("requantised")


def test_the_baseline_is_compared_with_nothing() -> None:
    row = row_of(make_run(), scored("arc_easy", answers(200, 400)))
    assert row.measurements["accuracy"].interval is not None
    for name in ("accuracy_difference", "accuracy_ratio"):
        assert (row.measurements[name].value, row.measurements[name].reason) == (None, BASELINE)
    assert (row.gate.verdict, row.gate.reason) == (None, BASELINE)


def test_scores_that_were_not_compared_say_so() -> None:
    timed = make_run()
    runs = [
        make_run(kind="accuracy", techniques=techniques, observation=answer_observation())
        for techniques in ([], ["bf16"])
    ]
    row = row_of(*runs, timed, make_run(techniques=["bf16"], baseline=timed))
    difference = row.measurements["accuracy_difference"]
    assert difference.reason == "arc_easy was not compared with the baseline's, item by item"
    assert row.measurements["accuracy"].value is not None
    assert row.gate.reason == difference.reason


def test_a_ratio_needs_the_run_that_was_compared_with() -> None:
    baseline = scored("arc_easy", answers(200, 400))
    candidate = scored("arc_easy", answers(190, 400), baseline)
    row = row_of(candidate, make_run(techniques=["bf16"]))
    assert row.measurements["accuracy_difference"].value == pytest.approx(-0.025)
    ratio = row.measurements["accuracy_ratio"]
    assert (ratio.value, ratio.reason) == (
        None,
        "a run that it was compared with is not among the records",
    )


def test_random_weights_have_no_gate() -> None:
    model = make_model("random-llama", weights_origin="random")
    row, found = joined({"arc_easy": (200, 190)}, model=model)
    assert found["accuracy_difference"].reason == "the weights are random"
    assert row.gate.verdict is None
