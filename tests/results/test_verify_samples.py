"""Raw samples must be of the arm, the workload and the procedure that the record names."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from record_factory import (
    Run,
    answer_observation,
    make_procedure,
    make_run,
    make_task,
    make_workload,
    request_observation,
)

from leanboard.metrics.trace import (
    AnswerObservation,
    AnswerTrace,
    Observation,
    RequestObservation,
    RequestTrace,
)
from leanboard.results.document import json_text
from leanboard.results.identity import content_hash
from leanboard.results.schema import Procedure, Sampling, TraceFile, Workload
from leanboard.results.store import Store
from leanboard.results.traces import to_parquet
from leanboard.results.verify import verify_record

Fields = dict[str, Any]
SHAPES = ((64, 8), (128, 32))


@pytest.fixture
def said(tmp_path: Path) -> Callable[[Run], str]:
    """What verify says of a run."""

    def write(run: Run) -> str:
        path = Store(tmp_path / "records", "local").write(run.record, run.traces)
        return "\n".join(problem.message for problem in verify_record(path).problems)

    return write


def changed(
    change: Callable[[RequestTrace], RequestTrace], workload: Workload | None = None
) -> RequestObservation:
    observed = request_observation(workload=workload)
    return replace(observed, requests=tuple(map(change, observed.requests)))


def in_round(number: int, **parts: Any) -> Callable[[RequestTrace], RequestTrace]:
    """Change the timed requests of one round."""

    def change(request: RequestTrace) -> RequestTrace:
        hit = request.round == number and not request.warmup
        return replace(request, **parts) if hit else request

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (in_round(3, arm="bf16"), "there are raw samples of 'bf16', but its arm is 'none'"),
        (
            in_round(3, prompt_tokens=129),
            "1 requests have 129 prompt tokens, but the workload has 128",
        ),
        (
            in_round(3, output_ids=(5, 6)),
            "1 requests have 2 output tokens, but the workload has 32",
        ),
        (in_round(3, round=2), "timed round 2 has 2 batches instead of one"),
        (in_round(3, round=9), "its 8 timed rounds are not numbered from 0 on"),
        (in_round(3, launch=1), "does not fit the rounds of its requests"),
    ],
)
def test_requests_that_do_not_fit_the_cell_are_found(
    said: Callable[[Run], str],
    change: Callable[[RequestTrace], RequestTrace],
    message: str,
) -> None:
    assert message in said(make_run(observation=changed(change)))


def test_shorter_prompts_and_natural_ends_are_no_problem(said: Callable[[Run], str]) -> None:
    natural = make_workload().model_copy(update={"output_length": "natural"})
    observed = changed(in_round(3, prompt_tokens=100, output_ids=(5, 6)), natural)
    assert said(make_run(workload=natural, observation=observed)) == ""


def test_mixed_lengths_are_held_to_the_shape_of_their_round(said: Callable[[Run], str]) -> None:
    mixed = make_workload().model_copy(update={"shapes": SHAPES})

    def shaped(request: RequestTrace) -> RequestTrace:
        if request.warmup:
            return request
        prompt_tokens, output_tokens = SHAPES[request.round % 2]
        return replace(
            request,
            prompt_tokens=prompt_tokens,
            output_ids=request.output_ids[:output_tokens],
            token_s=request.token_s[:output_tokens],
        )

    assert said(make_run(workload=mixed, observation=changed(shaped, mixed))) == ""
    unshaped = said(make_run(workload=mixed, observation=request_observation(), number=1))
    assert "4 requests have 128 prompt tokens, but the workload has 64" in unshaped
    assert "4 requests have 32 output tokens, but the workload has 8" in unshaped


def test_a_batch_of_another_size_is_found(said: Callable[[Run], str]) -> None:
    four = make_workload(batch_size=4)
    assert said(make_run(workload=four)) == ""
    alone = make_run(workload=four, observation=request_observation(), number=1)
    assert "batches of 1 requests, but those of the workload have 4" in said(alone)


def test_rounds_that_were_left_out_are_found(said: Callable[[Run], str]) -> None:
    observed = request_observation()
    kept = replace(observed, requests=tuple(r for r in observed.requests if r.round != 7))
    message = said(make_run(observation=kept))
    assert "sampling says 7 rounds, but its procedure has 8" in message
    assert "what was around its timed rounds does not fit" in message


def test_surroundings_that_were_left_out_or_told_twice_are_found(
    said: Callable[[Run], str],
) -> None:
    observed = request_observation()
    bare = said(make_run(observation=replace(observed, rounds=())))
    assert bare == "what was around its timed rounds does not fit the rounds of its requests"
    twice = replace(observed, rounds=(*observed.rounds, observed.rounds[-1]))
    assert "timed round 7 has 2 surroundings instead of one" in said(
        make_run(observation=twice, number=1)
    )


def test_samples_of_another_kind_are_found(said: Callable[[Run], str]) -> None:
    answers: Observation = answer_observation()
    message = said(make_run(observation=answers))
    assert "its raw samples are answers, but its cell is one of performance" in message


def test_a_failed_arm_may_have_fewer_rounds_than_its_block(tmp_path: Path) -> None:
    run = make_run(observation=request_observation(rounds=3))
    path = Store(tmp_path / "records", "local").write(run.record, run.traces)
    fields = json.loads(path.read_text())
    assert "its procedure has 8" in _resealed(path, fields)
    empty: Fields = {"measurements": {}, "facts": {}, "stability": None}
    failed = {"status": "failed", "error": {"kind": "failed", "message": "out of memory"}}
    assert _resealed(path, fields | empty | failed) == ""


def _resealed(path: Path, fields: Fields) -> str:
    path.write_text(json_text(fields | {"content_hash": content_hash(fields)}))
    return "\n".join(problem.message for problem in verify_record(path).problems)


def adaptive(**parts: Any) -> Procedure:
    """Look after every 4 rounds of 2 launches, for at most 16 rounds."""
    fields = make_procedure(4, rounds_per_launch=2).model_dump()
    limits = {"max_rounds": 16, "target_width": 0.05, "time_budget_s": 60.0}
    return Procedure(**fields | limits | parts)


STOPPED = Sampling(
    launches=4,
    rounds=8,
    warmup_rounds=(1, 1, 1, 1),
    stopped_by="width",
    looks=(4, 8),
    widths={"tpot_s": 0.04},
)


def sampled(said: Callable[[Run], str], procedure: Procedure, **parts: Any) -> str:
    """What verify says of 8 rounds in 4 launches that were sampled so."""
    run = make_run(
        procedure=procedure, observation=request_observation(rounds=8, rounds_per_launch=2)
    )
    fields = run.record.model_dump(mode="json")
    fields["sampling"] = STOPPED.model_copy(update=parts).model_dump(mode="json")
    record = run.record.model_validate(fields | {"content_hash": content_hash(fields)})
    return said(replace(run, record=record))


def test_a_procedure_that_stopped_as_it_says_holds(said: Callable[[Run], str]) -> None:
    assert sampled(said, adaptive()) == ""


@pytest.mark.parametrize(
    ("limits", "parts"),
    [
        ({"max_rounds": 8}, {"stopped_by": "rounds", "widths": {"tpot_s": 0.2}}),
        ({}, {"stopped_by": "time", "widths": {"tpot_s": None}}),
        ({}, {"stopped_by": "nothing", "widths": {}}),
        ({}, {"side_by_side": False, "warmup_rounds": (2, 1, 1, 1)}),
    ],
)
def test_the_other_reasons_to_stop_hold_too(
    said: Callable[[Run], str], limits: Fields, parts: Fields
) -> None:
    assert sampled(said, adaptive(**limits), **parts) == ""


@pytest.mark.parametrize(
    ("limits", "parts", "message"),
    [
        ({}, {"looks": (4, 7)}, "its looks are (4, 7), but they are due after every 4 of its 8"),
        ({}, {"looks": (4,)}, "its looks are (4,), but they are due"),
        ({}, {"looks": (4, 8, 12)}, "its looks are (4, 8, 12), but they are due"),
        ({}, {"looks": ()}, "its looks are (), but they are due"),
        ({}, {"widths": {"tpot_s": 0.06}}, "it was stopped by 'width', but"),
        ({}, {"widths": {"tpot_s": None}}, "it was stopped by 'width', but"),
        ({}, {"widths": {}}, "it was stopped by 'width', but"),
        ({"target_width": None}, {}, "it was stopped by 'width', but"),
        ({}, {"stopped_by": "rounds"}, "it was stopped by 'rounds', but"),
        ({"time_budget_s": None}, {"stopped_by": "time"}, "it was stopped by 'time', but"),
        ({}, {"stopped_by": "nothing"}, "it was stopped by 'nothing', but"),
        ({}, {"stopped_by": "fixed"}, "it was stopped by 'fixed', but"),
        ({}, {"widths": {"ttft_s": 0.01}}, "its widths are of ['ttft_s'], not of ['tpot_s']"),
        ({"max_rounds": 4}, {}, "sampling says 8 rounds, but its procedure ends at 4"),
        ({"rounds_per_launch": 1}, {}, "4 launches, but its procedure has 8 in 8 rounds"),
        ({}, {"warmup_rounds": (1, 1, 2, 1)}, "sampling says (1, 1, 2, 1) warm-up rounds, but"),
        ({}, {"warmup_rounds": (1, 1)}, "sampling says (1, 1) warm-up rounds, but"),
        (
            {},
            {"side_by_side": False, "warmup_rounds": (0, 1, 1, 1)},
            "sampling says (0, 1, 1, 1) warm-up rounds, but",
        ),
    ],
)
def test_sampling_that_its_procedure_does_not_allow_is_found(
    said: Callable[[Run], str], limits: Fields, parts: Fields, message: str
) -> None:
    assert message in sampled(said, adaptive(**limits), **parts)


def test_a_fixed_procedure_has_no_looks(said: Callable[[Run], str]) -> None:
    fixed = make_procedure(8, rounds_per_launch=2)
    message = sampled(said, fixed)
    assert message == "its procedure has a fixed number of rounds, but sampling tells of looks"


def answered(items: int, **scores: float) -> AnswerObservation:
    return AnswerObservation(answers=tuple(AnswerTrace(str(i), scores) for i in range(items)))


def asked(items: int, limit: int | None, **scores: float) -> Run:
    task, observed = make_task("arc_easy", limit=limit), answered(items, acc=1.0, **scores)
    return make_run(kind="accuracy", task=task, observation=observed)


def test_answers_are_as_many_as_the_task_has_items(said: Callable[[Run], str]) -> None:
    assert said(asked(50, 50)) == ""
    assert said(asked(50, None)) == ""
    assert said(asked(50, 400)) == "there are 50 answers, but its task has 400 items"


@pytest.mark.parametrize(
    "forged",
    [
        {"kl_nats": -1e-6},
        {"kl_nats": float("nan")},
        {"agreeing": 11},
        {"agreeing": -1},
        {"kl_rest": 10.5},
        {"kl_rest": -0.1},
    ],
)
def test_windows_that_no_two_models_can_give_are_found(
    said: Callable[[Run], str], forged: Fields
) -> None:
    fair = AnswerTrace(
        "0", {}, (-10.0,), tokens=10, text_bytes=40, kl_nats=-1e-12, agreeing=10, kl_rest=0.0
    )
    answers = tuple(replace(fair, item_id=str(i)) for i in range(6))
    task = make_task("squad-passages", limit=6)
    run = make_run(kind="accuracy", task=task, observation=AnswerObservation(answers=answers))
    assert said(run) == ""
    bad = AnswerObservation(answers=(*answers[1:], replace(fair, **forged)))
    message = said(make_run(kind="accuracy", task=task, observation=bad, number=1))
    assert message == "1 items are compared with the baseline as none can be, first 0"


@pytest.mark.parametrize("count", [0.0, -1.0, math.nan, math.inf])
@pytest.mark.parametrize("name", ["instructions", "words"])
def test_forged_counts_give_no_number(said: Callable[[Run], str], name: str, count: float) -> None:
    run = asked(50, 50, **{"inst_level_strict_acc": 1.0, name: count})
    assert said(run) == ""
    for metric in ("inst_level_strict_acc", "word_perplexity"):
        assert run.record.measurements[metric].value is None


def test_scores_that_overflow_are_told(said: Callable[[Run], str]) -> None:
    fair = asked(50, 50)
    wild = to_parquet(answered(50, acc=1e308))
    traces = TraceFile(sha256=hashlib.sha256(wild).hexdigest(), rows=50)
    fields = fair.record.model_copy(update={"traces": traces}).model_dump(mode="json")
    record = fair.record.model_validate(fields | {"content_hash": content_hash(fields)})
    message = said(replace(fair, record=record, traces=wild))
    assert "no numbers can be derived from its raw samples" in message
