"""The section on quality of a run's page: every part, and what stands where a part is missing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from demo_store import ITEMS, Demo
from markupsafe import escape
from record_factory import (
    Run,
    answer_observation,
    make_record,
    make_run,
    make_task,
    request_observation,
)

from leanboard.leaderboard.board import Place, board_of, runs_of
from leanboard.leaderboard.format import DASH
from leanboard.leaderboard.quality import NOT_NOTED, Quality, sameness, scored_quality
from leanboard.leaderboard.quality import timed_quality as timed
from leanboard.leaderboard.run_tables import compared
from leanboard.leaderboard.score_tables import ScoreLine, near_lines, task_lines
from leanboard.metrics.lossless import partings, with_tie_gaps
from leanboard.metrics.trace import Provenance, Quantity, RequestObservation
from leanboard.results.schema import AccuracyCell, Record
from leanboard.results.store import Entry, Loaded
from leanboard.results.table import Row

ALONE = partial(task_lines, runs={})
"""The scores of a scoring run, the record of whose baseline is not at hand."""


def demo_run(demo: Demo, arm: str, *, task: str | None = None) -> Record:
    """Return an arm's published run on torch: on a task, or else the timed one on ``chat``."""
    return next(
        entry.record
        for entry in demo.loaded.entries
        if (entry.record.block.arm, entry.origin) == (arm, "published")
        and entry.record.cell.backend.name == "transformers"
        and asked_of(entry.record) == (task or "chat")
    )


def asked_of(record: Record) -> str:
    cell = record.cell
    return cell.task.name if isinstance(cell, AccuracyCell) else cell.workload.name


def timed_quality(demo: Demo, arm: str) -> Quality:
    record = demo_run(demo, arm)
    row = next(row for row in demo.board.rows if row.record == record)
    found = timed(record, row, partial(task_lines, runs=runs_of(demo.loaded)))
    assert found is not None
    return found


def page(demo: Demo, record: Record) -> str:
    path = f"runs/{record.machine_id}/{record.cell_id}/{record.run_id}.html"
    text = (demo.folder / path).read_text(encoding="utf-8")
    start = text.index('<section id="quality">')
    return text[start : text.index("<h2>Configuration</h2>")]


def lines_of(found: Quality) -> dict[str, ScoreLine]:
    return {f"{task.task}.{line.name}": line for task in found.tasks for line in task.lines}


def places(*runs: Run) -> dict[Place, Record]:
    return {(run.record.machine_id, run.record.run_id): run.record for run in runs}


def test_every_task_stands_with_its_score_and_what_it_is_beside_the_baseline(demo: Demo) -> None:
    found = timed_quality(demo, "bf16")
    lines = lines_of(found)
    assert {task.task for task in found.tasks} == {
        "arc_easy",
        "gsm8k",
        "hellaswag",
        "squad-passages",
    }
    acc = lines["arc_easy.acc"]
    assert (acc.score, acc.n, acc.chance) == ("0.600", str(ITEMS), "0.250")
    assert acc.interval.startswith("0.55")
    assert (acc.difference.value, acc.difference.css) == ("+0.0200", "better")
    assert acc.difference.interval
    assert acc.p_value == "0.008"
    record = demo_run(demo, "bf16", task="arc_easy")
    held = next(c for c in record.comparisons if (c.metric, c.statistic) == ("acc", "ratio"))
    assert held.interval is not None
    ends = f"{held.interval.low:.3f} \u2013 {held.interval.high:.3f}"
    assert (acc.ratio.value, acc.ratio.interval) == ("1.034", ends)
    assert "1.5 items added to either way of differing" in acc.ratio.title


def test_only_the_score_that_the_average_takes_has_a_gate(demo: Demo) -> None:
    lines = lines_of(timed_quality(demo, "bf16"))
    judged = {name for name, line in lines.items() if line.gate is not None}
    assert judged == {"arc_easy.acc_norm", "gsm8k.exact_match_flexible", "hellaswag.acc_norm"}
    assert lines["gsm8k.exact_match_flexible"].chance == DASH
    assert lines["squad-passages.perplexity"].difference.value == DASH
    assert lines["squad-passages.bits_per_byte"].score.endswith(" bit")


