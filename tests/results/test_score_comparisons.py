"""What a record says of scored answers against its baseline's."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from record_factory import Run, answer_observation, make_environment, make_run

from leanboard.metrics.intervals import METHOD_VERSION
from leanboard.metrics.metric import Verdict
from leanboard.metrics.trace import AnswerObservation, AnswerTrace, Provenance
from leanboard.results.document import json_text
from leanboard.results.identity import content_hash
from leanboard.results.measure import comparisons
from leanboard.results.schema import Comparison
from leanboard.results.store import Store
from leanboard.results.stored import INLINE_SAMPLES
from leanboard.results.verify import Verified, verify_paths, verify_record
from leanboard.results.verify_baseline import SCORES_COMPARED_SINCE

Fields = dict[str, Any]
RUN = "20261120T120000Z-00000000"
ARMS = ("none", "bf16")


def compared(
    candidate: AnswerObservation, baseline: AnswerObservation
) -> dict[tuple[str, str], Comparison]:
    return {(c.metric, c.statistic): c for c in comparisons(candidate, baseline, RUN)}


def text(kl_nats: float, agreeing: int, nats: float = 100.0) -> AnswerObservation:
    return AnswerObservation(
        answers=tuple(
            AnswerTrace(
                str(i),
                {},
                (-nats * (1 + i / 10),),
                tokens=10,
                text_bytes=40,
                kl_nats=kl_nats + i / 100,
                agreeing=agreeing - i % 2,
                kl_rest=0.0,
            )
            for i in range(6)
        )
    )


def test_every_score_that_the_task_gives_has_a_difference_and_a_ratio() -> None:
    found = compared(answer_observation(seed=1), answer_observation())
    assert list(found) == [
        ("acc", "difference"),
        ("acc", "ratio"),
        ("acc_norm", "difference"),
        ("acc_norm", "ratio"),
    ]
    for comparison in found.values():
        assert (comparison.baseline_run, comparison.n) == (RUN, 50)
        assert comparison.method_version == METHOD_VERSION
        assert comparison.interval is not None
        assert comparison.interval.method.startswith("percentile bootstrap over items")
        assert comparison.provenance is Provenance.MEASURED


def test_a_difference_carries_its_error_its_test_and_its_items() -> None:
    difference = compared(answer_observation(seed=1), answer_observation())["acc", "difference"]
    pairs = difference.pairs
    assert pairs is not None
    assert difference.value == pytest.approx(sum(pairs) / 50)
    assert difference.stderr is not None
    assert difference.p_value == 1.0  # as many gained as lost
    assert difference.verdict is Verdict.NO_DIFFERENCE_SHOWN


def test_a_clear_loss_is_worse_in_both_statistics() -> None:
    found = compared(answer_observation(accuracy=0.1), answer_observation(accuracy=0.9))
    for statistic in ("difference", "ratio"):
        assert found["acc", statistic].verdict is Verdict.WORSE
    assert (found["acc", "difference"].p_value or 1) < 1e-6


def test_more_items_than_a_record_holds_stay_in_the_traces() -> None:
    items = INLINE_SAMPLES + 1
    found = compared(answer_observation(items=items, seed=1), answer_observation(items=items))
    assert found["acc", "difference"].pairs is None
    assert found["acc", "difference"].n == items


def test_other_items_give_a_reason_and_no_number() -> None:
    found = compared(answer_observation(items=40), answer_observation())
    for comparison in found.values():
        assert (comparison.value, comparison.verdict) == (None, Verdict.UNDECIDED)
        assert comparison.reason == "10 items were answered by one of the two arms only"


def test_a_text_is_compared_by_bits_perplexity_and_predictions() -> None:
    found = compared(text(0.5, 9, nats=110), text(0.0, 10))
    assert found["bits_per_byte", "difference"].verdict is Verdict.WORSE
    assert found["bits_per_byte", "ratio"].value == pytest.approx(1.1)
    assert found["perplexity", "ratio"].verdict is Verdict.WORSE
    kl = found["kl_to_baseline", "difference"]
    assert kl.value == pytest.approx((0.5 * 6 + 0.15) / 60)
    assert kl.verdict is Verdict.UNDECIDED
    assert kl.provenance is Provenance.MEASURED
    assert found["top1_agreement", "agreement"].value == pytest.approx(51 / 60)


def test_predictions_that_are_all_alike_show_no_difference() -> None:
    same = replace(
        text(0, 10),
        answers=tuple(replace(a, kl_nats=0.0, agreeing=10) for a in text(0, 10).answers),
    )
    found = compared(same, same)
    assert found["kl_to_baseline", "difference"].verdict is Verdict.NO_DIFFERENCE_SHOWN
    assert found["top1_agreement", "agreement"].value == 1


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "records"


def scored(arm: str = "none", baseline: Run | None = None, **options: Any) -> Run:
    techniques = [] if arm == "none" else [arm]
    given = {"kind": "accuracy", "arms": ARMS, "number": len(techniques), **options}
    return make_run(techniques=techniques, baseline=baseline, **given)


def written(root: Path, *runs: Run) -> list[Path]:
    store = Store(root, "local")
    return [store.write(run.record, run.traces) for run in runs]


def forge(path: Path, change: Callable[[Fields], None]) -> str:
    fields = json.loads(path.read_text())
    change(fields)
    path.write_text(json_text(fields | {"content_hash": content_hash(fields)}))
    return "\n".join(problem.message for problem in verify_record(path).problems)


@pytest.mark.parametrize("task", ["arc_easy", "squad-passages"])
def test_scores_and_their_comparisons_follow_from_both_arms_samples(root: Path, task: str) -> None:
    baseline = scored(task=task)
    written(root, baseline, scored("bf16", baseline, task=task))
    assert verify_paths([root]) == Verified(2)


@pytest.mark.parametrize("part", ["value", "stderr", "p_value"])
def test_a_forged_difference_is_found(root: Path, part: str) -> None:
    baseline = scored()
    _, path = written(root, baseline, scored("bf16", baseline, accuracy=0.5))

    def better(fields: Fields) -> None:
        fields["comparisons"][0][part] /= 2

    assert f"acc against {baseline.record.run_id}: its {part} is" in forge(path, better)


@pytest.mark.parametrize("part", ["stderr", "p_value", "pairs"])
def test_a_dropped_part_of_a_difference_is_found(root: Path, part: str) -> None:
    baseline = scored()
    _, path = written(root, baseline, scored("bf16", baseline, accuracy=0.5))

    def dropped(fields: Fields) -> None:
        del fields["comparisons"][0][part]

    assert f"acc against {baseline.record.run_id}: its {part} is None" in forge(path, dropped)


def test_a_narrowed_interval_and_dropped_comparisons_are_found(root: Path) -> None:
    baseline = scored()
    _, path = written(root, baseline, scored("bf16", baseline))

    def narrowed(fields: Fields) -> None:
        fields["comparisons"][1]["interval"]["low"] += 0.01
        del fields["comparisons"][2:]

    said = forge(path, narrowed)
    assert "its interval is" in said
    assert f"acc_norm against {baseline.record.run_id} is missing" in said


def test_scores_without_comparisons_are_told_if_the_baseline_is_there(root: Path) -> None:
    baseline, candidate = scored(), scored("bf16")
    paths = written(root, baseline, candidate)
    (problem,) = verify_paths([root]).problems
    assert problem.message == (
        f"it has no comparisons, but its baseline is in the store: run {baseline.record.run_id}"
    )
    warned = forge(paths[1], lambda f: f.update(warnings=["no comparison: the baseline failed"]))
    assert warned == ""


def test_moving_to_another_block_does_not_hide_that_comparisons_are_missing(root: Path) -> None:
    baseline = scored()
    paths = written(root, baseline, scored("bf16", baseline))

    def moved(fields: Fields) -> None:
        fields["block"]["block_id"] = "0" * 16
        fields["comparisons"] = []

    assert forge(paths[1], moved) == (
        f"it has no comparisons, but its baseline is in the store: run {baseline.record.run_id}"
    )


def of_method(version: int) -> Callable[[Fields], None]:
    def change(fields: Fields) -> None:
        for stored in fields["measurements"].values():
            stored["method_version"] = version

    return change


def test_scores_from_before_they_were_compared_need_no_comparison(root: Path) -> None:
    _, path = written(root, scored(), scored("bf16"))
    assert forge(path, of_method(SCORES_COMPARED_SINCE - 1)) == ""


def test_a_baseline_of_another_block_serves_scores_of_the_same_software_only(root: Path) -> None:
    baseline = scored()
    paths = written(root, baseline, scored("bf16", baseline))

    def resumed(fields: Fields) -> None:
        fields["block"]["block_id"] = "0" * 16

    assert forge(paths[1], resumed) == ""
    other = make_environment().model_copy(update={"packages": {"torch": "1"}})
    elsewhere = scored(environment=other, number=5)
    candidate = scored("bf16", elsewhere, number=6)
    (_, path) = written(root, elsewhere, candidate)
    assert "of another block, and was scored with other software" in forge(path, resumed)
