"""The key-value cache against its formula."""

from __future__ import annotations

import pytest
from hardware_examples import quantities, request

from leanboard.metrics.metric import Missing, Samples
from leanboard.metrics.registry import metric
from leanboard.metrics.trace import RequestObservation

WINDOWED = quantities(kv_formula_bytes_per_token=8, window_kv_bytes_per_token=4, attention_window=3)


def error(observation: RequestObservation) -> float:
    samples = metric("kv_formula_error").reduce(observation)
    assert isinstance(samples, Samples)
    return samples.values[0]


def test_a_cache_that_holds_what_the_formula_says_has_no_error() -> None:
    facts = quantities(kv_bytes=80, kv_tokens=10, kv_formula_bytes_per_token=8)
    assert error(RequestObservation(facts=facts)) == 0


@pytest.mark.parametrize(("sequences", "kv_bytes"), [(1, 4 * 10 + 4 * 3), (2, 4 * 10 + 4 * 6)])
def test_layers_with_a_window_keep_no_more_of_a_sequence_than_it_holds(
    sequences: int, kv_bytes: int
) -> None:
    batch = tuple(request(0, 4, [3.0, 4.0]) for _ in range(sequences))
    facts = WINDOWED | quantities(kv_bytes=kv_bytes, kv_tokens=10)
    assert error(RequestObservation(requests=batch, facts=facts)) == 0


def test_a_sequence_shorter_than_the_window_is_kept_whole() -> None:
    facts = WINDOWED | quantities(kv_bytes=16, kv_tokens=2)
    assert error(RequestObservation(requests=(request(0, 2, [3.0]),), facts=facts)) == 0


def test_an_empty_cache_has_no_error_but_a_reason() -> None:
    facts = quantities(kv_bytes=0, kv_tokens=0, kv_formula_bytes_per_token=8)
    found = metric("kv_formula_error").reduce(RequestObservation(facts=facts))
    assert isinstance(found, Missing)
    assert found.reason == "the formula gives no bytes for the tokens in the cache"
