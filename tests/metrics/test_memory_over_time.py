"""Memory over time: areas by hand, and what is left out where readings are too few."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hardware_examples import READ, readings, request

from leanboard.metrics.memory_over_time import area, mean_memory, mean_share
from leanboard.metrics.metric import Missing, Samples
from leanboard.metrics.registry import metric
from leanboard.metrics.summary import summarise
from leanboard.metrics.trace import Provenance, RequestObservation, Series


def rounds(*levels: float | None, per_launch: int = 1, each: int = 1) -> RequestObservation:
    """Return a round of 4 s for each level that memory is at; ``None`` could not be read."""
    requests, series = [], []
    for number, level in enumerate(levels):
        at = 100.0 * number
        traced = request(number, 10, [at + 2.0, at + 4.0], sent_s=at, launch=number // per_launch)
        requests += [traced] * each
        times = [at + step for step in range(5)]
        series.append(readings(*((), ()) if level is None else (times, [level] * 5)))
    return RequestObservation(requests=tuple(requests), series=tuple(series))


def drawn(observation: RequestObservation) -> Samples:
    found = mean_memory(observation)
    assert isinstance(found, Samples)
    return found


def reason(observation: RequestObservation) -> str:
    found = mean_memory(observation)
    assert isinstance(found, Missing)
    return found.reason


def test_the_area_is_interpolated_at_both_ends() -> None:
    assert area(READ.series[0], 1.0, 5.0) == 245.0
    # from 2 to 4 s with readings at 2, 3 and 4 s: half the window between two of them
    assert area(READ.series[0], 2.0, 4.0) == Missing(
        "too few readings of memory: 1 s between two of them, in 2 s of requests"
    )


def test_a_step_up_counts_from_the_reading_before_it() -> None:
    # 10 B for 2 s, a slope of 1 s, 30 B for 1 s: 20 + 20 + 30
    step = readings((0.0, 1.0, 2.0, 3.0, 4.0), (10.0, 10.0, 10.0, 30.0, 30.0))
    assert area(step, 0.0, 4.0) == 70.0


def test_a_longer_round_weighs_more() -> None:
    short, long = rounds(100.0), rounds(10.0)
    stretched = replace(
        long,
        requests=(request(1, 10, [1004.0, 1012.0], sent_s=1000.0),),
        series=(readings([1000.0 + 3 * step for step in range(5)], [10.0] * 5),),
    )
    both = RequestObservation(
        requests=short.requests + stretched.requests, series=short.series + stretched.series
    )
    assert (drawn(both).values, drawn(both).weights) == ((400.0, 120.0), (4.0, 12.0))
    found = summarise(metric("memory_mean_bytes"), drawn(both))
    assert (found.value, found.n) == (520 / 16, 2)


def test_requests_of_a_batch_are_averaged_over_once_from_the_first_to_the_last_mark() -> None:
    batch = (
        request(0, 10, [2.0, 4.0], sent_s=1.0),
        request(0, 10, [2.0, 5.0], sent_s=1.5),
    )
    found = drawn(replace(READ, requests=batch))
    assert (found.values, found.weights) == ((245.0,), (4.0,))


def test_processes_are_the_units_of_the_interval() -> None:
    found = drawn(rounds(*[10.0, 12.0] * 5, per_launch=2))
    assert found.groups == (0, 0, 1, 1, 2, 2, 3, 3, 4, 4)
    estimate = summarise(metric("memory_mean_bytes"), found)
    assert estimate.value == 11.0
    assert estimate.interval is not None
    assert (estimate.interval.low, estimate.interval.high) == (11.0, 11.0)


def test_warm_ups_do_not_count() -> None:
    warm = rounds(10.0, 99.0)
    requests = (warm.requests[0], replace(warm.requests[1], warmup=True))
    assert drawn(replace(warm, requests=requests)).values == (40.0,)


def test_one_round_of_ten_may_lack_readings_and_is_left_out() -> None:
    found = drawn(rounds(*[10.0] * 9, None))
    assert found.values == (40.0,) * 9


def test_more_than_one_of_ten_gives_the_reason_and_no_number() -> None:
    assert reason(rounds(*[10.0] * 8, None)) == (
        "1 of 9 batches: what memory the process used while requests ran could not be read"
    )


def test_readings_that_stop_before_the_last_token_do_not_count() -> None:
    ended = replace(READ.series[0], time_s=(0.0, 1.0, 2.0, 3.0, 4.9))
    assert reason(replace(READ, series=(ended,))).startswith("1 of 1 batches: what memory")


def test_other_series_are_not_taken_for_memory() -> None:
    power = readings(READ.series[0].time_s, READ.series[0].value, name="power_w")
    assert reason(replace(READ, series=(power,))).startswith("1 of 1 batches: what memory")


def test_a_request_without_tokens_has_no_end() -> None:
    silent = replace(READ, requests=(request(0, 10, [], sent_s=1.0),))
    assert reason(silent) == "1 of 1 batches: a request produced no token"


def test_zero_is_a_measured_mean() -> None:
    assert summarise(metric("memory_mean_bytes"), drawn(rounds(0.0))).value == 0.0


@pytest.mark.parametrize("facts", [{}, {"memory_total_bytes": READ.facts["memory_total_bytes"]}])
def test_a_share_needs_to_know_how_much_there_is(facts) -> None:
    found = mean_share(replace(READ, facts=facts))
    if facts:
        assert isinstance(found, Samples)
        assert (found.values, found.weights) == ((245.0,), (4 * 245.0,))
    else:
        assert found == Missing("it is not known how much memory there is")


def test_the_weakest_provenance_is_claimed() -> None:
    modelled: Series = replace(READ.series[0], provenance=Provenance.MODELLED)
    assert drawn(replace(READ, series=(modelled,))).provenance is Provenance.MODELLED
    assert drawn(READ).provenance is Provenance.MEASURED
