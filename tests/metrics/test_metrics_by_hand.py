"""Every metric of the registry on a small observation whose value was worked out by hand."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import pytest
from hardware_examples import EXAMPLES as HARDWARE_EXAMPLES

from leanboard.metrics.metric import Missing, Samples
from leanboard.metrics.registry import METRICS, metric
from leanboard.metrics.summary import Estimate, summarise
from leanboard.metrics.trace import (
    AnswerObservation,
    AnswerTrace,
    EnergyWindow,
    Observation,
    Phase,
    Provenance,
    Quantity,
    RequestObservation,
    RequestTrace,
)


def request(
    number: int,
    token_s: Sequence[float],
    *,
    sent_s: float = 0.0,
    encoded_s: float | None = None,
    prompt_tokens: int = 10,
    **changes: object,
) -> RequestTrace:
    plain = RequestTrace(
        prompt_id=f"p{number}",
        arm="none",
        round=number,
        warmup=False,
        batch=0,
        scheduled_s=sent_s,
        sent_s=sent_s,
        encoded_s=encoded_s,
        token_s=tuple(token_s),
        prompt_tokens=prompt_tokens,
        output_ids=tuple(range(len(token_s))),
    )
    return replace(plain, **changes)  # type: ignore[arg-type]


def requests(traces: Sequence[RequestTrace]) -> RequestObservation:
    return RequestObservation(requests=tuple(traces))


def facts(**values: float) -> RequestObservation:
    quantities = {name: Quantity(v, "B", Provenance.COUNTED) for name, v in values.items()}
    return RequestObservation(facts=quantities)


def window(
    energy_j: float | None, duration_s: float, phase: Phase = Phase.MIXED, **changes: object
) -> EnergyWindow:
    plain = EnergyWindow(
        phase=phase,
        round=0,
        started_s=100.0,
        ended_s=100.0 + duration_s,
        energy_j=energy_j,
        source="nvml-energy",
        provenance=Provenance.MEASURED,
        requests=2,
        output_tokens=20,
    )
    return replace(plain, **changes)  # type: ignore[arg-type]


def windows(*members: EnergyWindow) -> RequestObservation:
    return RequestObservation(windows=members)


def ten_launches(every: int) -> RequestObservation:
    """Ten launches of 10, 11, ... 19 W, with ten rounds of 2 s of which each ``every``-th ran."""
    numbers = range(0, 100, every)
    timed = [
        window(2.0 * (10 + number // 10), 2.0, phase, round=number)
        for number in numbers
        for phase in (Phase.MIXED, Phase.DECODE)
    ]
    idle = [window(2.0, 2.0, Phase.IDLE, round=number) for number in range(0, 100, 10)]
    return RequestObservation(
        requests=tuple(request(number, [1.0], launch=number // 10) for number in numbers),
        windows=(*timed, *idle),
    )


def choices(name: str, scores: Sequence[float]) -> AnswerObservation:
    answers = tuple(AnswerTrace(str(i), {name: score}) for i, score in enumerate(scores))
    return AnswerObservation(answers=answers)


def instructions(name: str) -> AnswerObservation:
    return AnswerObservation(
        answers=tuple(
            AnswerTrace(str(i), {name: share, "instructions": count})
            for i, (count, share) in enumerate(FOLLOWED)
        )
    )


# Five requests, t0 = 0, first tokens at 1, 2, 3, 4, 9 s.
FIVE_FIRST = requests([request(i, [t]) for i, t in enumerate([3.0, 1.0, 9.0, 2.0, 4.0])])
# Five requests of three tokens: t1 = 1, tn = 1 + 2 x TPOT.
FIVE_TPOT = requests(
    [request(i, [1.0, 1.0 + v, 1.0 + 2 * v]) for i, v in enumerate([0.5, 0.25, 2.0, 0.75, 1.0])]
)
# Five requests; in each the gaps are 1 and 3 s (the token committed with t2 shares its gap).
FIVE_GAPS = requests([request(i, [1.0, 2.0, 2.0, 5.0]) for i in range(5)])
# 100 gaps of 1, 2, ..., 100 s: one request whose arrivals are the triangular numbers.
HUNDRED_GAPS = requests([request(0, [float(k * (k + 1) // 2) for k in range(101)])])
FIVE_HUNDRED_GAPS = requests([request(0, [float(k * (k + 1) // 2) for k in range(501)])])
HUNDRED_FIRST = requests([request(i, [float(i + 1)]) for i in range(100)])
HUNDRED_TPOT = requests([request(i, [1.0, 2.0 + i]) for i in range(100)])
TWO_BATCHES = requests(
    [
        request(0, [1.5, 2.5, 3.5], encoded_s=0.5, prompt_tokens=30),
        request(1, [3.0, 4.0], encoded_s=1.0, prompt_tokens=60),
    ]
)
SPECULATIVE = requests(
    [
        request(0, [1.0] * 6, drafted=8, accepted=4, target_forwards=2),
        request(1, [1.0] * 4, drafted=2, accepted=1, target_forwards=3),
    ]
)
# Five requests of 10 tokens in 2 s each; leanboard's own code took 10, 20, 30, 40 and 50 ms.
FIVE_CLIENTS = requests(
    [request(i, [1.0, *[2.0] * 9], client_s=0.01 * (i + 1)) for i in range(5)],
)
LOOPING = requests(
    [
        request(0, [1.0] * 8, output_ids=(1, 2, 3, 4, 1, 2, 3, 4)),
        request(1, [1.0] * 4, output_ids=(5, 6, 7, 8)),
    ]
)
TEXT = AnswerObservation(
    answers=(
        AnswerTrace("0", {}, (-30.0,), tokens=10, text_bytes=40),
        AnswerTrace("1", {}, (-10.0, -20.0), tokens=20, text_bytes=60),
    )
)
# Pages of 12 and 8 words, as the harness counts them.
PAGES = AnswerObservation(
    answers=(
        AnswerTrace("0", {"words": 12.0}, (-30.0,), tokens=10, text_bytes=40),
        AnswerTrace("1", {"words": 8.0}, (-20.0,), tokens=20, text_bytes=60),
    )
)
# One continuation each, of any number of tokens.
LAST_WORDS = AnswerObservation(
    answers=tuple(
        AnswerTrace(str(i), {"acc": 0.0}, (nats,)) for i, nats in enumerate([-1.0, -2.0, -6.0])
    )
)
# Items of 3, 1 and 2 instructions, of which 2, 1 and 0 are followed.
FOLLOWED = tuple(zip([3.0, 1.0, 2.0], [2 / 3, 1.0, 0.0], strict=True))
TWO_WINDOWS = (window(30.0, 2.0), window(60.0, 4.0, requests=4, output_tokens=25))
IDLE = window(20.0, 10.0, Phase.IDLE, requests=0, output_tokens=0)

EXAMPLES: Mapping[str, tuple[Observation, float]] = {
    **HARDWARE_EXAMPLES,
    # median(1, 2, 3, 4, 9)
    "ttft_s": (FIVE_FIRST, 3.0),
    # median(0.25, 0.5, 0.75, 1, 2)
    "tpot_s": (FIVE_TPOT, 0.75),
    # five gaps of 1 and five of 3: halfway between the 5th and the 6th
    "itl_p50_s": (FIVE_GAPS, 2.0),
    # position 99 x 0.95 = 94.05 from 0: 95 + 0.05 x (96 - 95)
    "itl_p95_s": (HUNDRED_GAPS, 95.05),
    # position 499 x 0.99 = 494.01 from 0: 495 + 0.01 x (496 - 495)
    "itl_p99_s": (FIVE_HUNDRED_GAPS, 495.01),
    # TTFT 1..100 s: as above, 95.05
    "ttft_p95_s": (HUNDRED_FIRST, 95.05),
    # (tn - t1) / (2 - 1) = 1 + i for i = 0..99: the same 1..100
    "tpot_p95_s": (HUNDRED_TPOT, 95.05),
    # one token each: as ttft_s
    "e2e_s": (FIVE_FIRST, 3.0),
    # (30 + 60) / ((1.5 - 0.5) + (3.0 - 1.0)) = 90 / 3
    "prefill_tokens_per_s": (TWO_BATCHES, 30.0),
    # (2 + 1) / ((3.5 - 1.5) + (4.0 - 3.0)) = 3 / 3
    "decode_tokens_per_s": (TWO_BATCHES, 1.0),
    # (3 + 2) / (3.5 + 4.0) = 5 / 7.5
    "output_tokens_per_s": (TWO_BATCHES, 2 / 3),
    # (4 + 1) / (8 + 2)
    "acceptance_rate": (SPECULATIVE, 0.5),
    # 1234 1234 holds five runs of four, of which the last repeats the first; 5678 holds one: 1 / 6
    "output_repetition_share": (LOOPING, 1 / 6),
    # (6 + 4) / (2 + 3)
    "tokens_per_step": (SPECULATIVE, 2.0),
    "weight_bytes": (facts(weight_bytes=5000), 5000.0),
    # 8 x 5000 / 10000
    "bits_per_weight": (facts(weight_bytes=5000, parameters=10_000), 4.0),
    "peak_memory_bytes": (facts(peak_memory_bytes=7e8), 7e8),
    "anonymous_memory_bytes": (facts(anonymous_memory_bytes=6e8), 6e8),
    "file_memory_bytes": (facts(file_memory_bytes=1e8), 1e8),
    "peak_allocated_bytes": (facts(peak_allocated_bytes=3e9), 3e9),
    "peak_reserved_bytes": (facts(peak_reserved_bytes=4e9), 4e9),
    "process_memory_bytes": (facts(process_memory_bytes=5e9), 5e9),
    "load_peak_memory_bytes": (facts(load_peak_memory_bytes=9e8), 9e8),
    "scoring_peak_memory_bytes": (
        AnswerObservation(
            facts={"scoring_peak_memory_bytes": Quantity(8e8, "B", Provenance.MEASURED)}
        ),
        8e8,
    ),
    # SmolLM2-135M in fp32: 2 x 30 layers x 3 KV heads x 64 x 4 bytes = 46080; 160 tokens of it
    "kv_bytes_per_token": (facts(kv_bytes=46_080 * 160, kv_tokens=160), 46_080.0),
    "load_s": (facts(load_s=1.25), 1.25),
    # (30 + 60) / (20 + 25)
    "energy_per_output_token_j": (windows(*TWO_WINDOWS), 2.0),
    # idle 20 / 10 = 2 W; (30 - 2 x 2 + 60 - 2 x 4) / 45 = 78 / 45
    "energy_net_per_output_token_j": (windows(*TWO_WINDOWS, IDLE), 78 / 45),
    # (30 + 60) / (2 + 4)
    "energy_per_request_j": (windows(*TWO_WINDOWS), 15.0),
    # 78 / 6
    "energy_net_per_request_j": (windows(*TWO_WINDOWS, IDLE), 13.0),
    # 6 / 2
    "prefill_energy_j": (windows(window(6.0, 1.0, Phase.PREFILL)), 3.0),
    # 16 / 2
    "decode_energy_j": (windows(window(16.0, 1.0, Phase.DECODE)), 8.0),
    # prefill 3 + decode 8 - mixed 10, over 10
    "energy_closure_error": (
        windows(
            window(6.0, 1.0, Phase.PREFILL), window(16.0, 1.0, Phase.DECODE), window(20.0, 2.0)
        ),
        0.1,
    ),
    # (30 + 60) / (2 + 4)
    "mean_power_w": (windows(*TWO_WINDOWS), 15.0),
    # 20 / 10
    "idle_power_w": (windows(*TWO_WINDOWS, IDLE), 2.0),
    # 3 of 4
    "acc": (choices("acc", [1.0, 1.0, 0.0, 1.0]), 0.75),
    # 1 of 4
    "acc_norm": (choices("acc_norm", [0.0, 1.0, 0.0, 0.0]), 0.25),
    # 2 of 5
    "exact_match": (choices("exact_match", [1.0, 0.0, 0.0, 1.0, 0.0]), 0.4),
    # (1 / 4 + 1 / 2) / 2
    "chance": (
        AnswerObservation(
            answers=(
                AnswerTrace("0", {"acc": 1.0}, (-1.0, -2.0, -3.0, -4.0)),
                AnswerTrace("1", {"acc": 0.0}, (-1.0, -2.0)),
            )
        ),
        0.375,
    ),
    # 3 of 4
    "exact_match_strict": (choices("exact_match,strict-match", [1.0, 1.0, 0.0, 1.0]), 0.75),
    # 1 of 2
    "exact_match_flexible": (choices("exact_match,flexible-extract", [0.0, 1.0]), 0.5),
    # 1 of 4, 2 of 4
    "prompt_level_strict_acc": (choices("prompt_level_strict_acc", [1.0, 0.0, 0.0, 0.0]), 0.25),
    "prompt_level_loose_acc": (choices("prompt_level_loose_acc", [1.0, 0.0, 1.0, 0.0]), 0.5),
    # (2 + 1 + 0) / (3 + 1 + 2)
    "inst_level_strict_acc": (instructions("inst_level_strict_acc"), 0.5),
    "inst_level_loose_acc": (instructions("inst_level_loose_acc"), 0.5),
    # exp((1 + 2 + 6) / 3)
    "target_perplexity": (LAST_WORDS, math.exp(3.0)),
    # exp((30 + 20) / (12 + 8)), exp((30 + 20) / (40 + 60))
    "word_perplexity": (PAGES, math.exp(2.5)),
    "byte_perplexity": (PAGES, math.exp(0.5)),
    # 30 + 30 nats over 10 + 20 tokens: exp(2)
    "perplexity": (TEXT, math.exp(2.0)),
    # 60 nats / ln 2 over 40 + 60 bytes
    "bits_per_byte": (TEXT, 0.6 / math.log(2)),
    # (0.01 + 0.02 + 0.03 + 0.04 + 0.05) s / (5 x 10) tokens
    "client_overhead_s": (FIVE_CLIENTS, 0.003),
    # 0.15 s / (5 x 2) s
    "client_overhead_share": (FIVE_CLIENTS, 0.015),
}


def estimate(name: str, observation: Observation) -> Estimate:
    column = metric(name)
    return summarise(column, column.reduce(observation))


def drawn(name: str, observation: Observation) -> Samples:
    samples = metric(name).reduce(observation)
    assert isinstance(samples, Samples)
    return samples


def reason(name: str, observation: Observation) -> str:
    missing = metric(name).reduce(observation)
    assert isinstance(missing, Missing)
    return missing.reason


def test_every_metric_of_the_registry_has_an_example_worked_by_hand() -> None:
    assert set(EXAMPLES) == {column.name for column in METRICS}


@pytest.mark.parametrize("name", sorted(EXAMPLES))
def test_the_metric_gives_the_value_worked_by_hand(name: str) -> None:
    observation, expected = EXAMPLES[name]
    result = estimate(name, observation)
    assert result.value == pytest.approx(expected, rel=1e-12)
    assert result.reason is None


@pytest.mark.parametrize("name", sorted(EXAMPLES))
@pytest.mark.parametrize("empty", [RequestObservation(), AnswerObservation()])
def test_an_empty_observation_gives_a_reason_and_no_number(name: str, empty: Observation) -> None:
    result = estimate(name, empty)
    assert result.value is None
    assert result.reason


class TestLatency:
    def test_fewer_than_five_requests_give_no_median_but_the_reason(self) -> None:
        four = requests([request(i, [1.0]) for i in range(4)])
        assert estimate("ttft_s", four) == Estimate(
            None, 4, reason="the median needs 5 samples, there are 4"
        )

    def test_warm_ups_do_not_count(self) -> None:
        warm = request(9, [1000.0], warmup=True)
        assert drawn("ttft_s", requests([warm, *FIVE_FIRST.requests])).values == (3, 1, 9, 2, 4)

    def test_a_static_batch_counts_once_with_the_mean_of_its_requests(self) -> None:
        batch = requests([request(0, [1.0, 2.0]), request(0, [3.0, 6.0])])
        assert drawn("ttft_s", batch).values == (2.0,)
        assert drawn("tpot_s", batch).values == (2.0,)

    def test_batches_of_one_round_stay_apart(self) -> None:
        pair = requests([request(0, [1.0]), request(0, [3.0], batch=1)])
        assert drawn("ttft_s", pair).values == (1.0, 3.0)

    def test_a_batch_with_a_failed_request_is_left_out(self) -> None:
        broken = [request(0, [1.0]), request(0, [], error="out of memory"), request(1, [5.0])]
        assert drawn("ttft_s", requests(broken)).values == (5.0,)

    def test_a_single_token_has_no_tpot(self) -> None:
        assert reason("tpot_s", FIVE_FIRST) == "TPOT needs at least 2 output tokens"

    def test_tokens_that_arrive_together_share_one_gap(self) -> None:
        assert drawn("itl_p50_s", requests([request(0, [1.0, 2.0, 2.0, 2.0, 5.0])])).values == (
            1.0,
            3.0,
        )

    def test_a_gap_that_a_static_batch_shares_counts_once(self) -> None:
        batch = requests([request(0, [1.0, 2.0, 5.0]), request(0, [1.0, 2.0])])
        assert drawn("itl_p50_s", batch).values == (1.0, 3.0)

    def test_gaps_remember_their_request(self) -> None:
        assert drawn("itl_p95_s", FIVE_GAPS).groups == (0, 0, 1, 1, 2, 2, 3, 3, 4, 4)

    def test_requests_of_one_process_are_one_unit(self) -> None:
        pairs = requests(
            [request(i, [1.0, 2.0, 4.0], launch=i // 2, encoded_s=0.5) for i in range(6)]
        )
        for name in ("ttft_s", "tpot_s", "decode_tokens_per_s", "output_tokens_per_s"):
            assert drawn(name, pairs).groups == (0, 0, 1, 1, 2, 2)
            assert drawn(name, pairs).grouped_by == "launch"
        assert drawn("itl_p50_s", pairs).groups == (0,) * 4 + (1,) * 4 + (2,) * 4

    def test_a_process_for_each_request_groups_nothing(self) -> None:
        alone = requests([request(i, [1.0, 2.0], launch=i) for i in range(3)])
        assert drawn("ttft_s", alone).groups is None
        assert drawn("output_tokens_per_s", alone).groups is None
        assert drawn("itl_p50_s", alone).groups == (0, 1, 2)

    def test_intervals_over_the_requests_of_one_process_say_so(self) -> None:
        alone = requests([request(i, [1.0 + i, 2.0 + 2 * i, 9.0 + 2 * i]) for i in range(8)])
        apart = requests([replace(r, launch=r.round) for r in alone.requests])
        for name in ("ttft_s", "itl_p50_s", "output_tokens_per_s"):
            one, several = estimate(name, alone), estimate(name, apart)
            assert one.interval is not None
            assert several.interval is not None
            assert one.interval.method == f"{several.interval.method}, one process"
            assert (one.value, one.interval.low, one.interval.high) == (
                several.value,
                several.interval.low,
                several.interval.high,
            )

    def test_p95_of_gaps_needs_a_hundred_of_them(self) -> None:
        assert estimate("itl_p95_s", FIVE_GAPS) == Estimate(
            None, 10, reason="p95 needs 100 samples, there are 10"
        )

    def test_p95_of_requests_needs_a_hundred_of_them(self) -> None:
        fewer = RequestObservation(requests=HUNDRED_FIRST.requests[1:])
        assert estimate("ttft_p95_s", fewer).reason == "p95 needs 100 samples, there are 99"

    def test_zero_is_a_measured_latency(self) -> None:
        instant = requests([request(i, [0.0]) for i in range(5)])
        assert estimate("ttft_s", instant).value == 0.0


class TestThroughput:
    def test_prefill_without_the_end_of_tokenisation_is_missing(self) -> None:
        assert (
            reason("prefill_tokens_per_s", FIVE_FIRST)
            == "the engine does not tell when tokenisation ended"
        )

    def test_a_static_batch_is_one_sample_over_its_own_span(self) -> None:
        # Prompts of 10 + 30 from encoded (last: 1 s) to first token (last: 3 s): 40 / 2;
        # decode of 2 + 2 tokens from 2 s to 6 s: 4 / 4.
        batch = requests(
            [
                request(0, [2.0, 3.0, 5.0], encoded_s=0.5),
                request(0, [3.0, 4.0, 6.0], encoded_s=1.0, prompt_tokens=30),
            ]
        )
        assert drawn("prefill_tokens_per_s", batch).values == (40.0,)
        assert drawn("prefill_tokens_per_s", batch).weights == (2.0,)
        assert drawn("decode_tokens_per_s", batch).values == (4.0,)
        assert drawn("decode_tokens_per_s", batch).weights == (4.0,)

    def test_tokens_that_all_arrive_at_once_have_no_decode_rate(self) -> None:
        burst = requests([request(0, [1.0, 1.0, 1.0])])
        assert reason("decode_tokens_per_s", burst) == "all output tokens arrived at once"

    def test_the_window_of_output_throughput_is_the_round(self) -> None:
        # Round 0: two batches one after the other, 2 + 1 tokens from 0 s to 10 s.
        pair = [request(0, [1.0, 2.0]), request(0, [10.0], batch=1, sent_s=4.0)]
        samples = drawn("output_tokens_per_s", requests(pair))
        assert (samples.values, samples.weights) == ((3.0,), (10.0,))


class TestSpeculation:
    def test_without_a_draft_there_is_no_acceptance(self) -> None:
        assert "does not speculate" in reason("acceptance_rate", FIVE_FIRST)

    def test_a_draft_that_never_proposed_has_no_acceptance(self) -> None:
        idle = requests([request(0, [1.0], drafted=0, accepted=0)])
        assert reason("acceptance_rate", idle) == "nothing was drafted"

    def test_a_draft_that_is_never_accepted_has_an_acceptance_of_zero(self) -> None:
        refused = requests([request(0, [1.0], drafted=4, accepted=0)])
        assert estimate("acceptance_rate", refused).value == 0.0


class TestMemory:
    def test_a_missing_fact_is_named(self) -> None:
        assert reason("bits_per_weight", facts(weight_bytes=1)) == "the run recorded no parameters"

    def test_a_ratio_takes_the_weaker_provenance(self) -> None:
        mixed = RequestObservation(
            facts={
                "kv_bytes": Quantity(8.0, "B", Provenance.SIMULATED),
                "kv_tokens": Quantity(2.0, "1", Provenance.COUNTED),
            }
        )
        assert drawn("kv_bytes_per_token", mixed).provenance is Provenance.SIMULATED

    def test_an_empty_cache_has_no_bytes_per_token(self) -> None:
        assert reason("kv_bytes_per_token", facts(kv_bytes=0, kv_tokens=0)) == "kv_tokens is 0"


class TestEnergy:
    def test_windows_that_could_not_be_read_carry_their_reason(self) -> None:
        unread = windows(window(None, 1.0, reason="RAPL is not readable"))
        assert reason("energy_per_output_token_j", unread) == "RAPL is not readable"
        assert reason("mean_power_w", unread) == "RAPL is not readable"

    def test_a_window_that_could_not_be_read_is_left_out_of_the_others(self) -> None:
        some = windows(*TWO_WINDOWS, window(None, 1.0, reason="counter went back"))
        assert estimate("energy_per_output_token_j", some).value == 2.0
        assert estimate("energy_per_output_token_j", some).n == 2

    def test_net_energy_needs_an_idle_window(self) -> None:
        assert (
            reason("energy_net_per_request_j", windows(*TWO_WINDOWS))
            == "net energy needs idle power: no idle energy window was recorded"
        )

    def test_net_energy_needs_idle_power_of_the_same_probe(self) -> None:
        other = replace(IDLE, source="codecarbon", provenance=Provenance.MODELLED)
        assert "no idle energy window" in reason(
            "energy_net_per_request_j", windows(*TWO_WINDOWS, other)
        )

    def test_joules_of_two_probes_are_never_mixed(self) -> None:
        modelled = window(999.0, 1.0, source="codecarbon", provenance=Provenance.MODELLED)
        samples = drawn("energy_per_request_j", windows(modelled, *TWO_WINDOWS))
        assert samples.values == (30.0, 60.0)
        assert samples.provenance is Provenance.MEASURED

    def test_modelled_joules_stay_modelled(self) -> None:
        modelled = window(9.0, 1.0, source="codecarbon", provenance=Provenance.MODELLED)
        assert drawn("mean_power_w", windows(modelled)).provenance is Provenance.MODELLED

    def test_the_windows_of_one_process_are_one_unit(self) -> None:
        # Ten launches of ten rounds; each launch draws its own power, each round as its launch.
        seen = ten_launches(1)
        for name in ("energy_per_request_j", "energy_net_per_request_j", "decode_energy_j"):
            found = estimate(name, seen)
            assert drawn(name, seen).groups == tuple(i // 10 for i in range(100))
            assert found.n == 100
            assert found.interval is not None
            assert found.interval.method == "t, linearised ratio, by launch"
        # 20 .. 38 J for 2 requests: ten launches of 10 .. 19 J, of variance 82.5 / 9.
        gross = estimate("energy_per_request_j", seen)
        assert gross.value == pytest.approx(14.5)
        assert gross.stderr == pytest.approx(math.sqrt(82.5 / 9 / 10))
        # The idle windows are one a launch.
        assert drawn("idle_power_w", seen).groups is None
        assert estimate("idle_power_w", seen).n == 10

    def test_a_window_in_each_process_is_its_own_unit(self) -> None:
        seen = ten_launches(10)
        found = estimate("energy_per_request_j", seen)
        assert drawn("energy_per_request_j", seen).groups is None
        assert found.interval is not None
        assert found.interval.method == "t, linearised ratio"

    def test_windows_of_one_process_say_so(self) -> None:
        found = estimate("mean_power_w", windows(*TWO_WINDOWS * 3))
        assert found.interval is not None
        assert found.interval.method == "t, linearised ratio, one process"

    def test_windows_without_output_tokens_have_no_energy_per_token(self) -> None:
        none = windows(window(5.0, 1.0, output_tokens=0))
        assert reason("energy_per_output_token_j", none) == "no output token in the energy windows"


class TestQuality:
    def test_the_standard_error_is_the_harness_one(self) -> None:
        # s^2 = (3 x 0.25^2 + 0.75^2) / 3 = 0.25; s / sqrt(4) = 0.25
        assert estimate("acc", EXAMPLES["acc"][0]).stderr == pytest.approx(0.25)

    def test_a_score_that_some_items_lack_is_not_averaged(self) -> None:
        partial = AnswerObservation(
            answers=(AnswerTrace("0", {"acc": 1.0}), AnswerTrace("1", {"f1": 1.0}))
        )
        assert reason("acc", partial) == "1 of 2 items have no acc"

    def test_items_without_a_count_of_instructions_have_no_share_of_them(self) -> None:
        bare = choices("inst_level_strict_acc", [1.0])
        assert reason("inst_level_strict_acc", bare) == "the task gives no inst_level_strict_acc"

    def test_choices_and_texts_have_no_perplexity_of_a_continuation(self) -> None:
        four = AnswerObservation(answers=(AnswerTrace("0", {}, (-1.0, -2.0)),))
        for observation in (four, PAGES, AnswerObservation()):
            assert "one continuation" in reason("target_perplexity", observation)

    def test_a_continuation_that_is_impossible_is_a_reason_not_a_number(self) -> None:
        broken = AnswerObservation(answers=(AnswerTrace("0", {}, (-math.inf,)),))
        assert reason("target_perplexity", broken) == "1 of 1 log-likelihoods are not finite"

    def test_choices_have_no_perplexity(self) -> None:
        assert "no running text" in reason("perplexity", EXAMPLES["acc"][0])

    def test_an_infinite_loss_is_a_reason_not_a_number(self) -> None:
        broken = AnswerObservation(
            answers=(AnswerTrace("0", {}, (-math.inf,), 4, 16), *TEXT.answers)
        )
        assert reason("perplexity", broken) == "1 of 3 log-likelihoods are not finite"
