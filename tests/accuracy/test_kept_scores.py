"""Answers that are kept: found again to the very same question, and never to another."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from lm_eval.api.instance import Instance
from record_factory import make_environment, make_record
from scoring_engine import FakeEngine

from leanboard.metrics.metric import Missing
from leanboard.metrics.trace import AnswerTrace, Provenance, Quantity
from leanboard.results.errors import ArmError
from leanboard.results.identity import digest
from leanboard.results.schema import AccuracyCell, Component, Gpu, Task
from leanboard.runners.accuracy.adapter import EngineLM
from leanboard.runners.accuracy.fidelity import LocalPredictor, predictor
from leanboard.runners.accuracy.kept_engine import KeptEngine
from leanboard.runners.accuracy.score import plan_tasks, score
from leanboard.runners.accuracy.score_cache import KeptScores, score_key
from leanboard.runners.accuracy.settings import AccuracyConfig
from leanboard.runners.accuracy.tasks import BaselinePredictions, Progress
from leanboard.runners.backends.base import Engine, Span, SpanScore, UntilRequest, in_order
from leanboard.runners.code import code_hash

KEY = {"arm": "one", "torch": "2.13.0"}
SPANS = [Span((1, 2, 3), (4 + n,)) for n in range(5)]
ASKED = [UntilRequest((1, n), 8, ("\n", "Q:")) for n in range(4)]


def silent(text: str) -> None:
    raise AssertionError(f"nothing was to be said: {text}")


def kept_in(folder: Path, key: dict[str, Any] = KEY) -> KeptScores:
    return KeptScores.open(folder, key, silent)


def scores(engine: Engine, kept: KeptScores, spans: Sequence[Span] = SPANS) -> list[SpanScore]:
    return in_order(KeptEngine(engine, kept).loglikelihood(spans))


PLAIN = in_order(FakeEngine().loglikelihood(SPANS))


class Breaking(FakeEngine):
    """Breaks after its third score."""

    def loglikelihood(self, spans: Sequence[Span]) -> Iterator[tuple[int, SpanScore]]:
        yield from reversed(list(super().loglikelihood(spans))[-3:])
        raise ArmError("broken")


@dataclass(frozen=True)
class Choices:
    """A task of lm-eval's requests, one an item."""

    texts: tuple[str, ...]

    @property
    def identity(self) -> Task:
        raise NotImplementedError

    @property
    def size(self) -> int:
        return len(self.texts)

    def answers(
        self, engine: Engine, progress: Progress, baseline: BaselinePredictions | None = None
    ) -> tuple[AnswerTrace, ...]:
        requests = [
            Instance("loglikelihood", {}, ("Q:", text), 0, metadata=("choices", n, 1))
            for n, text in enumerate(self.texts)
        ]
        found = EngineLM(engine, progress).loglikelihood(requests)
        return tuple(AnswerTrace(str(n), {}, (value,)) for n, (value, _) in enumerate(found))


TASK = Choices((" a", " b", " c d", " e", " f g"))


def test_scores_are_found_again_to_the_last_digit(tmp_path: Path) -> None:
    assert scores(FakeEngine(), kept_in(tmp_path)) == PLAIN
    engine, kept = FakeEngine(), kept_in(tmp_path)
    assert scores(engine, kept) == PLAIN
    assert engine.calls == []
    assert (kept.served, kept.scored) == (5, 0)


def test_open_answers_are_found_again_with_their_tokens(tmp_path: Path) -> None:
    plain = in_order(FakeEngine().generate_until(ASKED))
    first = KeptEngine(FakeEngine(), kept_in(tmp_path))
    assert in_order(first.generate_until(ASKED)) == plain
    engine = FakeEngine()
    assert in_order(KeptEngine(engine, kept_in(tmp_path)).generate_until(ASKED)) == plain
    assert engine.asked == []


@pytest.mark.parametrize(
    "other",
    [
        replace(ASKED[0], prompt=(1, 9)),
        replace(ASKED[0], max_tokens=9),
        replace(ASKED[0], stops=("Q:", "\n")),
    ],
)
def test_an_open_question_that_differs_in_anything_is_asked(
    tmp_path: Path, other: UntilRequest
) -> None:
    list(KeptEngine(FakeEngine(), kept_in(tmp_path)).generate_until(ASKED[:1]))
    engine = FakeEngine()
    list(KeptEngine(engine, kept_in(tmp_path)).generate_until([other]))
    assert engine.asked == [other]