def test_the_average_leads_with_the_gate_of_the_board(demo: Demo) -> None:
    average = timed_quality(demo, "bf16").average
    rows = [row for row in demo.board.lines if row.label == "bf16" and row.gate.text]
    assert average is not None
    assert {row.gate for row in rows} == {average.gate}
    assert average.n == f"{3 * ITEMS:,}"
    assert average.difference.value.startswith("+0.02")
    assert average.ratio.interval
    assert (average.p_value, average.difference.verdict) == (DASH, "")


def test_a_baseline_has_scores_and_nothing_to_be_compared_with(demo: Demo) -> None:
    found = timed_quality(demo, "none")
    assert found.average is not None
    assert found.average.gate is not None
    assert found.average.gate.title == "no gate: it is the baseline"
    lines = lines_of(found)
    assert {line.difference.value for line in lines.values()} == {DASH}
    assert {line.gate for line in lines.values()} == {None}
    assert found.nearness == ()
    assert found.sameness is None
    reasons = {line.name: line.reason for line in found.missed}
    assert reasons["kl_to_baseline"] == reasons["dsi"] == "it is the baseline"


def test_nearness_is_told_of_predictions_and_of_answers(demo: Demo) -> None:
    near = {line.name: line for line in timed_quality(demo, "bf16").nearness}
    assert list(near) == [
        "kl_to_baseline",
        "top1_agreement",
        "greedy_agreement",
        "first_divergence",
        "output_length_ratio",
    ]
    assert near["kl_to_baseline"].label == "KL divergence from the baseline, at least"
    assert near["kl_to_baseline"].value == "0.0240 nat"
    assert "it is 0.000400 nat too low" in near["kl_to_baseline"].note
    assert (near["greedy_agreement"].value, near["greedy_agreement"].task) == ("0.750", "gsm8k")
    assert near["top1_agreement"].note == ""


def test_where_two_tasks_have_the_same_nearness_their_mean_follows(demo: Demo) -> None:
    record = demo_run(demo, "bf16", task="squad-passages")
    means = {"kl_to_baseline": make_record().measurements["tpot_s"]}
    assert len(near_lines([record], means)) == 2
    lines = near_lines([record, record], means)
    assert [line.name for line in lines].count("kl_to_baseline") == 3
    assert lines[2].task == means["kl_to_baseline"].summary


def test_what_is_derived_stands_with_its_value_or_its_reason(demo: Demo) -> None:
    found = timed_quality(demo, "bf16")
    derived = {line.name: line for line in found.derived}
    missed = {line.name: line.reason for line in found.missed}
    assert {"accuracy_above_chance", "time_per_correct_s", "compression_rate", "dsi"} <= set(
        derived
    )
    assert derived["compression_rate"].interval != DASH
    assert derived["dsi"].method.startswith("no interval")
    assert missed["ipw"] == missed["energy_per_correct_j"]
    assert missed["ipj"] == "joules that were not measured are shown, never compared"
    assert not set(derived) & set(missed)


def test_an_arm_without_scores_says_why_it_has_no_accuracy() -> None:
    run = make_run()
    row = only_row(run.record)
    found = timed(run.record, row, partial(task_lines, runs=places(run)))
    assert found is not None
    assert (found.tasks, found.average, found.derived, found.scoring) == ((), None, (), ())
    reasons = {line.name: line.reason for line in found.missed}
    assert reasons["accuracy"] == "no task with accuracy was scored for this arm"


def only_row(record: Record) -> Row:
    (row,) = board_of(Loaded((Entry(record, "local", Path("r.json")),))).rows
    return row


