"""Client overhead: what leanboard's own code takes, summed over what waited for it."""

from __future__ import annotations

import pytest

from leanboard.metrics.metric import Missing, Samples
from leanboard.metrics.overhead import overhead, share
from leanboard.metrics.trace import (
    AnswerObservation,
    Provenance,
    RequestObservation,
    RequestTrace,
)


def request(
    number: int, token_s: tuple[float, ...], client_s: float | None, sent_s: float = 0.0
) -> RequestTrace:
    return RequestTrace(
        prompt_id=f"p{number}",
        arm="none",
        round=number,
        warmup=False,
        batch=0,
        scheduled_s=sent_s,
        sent_s=sent_s,
        encoded_s=None,
        token_s=token_s,
        prompt_tokens=8,
        output_ids=tuple(range(len(token_s))),
        client_s=client_s,
    )


def observed(*requests: RequestTrace) -> RequestObservation:
    return RequestObservation(requests=requests)


def test_a_static_batch_is_one_sample_in_which_every_request_waited() -> None:
    # Two requests of 2 and 3 tokens: 0.2 + 0.3 s over 2 + 3 tokens, and over 4 + 6 s.
    batch = observed(
        request(0, (2.0, 5.0), 0.2, sent_s=1.0), request(0, (2.0, 5.0, 7.0), 0.3, sent_s=1.0)
    )
    assert overhead(batch) == Samples((0.5,), weights=(5.0,), provenance=Provenance.MEASURED)
    assert share(batch) == Samples((0.5,), weights=(10.0,), provenance=Provenance.MEASURED)


@pytest.mark.parametrize("reduce", [overhead, share])
def test_an_engine_that_cannot_tell_gives_the_reason(reduce) -> None:
    silent = observed(request(0, (1.0,), 0.1), request(0, (1.0,), None))
    assert reduce(silent) == Missing(
        "the engine cannot tell leanboard's own time from its library's"
    )


def test_a_batch_that_cannot_tell_is_left_out_of_the_others() -> None:
    some = observed(request(0, (1.0,), None), request(1, (1.0, 4.0), 0.1))
    assert overhead(some) == Samples((0.1,), weights=(2.0,), provenance=Provenance.MEASURED)


def test_a_measured_zero_is_a_value() -> None:
    assert overhead(observed(request(0, (1.0,), 0.0))) == Samples(
        (0.0,), Provenance.MEASURED, (1.0,)
    )


def test_requests_without_a_token_have_no_overhead_per_token() -> None:
    empty = observed(request(0, (), 0.1))
    assert overhead(empty) == Missing("no timed request produced a token")
    assert share(empty) == Missing("the requests took no measurable time")


def test_scored_items_have_none() -> None:
    assert isinstance(overhead(AnswerObservation()), Missing)
