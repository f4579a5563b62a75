"""A record says every number that applies, and why one is absent."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from record_factory import answer_observation, make_run, request_observation

from leanboard.metrics.metric import Kind, Verdict
from leanboard.metrics.registry import METRICS
from leanboard.metrics.trace import (
    AnswerObservation,
    AnswerTrace,
    Provenance,
    RequestObservation,
    RoundTrace,
)
from leanboard.results.measure import (
    comparisons,
    measurements,
    stability,
)
from leanboard.results.output_comparisons import LOSSLESS
from leanboard.results.schema import Comparison
from leanboard.results.stored import INLINE_SAMPLES

BASELINE = "20261120T120000Z-00000000"


def compared(candidate: RequestObservation, baseline: RequestObservation) -> dict[str, Comparison]:
    return {c.metric: c for c in comparisons(candidate, baseline, BASELINE)}


def test_every_metric_of_the_kind_is_there_with_a_value_or_a_reason() -> None:
    measured = measurements(request_observation())
    assert list(measured) == [m.name for m in METRICS if Kind.REQUESTS in m.kinds]
    assert all((m.value is None) == (m.reason is not None) for m in measured.values())


def test_nothing_observed_gives_reasons_and_no_number() -> None:
    for observation in (RequestObservation(), AnswerObservation()):
        measured = measurements(observation)
        assert measured
        assert all(m.value is None and m.reason for m in measured.values())


def test_a_mean_of_scores_is_worked_by_hand() -> None:
    answers = tuple(AnswerTrace(str(i), {"acc": score}) for i, score in enumerate((1.0, 0, 1, 1)))
    acc = measurements(AnswerObservation(answers=answers))["acc"]
    assert (acc.value, acc.n, acc.samples) == (0.75, 4, (1.0, 0.0, 1.0, 1.0))
    assert acc.stderr == pytest.approx(0.25)


def test_a_ratio_of_sums_keeps_its_denominators() -> None:
    bits = measurements(answer_observation(task="squad-passages", items=6))["bits_per_byte"]
    assert bits.samples is not None
    assert bits.weights == (2200.0,) * 6
    assert bits.value == pytest.approx(sum(bits.samples) / sum(bits.weights))


@pytest.mark.parametrize(("items", "inline"), [(INLINE_SAMPLES, True), (INLINE_SAMPLES + 1, False)])
def test_samples_are_inline_up_to_a_limit(items: int, *, inline: bool) -> None:
    acc = measurements(answer_observation(items=items))["acc"]
    assert acc.n == items
    assert (acc.samples is not None) == inline


def test_a_sample_that_is_not_finite_gives_a_reason_and_stays_out_of_the_record() -> None:
    answers = tuple(AnswerTrace(str(i), {"acc": math.inf}) for i in range(9))
    acc = measurements(AnswerObservation(answers=answers))["acc"]
    assert (acc.value, acc.samples) == (None, None)
    assert acc.reason is not None
    assert "not finite" in acc.reason


def test_modelled_energy_stays_modelled_and_is_never_compared() -> None:
    observation = request_observation()
    energy = measurements(observation)["energy_per_output_token_j"]
    assert energy.provenance is Provenance.MODELLED
    ratio = compared(observation, observation)["energy_per_output_token_j"]
    assert (ratio.value, ratio.pairs, ratio.provenance) == (None, None, None)
    assert ratio.reason is not None


def test_a_faster_candidate_is_better_in_time_and_in_rate() -> None:
    found = compared(request_observation(speed=2.0, arm="b"), request_observation())
    tpot, rate = found["tpot_s"], found["decode_tokens_per_s"]
    assert (tpot.verdict, rate.verdict) == (Verdict.BETTER, Verdict.BETTER)
    assert tpot.value == pytest.approx(0.5, rel=0.02)
    assert tpot.pairs is not None
    assert len(tpot.pairs) == tpot.n == 8
    assert tpot.interval is not None
    assert tpot.interval.low < 0.5 * 1.02
    assert tpot.baseline_run == BASELINE


def test_a_record_says_whether_its_run_was_stable_and_why_not() -> None:
    calm = request_observation()
    assert (stability(calm).stable, stability(calm).causes) == (True, ())
    around = tuple(RoundTrace(0, i, False, i, i + 1.0, steal_share=0.1) for i in range(8))
    disturbed = stability(replace(calm, rounds=around))
    assert disturbed.stable is False
    assert [cause.kind for cause in disturbed.causes] == ["steal"]
    assert disturbed.figures["steal_share"] == pytest.approx(0.1)
    assert disturbed.figures["clock_range"] is None


def test_equal_outputs_agree_on_every_prompt() -> None:
    same = compared(request_observation(arm="b"), request_observation())[LOSSLESS]
    assert (same.statistic, same.value, same.n) == ("agreement", 1.0, 8)
    assert same.verdict is Verdict.NO_DIFFERENCE_SHOWN


def test_another_output_lowers_the_agreement_and_says_where() -> None:
    baseline = request_observation()
    changed = request_observation()
    last = changed.requests[-1]
    object.__setattr__(last, "output_ids", (*last.output_ids[:-1], 1))
    other = compared(changed, baseline)[LOSSLESS]
    assert other.value == pytest.approx(7 / 8)
    assert other.verdict is Verdict.UNDECIDED
    assert other.reason is not None
    assert f"first on prompt {last.prompt_id} at token 31" in other.reason


def test_a_baseline_has_no_comparison_and_a_candidate_has() -> None:
    baseline = make_run()
    assert baseline.record.comparisons == ()
    assert make_run(techniques=["bf16"], baseline=baseline).record.comparisons
