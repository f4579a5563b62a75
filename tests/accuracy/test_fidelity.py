"""A text scored beside the baseline's predictions, here and in another process; ties."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from numpy.typing import NDArray
from scoring_engine import PREFIX, FakeEngine

from leanboard.metrics.lossless import Parting
from leanboard.metrics.metric import Missing
from leanboard.metrics.trace import Provenance, Quantity
from leanboard.results.errors import ArmError
from leanboard.runners import wire, worker
from leanboard.runners.accuracy import fidelity
from leanboard.runners.accuracy.fidelity import (
    LocalPredictor,
    Nearness,
    Prediction,
    nearness_facts,
    pieces,
    predictor,
    tie_gaps,
)
from leanboard.runners.accuracy.reference import KEPT_TOKENS, kl_divergence, spread
from leanboard.runners.accuracy.rolling import TextTask, prepare_text
from leanboard.runners.accuracy.settings import TextConfig
from leanboard.runners.accuracy.tasks import BaselinePredictions, no_progress
from leanboard.runners.backends.base import Engine, Span
from leanboard.runners.isolate import Worker
from leanboard.runners.passages import Passage, Pool
from leanboard.runners.remote import RemoteEngine

POOL = Pool(
    tuple(Passage("A title", f"Passage {n} tells a story of {n * n} é.") for n in range(20)),
    "0" * 64,
    "package:made==1",
)
TASK = prepare_text(TextConfig("squad-passages", bytes=400, window_bytes=100), POOL)
SIZE = 2_000


def engine(noise: float = 0.0) -> FakeEngine:
    return FakeEngine(size=SIZE, noise=noise)


@dataclass
class InLineWorker:
    """Stands in for a worker's process: its messages go through JSON to a session here."""

    engine: Engine
    session: worker.Session = field(default_factory=worker.Session)
    asked: list[str] = field(default_factory=list)

    def call(self, op: str, _: float, **payload: Any) -> dict[str, Any]:
        self.asked.append(op)
        self.session._engine = self.engine
        message = json.loads(wire.encode({"op": op, **payload}))
        reply: dict[str, Any] = json.loads(wire.encode(worker.answer(self.session, message)))
        if not reply["ok"]:
            raise wire.error_from(reply)
        return reply


def remote(local: FakeEngine) -> RemoteEngine:
    return RemoteEngine(cast(Worker, InLineWorker(local)), local.vocabulary, 60.0)


@pytest.fixture(params=["here", "in a worker"])
def reached(request: pytest.FixtureRequest) -> Any:
    """Return the engine as it is, or as the orchestrator sees it."""
    return remote if request.param == "in a worker" else lambda local: local


def rows_of(local: FakeEngine) -> list[NDArray[np.float32]]:
    return [
        local.log_probabilities(Span((PREFIX,), local.encode(window))) for window in TASK.windows
    ]


def test_a_text_is_scored_beside_the_baselines_predictions(tmp_path: Path, reached: Any) -> None:
    path = tmp_path / "reference.npz"
    keeping = BaselinePredictions(keep=path)
    kept = TASK.answers(reached(engine()), no_progress, keeping)
    assert path.is_file()
    assert (keeping.facts, keeping.reason) == ({}, None)
    assert all(a.kl_nats is a.agreeing is a.kl_rest is None for a in kept)

    reading = BaselinePredictions(against=path)
    answers = TASK.answers(reached(engine(noise=0.5)), no_progress, reading)
    assert reading.reason is None
    for a, window, p, q in zip(
        answers, TASK.windows, rows_of(engine()), rows_of(engine(0.5)), strict=True
    ):
        ids = engine().encode(window)
        assert a.loglikelihoods == (pytest.approx(float(q[np.arange(len(ids)), ids].sum())),)
        assert (a.tokens, a.text_bytes) == (len(ids), len(window.encode()))
        whole = float(kl_divergence(p.astype(np.float64), q.astype(np.float64)).sum())
        assert a.kl_nats is not None
        assert 0.9 * whole < a.kl_nats < whole
        assert a.agreeing == int((p.argmax(axis=1) == q.argmax(axis=1)).sum())
        rest = np.sort(np.exp(p.astype(np.float64)), axis=1)[:, :-KEPT_TOKENS].sum()
        assert a.kl_rest == pytest.approx(float(rest), rel=1e-5)
    assert 0 < sum(a.agreeing or 0 for a in answers) < sum(a.tokens for a in answers)


