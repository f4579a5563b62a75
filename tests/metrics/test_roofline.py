"""Roofline: floors worked by hand, and every way in which they can be missing."""

from __future__ import annotations

import pytest
from hardware_examples import CEILINGS, MODEL, observation, quantities, request

from leanboard.metrics.metric import Missing, Samples
from leanboard.metrics.registry import metric
from leanboard.metrics.roofline import (
    NO_PEAK,
    NOT_CALIBRATED,
    WORK_VARIES,
    Bound,
    Model,
    bound_of,
    positions,
)
from leanboard.metrics.summary import summarise
from leanboard.metrics.trace import Provenance, Quantity, RequestObservation, RequestTrace


def drawn(name: str, seen: RequestObservation) -> Samples:
    samples = metric(name).reduce(seen)
    assert isinstance(samples, Samples)
    return samples


@pytest.mark.parametrize(
    ("mfu", "mbu", "bound"),
    [
        (0.9, 0.2, Bound.COMPUTE),
        (0.2, 0.9, Bound.MEMORY),
        (0.34, 0.34, Bound.COMPUTE),
        (0.33, 0.2, Bound.OVERHEAD),
        (1.2, 0.3, Bound.COMPUTE),
    ],
)
def test_the_resource_used_most_bounds_a_phase_unless_neither_is_used_by_a_third(
    mfu: float, mbu: float, bound: Bound
) -> None:
    assert bound_of(mfu, mbu) is bound


def test_causal_attention_sees_a_triangle_of_positions_cut_by_the_window() -> None:
    assert positions(4, 4) == 1 + 2 + 3 + 4
    assert positions(4, 2) == 1 + 2 + 2 + 2
    assert positions(4, 0) == 0


def test_prefill_counts_weights_once_and_the_head_once_a_prompt() -> None:
    # 10 tokens x 100 + head 40 + 2 x (1 + ... + 10) = 1150 FLOP at 1000 a second;
    # 500 bytes of weights + 10 x 8 of keys and values = 580 bytes at 100 a second.
    seen = observation([request(0, 10, [3.0])])
    assert drawn("mfu_prefill", seen).values == (1.150,)
    assert drawn("mbu_prefill", seen).values == (5.80,)
    assert drawn("prefill_floor_s", seen).values == (5.80,)
    # Encoded at 1 s, first token at 3 s.
    assert drawn("roofline_share_prefill", seen).weights == (2.0,)


def test_decode_reads_the_weights_in_every_step_and_the_cache_as_it_grows() -> None:
    # Two steps after the first token attend to 11 and 12 positions: 2 x 140 + 2 x 23 = 326 FLOP;
    # 2 x 500 + 8 x 23 = 1184 bytes, 11.84 s; a step of it is 5.92 s.
    seen = observation([request(0, 10, [3.0, 8.0, 13.0])])
    assert drawn("mfu_decode", seen).values == pytest.approx((0.326,))
    assert drawn("mbu_decode", seen).values == pytest.approx((11.84,))
    assert drawn("mbu_decode", seen).weights == (10.0,)
    assert drawn("decode_floor_s", seen).values == pytest.approx((5.92,))


def test_a_static_batch_shares_the_reading_of_the_weights() -> None:
    pair = observation([request(0, 10, [3.0, 8.0, 13.0]), request(0, 10, [3.0, 8.0, 13.0])])
    # 2 x 500 + 2 x 184 bytes, once for both.
    assert drawn("mbu_decode", pair).values == pytest.approx((13.68,))
    assert drawn("mfu_decode", pair).values == pytest.approx((0.652,))


def test_speculation_reads_the_weights_once_a_forward_pass() -> None:
    # One forward for prefill, one for both later tokens: half of what two steps would read.
    seen = observation([request(0, 10, [3.0, 13.0, 13.0], target_forwards=2)])
    assert drawn("mbu_decode", seen).values == pytest.approx((5.92,))
    assert drawn("mfu_decode", seen).values == pytest.approx((0.326,))