def test_the_same_tokens_cut_elsewhere_are_another_question(tmp_path: Path) -> None:
    scores(FakeEngine(), kept_in(tmp_path), [Span((1, 2), (3,))])
    engine, other = FakeEngine(), Span((1,), (2, 3))
    scores(engine, kept_in(tmp_path), [other])
    assert engine.spans == [other]


def test_what_an_engine_gave_before_it_broke_is_not_asked_again(tmp_path: Path) -> None:
    whole = score(TASK, FakeEngine())
    with pytest.raises(ArmError, match="broken"):
        score(TASK, Breaking(), kept=kept_in(tmp_path))
    engine = FakeEngine()
    again = score(TASK, engine, kept=kept_in(tmp_path))
    assert again.answers == whole.answers
    assert [span.continuation for span in engine.spans] == [engine.encode(t) for t in (" a", " b")]
    assert again.facts == {
        "answers_cached": Quantity(3, "1", Provenance.COUNTED),
        "answers_scored": Quantity(2, "1", Provenance.COUNTED),
    }


def test_ctrl_c_in_the_middle_of_a_task_loses_nothing_that_was_scored(tmp_path: Path) -> None:
    def interrupt(done: int, _total: int) -> None:
        if done > 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        score(TASK, FakeEngine(), interrupt, kept_in(tmp_path))
    kept, seen = kept_in(tmp_path), list[tuple[int, int]]()
    again = score(TASK, FakeEngine(), lambda *told: seen.append(told), kept)
    assert (kept.served, kept.scored) == (2, 3)
    assert again.answers == score(TASK, FakeEngine()).answers
    assert seen == [(3, 17), (6, 17), (10, 17), (13, 17), (17, 17)]


def test_without_a_cache_everything_is_scored_and_the_record_says_so() -> None:
    facts = score(TASK, FakeEngine()).facts
    assert (facts["answers_cached"].value, facts["answers_scored"].value) == (0, 5)


def test_a_larger_limit_asks_only_what_a_smaller_one_did_not(
    tmp_path: Path, make_data: Callable[..., Path]
) -> None:
    data = make_data(arc=12)
    config = AccuracyConfig("small", 5, 0, 0, "package", ("arc_easy",), None)
    (small,) = plan_tasks(config, data, "package:made==1", None)
    (large,) = plan_tasks(replace(config, limit=None), data, "package:made==1", None)
    keys = [score_key(_scored(task.identity), make_environment()) for task in (small, large)]
    assert small.identity.data_hash != large.identity.data_hash
    score(small, FakeEngine(), kept=kept_in(tmp_path, keys[0]))
    kept = kept_in(tmp_path, keys[1])
    assert score(large, FakeEngine(), kept=kept).answers == score(large, FakeEngine()).answers
    assert (kept.served, kept.scored) == (5 * 4, 7 * 4)