def test_the_error_of_the_bounded_predictions_is_stated(tmp_path: Path) -> None:
    path = tmp_path / "reference.npz"
    TASK.answers(engine(), no_progress, BaselinePredictions(keep=path))
    reading = BaselinePredictions(against=path)
    answers = TASK.answers(engine(noise=0.5), no_progress, reading)
    p, q = (np.concatenate(rows_of(engine(noise))).astype(np.float64) for noise in (0.0, 0.5))
    at = spread(len(p))
    facts = reading.facts
    assert facts["kl_kept_tokens"] == Quantity(KEPT_TOKENS, "tok", Provenance.COUNTED)
    assert facts["kl_whole_tokens"] == Quantity(32, "tok", Provenance.COUNTED)
    whole = float(kl_divergence(p[at], q[at]).mean())
    assert facts["kl_whole"].value == pytest.approx(whole, rel=1e-6)
    assert facts["kl_whole"].unit == facts["kl_error"].unit == "nat"
    every = float(kl_divergence(p, q).mean())
    tokens = sum(a.tokens for a in answers)
    missed = every - math.fsum(a.kl_nats or 0.0 for a in answers) / tokens
    # What the 32 tokens show is about what all of them miss.
    assert missed > 0
    assert facts["kl_error"].value == pytest.approx(missed, rel=0.5)
    rest = math.fsum(a.kl_rest or 0.0 for a in answers) / tokens
    assert facts["kl_rest_mass"] == Quantity(rest, "1", Provenance.MEASURED)


def test_the_baseline_against_itself_differs_by_exactly_nothing(
    tmp_path: Path, reached: Any
) -> None:
    path = tmp_path / "reference.npz"
    TASK.answers(reached(engine()), no_progress, BaselinePredictions(keep=path))
    reading = BaselinePredictions(against=path)
    answers = TASK.answers(reached(engine()), no_progress, reading)
    assert [a.kl_nats for a in answers] == [0.0] * len(answers)
    assert [a.agreeing for a in answers] == [a.tokens for a in answers]
    assert reading.facts["kl_error"].value == 0.0


def test_one_forward_a_window_gives_everything(tmp_path: Path) -> None:
    local = engine()
    TASK.answers(local, no_progress, BaselinePredictions(keep=tmp_path / "reference.npz"))
    asked = [name for name, _ in local.calls]
    assert asked == ["encode_batch", *["log_probabilities"] * TASK.size]


def test_a_text_without_a_baseline_is_scored_as_any_span() -> None:
    local = engine()
    for nothing in (None, BaselinePredictions()):
        answers = TASK.answers(local, no_progress, nothing)
        assert all(answer.kl_nats is None for answer in answers)
    assert "log_probabilities" not in [name for name, _ in local.calls]


def test_predictions_that_do_not_fit_leave_the_text_scored_with_a_reason(
    tmp_path: Path, reached: Any
) -> None:
    missing = BaselinePredictions(against=tmp_path / "none.npz")
    answers = TASK.answers(reached(engine()), no_progress, missing)
    assert missing.reason == (
        "not compared with the baseline's predictions: the baseline's predictions were not kept"
    )
    assert missing.facts == {}
    assert all(a.kl_nats is None and a.loglikelihoods[0] < 0 for a in answers)

    path = tmp_path / "other.npz"
    other = TextTask(TASK.identity, TASK.windows[1:])
    other.answers(engine(), no_progress, BaselinePredictions(keep=path))
    unfit = BaselinePredictions(against=path)
    TASK.answers(reached(engine()), no_progress, unfit)
    assert unfit.reason is not None
    assert unfit.reason.endswith("are of another text or another tokenizer")


@dataclass
class Failing(FakeEngine):
    """Fails at the third window."""

    def log_probabilities(self, span: Span) -> NDArray[np.float32]:
        if len(self.calls) > 2:
            raise ArmError("layer 3 gave NaN")
        return super().log_probabilities(span)


def test_a_run_that_fails_half_way_keeps_no_predictions(tmp_path: Path, reached: Any) -> None:
    path = tmp_path / "reference.npz"
    with pytest.raises(ArmError, match="layer 3 gave NaN"):
        TASK.answers(reached(Failing(size=SIZE)), no_progress, BaselinePredictions(keep=path))
    assert list(tmp_path.iterdir()) == []


def test_log_probabilities_of_another_shape_are_refused(tmp_path: Path) -> None:
    @dataclass
    class Odd(FakeEngine):
        def log_probabilities(self, span: Span) -> NDArray[np.float32]:
            return super().log_probabilities(span)[:, :-1]

    with pytest.raises(ArmError, match=r"shape \(\d+, 1999\) where \(\d+, 2000\) were asked for"):
        TASK.answers(
            Odd(size=SIZE), no_progress, BaselinePredictions(keep=tmp_path / "reference.npz")
        )


