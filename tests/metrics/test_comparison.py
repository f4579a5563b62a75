"""Paired ratios, verdicts, equality of outputs, and Pareto fronts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leanboard.metrics.comparison import compare, ratio_provenance, verdict_of
from leanboard.metrics.intervals import Interval
from leanboard.metrics.lossless import Difference, Lossless, lossless
from leanboard.metrics.metric import Direction, Metric, Missing, Verdict
from leanboard.metrics.pairs import PairedRatios, at_round, paired_ratios
from leanboard.metrics.pareto import pareto_front
from leanboard.metrics.registry import metric
from leanboard.metrics.signed_rank import ratio_interval
from leanboard.metrics.trace import (
    AnswerObservation,
    EnergyWindow,
    Observation,
    Phase,
    Provenance,
    Quantity,
    RequestObservation,
    RequestTrace,
    RoundTrace,
)

TTFT = metric("ttft_s")
DECODE = metric("decode_tokens_per_s")
ENERGY = metric("energy_per_output_token_j")
MEMORY = metric("peak_memory_bytes")
LOWER, HIGHER = Direction.LOWER, Direction.HIGHER


def ratios(candidate: Observation, baseline: Observation, column: Metric = TTFT) -> object:
    found = paired_ratios(column, candidate, baseline)
    return found.values if isinstance(found, PairedRatios) else found


def one_each(values: Sequence[float]) -> PairedRatios:
    """Ratios of rounds that each ran in a launch of its own."""
    return PairedRatios(tuple(values), tuple(range(len(values))))


def trace(number: int, token_s: Sequence[float], **changes: object) -> RequestTrace:
    plain = RequestTrace(
        prompt_id="p",
        arm="none",
        round=number,
        warmup=False,
        batch=0,
        scheduled_s=0.0,
        sent_s=0.0,
        encoded_s=None,
        token_s=tuple(token_s),
        prompt_tokens=10,
        output_ids=tuple(range(len(token_s))),
    )
    return replace(plain, **changes)  # type: ignore[arg-type]


def firsts(by_round: Mapping[int, Sequence[float]]) -> RequestObservation:
    """Requests of one token whose TTFT is given; each is its own batch."""
    return RequestObservation(
        requests=tuple(
            trace(number, [ttft], batch=batch)
            for number, values in by_round.items()
            for batch, ttft in enumerate(values)
        )
    )


def peaks(by_round: Sequence[float | None]) -> RequestObservation:
    """Rounds with a launch each, whose peak memory is given; the run's is the highest."""
    highest = Quantity(max(v for v in by_round if v is not None), "B", Provenance.MEASURED)
    return RequestObservation(
        facts={"peak_memory_bytes": highest},
        rounds=tuple(
            RoundTrace(i, i, False, 0.0, 1.0, None if value is None else int(value))
            for i, value in enumerate(by_round)
        ),
    )


def joules(by_round: Sequence[float | None], provenance: Provenance) -> RequestObservation:
    return RequestObservation(
        windows=tuple(
            EnergyWindow(Phase.MIXED, number, 0.0, 1.0, energy, "probe", provenance, 1, 10)
            for number, energy in enumerate(by_round)
        )
    )


def outputs(**ids: tuple[int, ...]) -> RequestObservation:
    return RequestObservation(
        requests=tuple(
            trace(0, [1.0] * len(row), prompt_id=prompt, output_ids=row, batch=i)
            for i, (prompt, row) in enumerate(ids.items())
        )
    )


