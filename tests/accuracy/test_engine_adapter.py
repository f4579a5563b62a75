from __future__ import annotations

from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from lm_eval.api.instance import Instance
from lm_eval.api.model import TemplateLM
from scoring_engine import PREFIX, FakeEngine

from leanboard.results.errors import ArmError
from leanboard.runners.accuracy.adapter import SPANS_A_CALL, EngineLM
from leanboard.runners.backends.base import Span, in_order


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
    assert sorted(engine.spans, key=repr) == sorted(spans, key=repr)
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


def test_texts_are_encoded_in_one_call_a_chunk_and_never_one_by_one(engine: FakeEngine) -> None:
    requests = [request(f"Q{n // 4}:", f" choice {n}") for n in range(2 * SPANS_A_CALL + 4)]
    EngineLM(engine).loglikelihood(requests)
    assert [name for name, _ in engine.calls] == ["encode_batch", "loglikelihood"] * 3
    assert [n for name, n in engine.calls if name == "loglikelihood"] == [64, 64, 4]


def test_answers_keep_the_order_of_the_requests_and_progress_reaches_the_total() -> None:
    requests = [request("Q" * (n % 7 + 1), f" choice {n}") for n in range(70)]
    seen: list[tuple[int, int]] = []
    together = EngineLM(FakeEngine(), lambda done, total: seen.append((done, total)))
    alone = EngineLM(FakeEngine())
    assert together.loglikelihood(requests) == [
        alone.loglikelihood([single])[0] for single in requests
    ]
    assert seen == [(64, 70), (70, 70)]


def test_requests_with_one_context_reach_the_engine_next_to_each_other(engine: FakeEngine) -> None:
    contexts = ["Same length A:", "Same length B:", "Longer than those:"]
    requests = [request(contexts[n % 3], f" choice {n}") for n in range(9)]
    EngineLM(engine).loglikelihood(requests)
    seen = [span.context for span in engine.spans]
    assert seen == [context for context in dict.fromkeys(seen) for _ in range(3)]


def test_a_request_longer_than_the_window_is_refused_with_the_items_name() -> None:
    engine = FakeEngine(max_length=6)
    fits, long = request("a b c d", " e f g", item=3), request("a b c d", " e f g h", item=31)
    EngineLM(engine).loglikelihood([fits])
    with pytest.raises(ArmError, match=r"some_task, item 31: 7 tokens do not fit .* of 6"):
        EngineLM(engine).loglikelihood([fits, long])
    assert len(engine.spans) == 1


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


def test_generation_is_refused_with_the_items_name(engine: FakeEngine) -> None:
    asked = Instance("generate_until", {}, ("Q", {}), 0, metadata=("gsm8k", 2, 1))
    with pytest.raises(ArmError, match=r"gsm8k, item 2: .* generating text"):
        EngineLM(engine).generate_until([asked])