def outputs(*changed: tuple[int, int]) -> RequestObservation:
    """Return timed outputs in which some tokens, by request and place, are others."""
    seen = request_observation()
    requests = list(seen.requests)
    for number, place in changed:
        request = requests[number]
        ids = list(request.output_ids)
        ids[place] = 999
        requests[number] = replace(request, output_ids=tuple(ids))
    return replace(seen, requests=tuple(requests))


@pytest.mark.parametrize(
    ("changed", "gap", "answer", "css", "detail"),
    [
        ([], None, "yes", "good", "all 8 outputs, token for token"),
        ([(3, 4)], None, "no", "plain", "1 of 8 outputs differ, first on prompt"),
        ([(3, 4)], 1e-5, "yes, up to ties", "good", "1 of 8 outputs differ, each first at a tie"),
        ([(3, 4)], 0.2, "no", "plain", "the first other on prompt"),
    ],
)
def test_sameness_is_yes_up_to_ties_or_no_with_the_first_difference(
    changed: Sequence[tuple[int, int]], gap: float | None, answer: str, css: str, detail: str
) -> None:
    baseline = make_run(observation=request_observation())
    seen, theirs = outputs(*changed), baseline.observation
    assert isinstance(theirs, RequestObservation)
    if gap is not None:
        seen = with_tie_gaps(seen, theirs, dict.fromkeys(partings(seen, theirs), gap))
    found = sameness(make_run(techniques=["bf16"], observation=seen, baseline=baseline).record)
    assert found is not None
    assert (found.answer, found.css) == (answer, css)
    assert detail in found.detail


def test_sameness_is_not_known_where_outputs_could_not_be_compared() -> None:
    baseline = make_run()
    record = make_run(techniques=["bf16"], baseline=baseline).record
    bare = [
        c.model_copy(update={"value": None, "reason": "no shared prompt"})
        for c in record.comparisons
        if c.metric == "lossless"
    ]
    found = sameness(record.model_copy(update={"comparisons": tuple(bare)}))
    assert found is not None
    assert (found.answer, found.detail) == ("not known", "no shared prompt")
    assert sameness(baseline.record) is None


def test_a_run_that_a_later_one_replaced_keeps_its_sameness_only() -> None:
    baseline = make_run()
    record = make_run(techniques=["bf16"], baseline=baseline).record
    found = timed(record, None, ALONE)
    assert found is not None
    assert found == Quality(tasks=(), sameness=sameness(record))
    assert timed(baseline.record, None, ALONE) is None
    failed = make_run(status="failed").record
    assert timed(failed, only_row(failed), ALONE) is None
    assert scored_quality(make_run(kind="accuracy", status="failed").record, ALONE) is None


def scored(arm: str = "bf16", **options: object) -> tuple[Run, Run]:
    baseline = make_run(kind="accuracy", task=make_task(limit=200))
    seen = answer_observation(items=200, **options)  # type: ignore[arg-type]
    candidate = make_run(
        kind="accuracy",
        techniques=[arm],
        task=make_task(limit=200),
        observation=seen,
        baseline=baseline,
    )
    return baseline, candidate


@pytest.mark.parametrize(
    ("accuracy", "p_value"), [(0.6, "1.000"), (0.58, "0.125"), (0.3, "< 0.001")]
)
def test_a_small_p_is_said_to_be_small(accuracy: float, p_value: str) -> None:
    runs = scored(accuracy=accuracy)
    found = task_lines(runs[1].record, places(*runs))
    assert {line.name: line.p_value for line in found.lines}["acc"] == p_value


def test_a_scoring_run_that_was_not_compared_has_gaps_with_a_reason() -> None:
    record = make_run(kind="accuracy", techniques=["bf16"]).record
    found = scored_quality(record, ALONE)
    assert found is not None
    line = lines_of(found)["arc_easy.acc_norm"]
    assert (line.difference.value, line.difference.title) == (DASH, "nothing was compared")
    assert line.gate is not None
    assert line.gate.title == "no gate: it was not compared with the baseline's"
    assert (found.average, found.sameness, found.derived) == (None, None, ())


