"""Tasks of every kind of answer, against lm-eval's own evaluator on the same answers."""

from __future__ import annotations

from collections.abc import Callable
from importlib import util
from pathlib import Path
from typing import Any

import pytest
import task_data
from scoring_engine import FakeEngine

from leanboard.metrics.metric import Missing
from leanboard.metrics.registry import metric
from leanboard.metrics.summary import summarise
from leanboard.metrics.trace import AnswerObservation
from leanboard.results.errors import ConfigError, MissingDependencyError
from leanboard.runners.accuracy.adapter import EngineLM
from leanboard.runners.accuracy.harness import HarnessTask
from leanboard.runners.accuracy.instructions import repeatable
from leanboard.runners.accuracy.registry import OFFLINE
from leanboard.runners.accuracy.score import plan_tasks, score
from leanboard.runners.accuracy.settings import AccuracyConfig

Make = Callable[[int], Any]
Plan = Callable[..., HarnessTask]


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    """Return a function that plans a task on ten items of its own."""

    def plan(name: str, make: Make, **knobs: Any) -> HarnessTask:
        task = OFFLINE[name]
        for split in (task.split, "train"):
            rows = [make(index) for index in range(10)]
            task_data.write_lines(tmp_path / task.folder / f"{split}.jsonl", rows)
        values: dict[str, Any] = {
            "name": "kinds",
            "limit": None,
            "num_fewshot": 0,
            "seed": 0,
            "source": "dir",
            "tasks": (name,),
            "text": None,
            "data_dir": str(tmp_path),
        }
        (planned,) = plan_tasks(AccuracyConfig(**values | knobs), None, "", None)
        assert isinstance(planned, HarnessTask)
        return planned

    return plan


