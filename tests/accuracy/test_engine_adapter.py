from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from lm_eval.api.instance import Instance
from lm_eval.api.model import TemplateLM
from scoring_engine import PREFIX, FakeEngine

from leanboard.results.errors import ArmError
from leanboard.runners.accuracy.adapter import EngineLM
from leanboard.runners.accuracy.lm_requests import REQUESTS_A_CALL
from leanboard.runners.accuracy.open_answers import greedy_limits
from leanboard.runners.backends.base import Span, SpanScore, UntilRequest, in_order


def request(context: str, continuation: str, item: int = 0) -> Instance:
    return Instance(
        "loglikelihood", {}, (context, continuation), 0, metadata=("some_task", item, 1)
    )


class Reference(TemplateLM):
    """lm-eval's own code, with nothing of ours: keeps the tokens that it would score."""

    eot_token_id = 1
    prefix_token_id = 0

    def __init__(self, engine: Any) -> None:
        super().__init__()
        self.engine = engine
        self.scored: list[tuple[list[int], list[int]]] = []

    def tok_encode(self, string: str, *_: Any, **__: Any) -> list[int]:
        return list(self.engine.encode(string))

    def _loglikelihood_tokens(self, requests: Any, **_: Any) -> Any:
        self.scored = [(context, continuation) for _, context, continuation in requests]
        return []

    def loglikelihood_rolling(self, requests: Any, disable_tqdm: bool = False) -> Any:
        raise NotImplementedError

    def generate_until(self, requests: Any, disable_tqdm: bool = False) -> Any:
        raise NotImplementedError


WORDS = st.text(alphabet="ab 1.\n", max_size=12)


@given(st.lists(st.tuples(WORDS, WORDS), min_size=1, max_size=5))
def test_pairs_become_the_tokens_that_lm_eval_would_score(pairs: list[tuple[str, str]]) -> None:
    engine = FakeEngine()
    # What gives no token to score, or none to condition on, is refused (tested below).
    requests = [request(c, k) for c, k in pairs if k.strip() and (c == "" or c.strip())]
    reference = Reference(FakeEngine())
    reference.loglikelihood(requests, disable_tqdm=True)
    assume(all(context and continuation for context, continuation in reference.scored))
    answers = EngineLM(engine).loglikelihood(requests)
    spans = [Span(tuple(context), tuple(kept)) for context, kept in reference.scored]
    assert engine.spans == list(dict.fromkeys(spans))
    scores = in_order(FakeEngine().loglikelihood(spans))
    assert answers == [(score.loglikelihood, score.is_greedy) for score in scores]


def test_a_trailing_space_of_the_context_moves_to_the_continuation(engine: FakeEngine) -> None:
    EngineLM(engine).loglikelihood([request("Answer: ", "blue")])
    (span,) = engine.spans
    assert span == Span(engine.encode("Answer:"), engine.encode(" blue"))


def test_an_empty_context_becomes_the_prefix_token(engine: FakeEngine) -> None:
    EngineLM(engine).loglikelihood([request("", "blue sky")])
    (span,) = engine.spans
    assert span == Span((PREFIX,), engine.encode("blue sky"))


def test_a_tokenizer_that_begins_texts_with_a_token_gives_it_to_contexts_once() -> None:
    engine = FakeEngine(adds_bos=True)
    EngineLM(engine).loglikelihood([request("Sky:", " blue"), request("", "blue")])
    assert engine.spans == [
        Span((PREFIX, *engine.encode("Sky:")), engine.encode(" blue")),
        Span((PREFIX,), engine.encode("blue")),
    ]


def test_texts_are_encoded_in_batches_and_scored_in_one_call(engine: FakeEngine) -> None:
    requests = [request(f"Q{n // 4}:", f" choice {n}") for n in range(2 * REQUESTS_A_CALL + 4)]
    EngineLM(engine).loglikelihood(requests)
    assert [name for name, _ in engine.calls] == ["encode_batch"] * 3 + ["loglikelihood"]
    assert engine.calls[-1] == ("loglikelihood", len(requests))


class Shuffled(FakeEngine):
    """Gives its answers in an order of its own."""

    def loglikelihood(self, spans: Sequence[Span]) -> Iterator[tuple[int, SpanScore]]:
        found = list(super().loglikelihood(spans))
        return iter(sorted(found, key=lambda pair: pair[1].loglikelihood))


