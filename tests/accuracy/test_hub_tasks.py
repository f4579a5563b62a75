"""Tasks by name, as lm-eval defines them; the definitions here read local files."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from lm_eval.tasks import TaskManager
from scoring_engine import FakeEngine

from leanboard.results.errors import ConfigError
from leanboard.runners.accuracy.harness import HarnessTask
from leanboard.runners.accuracy.hub import prepare_hub
from leanboard.runners.accuracy.score import score
from leanboard.runners.accuracy.settings import AccuracyConfig

QUESTION = {
    "task": "colours",
    "output_type": "multiple_choice",
    "training_split": "train",
    "test_split": "test",
    "doc_to_text": "Q: {{question}}\nA:",
    "doc_to_target": "{{answer}}",
    "doc_to_choice": "{{choices}}",
    "metric_list": [{"metric": "acc", "aggregation": "mean", "higher_is_better": True}],
    "metadata": {"version": 3.0},
}
Prepare = Callable[..., HarnessTask]


def rows(count: int, first: int = 0) -> list[dict[str, object]]:
    return [
        {"question": f"colour {n}", "choices": ["red", "green"], "answer": n % 2}
        for n in range(first, first + count)
    ]


@pytest.fixture
def prepare(tmp_path: Path) -> Prepare:
    def prepare(
        changes: dict[str, object],
        name: str = "colours",
        extra: dict[str, object] | None = None,
        **settings: int,
    ) -> HarnessTask:
        test = [row | (extra or {}) for row in rows(8)]
        for split, documents in (("train", rows(6, first=100)), ("test", test)):
            lines = "".join(json.dumps(row) + "\n" for row in documents)
            (tmp_path / f"{split}.jsonl").write_text(lines)
        files = {split: str(tmp_path / f"{split}.jsonl") for split in ("train", "test")}
        data = {"data_files": files, "cache_dir": str(tmp_path / "cache")}
        definition = QUESTION | {"dataset_path": "json", "dataset_kwargs": data} | changes
        (tmp_path / "task.yaml").write_text(yaml.safe_dump(definition))
        group = {"group": "many", "task": ["colours"]}
        (tmp_path / "group.yaml").write_text(yaml.safe_dump(group))
        defaults = {"limit": 3, "num_fewshot": 0, "seed": 0}
        config = AccuracyConfig(
            "hub", **defaults | settings, source="hub", tasks=(name,), text=None
        )
        (asked,) = config.asked()
        manager = TaskManager(include_defaults=False, include_path=tmp_path)
        return prepare_hub(asked, config, None, manager)

    return prepare


def test_a_task_by_name_is_scored_on_the_chosen_items_of_its_split(prepare: Prepare) -> None:
    task = prepare({})
    assert task.identity.split == "test"
    assert task.identity.data_source == "hub:json"
    assert task.identity.task_version == "3.0"
    assert (task.identity.limit, task.size) == (3, 3)
    answers = score(task, FakeEngine()).answers
    assert [answer.item_id for answer in answers] == [str(index) for index in task.parts[0].indices]
    for answer in answers:
        best = max(range(2), key=answer.loglikelihoods.__getitem__)
        assert answer.scores == {"acc": float(best == int(answer.item_id) % 2)}


def test_few_shot_examples_come_from_the_training_split_and_follow_the_seed(
    prepare: Prepare,
) -> None:
    def prompts(seed: int) -> list[str]:
        task = prepare({}, num_fewshot=2, seed=seed, limit=8)
        return [request.args[0] for request in task.harness.instances]

    assert all(prompt.count("Q: colour 10") == 2 for prompt in prompts(0))
    assert prompts(0) == prompts(0) != prompts(1)


def test_a_definition_that_says_no_examples_keeps_none(prepare: Prepare) -> None:
    """lm-eval's evaluator never overrides a 0, and overrides any other number."""
    assert prepare({"num_fewshot": 0}).identity.num_fewshot == 0
    with pytest.raises(ConfigError, match=r"num_fewshot is 2, .* definition says 0.*num_fewshot:0"):
        prepare({"num_fewshot": 0}, num_fewshot=2)
    task = prepare({"num_fewshot": 3}, num_fewshot=1)
    assert all(request.args[0].count("Q:") == 2 for request in task.requests)


