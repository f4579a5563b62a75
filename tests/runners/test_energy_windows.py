"""Windows of an arm: mixed, prefill only, decode only, idle; and what the metrics make of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
from replay_meter import ReplayMeter, World

from leanboard.metrics.metric import Missing
from leanboard.metrics.registry import metric
from leanboard.metrics.summary import summarise
from leanboard.metrics.trace import (
    EnergyWindow,
    Phase,
    Provenance,
    RequestObservation,
    RequestTrace,
)
from leanboard.results.errors import ArmError
from leanboard.runners.backends.base import Request
from leanboard.runners.energy.counters import CounterGauge
from leanboard.runners.energy.meters import NullMeter
from leanboard.runners.energy.probes import Probe, Window
from leanboard.runners.energy.sampled_meter import SampledMeter
from leanboard.runners.energy.windows import (
    decode_window,
    idle_window,
    mixed_window,
    prefill_window,
)

PREFILL_S, TOKEN_S = 0.8, 0.05
REQUESTS = (Request("a", "Hello", 41), Request("b", "World", 41))
UPDATE_S = 0.02


class Arm:
    """An arm that takes time in a world: prefill at 300 W, decoding at 120 W, idle at 40 W."""

    def __init__(self) -> None:
        self.world = World((0.0, 40.0))
        self.calls: list[tuple[int, ...]] = []

    def probe(self) -> Probe:
        gauge = CounterGauge(
            "nvml-energy", (self.world.counter(update_s=UPDATE_S),), UPDATE_S, 0.05
        )
        return Probe(SampledMeter(gauge, self.world.clock, self.world.sampler), self.world.clock)

    def generate(self, requests: Sequence[Request]) -> list[RequestTrace]:
        self.calls.append(tuple(request.output_tokens for request in requests))
        tokens = requests[0].output_tokens
        world, sent_s = self.world, self.world.now_s
        first_s = sent_s + PREFILL_S
        last_s = first_s + (tokens - 1) * TOKEN_S
        world.trace += ((sent_s, 300.0), (first_s, 120.0), (last_s, 40.0))
        world.wait(last_s - sent_s)
        times = tuple(first_s + i * TOKEN_S for i in range(tokens))
        return [trace(request.prompt_id, sent_s, times) for request in requests]


def trace(prompt: str, sent_s: float, token_s: tuple[float, ...], **more: object) -> RequestTrace:
    plain = RequestTrace(
        prompt_id=prompt,
        arm="none",
        round=0,
        warmup=False,
        batch=0,
        scheduled_s=sent_s,
        sent_s=sent_s,
        encoded_s=None,
        token_s=token_s,
        prompt_tokens=2,
        output_ids=(7,) * len(token_s),
    )
    return replace(plain, **more)  # type: ignore[arg-type]


def turn(arm: Arm, probe: Probe) -> tuple[Window, list[RequestTrace]]:
    with probe.window() as window:
        traces = arm.generate(REQUESTS)
    return window, traces


def whole(arm: Arm) -> RequestObservation:
    """Return all that one round of an arm shows."""
    probe = arm.probe()
    idle = idle_window(probe, 0, sleep=arm.world.wait)
    window, traces = turn(arm, probe)
    return RequestObservation(
        requests=tuple(traces),
        windows=(
            idle,
            mixed_window(window, traces, 0),
            decode_window(window, traces, 0),
            prefill_window(probe, arm.generate, REQUESTS, 0),
        ),
    )


def value(name: str, observation: RequestObservation) -> float:
    column = metric(name)
    found = summarise(column, column.reduce(observation)).value
    assert found is not None
    return found


def test_a_mixed_window_counts_its_requests_and_tokens() -> None:
    arm = Arm()
    window, traces = turn(arm, arm.probe())
    mixed = mixed_window(window, traces, 3)
    assert (mixed.phase, mixed.round, mixed.requests, mixed.output_tokens) == (
        Phase.MIXED,
        3,
        2,
        82,
    )
    # 0.8 s x 300 W + 2 s x 120 W
    assert mixed.energy_j == pytest.approx(480.0, abs=300 * UPDATE_S)


def test_decode_is_the_part_from_the_first_token_to_the_last() -> None:
    arm = Arm()
    window, traces = turn(arm, arm.probe())
    decode = decode_window(window, traces, 0)
    assert decode.phase is Phase.DECODE
    assert decode.duration_s == pytest.approx(2.0)
    # 40 steps x 0.05 s x 120 W
    assert decode.energy_j == pytest.approx(240.0, abs=300 * UPDATE_S)


def test_decode_begins_when_no_request_of_the_batch_is_prefilled_any_more() -> None:
    arm = Arm()
    window, (first, second) = turn(arm, arm.probe())
    early = replace(first, token_s=(first.token_s[0] - 0.3, *first.token_s[1:]))
    short = replace(second, token_s=second.token_s[:30])
    decode = decode_window(window, [early, short], 0)
    assert (decode.started_s, decode.ended_s) == (second.token_s[0], first.token_s[-1])


def test_prefill_is_repeated_until_the_probe_can_tell() -> None:
    arm = Arm()
    gauge = CounterGauge("nvml-energy", (arm.world.counter(),), 0.1, 0.05)
    probe = Probe(SampledMeter(gauge, arm.world.clock, arm.world.sampler), arm.world.clock)
    prefill = prefill_window(probe, arm.generate, REQUESTS, 0)
    # 10 updates of 0.1 s need two prefills of 0.8 s
    assert arm.calls == [(1, 1), (1, 1)]
    assert (prefill.phase, prefill.requests, prefill.output_tokens) == (Phase.PREFILL, 4, 4)
    assert prefill.energy_j == pytest.approx(480.0, abs=300 * 0.1)


def test_prefill_that_stays_too_short_says_so() -> None:
    arm = Arm()
    gauge = CounterGauge("nvml-energy", (arm.world.counter(),), 0.1, 0.05)
    probe = Probe(SampledMeter(gauge, arm.world.clock, arm.world.sampler), arm.world.clock)
    prefill = prefill_window(probe, arm.generate, REQUESTS, 0, max_repetitions=1)
    assert prefill.energy_j is None
    assert "0.8 s window, what is read moves every 0.1 s" in str(prefill.reason)


def test_idle_is_measured_for_as_long_as_was_asked() -> None:
    arm = Arm()
    idle = idle_window(arm.probe(), 4, 3.0, arm.world.wait)
    assert (idle.phase, idle.round, idle.requests) == (Phase.IDLE, 4, 0)
    assert idle.duration_s == pytest.approx(3.0)
    assert idle.energy_j == pytest.approx(120.0, abs=40 * UPDATE_S)


def test_idle_lasts_longer_where_the_probe_needs_it() -> None:
    arm = Arm()
    gauge = CounterGauge("nvml-energy", (arm.world.counter(update_s=1.0),), 1.0, 0.05)
    probe = Probe(SampledMeter(gauge, arm.world.clock, arm.world.sampler), arm.world.clock)
    assert idle_window(probe, 0, 2.0, arm.world.wait).duration_s == pytest.approx(20.0)


def test_the_metrics_of_measured_windows_close() -> None:
    seen = whole(Arm())
    assert value("energy_per_request_j", seen) == pytest.approx(240.0, rel=0.02)
    assert value("prefill_energy_j", seen) == pytest.approx(120.0, rel=0.05)
    assert value("decode_energy_j", seen) == pytest.approx(120.0, rel=0.05)
    assert value("energy_closure_error", seen) == pytest.approx(0.0, abs=0.05)
    assert value("idle_power_w", seen) == pytest.approx(40.0, rel=0.02)
    # (480 - 40 W x 2.8 s) / 2
    assert value("energy_net_per_request_j", seen) == pytest.approx(184.0, rel=0.02)


class TestModelled:
    def modelled(self) -> Probe:
        ticks = iter(range(1000))
        meter = ReplayMeter([9.0] * 9, "codecarbon", Provenance.MODELLED)
        return Probe(meter, lambda: float(next(ticks)))

    def test_phases_and_idle_take_no_time_and_say_why_they_are_null(self) -> None:
        def never(_: object) -> list[RequestTrace]:
            raise AssertionError("nothing is run or waited for")

        probe = self.modelled()
        with probe.window() as window:
            traces = [trace("a", 0.2, (0.4, 0.6))]
        windows = (
            mixed_window(window, traces, 0),
            decode_window(window, traces, 0),
            prefill_window(probe, never, REQUESTS, 0),
            idle_window(probe, 0, sleep=never),
        )
        seen = RequestObservation(windows=windows)
        assert value("energy_per_request_j", seen) == 9.0
        phases = Missing("modelled joules: phases are not separated")
        assert metric("prefill_energy_j").reduce(seen) == phases
        assert metric("decode_energy_j").reduce(seen) == phases
        assert metric("energy_closure_error").reduce(seen) == phases
        flat = "codecarbon models the same power idle and busy"
        assert metric("idle_power_w").reduce(seen) == Missing(flat)
        assert metric("energy_net_per_request_j").reduce(seen) == Missing(
            f"net energy needs idle power: {flat}"
        )

    def test_without_a_probe_the_reason_is_on_every_window(self) -> None:
        probe = Probe(NullMeter("rapl: no permission"))
        with probe.window() as window:
            pass
        found = [
            mixed_window(window, [], 0),
            decode_window(window, [], 0),
            prefill_window(probe, lambda _: [], REQUESTS, 0),
            idle_window(probe, 0),
        ]
        assert {w.reason for w in found} == {"rapl: no permission"}
        assert {w.energy_j for w in found} == {None}


class TestFaults:
    def test_one_token_has_no_decoding(self) -> None:
        arm = Arm()
        with arm.probe().window() as window:
            traces = arm.generate([replace(REQUESTS[0], output_tokens=1)])
        decode = decode_window(window, traces, 0)
        assert decode.energy_j is None
        assert decode.reason == "no decoding: every request has its tokens at one time"

    def test_times_of_another_clock_are_not_read_off(self) -> None:
        arm = Arm()
        window, traces = turn(arm, arm.probe())
        shifted = [replace(t, token_s=tuple(s + 9.0 for s in t.token_s)) for t in traces]
        decode = decode_window(window, shifted, 0)
        assert decode.energy_j is None
        assert decode.reason == "the part is not inside its window"

    def test_decoding_too_short_for_the_counter_is_null(self) -> None:
        arm = Arm()
        with arm.probe().window() as window:
            traces = arm.generate([replace(REQUESTS[0], output_tokens=3)])
        assert window.reading.energy_j is not None
        decode = decode_window(window, traces, 0)
        assert decode.energy_j is None
        assert "10 updates are needed" in str(decode.reason)

    def test_a_failed_request_has_no_joules(self) -> None:
        arm = Arm()
        window, traces = turn(arm, arm.probe())
        failed = [traces[0], replace(traces[1], token_s=(), output_ids=(), error="out of memory")]
        for made in (mixed_window, decode_window):
            found: EnergyWindow = made(window, failed, 0)
            assert found.energy_j is None
            assert found.reason == "a request failed: out of memory"

    def test_an_arm_that_crashes_in_prefill_leaves_a_probe_that_works(self) -> None:
        arm = Arm()
        probe = arm.probe()

        def crash(_: Sequence[Request]) -> list[RequestTrace]:
            raise ArmError("the worker ended")

        with pytest.raises(ArmError, match="the worker ended"):
            prefill_window(probe, crash, REQUESTS, 0)
        assert idle_window(probe, 0, 2.0, arm.world.wait).energy_j is not None

    def test_phases_of_another_probe_do_not_close(self) -> None:
        seen = whole(Arm())
        windows = tuple(
            replace(w, source="rapl") if w.phase is Phase.PREFILL else w for w in seen.windows
        )
        found = metric("energy_closure_error").reduce(replace(seen, windows=windows))
        assert found == Missing("no prefill energy window was recorded")