def test_answers_keep_the_order_of_the_requests_whatever_order_the_engine_has() -> None:
    requests = [request("Q" * (n % 7 + 1), f" choice {n}") for n in range(70)]
    alone = EngineLM(FakeEngine())
    assert EngineLM(Shuffled()).loglikelihood(requests) == [
        alone.loglikelihood([single])[0] for single in requests
    ]


def test_progress_is_told_in_tokens_as_answers_come() -> None:
    seen: list[tuple[int, int]] = []
    lm = EngineLM(FakeEngine(), lambda done, total: seen.append((done, total)))
    lm.loglikelihood([request("a b c", " d"), request("a", " d e f g h"), request("a", " b")])
    assert seen == [(4, 12), (10, 12), (12, 12)]


def test_what_is_asked_twice_is_scored_once_and_answered_twice(engine: FakeEngine) -> None:
    pair, other = ("a b", " c"), ("a b", " d")
    lm = EngineLM(engine)
    first, second, third = lm.loglikelihood([request(*pair), request(*other), request(*pair, 9)])
    assert first == third != second
    assert engine.calls[-1] == ("loglikelihood", 2)


def test_requests_longer_than_the_window_are_counted_and_nothing_is_scored() -> None:
    engine = FakeEngine(max_length=6)
    fits = request("a b c d", " e f g", item=3)
    long = [request("a b c d", " e f g h", item=31), request("a b c d", " e f g h i", item=32)]
    EngineLM(engine).loglikelihood([fits])
    with pytest.raises(ArmError) as refused:
        EngineLM(engine).loglikelihood([fits, *long])
    assert str(refused.value) == (
        "Task some_task, item 31: 2 of 3 requests do not fit the model's window of 6 tokens; this "
        "is the first of them, the longest has 8. Nothing is cut off, and nothing was scored. Use "
        "fewer examples (accuracy.num_fewshot) or another task."
    )
    assert len(engine.spans) == 1


class Spoiled(FakeEngine):
    """Computes something that is not a number for spans that end in a token."""

    def loglikelihood(self, spans: Sequence[Span]) -> Iterator[tuple[int, SpanScore]]:
        bad = self.encode(" bad")
        for place, score in super().loglikelihood(spans):
            nothing = spans[place].continuation == bad
            yield place, replace(score, loglikelihood=math.nan) if nothing else score


def test_a_score_that_is_not_a_number_is_refused_with_the_items_name() -> None:
    with pytest.raises(ArmError, match=r"some_task, item 2: its log-likelihood is nan"):
        EngineLM(Spoiled()).loglikelihood([request("a", " b", 1), request("a", " bad", 2)])
    text = Instance("loglikelihood_rolling", {}, (" bad",), 0, metadata=("wiki", 4, 1))
    with pytest.raises(ArmError, match=r"wiki, item 4: its log-likelihood is nan"):
        EngineLM(Spoiled()).loglikelihood_rolling([text])


@pytest.mark.parametrize(("context", "continuation"), [("a", ""), ("", ""), ("  ", "a")])
def test_a_request_without_tokens_is_refused_with_the_items_name(
    engine: FakeEngine, context: str, continuation: str
) -> None:
    with pytest.raises(ArmError, match="some_task, item 5"):
        EngineLM(engine).loglikelihood([request(context, continuation, item=5)])


def test_a_long_text_is_scored_token_by_token_exactly_once_in_rolling_windows() -> None:
    engine = FakeEngine(max_length=4)
    text = "a b c d e f g h i j"
    rolling = Instance("loglikelihood_rolling", {}, (text,), 0, metadata=("wiki", 0, 1))
    (total,) = EngineLM(engine).loglikelihood_rolling([rolling])
    tokens = engine.encode(text)
    # lm-eval: all of the first window, then as much context as leaves one window of predictions.
    assert engine.spans[0] == Span((PREFIX,), tokens[:4])
    assert [t for span in engine.spans for t in span.continuation] == list(tokens)
    assert all(len(s.context) + len(s.continuation) - 1 <= 4 for s in engine.spans)
    assert total == sum(s.loglikelihood for s in in_order(FakeEngine().loglikelihood(engine.spans)))


