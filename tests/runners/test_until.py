"""Where an answer ends: stop texts across tokens, the end of text, the most tokens."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from leanboard.results.errors import ArmError
from leanboard.runners.backends.base import UntilAnswer, UntilRequest
from leanboard.runners.backends.until import Answer, check_requests

PIECES = ["</s>", "<|tool|>", "one", " two", "\n", "Quest", "ion", ":", "a", "b", "c"]
SPECIAL = {0, 1}


def decode(ids: Sequence[int], *, special: bool) -> str:
    return "".join(PIECES[i] for i in ids if special or i not in SPECIAL)


def answered(ids: Sequence[int], stops: Sequence[str], most: int = 20) -> UntilAnswer:
    """Feed the tokens until the answer ends."""
    answer = Answer(UntilRequest((1,), most, tuple(stops)), [0], decode)
    for token in ids:
        if answer.add(token):
            return answer.result()
    raise AssertionError("it did not end")


def test_a_stop_spread_over_tokens_ends_the_answer_and_is_cut_from_its_text():
    found = answered([2, 3, 4, 5, 6, 7, 2, 2], ["Question:", "never"])
    assert found == UntilAnswer((2, 3, 4, 5, 6, 7), "one two\n", "stop")


def test_a_stop_in_the_middle_of_a_token_cuts_inside_it():
    assert answered([2, 3], ["w"]) == UntilAnswer((2, 3), "one t", "stop")


def test_the_end_of_text_is_among_the_tokens_and_not_in_the_text():
    assert answered([2, 1, 3, 0, 2], ["\n"]) == UntilAnswer((2, 1, 3, 0), "one two", "eot")


def test_the_most_tokens_end_it():
    assert answered([2, 2, 2, 2], [], most=3) == UntilAnswer((2, 2, 2), "oneoneone", "length")


def test_a_stop_that_is_a_special_token_ends_it_and_leaves_the_text_whole():
    assert answered([2, 1, 3], ["<|tool|>"]) == UntilAnswer((2, 1), "one", "stop")


def test_an_empty_stop_is_no_stop():
    assert answered([2, 3], [""], most=2).ended == "length"


def test_stops_cut_in_turn_as_lm_eval_does():
    from lm_eval.models.utils import handle_stop_sequences, postprocess_generated_text

    for ids in ([8, 9, 10], [2, 4, 3, 4], [2, 5, 1, 6, 7, 3]):
        for stops in (["bc", "ab"], ["\n"], ["Question:"], ["one", "two"]):
            answer = Answer(UntilRequest((1,), len(ids), tuple(stops)), [0], decode)
            while not answer.add(ids[len(answer.ids)]):
                pass
            until = handle_stop_sequences(list(stops), eos="</s>")
            text = decode(answer.ids, special=False)
            expected = postprocess_generated_text(text, until, think_end_token=None)
            assert answer.result().text == expected


def test_a_long_answer_is_searched_in_its_tail_only():
    decoded: list[int] = []

    def counting(ids: Sequence[int], *, special: bool) -> str:
        decoded.append(len(ids))
        return decode(ids, special=special)

    answer = Answer(UntilRequest((1,), 200, ("Question:",)), [0], counting)
    while not answer.add(3):
        pass
    assert max(decoded) < 20


def test_an_answer_is_asked_for_only_once_it_has_ended():
    answer = Answer(UntilRequest((1,), 1, ()), [0], decode)
    with pytest.raises(ArmError, match="not ended after 0 tokens"):
        answer.result()
    answer.add(2)
    with pytest.raises(ArmError, match=r"ended \(length\) was given another"):
        answer.add(2)


def test_requests_that_cannot_be_answered_are_refused_by_their_number():
    fits = UntilRequest((1, 2, 3), 5, ())
    check_requests([fits], 8)
    with pytest.raises(ArmError, match=r"Request 1: 3 prompt tokens and up to 6 .* of 8"):
        check_requests([fits, UntilRequest((1, 2, 3), 6, ())], 8)
    with pytest.raises(ArmError, match="Request 0: its prompt has no tokens"):
        check_requests([UntilRequest((), 1, ())], 8)
    with pytest.raises(ArmError, match="Request 0: it asks for 0 tokens"):
        check_requests([UntilRequest((1,), 0, ())], 8)
