"""The benchmark of scoring: its bound by hand, and claims that can fail."""

from __future__ import annotations

from typing import Any

import pytest

from benchmarks.harness_spans import SpanEngine, bound, is_tie, needed_tokens, slice_of, slices_of
from benchmarks.harness_speed import CASES, Case, lines
from leanboard.metrics.trace import AnswerTrace
from leanboard.runners.backends.base import Span, SpanScore, in_order


def spans(count: int) -> list[Span]:
    """Four answers of three tokens to each question of ten."""
    return [
        Span((question, *range(1000, 1009)), (question, answer, 7))
        for question in range(count)
        for answer in range(50, 54)
    ]


def test_the_bound_by_hand():
    # HFLM feeds 4 x 12 tokens; 10 + 4 x 2 must be fed but for the answers' equal first token, and
    # of these the context's last, the first of the answers and the four seconds are read.
    assert bound(spans(1), body=3, head=1) == (4 * 12 * 4) / ((10 + 1 + 4) * 3 + 6 * 1)


def test_the_bound_counts_what_hflm_computes_once_only_once():
    letters = [Span(tuple(range(20)), (letter,)) for letter in range(4)]
    assert bound(letters, body=1, head=0) == 1


def test_what_must_be_fed_does_not_depend_on_how_leanboard_plans():
    # By hand; far too little for a trunk of leanboard's.
    head = (1, 2, 3, 4, 5)
    asked = [Span((*head, 6), (7, 8)), Span((*head, 9), (7, 8)), Span(head, (6, 7))]
    # Fed: 5, then 6 7 and 9 7. Read: 5, 6 and 9 (the contexts' last), 7 twice.
    assert needed_tokens(asked) == (9, 5)


def test_a_slice_to_tune_on_is_of_whole_questions_and_large_enough():
    asked = spans(100)
    part = slice_of(asked, 64)
    assert 64 <= len(set(part)) < 100
    assert all(sum(s.context == t.context for t in part) == 4 for s in part)
    assert slice_of(asked, 1000) == asked
    # Letters as answers feed the same sequence: there are 100, not 400.
    letters = [Span((n, *range(9)), (letter,)) for n in range(100) for letter in range(4)]
    assert len(slice_of(letters, 64)) == 400


def test_slices_keep_the_answers_of_a_question_together_and_leave_none_out():
    asked = spans(10)
    slices = slices_of(asked, 4)
    assert sorted(map(len, slices)) == [8, 8, 12, 12]
    assert sorted((s for part in slices for s in part), key=asked.index) == asked
    for part in slices:
        assert all(sum(s.context == t.context for t in part) == 4 for s in part)


def test_an_engine_that_notes_gives_what_is_known_and_encodes_as_the_one_inside():
    class Inside:
        def encode(self, text: str) -> tuple[int, ...]:
            return tuple(map(ord, text))

    known = SpanScore(-2.0, is_greedy=True)
    one, other = spans(1)[:2]
    noting = SpanEngine(Inside(), {one: known})  # type: ignore[arg-type]
    assert in_order(noting.loglikelihood([other, one])) == [
        SpanScore(0.0, is_greedy=False),
        known,
    ]
    assert noting.spans == [other, one]
    assert noting.encode("ab") == (97, 98)


@pytest.mark.parametrize(
    ("choices", "expected"), [((-5.0, -1.0, -1.0005), True), ((-5.0, -1.0, -1.01), False)]
)
def test_a_tie_is_between_the_two_best_choices(choices: tuple[float, ...], expected: bool):
    assert is_tie(AnswerTrace("0", {"acc": 1.0}, choices)) is expected


def found(**changes: Any) -> dict[str, Any]:
    """Return what comparing four turns gave: thrice as fast, three quarters of the bound."""
    return {
        "batch": 4,
        "seconds": [{"harness": 3.0 + n / 100, "leanboard": 1.0} for n in range(4)],
        "bound": 4.0,
        "peak_bytes": {"leanboard": 2**30, "harness": 2**30},
        "nats": 1e-5,
        "unlike": 1,
        "ties": 1,
        "items": 200,
    } | changes


def held(**changes: Any) -> list[bool | None]:
    case = Case({"hellaswag": {}}, least=2.0, slices=4, rounds=1)
    return [line.held for line in lines("case", case, found(**changes))]


def test_each_claim_can_hold_and_can_fail():
    assert held() == [True, False, True, True, True]
    assert held(bound=3.2) == [True, True, True, True, True]
    noisy = [{"harness": h, "leanboard": 1.0} for h in (1.6, 2.6, 1.7, 2.7, 1.8, 2.8, 2.9, 2.4)]
    assert held(seconds=noisy)[0] is False, "the interval reaches below 2"
    assert held(seconds=[{"harness": 2.1, "leanboard": 1.0}])[0] is True
    assert held(seconds=[{"harness": 1.9, "leanboard": 1.0}])[0] is False
    assert held(peak_bytes={"leanboard": 16, "harness": 10})[2] is False
    assert held(nats=2e-3)[3] is False
    assert held(ties=0)[4] is False


def test_the_claims_are_those_of_the_issue():
    assert [case.least for case in CASES.values()] == [2.0, 4.0, 4.0]