def test_no_score_of_requantised_weights_is_judged() -> None:
    baseline, candidate = scored()
    warned = candidate.record.model_copy(update={"warnings": ("requantised: once more",)})
    found = task_lines(warned, places(baseline))
    gates = [line.gate.title for line in found.lines if line.gate is not None]
    assert gates == ["no gate: requantised: once more"]


def test_how_a_task_was_scored_is_told_with_its_notes(demo: Demo) -> None:
    found = scored_quality(demo_run(demo, "static-cache", task="arc_easy"), ALONE)
    assert found is not None
    (section,) = found.scoring
    told = {term.name: term.text for term in section.terms}
    assert section.title == "arc_easy"
    assert told["items"] == "at most 400, seed 0, of validation"
    assert (told["few-shot examples"], told["chat template"]) == ("0", "none")
    assert told["harness"] == "lm-eval 0.4.13, task version 1.0"
    assert told["answers"] == "388 scored in this run, 12 kept from an earlier one"
    assert told["tokens fed"] == "21,000; each request by itself: 64,000"
    assert told["peak memory"] == "900 MiB"
    assert told["note"] == "scored whole: its cache cannot be shared"
    assert len(told["data hash"]) == 64


def test_what_an_older_scoring_run_did_not_note_is_said_to_be_so() -> None:
    task = make_task().model_copy(update={"limit": None, "settings": {"chat_template": "ab12"}})
    found = scored_quality(make_run(kind="accuracy", task=task).record, ALONE)
    assert found is not None
    told = {term.name: (term.text, term.code) for term in found.scoring[0].terms}
    assert told["answers"] == told["tokens fed"] == told["peak memory"] == (NOT_NOTED, False)
    assert told["chat template"] == ("ab12", True)
    assert told["items"] == ("all of validation", False)


def test_facts_of_one_kind_without_the_other_are_not_guessed() -> None:
    facts = {"answers_scored": Quantity(5, "1", Provenance.COUNTED)}
    seen = replace(answer_observation(), facts=facts)
    found = scored_quality(make_run(kind="accuracy", observation=seen).record, ALONE)
    assert found is not None
    assert {term.text for term in found.scoring[0].terms if term.name == "answers"} == {NOT_NOTED}


def test_small_differences_keep_their_digits_on_the_page(demo: Demo) -> None:
    record = demo_run(demo, "prompt-lookup", task="squad-passages")
    lines = {line.name: line for line in compared(record, "")}
    kl = lines["kl_to_baseline"]
    assert (kl.value, kl.launches) == ("0.00600", DASH)
    assert kl.interval == "0.00593 \u2013 0.00607"
    assert kl.label == "KL divergence from the baseline, at least"


@pytest.mark.parametrize("task", [None, "arc_easy"], ids=["timed", "scoring"])
def test_the_page_prints_the_section(demo: Demo, task: str | None) -> None:
    text = page(demo, demo_run(demo, "bf16", task=task))
    for part in ("<h2>Quality</h2>", "Accuracy, length-normalised", "\u2713 pass", "McNemar p"):
        assert part in text
    assert escape("of the baseline's score, all of it at 0.99 or more") in text
    assert ("Accuracy kept (gate): " in text) == (task is None)
    assert ("Nearness to the baseline" in text) == (task is None)
    assert ("lossless" in text) == (task is None)
    assert ("Not derived, and why" in text) == (task is None)
    assert f"How it was scored ({4 if task is None else 1})" in text


def test_the_methodology_defines_what_the_section_shows(demo: Demo) -> None:
    text = (demo.folder / "methodology.html").read_text(encoding="utf-8")
    for anchor in ("scores", "gate", "nearness", "ipw", "compression_rate", "knowledge_change"):
        assert f'id="{anchor}"' in text
    for part in ("99.0 %", "10,000 draws", "Fewer than 20 items", "within 0.001 nats"):
        assert part in text
