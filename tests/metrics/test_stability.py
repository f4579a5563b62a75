"""A run that was disturbed says so, and by what; normal noise is left alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest

from leanboard.metrics.stability import CHECKS, Judgement, judge, step_s
from leanboard.metrics.steadiness import middle_range, spread, trend, widest_gap
from leanboard.metrics.trace import RequestObservation, RequestTrace, RoundTrace

TOKENS = 11


def request(number: int, tpot_s: float, ttft_s: float = 0.2, *, launch: int = 0) -> RequestTrace:
    first, last = ttft_s, ttft_s + (TOKENS - 1) * tpot_s
    times = tuple(np.linspace(first, last, TOKENS).tolist())
    ids = tuple(range(TOKENS))
    return RequestTrace("p", "a", number, False, 0, 0.0, 0.0, None, times, 9, ids, launch=launch)


def run(
    tpot_s: Sequence[float], ttft_s: Sequence[float] | None = None, per_launch: int = 1
) -> RequestObservation:
    firsts = [0.2] * len(tpot_s) if ttft_s is None else ttft_s
    pairs = enumerate(zip(tpot_s, firsts, strict=True))
    return RequestObservation(
        requests=tuple(request(i, a, b, launch=i // per_launch) for i, (a, b) in pairs)
    )


def around(rounds: int = 8, **fields: Sequence[object]) -> RequestObservation:
    """A level run whose rounds of two seconds had these surroundings."""
    plain = [RoundTrace(i, i, False, 2.0 * i, 2.0 * i + 2) for i in range(rounds)]
    for name, values in fields.items():
        plain = [replace(p, **{name: v}) for p, v in zip(plain, values, strict=True)]  # type: ignore[arg-type]
    return replace(run([0.02] * rounds), rounds=tuple(plain))


def kinds(judgement: Judgement) -> list[str]:
    return [cause.kind for cause in judgement.causes]


class TestSteadiness:
    def test_the_spread_worked_by_hand(self) -> None:
        # Quartiles of 1..9 are 3 and 7: 4 / 1.349 / 5.
        assert spread([float(v) for v in range(1, 10)]) == pytest.approx(4 / 1.349 / 5)

    def test_the_spread_of_normal_values_is_their_deviation(self) -> None:
        values = np.random.default_rng(1).normal(1, 0.05, 5001).tolist()
        assert spread(values) == pytest.approx(0.05, rel=0.05)

    def test_one_outlier_does_not_make_a_spread(self) -> None:
        assert spread([1.0] * 7 + [9.0]) == 0.0

    def test_the_middle_range_worked_by_hand(self) -> None:
        # Positions 1 and 9 of 1..11: 2 and 10, over 6.
        assert middle_range([float(v) for v in range(1, 12)]) == pytest.approx(8 / 6)

    def test_a_trend_worked_by_hand(self) -> None:
        # All slopes are 1 but for the 7 of the value that is off: 7 steps over the median 4.5.
        values = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 80.0]
        assert trend(values) == pytest.approx(7 / 4.5)
        assert trend(values[:0:-1]) == pytest.approx(-6 / 5)

    def test_an_order_without_a_direction_is_no_trend(self) -> None:
        assert trend([1.0, 2.0, 1.0, 2.0, 1.0, 2.0, 1.0, 2.0]) == 0.0

    def test_the_widest_gap_worked_by_hand(self) -> None:
        assert widest_gap([3.0, 1.0, 2.0, 1.1]) == pytest.approx(2 / 1.1 - 1)

    @pytest.mark.parametrize("take", [spread, middle_range, trend])
    def test_four_values_or_a_median_of_zero_say_nothing(
        self, take: Callable[[Sequence[float]], float | None]
    ) -> None:
        assert take([1.0] * 4) is None
        assert take([0.0] * 9) is None
        assert widest_gap([1.0, 2.0]) is None
        assert widest_gap([0.0, 1.0, 2.0]) is None


class TestSamples:
    def test_a_level_run_is_stable_and_says_what_was_not_known(self) -> None:
        judgement = judge(run([0.02] * 8))
        assert (judgement.stable, judgement.causes) == (True, ())
        assert judgement.figures["tpot_spread"] == pytest.approx(0.0, abs=1e-9)
        assert judgement.figures["steal_share"] is None
        assert list(judgement.figures) == [check.name for check in CHECKS]

    def test_four_rounds_are_too_few_to_call_stable(self) -> None:
        assert judge(run([0.02] * 4)).stable is None
        assert judge(run([0.02] * 5)).stable is True
        assert judge(RequestObservation()).stable is None

    def test_half_the_rounds_slower_are_a_spread(self) -> None:
        judgement = judge(run([0.020, 0.024] * 4, per_launch=8))
        assert judgement.stable is False
        assert kinds(judgement) == ["spread"]
        # Quartiles 20 and 24, median 22: 4 / 1.349 / 22 = 13.5%
        assert judgement.causes[0].message == (
            "spread of the time per token over rounds: 13.5%, the limit is 10.0%"
        )

    def test_a_wide_time_to_first_token_is_a_spread(self) -> None:
        assert kinds(judge(run([0.02] * 8, [0.2, 0.3] * 4))) == ["spread"]

    def test_getting_slower_is_a_drift(self) -> None:
        judgement = judge(run([0.02 * (1 + 0.02 * i) for i in range(9)], per_launch=9))
        assert kinds(judgement) == ["drift"]
        # 8 steps of 2% over the median of 1.08: 14.8%
        assert judgement.figures["tpot_drift"] == pytest.approx(0.16 / 1.08)

    def test_two_speeds_of_processes_are_found_although_most_are_slow(self) -> None:
        slow_in_most = [0.057] * 6 + [0.027] * 2 + [0.057] * 8
        judgement = judge(run(slow_in_most, per_launch=2))
        assert kinds(judgement) == ["launches"]
        assert judgement.figures["launch_gap"] == pytest.approx(57 / 27 - 1)

    def test_one_process_has_no_gap_between_launches(self) -> None:
        assert judge(run([0.02] * 8, per_launch=8)).figures["launch_gap"] is None

    def test_warm_ups_and_failed_requests_do_not_count(self) -> None:
        level = run([0.02] * 8)
        warm = replace(request(0, 0.2), warmup=True)
        failed = replace(request(8, 0.2), error="killed")
        assert judge(replace(level, requests=(warm, *level.requests, failed))).stable is True

    def test_speculation_is_judged_by_its_passes_and_not_by_its_luck(self) -> None:
        # 10 tokens after the first in 5 or in 2 passes of 40 ms: TPOT differs, a pass does not.
        lucky = [
            replace(request(i, 0.02 if i % 2 else 0.008), drafted=20, target_forwards=1 + passes)
            for i, passes in enumerate([2, 5] * 4)
        ]
        assert step_s(lucky[0]) == pytest.approx(step_s(lucky[1]))
        assert judge(RequestObservation(requests=tuple(lucky))).stable is True

    def test_speculation_that_counts_no_passes_is_not_judged_by_its_steps(self) -> None:
        blind = [replace(request(i, 0.01 * (1 + i % 2)), drafted=20) for i in range(8)]
        judgement = judge(RequestObservation(requests=tuple(blind)))
        assert judgement.figures["tpot_spread"] is None
        assert judgement.stable is True


class TestSurroundings:
    @pytest.mark.parametrize(
        ("kind", "field", "calm", "disturbed"),
        [
            ("steal", "steal_share", [0.019] * 8, [0.0] * 7 + [0.2]),
            ("load", "other_cpu_s", [0.19] * 8, [0.0] * 7 + [2.0]),
            ("clock", "clock_hz", [2.0e9] * 7 + [2.2e9], [2.0e9, 2.2e9] * 4),
            ("clock", "gpu_clock_hz", [1.98e9] * 8, [1.98e9, 1.2e9] * 4),
            (
                "throttling",
                "gpu_throttle",
                [("applications-clocks-setting",)] * 8,
                [()] * 7 + [("sw-power-cap",)],
            ),
            ("gpu-shared", "gpu_others", [0] * 8, [0] * 7 + [1]),
            ("faults", "minor_faults", [200] * 7 + [60_000], [60_000] * 8),
        ],
    )
    def test_a_disturbance_is_named_and_calm_is_not(
        self, kind: str, field: str, calm: Sequence[object], disturbed: Sequence[object]
    ) -> None:
        assert kinds(judge(around(**{field: calm}))) == []
        found = judge(around(**{field: disturbed}))
        assert found.stable is False
        assert kinds(found) == [kind]

    def test_the_share_is_that_of_the_time_of_all_rounds(self) -> None:
        seen = around(steal_share=[0.0] * 7 + [0.2], other_cpu_s=[0.0] * 7 + [2.0])
        figures = judge(seen).figures
        assert figures["steal_share"] == pytest.approx(0.025)
        assert figures["other_cores"] == pytest.approx(2 / 16)

    def test_rounds_whose_value_is_not_known_are_left_out(self) -> None:
        figures = judge(around(other_cpu_s=[None] * 6 + [1.0, 3.0])).figures
        assert figures["other_cores"] == pytest.approx(1.0)

    def test_warm_ups_may_be_disturbed(self) -> None:
        level = around(steal_share=[0.0] * 8)
        warm = replace(level.rounds[0], warmup=True, steal_share=1.0)
        assert judge(replace(level, rounds=(warm, *level.rounds))).stable is True

    def test_a_disturbed_run_is_unstable_however_short(self) -> None:
        assert judge(around(3, gpu_others=[1, 1, 1])).stable is False


def noisy(
    chance: np.random.Generator, rounds: int, per_launch: int, shape: np.ndarray
) -> RequestObservation:
    """A run with the upper end of this machine's normal noise, times a planted shape."""
    between = chance.normal(0, 0.015, rounds // per_launch).repeat(per_launch)
    tpot = 0.02 * shape * (1 + between + chance.normal(0, 0.03, rounds))
    ttft = 0.2 * shape * (1 + between + chance.normal(0, 0.07, rounds))
    return run(tpot.tolist(), ttft.tolist(), per_launch)


SHAPES = (
    *((64, 0.10), (96, 0.13), (128, 0.16), (192, 0.23)),
    *((256, 0.30), (320, 0.38), (384, 0.46), (512, 0.62)),
)
"""Prompt tokens and time to first token; the time per token grows by a tenth up to the longest."""


def of_lengths(chance: np.random.Generator, slow: np.ndarray) -> RequestObservation:
    """Eight lengths in turn, 32 rounds, 8 a launch, with normal noise, times what is planted."""
    between = chance.normal(0, 0.015, 4).repeat(8)
    requests = []
    for i in range(32):
        prompt_tokens, ttft = SHAPES[i % 8]
        tpot = 0.02 * (1 + 0.1 * prompt_tokens / 512)
        tpot *= slow[i] * (1 + between[i] + chance.normal(0, 0.03))
        ttft *= slow[i] * (1 + between[i] + chance.normal(0, 0.07))
        requests.append(replace(request(i, tpot, ttft, launch=i // 8), prompt_tokens=prompt_tokens))
    return RequestObservation(requests=tuple(requests))


class TestLengths:
    def test_lengths_in_turn_are_no_spread(self) -> None:
        chance = np.random.default_rng(5)
        runs = [judge(of_lengths(chance, np.ones(32))) for _ in range(300)]
        assert sum(seen.stable is False for seen in runs) <= 4
        assert sum(seen.stable is True for seen in runs) >= 296

    @pytest.mark.parametrize("slow", [np.repeat([1.0, 1.2], 16), np.repeat([1.2, 1.0, 1.2, 1], 8)])
    def test_a_slow_half_is_found_among_lengths(self, slow: np.ndarray) -> None:
        chance = np.random.default_rng(6)
        runs = [judge(of_lengths(chance, slow)) for _ in range(100)]
        assert sum(seen.stable is False for seen in runs) >= 95

    def test_rounds_are_measured_by_the_median_of_their_lengths(self) -> None:
        # 1.0 and 1.2 about 1.1, 3.0 and 3.3 about 3.15: 10/11, 12/11, 20/21, 22/21 in this order,
        # twice; quartiles of the eight 10/11 + 3/4 of the way to 20/21, and mirrored about 1.
        tpot = [0.010, 0.030, 0.012, 0.033] * 2
        lengths = [64, 512] * 4
        seen = RequestObservation(
            requests=tuple(
                replace(request(i, v), prompt_tokens=n)
                for i, (v, n) in enumerate(zip(tpot, lengths, strict=True))
            )
        )
        quartile = 10 / 11 + 0.75 * (20 / 21 - 10 / 11)
        found = judge(seen).figures["tpot_spread"]
        assert found == pytest.approx(2 * (1 - quartile) / 1.349)

    def test_a_length_that_one_round_had_says_nothing(self) -> None:
        level = run([0.02] * 5).requests
        odd = replace(request(5, 0.2, 9.0), prompt_tokens=999)
        judgement = judge(RequestObservation(requests=(*level, odd)))
        assert judgement.stable is True
        assert judgement.figures["tpot_spread"] == pytest.approx(0.0, abs=1e-9)
        apart = [replace(r, prompt_tokens=r.round) for r in run([0.02] * 8).requests]
        assert judge(RequestObservation(requests=tuple(apart))).stable is None


@pytest.mark.parametrize(("rounds", "per_launch"), [(8, 1), (16, 2), (8, 8)])
def test_normal_noise_is_stable_in_99_of_100_runs(rounds: int, per_launch: int) -> None:
    chance = np.random.default_rng(2)
    runs = [noisy(chance, rounds, per_launch, np.ones(rounds)) for _ in range(1000)]
    alarms = sum(judge(seen).stable is False for seen in runs)
    # At most 0.9% in 4000 trials of the worst design; two standard errors more here.
    assert alarms <= 15


@pytest.mark.parametrize(
    ("shape", "kind", "least"),
    [
        (np.tile([1.0, 1.2], 8), "spread", 0.95),
        (np.linspace(1.0, 1.15, 16), "drift", 0.80),
        (np.repeat([1.0, 2.1, 1.0, 1.0, 2.1, 1.0, 1.0, 1.0], 2), "launches", 1.0),
    ],
)
def test_what_is_planted_is_found(shape: np.ndarray, kind: str, least: float) -> None:
    chance = np.random.default_rng(4)
    runs = [noisy(chance, 16, 2, shape) for _ in range(200)]
    assert sum(kind in kinds(judge(seen)) for seen in runs) >= least * 200
