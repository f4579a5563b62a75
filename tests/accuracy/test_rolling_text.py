from __future__ import annotations

from dataclasses import replace

import pytest
from scoring_engine import PREFIX, FakeEngine

from leanboard.results.errors import ArmError, ConfigError
from leanboard.runners.accuracy.rolling import TextTask, cut, prepare_text
from leanboard.runners.accuracy.score import plan_tasks, score
from leanboard.runners.accuracy.settings import AccuracyConfig, TextConfig
from leanboard.runners.backends.base import Span, in_order
from leanboard.runners.passages import Passage, Pool


def pool_of(*texts: str, source: str = "package:made==1") -> Pool:
    return Pool(tuple(Passage("A title", text) for text in texts), "0" * 64, source)


TEXTS = tuple(f"Passage {n} tells a story of nineteen é." for n in range(20))
POOL = pool_of(*TEXTS)
CONFIG = TextConfig("squad-passages", bytes=400, window_bytes=100)


def test_windows_are_whole_passages_joined_by_an_empty_line() -> None:
    # By hand: "aaaa\n\nbb" is 8 bytes; "cccc" would make it 14, so it begins the next window.
    assert cut(["aaaa", "bb", "cccc", "d"], 100, 8) == ("aaaa\n\nbb", "cccc\n\nd")


def test_the_windows_hold_at_most_the_bytes_that_were_asked_for() -> None:
    assert cut(["aaaa", "bb", "cccc", "d"], 14, 8) == ("aaaa\n\nbb",)
    assert cut(["aaaa", "bb", "cccc", "d"], 15, 8) == ("aaaa\n\nbb", "cccc\n\nd")


def test_a_passage_longer_than_a_window_is_left_out() -> None:
    assert cut(["aaaa", "x" * 9, "bb"], 100, 8) == ("aaaa\n\nbb",)


def test_bytes_are_counted_not_characters() -> None:
    assert cut(["éé", "é"], 100, 7) == ("éé", "é")
    assert cut(["éé", "é"], 100, 8) == ("éé\n\né",)


def test_every_token_of_a_window_is_scored_after_the_prefix_token(engine: FakeEngine) -> None:
    task = prepare_text(CONFIG, POOL)
    answers = score(task, engine).answers
    assert len(answers) == task.size == len(task.windows) > 2
    for answer, window, span in zip(answers, task.windows, engine.spans, strict=True):
        assert span == Span((PREFIX,), engine.encode(window))
        assert answer.tokens == len(span.continuation)
        assert answer.text_bytes == len(window.encode()) <= 100
        assert answer.text_bytes > len(window)
        assert answer.loglikelihoods == (
            in_order(FakeEngine().loglikelihood([span]))[0].loglikelihood,
        )
    assert sum(answer.text_bytes for answer in answers) <= 400
    assert [answer.item_id for answer in answers] == [str(n) for n in range(len(answers))]


def test_the_identity_follows_the_text_that_is_scored() -> None:
    identity = prepare_text(CONFIG, POOL).identity
    assert (identity.name, identity.harness) == ("squad-passages", "leanboard")
    assert identity.data_source == "package:made==1"
    assert identity.settings == {"context": "prefix-token", "bytes": 400, "window_bytes": 100}
    assert (
        prepare_text(CONFIG, replace(POOL, source="own")).identity.data_hash == identity.data_hash
    )
    unread = pool_of(*TEXTS[:-1], "Another end.")
    assert prepare_text(CONFIG, unread).identity == identity
    read = pool_of("Another begin.", *TEXTS)
    assert prepare_text(CONFIG, read).identity.data_hash != identity.data_hash


def test_progress_reaches_the_number_of_windows(engine: FakeEngine) -> None:
    task = prepare_text(replace(CONFIG, bytes=600), POOL)
    seen: list[tuple[int, int]] = []
    score(task, engine, lambda done, total: seen.append((done, total)))
    assert seen == [(done, 7) for done in range(1, 8)]


def test_a_window_longer_than_the_models_is_refused_with_its_number() -> None:
    tasks = TextTask(prepare_text(CONFIG, POOL).identity, ("short", "a b c d e f"))
    engine = FakeEngine(max_length=5)
    with pytest.raises(ArmError, match=r"squad-passages, window 1: 6 tokens .* of 5.*window_bytes"):
        score(tasks, engine)
    assert engine.spans == []


def test_too_little_text_is_refused_with_what_there_is() -> None:
    with pytest.raises(ConfigError, match=r"asks for 40000 bytes, but package:made==1 gives only"):
        prepare_text(replace(CONFIG, bytes=40_000), POOL)


def test_text_without_passages_is_refused_with_the_next_step() -> None:
    config = AccuracyConfig("text", None, 0, 0, "package", (), CONFIG)
    with pytest.raises(ConfigError, match=r"no passages are at hand.*`leanboard fetch`"):
        plan_tasks(config, None, "", None)
    (task,) = plan_tasks(config, None, "", POOL)
    assert task.identity.name == "squad-passages"