def test_weights_that_are_not_read_and_windows_lower_the_floor() -> None:
    more = quantities(
        unread_weight_bytes=100,
        window_attention_flops_per_position=1,
        window_kv_bytes_per_token=4,
        attention_window=3,
    )
    model = Model.of(MODEL | more)
    assert isinstance(model, Model)
    assert model.weight_bytes == 400
    # 4 bytes x 10 tokens in layers that see all, 4 x 3 in those that see three.
    assert model.cache_bytes(10) == 4 * 10 + 4 * 3
    assert model.cache_bytes(10, sequences=2) == 4 * 10 + 4 * 3 * 2
    # Positions 11 and 12 for the former; 3 and 3 for the latter.
    assert model.attending(10, 12) == (2 * 23 + 1 * 6, 4 * 23 + 4 * 6)


def test_without_a_calibration_the_reason_says_what_to_do() -> None:
    bare = RequestObservation(requests=(request(0, 10, [3.0]),), facts=MODEL)
    assert metric("mbu_decode").reduce(bare) == NOT_CALIBRATED
    assert "leanboard doctor --calibrate" in NOT_CALIBRATED.reason


def test_without_a_peak_for_the_dtype_only_what_needs_it_is_missing() -> None:
    facts = {k: v for k, v in (MODEL | CEILINGS).items() if k != "peak_flops_per_s"}
    seen = RequestObservation(requests=(request(0, 10, [3.0, 8.0]),), facts=facts)
    assert metric("mfu_prefill").reduce(seen) == NO_PEAK
    assert metric("roofline_share_prefill").reduce(seen) == NO_PEAK
    assert drawn("mbu_prefill", seen).values == (5.80,)


def test_nothing_is_said_of_work_that_differs_from_token_to_token() -> None:
    varies = {WORK_VARIES: Quantity(1.0, "1", Provenance.COUNTED)}
    seen = RequestObservation(
        requests=(request(0, 10, [3.0, 8.0]),), facts=MODEL | CEILINGS | varies
    )
    for name in ("mfu_decode", "mbu_decode", "roofline_share_prefill"):
        found = metric(name).reduce(seen)
        assert isinstance(found, Missing)
        assert "unlike amounts of work" in found.reason


@pytest.mark.parametrize("name", sorted(MODEL))
def test_what_the_run_did_not_record_is_named(name: str) -> None:
    facts = {k: v for k, v in (MODEL | CEILINGS).items() if k != name}
    seen = RequestObservation(requests=(request(0, 10, [3.0, 8.0]),), facts=facts)
    assert metric("mbu_decode").reduce(seen) == Missing(f"the run recorded no {name}")


@pytest.mark.parametrize(
    ("one", "reason"),
    [
        (request(0, 10, [3.0]), "decode needs at least 2 output tokens"),
        (request(0, 10, [3.0, 3.0]), "all output tokens arrived at once"),
    ],
)
def test_a_phase_without_time_has_the_reason_of_its_throughput(
    one: RequestTrace, reason: str
) -> None:
    assert metric("mfu_decode").reduce(observation([one])) == Missing(reason)


@pytest.mark.parametrize(
    "name", ["mfu_decode", "mbu_prefill", "roofline_share_decode", "decode_floor_s"]
)
def test_the_batches_of_one_process_are_one_unit(name: str) -> None:
    # Ten launches of ten rounds; all rounds of a launch take equally long.
    rounds = [
        request(i, 10, [3.0 + i // 10, 8.0 + 2 * (i // 10)], launch=i // 10) for i in range(100)
    ]
    samples = drawn(name, observation(rounds))
    assert samples.groups == tuple(i // 10 for i in range(100))
    found, alone = (
        summarise(metric(name), drawn(name, observation(of))) for of in (rounds, rounds[::10])
    )
    assert (found.n, alone.n) == (100, 10)
    assert found.interval is not None
    assert found.interval.method.endswith(", by launch")
    # Nine more rounds of the same ten processes tell nothing new.
    assert found.value == pytest.approx(alone.value)
    if found.stderr is not None:
        assert found.stderr == pytest.approx(alone.stderr)


def test_a_batch_in_each_process_is_its_own_unit() -> None:
    apart = observation([request(i, 10, [3.0, 8.0, 13.0], launch=i) for i in range(8)])
    assert drawn("mfu_decode", apart).groups is None
    assert drawn("decode_floor_s", apart).groups is None


def test_counted_work_under_a_measured_ceiling_is_counted() -> None:
    assert drawn("mfu_decode", observation([request(0, 10, [3.0, 8.0])])).provenance is (
        Provenance.COUNTED
    )