def test_the_windows_of_all_texts_are_scored_in_one_call() -> None:
    engine = FakeEngine(max_length=4)
    texts = ["a b c d e f", "g h", "a b c d e f"]
    asked = [
        Instance("loglikelihood_rolling", {}, (t,), 0, metadata=("wiki", n, 1))
        for n, t in enumerate(texts)
    ]
    lm = EngineLM(engine)
    totals = lm.loglikelihood_rolling(asked)
    assert [name for name, _ in engine.calls] == ["encode_batch", "loglikelihood"]
    assert totals == [EngineLM(engine).loglikelihood_rolling([one])[0] for one in asked]
    assert totals[0] == totals[2] != totals[1]


def open_request(context: str, item: int = 0, **wanted: Any) -> Instance:
    return Instance("generate_until", {}, (context, wanted), 0, metadata=("gsm8k", item, 1))


def test_open_answers_come_back_as_texts_and_keep_their_tokens(engine: FakeEngine) -> None:
    seen: list[tuple[int, int]] = []
    lm = EngineLM(engine, lambda done, total: seen.append((done, total)))
    asked = [open_request(f"Q{n % 3}", n, until=["Q:", ""], max_gen_toks=5) for n in range(4)]
    texts = lm.generate_until(asked)
    assert engine.asked == [UntilRequest(engine.encode(f"Q{n}"), 5, ("Q:",)) for n in range(3)]
    answers = in_order(FakeEngine().generate_until(engine.asked))
    assert texts == [answers[n % 3].text for n in range(4)]
    assert lm.answers == {n: answers[n % 3] for n in range(4)}
    assert seen == [(10, 20), (15, 20), (20, 20)]


def test_an_open_answer_begins_with_the_token_that_the_tokenizer_adds() -> None:
    engine = FakeEngine(adds_bos=True)
    EngineLM(engine).generate_until([open_request("Sky:")])
    assert engine.asked == [UntilRequest((PREFIX, *engine.encode("Sky:")), 256, ())]


@pytest.mark.parametrize(
    ("wanted", "limits"),
    [
        ({}, (256, ())),
        ({"until": "\n", "max_new_tokens": 9}, (9, ("\n",))),
        ({"until": ["b", "a"], "do_sample": False, "temperature": 0.7}, (256, ("b", "a"))),
        ({"do_sample": True, "temperature": 0.0, "top_p": 0.9, "top_k": 4}, (256, ())),
        ({"temperature": 0, "max_gen_toks": 1280, "until": []}, (1280, ())),
    ],
)
def test_limits_of_an_answer_are_read_as_lm_eval_reads_them(
    wanted: dict[str, Any], limits: tuple[int, tuple[str, ...]]
) -> None:
    assert greedy_limits("a task", wanted) == limits


@pytest.mark.parametrize(
    ("wanted", "reason"),
    [
        ({"do_sample": True}, "sampled"),
        ({"temperature": 0.6}, "sampled"),
        ({"do_sample": True, "temperature": 1.0}, "sampled"),
        ({"num_beams": 4}, "num_beams=4"),
        ({"max_gen_toks": 0}, "0 tokens"),
    ],
)
def test_a_task_that_wants_more_than_greedy_answers_is_refused_by_name(
    engine: FakeEngine, wanted: dict[str, Any], reason: str
) -> None:
    with pytest.raises(ArmError, match=rf"gsm8k, item 2: .*{reason}"):
        EngineLM(engine).generate_until([open_request("Q", 2, **wanted)])
    assert engine.asked == []


def test_prompts_that_leave_no_room_for_the_answer_are_counted_and_nothing_is_asked() -> None:
    engine = FakeEngine(max_length=8)
    asked = [
        open_request(text, n, max_gen_toks=4) for n, text in enumerate(["a b c d", "a b c d e"])
    ]
    with pytest.raises(
        ArmError, match=r"item 1: 1 of 2 requests do not fit .* 8 .* has 9\. .*shorter"
    ):
        EngineLM(engine).generate_until(asked)
    assert engine.asked == []
    EngineLM(engine).generate_until(asked[:1])


def test_a_question_without_tokens_is_refused_with_the_items_name(engine: FakeEngine) -> None:
    with pytest.raises(ArmError, match="gsm8k, item 5: its text gives no tokens"):
        EngineLM(engine).generate_until([open_request("", 5)])