def test_a_long_span_is_cut_into_pieces_with_all_before_them_as_context(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(fidelity, "LOGITS_AT_ONCE", 30)
    # 30 log-probabilities are three tokens of a vocabulary of ten: seven tokens are three pieces.
    assert pieces(Span((0,), (1, 2, 3, 4, 5, 6, 7)), 10) == [
        Span((0,), (1, 2)),
        Span((0, 1, 2), (3, 4)),
        Span((0, 1, 2, 3, 4), (5, 6, 7)),
    ]
    assert pieces(Span((0,), (1, 2, 3)), 10) == [Span((0,), (1, 2, 3))]
    assert pieces(Span((0,), (1, 2)), 31) == [Span((0,), (1,)), Span((0, 1), (2,))]


def test_pieces_give_what_the_whole_gives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def near(path: Path) -> tuple[list[Prediction], list[int]]:
        spans = [Span((PREFIX,), engine().encode(window)) for window in TASK.windows]
        begun = LocalPredictor(engine()).predict(spans, path, None)
        assert not isinstance(begun, Missing)
        list(begun)
        local = engine(0.5)
        found = LocalPredictor(local).predict(spans, None, path)
        assert not isinstance(found, Missing)
        return [prediction for _, prediction in found], [tokens for _, tokens in local.calls]

    whole, _ = near(tmp_path / "whole.npz")
    monkeypatch.setattr(fidelity, "LOGITS_AT_ONCE", 3 * SIZE)
    cut, asked = near(tmp_path / "cut.npz")
    assert max(asked) == 3
    assert (tmp_path / "cut.npz").read_bytes() == (tmp_path / "whole.npz").read_bytes()
    for one, other in zip(whole, cut, strict=True):
        assert one.nearness is not None
        assert other.nearness is not None
        assert other.loglikelihood == pytest.approx(one.loglikelihood)
        assert other.is_greedy == one.is_greedy
        assert other.nearness.kl_nats == pytest.approx(one.nearness.kl_nats)
        assert other.nearness.agreeing == one.nearness.agreeing
        assert other.nearness.whole_tokens == one.nearness.whole_tokens


def test_a_text_is_greedy_if_each_of_its_pieces_is() -> None:
    near = Nearness(1.0, 2, 0.5, 1, 0.25, 0.125)
    both = Prediction(-1.0, is_greedy=True, nearness=near) + Prediction(
        -2.0, is_greedy=False, nearness=near
    )
    twice = Nearness(2.0, 4, 1.0, 2, 0.5, 0.25)
    assert both == Prediction(-3.0, is_greedy=False, nearness=twice)


def test_greedy_text_is_told(tmp_path: Path) -> None:
    local = engine()
    ids: tuple[int, ...] = ()
    for _ in range(4):
        ids += (int(local.log_probabilities(Span((PREFIX, *ids), (0,))).argmax()),)
    found = LocalPredictor(local).predict(
        [Span((PREFIX,), ids), Span((PREFIX,), (*ids[:-1], ids[-1] - 1))], None, None
    )
    assert not isinstance(found, Missing)
    assert [prediction.is_greedy for _, prediction in found] == [True, False]


def test_facts_worked_by_hand() -> None:
    # 10 tokens; at 4 of them the whole KL is 0.8 in all, of which the bound shows 0.6.
    facts = nearness_facts(Nearness(3.0, 9, 0.5, 4, 0.8, 0.6), 10, 50_000)
    assert facts["kl_rest_mass"].value == 0.05
    assert facts["kl_whole"].value == pytest.approx(0.2)
    assert facts["kl_error"].value == pytest.approx(0.05)
    assert nearness_facts(Nearness(0.0, 0, 0.0, 0, 0.0, 0.0), 10, 90) == {
        "kl_kept_tokens": Quantity(90, "tok", Provenance.COUNTED),
        "kl_rest_mass": Quantity(0.0, "1", Provenance.MEASURED),
        "kl_whole_tokens": Quantity(0, "tok", Provenance.COUNTED),
    }


def test_a_tie_is_judged_by_the_baseline_after_prompt_and_common_output(reached: Any) -> None:
    local = engine()
    after = local.log_probabilities(Span((*local.encode("A prompt"), 5, 6), (0,)))[0]
    far = Parting("p", (5, 6), baseline_token=9, candidate_token=11)
    near = Parting("q", (), baseline_token=3, candidate_token=4)
    local.calls.clear()
    gaps = tie_gaps(reached(local), [far, near], {"p": "A prompt", "q": "Another"})
    assert gaps[far] == pytest.approx(float(after[9] - after[11]))
    assert list(gaps) == [far, near]
    assert [call for call in local.calls if call[0] == "log_probabilities"] == [
        ("log_probabilities", 1)
    ] * 2


def test_what_reads_distributions_is_found_in_whatever_process_they_are() -> None:
    local = engine()
    far = remote(local)
    assert isinstance(predictor(local), LocalPredictor)
    assert predictor(far) is far
