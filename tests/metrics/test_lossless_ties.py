"""Outputs that part from the baseline's where two tokens are as likely as each other."""

from __future__ import annotations

from dataclasses import replace

import pytest

from leanboard.metrics.lossless import (
    TIE_NATS,
    Difference,
    Lossless,
    Parting,
    lossless,
    partings,
    with_tie_gaps,
)
from leanboard.metrics.trace import RequestObservation, RequestTrace

Ids = tuple[int, ...]


def request(prompt_id: str, ids: Ids, number: int = 0, *, warmup: bool = False) -> RequestTrace:
    return RequestTrace(
        prompt_id=prompt_id,
        arm="none",
        round=number,
        warmup=warmup,
        batch=0,
        scheduled_s=0.0,
        sent_s=0.0,
        encoded_s=None,
        token_s=tuple(float(n) for n in range(len(ids))),
        prompt_tokens=4,
        output_ids=ids,
    )


def outputs(**by_prompt: Ids) -> RequestObservation:
    return RequestObservation(requests=tuple(request(p, ids) for p, ids in by_prompt.items()))


BASELINE = outputs(a=(1, 2, 3), b=(4, 5, 6), c=(7, 8, 9))
CANDIDATE = outputs(a=(1, 2, 3), b=(4, 9, 6), c=(0, 8, 9))
AT_B = Parting("b", (4,), baseline_token=5, candidate_token=9)
AT_C = Parting("c", (), baseline_token=7, candidate_token=0)


def judged(gaps: dict[Parting, float]) -> Lossless:
    found = lossless(with_tie_gaps(CANDIDATE, BASELINE, gaps), BASELINE)
    assert isinstance(found, Lossless)
    return found


def test_outputs_part_at_the_first_token_that_differs() -> None:
    assert partings(CANDIDATE, BASELINE) == (AT_B, AT_C)
    assert partings(BASELINE, BASELINE) == ()


def test_an_output_that_ends_elsewhere_parts_at_no_token() -> None:
    assert partings(outputs(a=(1, 2)), BASELINE) == ()
    assert partings(outputs(a=(1, 2, 3, 4)), BASELINE) == ()


def test_each_parting_is_asked_for_once_and_only_for_timed_requests() -> None:
    rounds = tuple(request("b", (4, 9, 6), number) for number in range(3))
    failed = replace(request("c", (0,)), error="broke")
    warm = request("c", (1, 1, 1), warmup=True)
    candidate = RequestObservation(requests=(warm, failed, *rounds))
    assert partings(candidate, BASELINE) == (AT_B,)


def test_a_baseline_that_contradicts_itself_is_no_reference_for_its_prompt() -> None:
    again = replace(BASELINE, requests=(*BASELINE.requests, request("b", (4, 4, 4), 1)))
    assert partings(CANDIDATE, again) == (AT_C,)


def test_gaps_are_noted_on_the_requests_that_they_are_of() -> None:
    noted = with_tie_gaps(CANDIDATE, BASELINE, {AT_B: 0.25, AT_C: -0.5})
    assert [r.tie_gap_nats for r in noted.requests] == [None, 0.25, -0.5]
    assert replace(noted, requests=()) == replace(CANDIDATE, requests=())
    assert with_tie_gaps(BASELINE, BASELINE, {AT_B: 0.25}) == BASELINE


def test_equal_outputs_are_lossless() -> None:
    found = lossless(BASELINE, BASELINE)
    assert isinstance(found, Lossless)
    assert found.answer == "yes"
    assert (found.ties, found.judged) == (0, False)


def test_outputs_that_only_part_at_ties_are_lossless_up_to_ties() -> None:
    found = judged({AT_B: 0.0, AT_C: -TIE_NATS})
    assert found.answer == "yes up to ties"
    assert (found.identical, found.differing, found.ties) == (False, 2, 2)
    assert found.first == Difference("b", 1, 0.0)


def test_one_difference_that_is_no_tie_is_a_no_and_comes_first() -> None:
    found = judged({AT_B: 0.0, AT_C: 2 * TIE_NATS})
    assert found.answer == "no"
    assert (found.differing, found.ties, found.judged) == (2, 1, True)
    assert found.first == Difference("c", 0, 2 * TIE_NATS)


@pytest.mark.parametrize("gaps", [{}, {AT_B: 0.0}])
def test_a_difference_that_was_not_judged_is_no_tie(gaps: dict[Parting, float]) -> None:
    found = judged(gaps)
    assert found.answer == "no"
    assert found.judged == bool(gaps)


def test_a_prompt_is_a_tie_only_if_each_of_its_outputs_is() -> None:
    candidate = RequestObservation(
        requests=(request("b", (4, 9, 6)), request("b", (8, 5, 6), 1), *BASELINE.requests)
    )
    other = Parting("b", (), baseline_token=4, candidate_token=8)
    found = lossless(with_tie_gaps(candidate, BASELINE, {AT_B: 0.0, other: 1.0}), BASELINE)
    assert isinstance(found, Lossless)
    assert (found.differing, found.ties, found.answer) == (1, 0, "no")
    assert found.first == Difference("b", 0, 1.0)


@pytest.mark.parametrize("ids", [(4, 5), (4, 5, 6, 7)])
def test_an_output_that_only_ends_elsewhere_is_at_no_tie(ids: Ids) -> None:
    shorter = outputs(a=(1, 2, 3), b=ids, c=(7, 8, 9))
    forged = replace(
        shorter, requests=tuple(replace(r, tie_gap_nats=0.0) for r in shorter.requests)
    )
    found = lossless(forged, BASELINE)
    assert isinstance(found, Lossless)
    assert (found.answer, found.ties, found.differing) == ("no", 0, 1)