def test_a_text_task_gives_tokens_bytes_and_log_likelihood_of_each_document(
    prepare: Prepare,
) -> None:
    task = prepare(
        {
            "output_type": "loglikelihood_rolling",
            "doc_to_text": "",
            "doc_to_target": "{{question}} is é",
            "doc_to_choice": None,
            "metric_list": [{"metric": "bits_per_byte"}],
        }
    )
    for answer in score(task, FakeEngine()).answers:
        text = f"colour {answer.item_id} is é"
        assert answer.tokens == 4
        assert answer.text_bytes == len(text.encode()) == len(text) + 1
        assert answer.loglikelihoods[0] < 0
        assert answer.scores == {}


def test_a_task_that_is_answered_by_writing_is_scored_by_its_filtered_text(
    prepare: Prepare,
) -> None:
    """By hand: the engine says " The answer is 7." for some item, and the filter takes the 7."""
    digits = {"function": "regex", "regex_pattern": "([0-9])"}
    task = prepare(
        {
            "output_type": "generate_until",
            "doc_to_choice": None,
            "doc_to_target": "7",
            "generation_kwargs": {"until": ["Q:"], "do_sample": False},
            "filter_list": [{"name": "digit", "filter": [digits, {"function": "take_first"}]}],
            "metric_list": [
                {"metric": "exact_match", "aggregation": "mean", "higher_is_better": True}
            ],
        },
        limit=8,
    )
    answers = score(task, FakeEngine()).answers
    assert len({answer.output_ids for answer in answers}) > 1
    for answer in answers:
        assert answer.scores == {"exact_match": float(answer.output_ids[0] - 2 == 7)}


def test_an_unknown_name_is_refused_with_the_nearest_ones(prepare: Prepare) -> None:
    with pytest.raises(ConfigError, match=r"'colors' is unknown\. Did you mean: colours\?"):
        prepare({}, name="colors")


def test_a_group_is_refused_because_its_tasks_are_what_is_scored(prepare: Prepare) -> None:
    with pytest.raises(ConfigError, match="'many' is a group of tasks; name its tasks"):
        prepare({}, name="many")


def test_data_that_cannot_be_had_is_refused_with_the_next_step(prepare: Prepare) -> None:
    gone = {"data_files": {"test": "/nowhere/test.jsonl"}}
    with pytest.raises(
        ConfigError, match=r"colours: its data could not .*accuracy\.source=package"
    ):
        prepare({"dataset_kwargs": gone})


def test_an_item_that_does_not_suit_its_definition_is_refused_by_its_place(
    prepare: Prepare,
) -> None:
    failing = "{{ answer if question != 'colour 5' else missing.field }}"
    with pytest.raises(ConfigError, match=r"colours, item 5: .*UndefinedError: 'missing' is undef"):
        prepare({"doc_to_target": failing}, limit=8)
    with pytest.raises(ConfigError, match=r"colours: its data could not be loaded .UndefinedError"):
        prepare({"doc_to_target": "{{ missing.field }}"})


def test_what_loading_says_stays_off_the_terminal(
    prepare: Prepare, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("lm_eval", "datasets", "huggingface_hub"):
        logging.getLogger(name).setLevel(logging.INFO)
    prepare({"metric_list": [{"metric": "acc"}]})  # lm-eval warns of what is left out here
    assert capfd.readouterr() == ("", "")
    assert caplog.records == []
    assert logging.getLogger("huggingface_hub").level == logging.INFO


def test_items_that_are_not_text_and_numbers_are_refused(prepare: Prepare) -> None:
    with pytest.raises(ConfigError, match=r"colours: its items cannot be hashed \(.*datetime"):
        prepare({"training_split": None}, extra={"written": "2020-01-01T00:00:00"})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"output_type": "generate_until", "doc_to_choice": None, "repeats": 4},
            "several times, of answers that are sampled",
        ),
        (
            {"metric_list": [{"metric": "f1", "aggregation": "f1", "higher_is_better": True}]},
            "no metric that is an average",
        ),
        ({"unsafe_code": True}, "runs code that a model wrote"),
        ({"doc_to_image": "question"}, "images or sound"),
    ],
)
def test_a_task_that_cannot_be_scored_here_is_refused_with_the_reason(
    prepare: Prepare, changes: dict[str, object], message: str
) -> None:
    with pytest.raises(ConfigError, match=f"Task colours .*{message}"):
        prepare(changes)