@pytest.fixture
def punkt(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let lm-eval's checks be imported without nltk's data, which these items do not need."""
    import nltk

    monkeypatch.setattr(nltk.data, "find", lambda *_: "found")


def engine() -> FakeEngine:
    return FakeEngine(max_length=8192)


def reported(task: HarnessTask) -> dict[str, Any]:
    """Return what lm-eval's evaluator makes of the same answers."""
    from lm_eval.evaluator import evaluate

    name = task.identity.name
    lm = EngineLM(engine())
    with repeatable():
        result = evaluate(lm, {"tasks": {name: task.harness}, "groups": {}}, bootstrap_iters=0)
    assert result is not None
    results: dict[str, Any] = result["results"][name]
    return results


def value(name: str, observation: AnswerObservation) -> float | None:
    column = metric(name)
    return summarise(column, column.reduce(observation)).value


@pytest.mark.parametrize(
    ("name", "make", "theirs"),
    [
        (
            "gsm8k",
            task_data.gsm8k,
            {
                "exact_match_strict": "exact_match,strict-match",
                "exact_match_flexible": "exact_match,flexible-extract",
            },
        ),
        (
            "lambada_openai",
            task_data.lambada,
            {"acc": "acc,none", "target_perplexity": "perplexity,none"},
        ),
        (
            "wikitext",
            task_data.wikitext,
            {
                name: f"{name},none"
                for name in ("word_perplexity", "byte_perplexity", "bits_per_byte")
            },
        ),
        ("truthfulqa_mc2", task_data.truthfulqa, {"acc": "acc,none"}),
        (
            "ifeval",
            task_data.ifeval,
            {
                name: f"{name},none"
                for level in ("prompt_level", "inst_level")
                for name in (f"{level}_strict_acc", f"{level}_loose_acc")
            },
        ),
    ],
)
@pytest.mark.usefixtures("punkt")
def test_our_metrics_of_the_answers_are_what_lm_eval_reports(
    plan: Plan, name: str, make: Make, theirs: dict[str, str]
) -> None:
    task = plan(name, make)
    observation, expected = score(task, engine()), reported(task)
    for ours, key in theirs.items():
        assert value(ours, observation) == pytest.approx(float(expected[key]), rel=1e-12)
    own = {column.rpartition(",")[0] for column in expected if "," in column}
    assert len({key.partition(",")[0] for key in theirs.values()}) == len(
        {column for column in own if not column.endswith("_stderr")}
    )


def test_an_open_answer_keeps_its_tokens_and_no_log_likelihood(plan: Plan) -> None:
    task = plan("gsm8k", task_data.gsm8k, limit=4)
    lm = engine()
    answers = score(task, lm).answers
    assert [a.item_id for a in answers] == [str(i) for i in task.parts[0].indices]
    assert all(a.output_ids[1] == 7 and not a.loglikelihoods for a in answers)
    by_prompt = dict(zip((r.prompt for r in lm.asked), answers, strict=True))
    assert len({a.output_ids for a in by_prompt.values()}) > 1
    again = EngineLM(engine())
    again.generate_until(task.requests)
    assert [a.output_ids for a in answers] == [again.answers[i].output_ids for i in range(4)]


def test_an_answer_that_only_the_flexible_filter_finds_counts_there_only(plan: Plan) -> None:
    """The engine says " The answer is 7." and never "#### 7"."""
    observation = score(plan("gsm8k", task_data.gsm8k), engine())
    assert value("exact_match_strict", observation) == 0
    for answer in observation.answers:
        said, right = answer.output_ids[0] - 2, int(answer.item_id) + 1
        assert answer.scores["exact_match,flexible-extract"] == float(said == right)


@pytest.mark.usefixtures("punkt")
def test_an_item_s_instructions_are_counted_beside_the_share_that_is_followed(plan: Plan) -> None:
    """By hand: "The answer is 7." has no comma, more than three words, and holds "answer"."""
    observation = score(plan("ifeval", task_data.ifeval), engine())
    for answer in observation.answers:
        said, count = answer.output_ids[0] - 2, int(answer.item_id) % 3 + 1
        followed = count if count < 3 or said == 7 else 2
        assert answer.scores["instructions"] == count
        assert answer.scores["inst_level_strict_acc"] == followed / count
        assert answer.scores["prompt_level_strict_acc"] == float(followed == count)


def test_a_continuation_is_right_where_greedy_decoding_gives_it(plan: Plan) -> None:
    task = plan("lambada_openai", task_data.lambada)
    lm = engine()
    answers = score(task, lm).answers
    for answer, span in zip(answers, lm.spans, strict=True):
        found = lm._score(span)
        assert answer.loglikelihoods == (found.loglikelihood,)
        assert answer.scores == {"acc": float(found.is_greedy)}


def test_a_page_counts_words_and_bytes_of_the_page_as_it_was(plan: Plan) -> None:
    observation = score(plan("wikitext", task_data.wikitext), engine())
    for answer in observation.answers:
        page = task_data.wikitext(int(answer.item_id))["page"]
        assert answer.text_bytes == len(page.encode())
        assert answer.scores["words"] == len(page.split()) + 2  # lm-eval counts both empty ends
    assert not isinstance(metric("perplexity").reduce(observation), Missing)


def test_a_task_s_own_number_of_examples_is_not_taken_unasked(plan: Plan) -> None:
    """gsm8k's definition says five; a record must say what was asked for."""
    task = plan("gsm8k", task_data.gsm8k)
    assert all(request.args[0].count("Question:") == 1 for request in task.requests)
    assert task.identity.num_fewshot == 0


def test_missing_rules_for_sentences_are_told_before_lm_eval_looks_for_a_network(
    plan: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import nltk

    monkeypatch.setattr(nltk.data, "path", [])
    with pytest.raises(ConfigError, match=r"punkt_tab.*accuracy\.nltk_data=FOLDER"):
        plan("ifeval", task_data.ifeval)
    rules = tmp_path / "nltk" / "tokenizers" / "punkt_tab" / "english"
    rules.mkdir(parents=True)
    assert plan("ifeval", task_data.ifeval, nltk_data=str(tmp_path / "nltk")).size == 10


def test_a_missing_package_is_told_with_the_extra_that_brings_it(
    plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = util.find_spec
    monkeypatch.setattr(util, "find_spec", lambda n: None if n == "langdetect" else found(n))
    with pytest.raises(MissingDependencyError, match=r"langdetect: pip install 'leanboard\[acc"):
        plan("ifeval", task_data.ifeval)


def test_detecting_a_language_gives_the_same_answer_every_time() -> None:
    from langdetect import DetectorFactory, detect_langs

    text = "Die Katze the cat le chat"
    before = DetectorFactory.seed
    with repeatable():
        seen = {str(detect_langs(text)) for _ in range(5)}
    assert len(seen) == 1
    assert DetectorFactory.seed == before