class TestPairedRatios:
    def test_a_round_is_the_ratio_of_its_medians(self) -> None:
        # Round 0: median(1, 2, 9) / median(4) = 0.5; round 1: 6 / median(2, 4) = 2
        candidate, baseline = firsts({0: [9, 1, 2], 1: [6]}), firsts({0: [4], 1: [2, 4]})
        assert ratios(candidate, baseline) == (0.5, 2.0)

    def test_rates_take_the_sums_of_their_round(self) -> None:
        # 2 tokens in 1 s and 2 tokens in 3 s: 4 / 4 = 1 tok/s, not the median of 2 and 2/3;
        # baseline 2 tokens in 4 s = 0.5 tok/s.
        candidate = RequestObservation(
            requests=(trace(0, [1, 1.5, 2]), trace(0, [1, 2, 4], batch=1))
        )
        baseline = RequestObservation(requests=(trace(0, [1, 2, 5]),))
        assert ratios(candidate, baseline, DECODE) == (2.0,)

    def test_a_round_that_one_arm_lacks_is_dropped(self) -> None:
        candidate, baseline = firsts({0: [1], 2: [3]}), firsts({0: [2], 1: [2], 2: [1]})
        assert ratios(candidate, baseline) == (0.5, 3.0)

    def test_a_failed_round_is_dropped_and_warm_ups_never_count(self) -> None:
        failed = trace(1, [], error="killed")
        warm = trace(0, [99.0], warmup=True)
        candidate = replace(firsts({0: [1]}), requests=(warm, trace(0, [1.0]), failed))
        assert ratios(candidate, firsts({0: [2], 1: [2]})) == (0.5,)

    def test_rounds_are_paired_by_number_whatever_their_order(self) -> None:
        candidate, baseline = firsts({1: [6], 0: [1]}), firsts({0: [2], 1: [2]})
        assert ratios(candidate, baseline) == (0.5, 3.0)

    def test_no_common_round_gives_a_reason(self) -> None:
        result = ratios(firsts({0: [1]}), firsts({1: [1]}))
        assert result == Missing("candidate and baseline share no round")

    def test_an_arm_without_a_value_is_named_with_its_reason(self) -> None:
        result = ratios(firsts({0: [1]}), RequestObservation())
        assert result == Missing("baseline: no timed request succeeded")

    def test_a_value_of_zero_has_no_ratio(self) -> None:
        result = ratios(firsts({0: [1]}), firsts({0: [0]}))
        assert result == Missing("a ratio needs values above 0 in every round")

    def test_answers_have_no_rounds(self) -> None:
        result = ratios(AnswerObservation(), AnswerObservation())
        assert result == Missing("only generation requests are measured in rounds")

    def test_a_single_value_gives_a_single_ratio(self) -> None:
        def peak(value: float) -> RequestObservation:
            fact = Quantity(value, "B", Provenance.MEASURED)
            return replace(firsts({0: [1], 1: [1]}), facts={"peak_memory_bytes": fact})

        assert ratios(peak(3e8), peak(6e8), MEMORY) == (0.5,)

    def test_a_round_knows_its_launch(self) -> None:
        def launched(values: Sequence[float]) -> RequestObservation:
            return RequestObservation(
                requests=tuple(trace(i, [v], launch=i // 2) for i, v in enumerate(values))
            )

        found = paired_ratios(TTFT, launched([1, 2, 3, 4]), launched([2, 2, 1, 1]))
        assert found == PairedRatios((0.5, 1.0, 3.0, 4.0), (0, 0, 1, 1))

    def test_memory_is_compared_by_the_peaks_of_the_rounds(self) -> None:
        found = paired_ratios(MEMORY, peaks([4e8, 6e8]), peaks([8e8, 8e8]))
        assert found == PairedRatios((0.5, 0.75), (0, 1))

    def test_a_round_whose_memory_was_not_read_is_dropped_and_warm_ups_never_count(self) -> None:
        candidate = peaks([4e8, None, 6e8])
        warm = replace(candidate.rounds[0], warmup=True, round=1, peak_memory_bytes=9)
        candidate = replace(candidate, rounds=(warm, *candidate.rounds))
        assert ratios(candidate, peaks([8e8] * 3), MEMORY) == (0.5, 0.75)

    def test_memory_that_one_arm_has_for_the_run_only_gives_one_ratio(self) -> None:
        whole = replace(peaks([4e8, 4e8]), rounds=())
        assert paired_ratios(MEMORY, whole, peaks([8e8, 8e8])) == PairedRatios((0.5,))

    def test_idle_windows_belong_to_every_round(self) -> None:
        idle = EnergyWindow(Phase.IDLE, 0, 0, 1, 5.0, "probe", Provenance.MEASURED, 0, 0)
        seen = replace(joules([1.0, 2.0], Provenance.MEASURED))
        seen = replace(seen, windows=(*seen.windows, idle))
        assert [w.energy_j for w in at_round(seen, 1).windows] == [2.0, 5.0]


class TestEnergyComparison:
    def test_measured_joules_are_compared(self) -> None:
        candidate = joules([1.0, 3.0], Provenance.MEASURED)
        baseline = joules([2.0, 2.0], Provenance.MEASURED)
        assert ratios(candidate, baseline, ENERGY) == pytest.approx((0.5, 1.5))

    @pytest.mark.parametrize("modelled", ["candidate", "baseline"])
    def test_modelled_joules_are_shown_never_compared(self, modelled: str) -> None:
        arms = {
            arm: joules([1.0], Provenance.MODELLED if arm == modelled else Provenance.MEASURED)
            for arm in ("candidate", "baseline")
        }
        result = ratios(arms["candidate"], arms["baseline"], ENERGY)
        assert result == Missing("modelled joules are shown, never compared")

    def test_a_round_that_only_a_model_has_read_does_not_slip_in(self) -> None:
        counted = joules([2.0, None], Provenance.MEASURED)
        guess = EnergyWindow(Phase.MIXED, 1, 0, 1, 9.0, "model", Provenance.MODELLED, 1, 10)
        candidate = replace(counted, windows=(*counted.windows, guess))
        baseline = joules([1.0, 1.0], Provenance.MEASURED)
        assert ratios(candidate, baseline, ENERGY) == (2.0,)

    def test_a_ratio_claims_the_weaker_provenance(self) -> None:
        measured, modelled = (
            joules([1.0], Provenance.MEASURED),
            joules([1.0], Provenance.MODELLED),
        )
        assert ratio_provenance(ENERGY, measured, modelled) is Provenance.MODELLED
        assert ratio_provenance(ENERGY, measured, RequestObservation()) is None


class TestVerdict:
    @pytest.mark.parametrize(
        ("low", "high", "direction", "verdict"),
        [
            (0.7, 0.9, LOWER, Verdict.BETTER),
            (0.7, 0.9, HIGHER, Verdict.WORSE),
            (1.1, 1.3, LOWER, Verdict.WORSE),
            (1.1, 1.3, HIGHER, Verdict.BETTER),
            (0.9, 1.1, LOWER, Verdict.NO_DIFFERENCE_SHOWN),
            (1.0, 1.2, LOWER, Verdict.NO_DIFFERENCE_SHOWN),
            (0.8, 1.0, HIGHER, Verdict.NO_DIFFERENCE_SHOWN),
        ],
    )
    def test_it_follows_from_the_interval_and_the_direction(
        self, low: float, high: float, direction: Direction, verdict: Verdict
    ) -> None:
        assert verdict_of(Interval(low, high, "t"), direction) is verdict

    def test_eight_clear_rounds_decide(self) -> None:
        # Logs are -+ d around log 0.5 with d = log 1.1: of their 36 averages of two 10 are -d, 16
        # are 0 and 10 are d; the interval goes from the 4th to the 33rd.
        result = compare(TTFT, one_each((0.5 * 1.1, 0.5 / 1.1) * 4))
        assert result.value == pytest.approx(0.5)
        assert result.interval is not None
        assert result.interval.high == pytest.approx(0.5 * 1.1)
        assert result.interval.low == pytest.approx(0.5 / 1.1)
        assert (result.n, result.verdict, result.reason) == (8, Verdict.BETTER, None)

    def test_the_unit_is_the_launch(self) -> None:
        # Launches of two rounds whose geometric means are 0.5 x 1.1 and 0.5 / 1.1, four of each:
        # the interval of the eight clear rounds, however far apart the rounds of a launch are.
        launches = (0.5 * 1.1, 0.5 / 1.1) * 4
        rounds = tuple(value * side for value in launches for side in (3.0, 1 / 3.0))
        result = compare(TTFT, PairedRatios(rounds, tuple(i // 2 for i in range(16))))
        plain = compare(TTFT, one_each(launches))
        assert result.interval is not None
        assert plain.interval is not None
        assert result.interval.low == pytest.approx(plain.interval.low)
        assert result.interval.high == pytest.approx(plain.interval.high)
        assert (result.n, result.launches, plain.launches) == (16, 8, 8)
        assert result.interval.method == "signed ranks of log ratios, 8 launches"

    def test_a_launch_weighs_the_same_however_many_rounds_it_has(self) -> None:
        # Launch 0 has four rounds of 2, launches 1 to 4 one of 1/2 each: the middle is theirs.
        pairs = PairedRatios((2.0,) * 4 + (0.5,) * 4, (0, 0, 0, 0, 1, 2, 3, 4))
        assert compare(TTFT, pairs).value == pytest.approx(0.5)

    def test_eight_rounds_in_a_launch_each_have_the_interval_of_signed_ranks(self) -> None:
        found = (1.02, 0.97, 1.05, 0.99, 1.01, 1.04, 0.98, 1.03)
        result, plain = compare(TTFT, one_each(found)), ratio_interval(found)
        assert plain is not None
        assert result.interval is not None
        assert (result.interval.low, result.interval.high) == (plain.low, plain.high)

    def test_one_process_says_that_it_speaks_for_itself(self) -> None:
        result = compare(TTFT, PairedRatios((0.5, 0.51) * 4, (0,) * 8))
        assert result.verdict is Verdict.BETTER
        assert result.launches == 1
        assert result.interval is not None
        assert result.interval.method == "t on log ratios, one process"

    @pytest.mark.parametrize("launches", [2, 4])
    def test_a_few_launches_decide_nothing(self, launches: int) -> None:
        pairs = PairedRatios((0.5,) * 8, tuple(i % launches for i in range(8)))
        result = compare(TTFT, pairs)
        assert (result.value, result.interval, result.verdict) == (0.5, None, Verdict.UNDECIDED)
        assert result.reason == f"a verdict needs 6 launches, or all in one, there are {launches}"

    def test_memory_of_the_same_size_in_every_round_is_decided(self) -> None:
        same = compare(MEMORY, paired_ratios(MEMORY, peaks([4e8] * 8), peaks([4e8] * 8)))
        half = compare(MEMORY, paired_ratios(MEMORY, peaks([4e8] * 8), peaks([8e8] * 8)))
        assert (same.value, same.verdict) == (1.0, Verdict.NO_DIFFERENCE_SHOWN)
        assert (half.value, half.verdict) == (0.5, Verdict.BETTER)
        assert half.interval is not None
        assert (half.interval.low, half.interval.high) == (0.5, 0.5)

    def test_seven_rounds_show_the_ratio_and_decide_nothing(self) -> None:
        result = compare(TTFT, one_each((0.5,) * 7))
        assert result.value == pytest.approx(0.5)
        assert (result.interval, result.verdict) == (None, Verdict.UNDECIDED)
        assert result.reason == "a verdict needs 8 paired rounds, there are 7"

    def test_scattered_rounds_show_no_difference(self) -> None:
        assert compare(TTFT, one_each((0.5, 2.0) * 4)).verdict is Verdict.NO_DIFFERENCE_SHOWN

    def test_what_is_missing_is_undecided_with_its_reason(self) -> None:
        result = compare(TTFT, Missing("baseline: killed"))
        assert (result.value, result.n, result.verdict) == (None, 0, Verdict.UNDECIDED)
        assert result.reason == "baseline: killed"
        assert compare(TTFT, PairedRatios(())).reason == "there is no paired round"

    def test_a_single_ratio_has_no_interval(self) -> None:
        result = compare(MEMORY, PairedRatios((0.5,)))
        assert (result.value, result.interval, result.verdict) == (0.5, None, Verdict.UNDECIDED)
        assert result.reason == "one value a run: a ratio without an interval"

    def test_a_metric_without_a_better_direction_has_no_verdict(self) -> None:
        neutral = replace(TTFT, direction=Direction.NEUTRAL)
        result = compare(neutral, one_each((0.5,) * 8))
        assert result.verdict is Verdict.UNDECIDED
        assert result.reason == "neither direction of this metric is better"
        with pytest.raises(ValueError, match="no verdict"):
            verdict_of(Interval(0.1, 0.2, "t"), Direction.NEUTRAL)

    @given(st.lists(st.floats(0.1, 10.0), min_size=8, max_size=20))
    def test_swapping_the_arms_swaps_the_verdict(self, found: list[float]) -> None:
        swapped = {
            Verdict.BETTER: Verdict.WORSE,
            Verdict.WORSE: Verdict.BETTER,
            Verdict.NO_DIFFERENCE_SHOWN: Verdict.NO_DIFFERENCE_SHOWN,
        }
        forth = compare(TTFT, one_each(found))
        back = compare(TTFT, one_each([1 / r for r in found]))
        assert forth.interval is not None
        edge = min(abs(forth.interval.low - 1), abs(forth.interval.high - 1))
        assert edge < 1e-9 or back.verdict is swapped[forth.verdict]


class TestLossless:
    def test_equal_outputs_are_lossless(self) -> None:
        arm = outputs(a=(1, 2, 3), b=(4, 5))
        assert lossless(arm, arm) == Lossless(identical=True, prompts=2, differing=0, first=None)

    def test_the_first_difference_is_named(self) -> None:
        candidate, baseline = (
            outputs(a=(1, 2), b=(4, 9, 6), c=(0,)),
            outputs(a=(1, 2), b=(4, 5, 6), c=(7,)),
        )
        assert lossless(candidate, baseline) == Lossless(
            identical=False, prompts=3, differing=2, first=Difference("b", 1)
        )

    def test_outputs_that_part_and_meet_again_differ_where_they_parted(self) -> None:
        result = lossless(outputs(a=(1, 9, 3, 9)), outputs(a=(1, 2, 3, 4)))
        assert isinstance(result, Lossless)
        assert (result.first, result.differing) == (Difference("a", 1), 1)

    def test_a_shorter_output_differs_where_it_ends(self) -> None:
        result = lossless(outputs(a=(1, 2)), outputs(a=(1, 2, 3)))
        assert isinstance(result, Lossless)
        assert result.first == Difference("a", 2)

    def test_every_round_of_the_candidate_counts(self) -> None:
        baseline = outputs(a=(1, 2))
        later = trace(1, [1.0, 1.0], prompt_id="a", output_ids=(1, 7))
        candidate = replace(baseline, requests=(*baseline.requests, later))
        result = lossless(candidate, baseline)
        assert isinstance(result, Lossless)
        assert result.first == Difference("a", 1)

    def test_a_baseline_that_contradicts_itself_is_no_reference(self) -> None:
        once = outputs(a=(1, 2))
        again = trace(1, [1.0, 1.0], prompt_id="a", output_ids=(1, 7))
        baseline = replace(once, requests=(*once.requests, again))
        assert lossless(once, baseline) == Missing(
            "the baseline does not repeat its own output on prompt a"
        )

    def test_a_prompt_without_an_output_leaves_equality_open(self) -> None:
        assert lossless(outputs(a=(1,)), outputs(a=(1,), b=(2,))) == Missing(
            "the candidate has no output for 1 of 2 prompts"
        )

    def test_a_difference_counts_even_if_a_prompt_lacks(self) -> None:
        result = lossless(outputs(a=(9,)), outputs(a=(1,), b=(2,)))
        assert isinstance(result, Lossless)
        assert not result.identical

    def test_no_common_prompt_gives_a_reason(self) -> None:
        assert lossless(outputs(a=(1,)), outputs(b=(1,))) == Missing(
            "candidate and baseline share no prompt"
        )


values = st.one_of(st.none(), st.integers(0, 4).map(float))
clouds = st.dictionaries(st.text("abcdefgh", min_size=1, max_size=2), st.tuples(values, values))


class TestPareto:
    def test_worked_by_hand(self) -> None:
        # Latency down, accuracy up: slow-good and fast-poor stand, worse loses to both.
        points = {
            "slow-good": (9.0, 0.8),
            "worse": (9.5, 0.5),
            "fast-poor": (2.0, 0.5),
            "twin": (2.0, 0.5),
            "unscored": (1.0, None),
        }
        front = pareto_front(points, (LOWER, HIGHER))
        assert front.members == ("slow-good", "fast-poor", "twin")
        assert front.dominated == ("worse",)
        assert front.left_out == ("unscored",)

    def test_a_point_that_only_ties_on_one_axis_is_dominated(self) -> None:
        front = pareto_front({"a": (1.0, 1.0), "b": (1.0, 2.0)}, (LOWER, LOWER))
        assert (front.members, front.dominated) == (("a",), ("b",))

    def test_zero_is_a_value(self) -> None:
        assert pareto_front({"a": (0.0,)}, (LOWER,)).members == ("a",)

    @given(clouds)
    def test_every_point_has_one_place_and_no_member_is_beaten(
        self, points: dict[str, tuple[float | None, float | None]]
    ) -> None:
        front = pareto_front(points, (LOWER, HIGHER))
        assert sorted((*front.members, *front.dominated, *front.left_out)) == sorted(points)

        def beats(one: str, other: str) -> bool:
            (a, b), (c, d) = points[one], points[other]
            assert a is not None
            assert b is not None
            assert c is not None
            assert d is not None
            return a <= c and b >= d and (a < c or b > d)

        measured = (*front.members, *front.dominated)
        assert not any(beats(one, member) for one in measured for member in front.members)
        assert all(any(beats(m, beaten) for m in front.members) for beaten in front.dominated)

    def test_an_axis_without_a_better_end_is_refused(self) -> None:
        with pytest.raises(ValueError, match="better direction"):
            pareto_front({"a": (1.0,)}, (Direction.NEUTRAL,))

    def test_a_point_with_too_few_values_is_refused(self) -> None:
        with pytest.raises(ValueError, match="point a has 1 values for 2 axes"):
            pareto_front({"a": (1.0,)}, (LOWER, HIGHER))