@pytest.fixture
def swift_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Do not wait for the disk: hundreds of files are mended here."""
    monkeypatch.setattr(os, "fsync", lambda _: None)


def kept_file(folder: Path) -> Path:
    """Return a file that holds two answers."""
    kept = kept_in(folder)
    assert scores(FakeEngine(), kept, SPANS[:2]) == PLAIN[:2]
    assert kept.path is not None
    return kept.path


@pytest.mark.usefixtures("swift_disk")
def test_a_file_cut_at_any_byte_serves_whole_answers_only_and_goes_on(tmp_path: Path) -> None:
    file = kept_file(tmp_path)
    whole = file.read_bytes()
    ends = [n + 1 for n, byte in enumerate(whole) if byte == ord("\n")]
    for size in range(len(whole) + 1):
        file.write_bytes(whole[:size])
        kept = kept_in(tmp_path)
        assert scores(FakeEngine(), kept, SPANS[:2]) == PLAIN[:2]
        assert kept.served == max(0, sum(end <= size for end in ends) - 1)
        assert file.read_bytes() == whole


@pytest.mark.usefixtures("swift_disk")
def test_a_file_with_any_byte_changed_serves_nothing_wrong_and_says_so(tmp_path: Path) -> None:
    file = kept_file(tmp_path)
    whole = file.read_bytes()
    for place in range(len(whole) - 1):
        file.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        said: list[str] = []
        kept = KeptScores.open(tmp_path, KEY, said.append)
        assert scores(FakeEngine(), kept, SPANS[:2]) == PLAIN[:2]
        assert kept.served in {0, 1}
        assert len(said) == 1
        assert "scored again" in said[0]
        assert kept_in(tmp_path).answer_to("nothing") is None, "the file is mended"


def test_a_file_that_was_kept_under_another_key_serves_nothing(tmp_path: Path) -> None:
    other = kept_in(tmp_path, {"arm": "another"})
    scores(FakeEngine(), other)
    assert other.path is not None
    other.path.rename(tmp_path / f"{digest(KEY)}.jsonl")
    said: list[str] = []
    kept = KeptScores.open(tmp_path, KEY, said.append)
    scores(FakeEngine(), kept)
    assert (kept.served, kept.scored) == (0, 5)
    assert said == [
        "6 lines of kept answers could not be read; what they held is scored again",
    ]


def test_scores_that_are_not_numbers_are_not_kept(tmp_path: Path) -> None:
    class Spoiled(FakeEngine):
        def loglikelihood(self, spans: Sequence[Span]) -> Iterator[tuple[int, SpanScore]]:
            return ((n, SpanScore(math.nan, is_greedy=False)) for n, _ in enumerate(spans))

    assert all(math.isnan(found.loglikelihood) for found in scores(Spoiled(), kept_in(tmp_path)))
    assert scores(FakeEngine(), kept_in(tmp_path)) == PLAIN


def test_a_folder_that_cannot_be_written_is_told_once_and_ends_nothing(tmp_path: Path) -> None:
    (tmp_path / "a file").write_text("")
    said: list[str] = []
    kept = KeptScores.open(tmp_path / "a file", KEY, said.append)
    assert scores(FakeEngine(), kept) == PLAIN
    assert len(said) == 1
    assert said[0].startswith("answers are not kept, and scored again next time: cannot write to")


def test_what_an_engine_says_of_its_way_to_score_is_kept_with_the_scores(tmp_path: Path) -> None:
    class Telling(FakeEngine):
        def notes(self) -> tuple[str, ...]:
            return ("whole sequences were scored",)

    scores(Telling(), kept_in(tmp_path))
    kept = kept_in(tmp_path)
    assert scores(FakeEngine(), kept) == PLAIN
    assert KeptEngine(FakeEngine(), kept).notes() == ("whole sequences were scored",)
    assert kept.notes == ("whole sequences were scored",)


def test_predictions_beside_the_baselines_are_made_by_the_engine_and_counted(
    tmp_path: Path,
) -> None:
    kept = kept_in(tmp_path / "kept")
    engine = predictor(KeptEngine(FakeEngine(size=40), kept))
    file = tmp_path / "baseline.npz"
    first = engine.predict(SPANS, file, None)
    assert not isinstance(first, Missing)
    plain = LocalPredictor(FakeEngine(size=40)).predict(SPANS, None, None)
    assert not isinstance(plain, Missing)
    assert list(first) == list(plain)
    second = engine.predict(SPANS, None, file)
    assert not isinstance(second, Missing)
    assert all(found.nearness is not None for _, found in second)
    assert (kept.served, kept.scored) == (0, 2 * len(SPANS))
    assert isinstance(engine.predict(SPANS[:1], None, file), Missing)
    local = LocalPredictor(FakeEngine(size=40))
    assert engine.log_probabilities_of((1, 2), (3, 4)) == local.log_probabilities_of((1, 2), (3, 4))


def _scored(task: Task | None = None, **changes: Any) -> AccuracyCell:
    cell = make_record(kind="accuracy", techniques=["bf16"]).cell
    assert isinstance(cell, AccuracyCell)
    return cell.model_copy(update=changes if task is None else {**changes, "task": task})


CELL, AROUND = _scored(), make_environment()
SHA = "f" * 64
SAME_SCORES = {
    "the model's name": _scored(model=CELL.model.model_copy(update={"name": "mine"})),
    "its source": _scored(model=CELL.model.model_copy(update={"source": "local"})),
    "the device's name": _scored(device=CELL.device.model_copy(update={"name": "mine"})),
    "the limit": _scored(CELL.task.model_copy(update={"limit": 7})),
    "the items": _scored(CELL.task.model_copy(update={"data_hash": SHA})),
    "where they come from": _scored(CELL.task.model_copy(update={"data_source": "dir"})),
}
OTHER_SCORES = {
    "weights": _scored(model=CELL.model.model_copy(update={"content_hash": SHA})),
    "origin": _scored(model=CELL.model.model_copy(update={"weights_origin": "random"})),
    "no technique": _scored(techniques=()),
    "technique": _scored(techniques=(Component(name="int8-dynamic", version=1),)),
    "technique version": _scored(techniques=(Component(name="bf16", version=2),)),
    "knob": _scored(techniques=(Component(name="bf16", version=1, params={"a": 1}),)),
    "backend": _scored(backend=Component(name="llamacpp", version=CELL.backend.version)),
    "backend version": _scored(backend=Component(name=CELL.backend.name, version=99)),
    "backend knob": _scored(backend=CELL.backend.model_copy(update={"params": {"a": 1}})),
    "device": _scored(device=CELL.device.model_copy(update={"device": "cuda"})),
    "threads": _scored(device=CELL.device.model_copy(update={"threads": 99})),
    "dtype": _scored(device=CELL.device.model_copy(update={"reference_dtype": "bfloat16"})),
    "task": _scored(CELL.task.model_copy(update={"name": "piqa"})),
    "split": _scored(CELL.task.model_copy(update={"split": "another"})),
    "harness version": _scored(CELL.task.model_copy(update={"harness_version": "9"})),
    "task version": _scored(CELL.task.model_copy(update={"task_version": "9"})),
    "few-shot": _scored(CELL.task.model_copy(update={"num_fewshot": 25})),
    "seed": _scored(CELL.task.model_copy(update={"seed": 99})),
    "settings": _scored(CELL.task.model_copy(update={"settings": {"adapter": 99}})),
}
OTHER_MACHINES = {
    "package": {"packages": {**AROUND.packages, "torch": "2.99.0"}},
    "library": {"libraries": {"torch_cpu_capability": "AVX512"}},
    "pool": {"threads": {"torch": 99}},
    "variable": {"variables": {"ATEN_CPU_CAPABILITY": "default"}},
    "python": {"python": "3.99.0"},
    "libc": {"libc": "musl 1.2"},
    "processor": {"cpu": AROUND.cpu.model_copy(update={"flags": ("avx2", "avx512f")})},
    "gpu": {"gpus": (Gpu(name="Example GPU", memory_bytes=1, driver="580.1"),)},
}


@pytest.mark.parametrize("what", sorted(OTHER_SCORES))
def test_whatever_could_change_a_score_gives_another_key(what: str) -> None:
    assert digest(score_key(OTHER_SCORES[what], AROUND)) != digest(score_key(CELL, AROUND))


@pytest.mark.parametrize("what", sorted(OTHER_MACHINES))
def test_whatever_runs_the_model_is_in_the_key(what: str) -> None:
    other = AROUND.model_copy(update=OTHER_MACHINES[what])
    assert digest(score_key(CELL, other)) != digest(score_key(CELL, AROUND))


@pytest.mark.parametrize("what", sorted(SAME_SCORES))
def test_names_and_the_choice_of_items_leave_the_key_as_it_is(what: str) -> None:
    assert score_key(SAME_SCORES[what], AROUND) == score_key(CELL, AROUND)


def test_an_edited_checkout_is_other_code(tmp_path: Path) -> None:
    hashes = []
    for name, text in (("a", "x = 1\n"), ("b", "x = 2\n"), ("c", "x = 1\n")):
        (tmp_path / name / "inner").mkdir(parents=True)
        (tmp_path / name / "inner" / "module.py").write_text(text)
        hashes.append(code_hash(tmp_path / name))
    assert hashes[0] == hashes[2] != hashes[1]
    assert score_key(CELL, AROUND)["code"] == code_hash()
