"""Judging ties takes nothing away: what was timed is recorded whatever happens meanwhile."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from leanboard.metrics.trace import RequestObservation, RequestTrace
from leanboard.results.errors import ArmError
from leanboard.runners.backends.base import Vocabulary
from leanboard.runners.recording import Finished
from leanboard.runners.ties import NOT_JUDGED, TieJudge

VOCABULARY = Vocabulary(size=9, prefix_token_id=0, eot_token_id=1, max_length=99)
PROMPTS = SimpleNamespace(prompts=[SimpleNamespace(prompt_id="p", text="Say it.")])
WORKLOAD: Any = SimpleNamespace(prompts=PROMPTS)


class Baseline:
    """A worker that knows two tokens at one place, or breaks when it is asked."""

    def __init__(self, breaks: BaseException | None = None) -> None:
        self.running, self.awake, self._breaks = True, False, breaks

    def resume(self) -> None:
        self.awake = True

    def pause(self) -> None:
        self.awake = False

    def call(self, op: str, _timeout_s: float, **payload: Any) -> dict[str, Any]:
        assert self.awake
        if self._breaks is not None:
            raise self._breaks
        if op == "encode":
            return {"ids": [[5, 6] for _ in payload["texts"]]}
        assert (op, payload) == (
            "log_probabilities_of",
            {"context": [5, 6, 2], "tokens": [3, 4]},
        )
        return {"log_probabilities": [-1.0, -1.0004]}


def finished(*output_ids: int, error: ArmError | None = None) -> Finished:
    trace = RequestTrace("p", "a", 0, False, 0, 0.0, 0.0, None, (1.0, 2.0), 2, output_ids)
    nothing: Any = None
    return Finished("run", nothing, nothing, RequestObservation(requests=(trace,)), error, nothing)


def arm(process: Baseline | None) -> Any:
    return SimpleNamespace(process=process, vocabulary=VOCABULARY, error=None)


def observation(run: Finished) -> RequestObservation:
    assert isinstance(run.observation, RequestObservation)
    return run.observation


def test_the_gap_is_noted_where_the_outputs_part() -> None:
    worker = Baseline()
    judged = TieJudge(arm(worker), 1.0).judged(finished(2, 4), finished(2, 3), WORKLOAD)
    assert observation(judged).requests[0].tie_gap_nats == pytest.approx(0.0004)
    assert judged.warnings == ()
    assert not worker.awake


def test_equal_outputs_ask_for_nothing() -> None:
    same = finished(2, 3)
    assert TieJudge(arm(None), 1.0).judged(same, finished(2, 3), WORKLOAD) is same


@pytest.mark.parametrize("process", [None, Baseline(ArmError("it died"))])
def test_a_baseline_that_cannot_be_asked_is_a_note_and_no_fault_of_the_arm(
    process: Baseline | None,
) -> None:
    baseline = arm(process)
    judged = TieJudge(baseline, 1.0).judged(finished(2, 4), finished(2, 3), WORKLOAD)
    assert observation(judged).requests[0].tie_gap_nats is None
    assert judged.warnings[0].startswith(NOT_JUDGED)
    assert baseline.error is None


def test_a_failed_run_is_not_judged() -> None:
    failed = finished(2, 4, error=ArmError("no answer"))
    assert TieJudge(arm(Baseline()), 1.0).judged(failed, finished(2, 3), WORKLOAD) is failed
    fine, reference = finished(2, 4), finished(2, 3, error=ArmError("no answer"))
    assert TieJudge(arm(Baseline()), 1.0).judged(fine, reference, WORKLOAD) is fine


def test_ctrl_c_leaves_the_runs_to_be_recorded_and_asks_no_more() -> None:
    judge = TieJudge(arm(Baseline(KeyboardInterrupt())), 1.0)
    judged = judge.judged(finished(2, 4), finished(2, 3), WORKLOAD)
    assert judged.warnings == (f"{NOT_JUDGED}: the run was interrupted",)
    again = finished(2, 4)
    assert judge.judged(again, finished(2, 3), WORKLOAD) is again
