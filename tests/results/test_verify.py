"""Verify believes nothing that it can derive again."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from record_factory import make_procedure, make_record, make_run, request_observation

from leanboard.metrics.intervals import METHOD_VERSION
from leanboard.metrics.trace import RoundTrace
from leanboard.results.commands import verify
from leanboard.results.document import json_text
from leanboard.results.identity import content_hash
from leanboard.results.store import Store, traces_path
from leanboard.results.stored import INLINE_SAMPLES
from leanboard.results.verify import Verified, verify_paths, verify_record

Fields = dict[str, Any]
ARMS = ("none", "static-cache")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "records"


@pytest.fixture
def block(root: Path) -> tuple[Path, Path]:
    """A baseline and a candidate that was compared with it, on disk."""
    store, baseline = Store(root, "local"), make_run(arms=ARMS)
    candidate = make_run(techniques=["static-cache"], arms=ARMS, baseline=baseline, speed=1.5)
    paths = [store.write(run.record, run.traces) for run in (baseline, candidate)]
    return paths[0], paths[1]


def forge(path: Path, change: Callable[[Fields], None]) -> str:
    """Change a record, give it a valid content hash again, and return what verify says."""
    fields = json.loads(path.read_text())
    change(fields)
    path.write_text(json_text(fields | {"content_hash": content_hash(fields)}))
    return said_of(path)


def said_of(path: Path) -> str:
    return "\n".join(problem.message for problem in verify_record(path).problems)


def test_untouched_records_of_every_kind_hold(root: Path, block: tuple[Path, Path]) -> None:
    store = Store(root, "local")
    for run in (make_run(kind="accuracy"), make_run(kind="accuracy", task="squad-passages")):
        store.write(run.record, run.traces)
    store.write(make_record(status="unsupported", number=5), None)
    assert verify_paths([root]) == Verified(5)
    assert verify_paths(block) == Verified(2)


def test_a_run_with_more_samples_than_a_record_holds_still_verifies(root: Path) -> None:
    observed = request_observation(rounds=20)
    run = make_run(observation=observed, procedure=make_procedure(20))
    assert run.record.measurements["itl_p99_s"].n > INLINE_SAMPLES
    assert run.record.measurements["itl_p99_s"].samples is None
    assert verify_record(Store(root, "local").write(run.record, run.traces)) == Verified(1)


def better(name: str, part: str, factor: float) -> Callable[[Fields], None]:
    def change(fields: Fields) -> None:
        fields["measurements"][name][part] *= factor

    return change


@pytest.mark.parametrize("part", ["value", "n"])
def test_a_forged_measurement_is_found_although_the_hash_fits(
    block: tuple[Path, Path], part: str
) -> None:
    said = forge(block[0], better("tpot_s", part, 2))
    assert f"tpot_s: its {part} is" in said


def test_a_narrowed_interval_and_forged_samples_are_found(block: tuple[Path, Path]) -> None:
    def change(fields: Fields) -> None:
        fields["measurements"]["tpot_s"]["interval"]["low"] *= 1.001
        fields["measurements"]["ttft_s"]["samples"][0] *= 1.001

    said = forge(block[0], change)
    assert "tpot_s: its interval is" in said
    assert "ttft_s: its samples is 8 values" in said


def test_a_modelled_number_cannot_claim_to_be_measured(block: tuple[Path, Path]) -> None:
    def change(fields: Fields) -> None:
        fields["measurements"]["energy_per_output_token_j"]["provenance"] = "measured"

    assert "its provenance is measured" in forge(block[0], change)


def test_rounding_in_the_last_digit_is_no_forgery(block: tuple[Path, Path]) -> None:
    assert forge(block[0], better("tpot_s", "value", 1 + 1e-12)) == ""


def test_a_field_that_came_after_the_record_was_written_is_no_difference(
    block: tuple[Path, Path],
) -> None:
    def older(fields: Fields) -> None:
        del fields["measurements"]["tpot_s"]["samples"]

    def emptied(fields: Fields) -> None:
        fields["measurements"]["ttft_s"]["samples"] = None

    assert forge(block[1], older) == ""
    assert "ttft_s: its samples is None" in forge(block[1], emptied)


@pytest.mark.parametrize("part", ["pairs", "launches"])
def test_a_comparison_of_the_present_method_lacks_no_field(
    block: tuple[Path, Path], part: str
) -> None:
    def dropped(fields: Fields) -> None:
        del fields["comparisons"][0][part]

    def older(fields: Fields) -> None:
        for stored in (*fields["measurements"].values(), *fields["comparisons"]):
            stored["method_version"] = METHOD_VERSION - 1

    assert f"its {part} is" in forge(block[1], dropped)
    assert forge(block[1], older) == ""


def test_a_number_of_an_older_method_is_not_derived_again(block: tuple[Path, Path]) -> None:
    def older(fields: Fields) -> None:
        for stored in (*fields["measurements"].values(), *fields["comparisons"]):
            stored["method_version"] = METHOD_VERSION - 1
            if stored["value"] is not None:
                stored["value"] *= 1.1
        fields["stability"]["figures"]["tpot_spread"] = 0.5

    assert forge(block[1], older) == ""


def test_a_forged_judgement_of_stability_is_found(block: tuple[Path, Path]) -> None:
    def unstable(fields: Fields) -> None:
        fields["stability"]["stable"] = False
        fields["stability"]["causes"] = [{"kind": "steal", "message": "20%, the limit is 2%"}]
        fields["stability"]["figures"]["tpot_spread"] = 0.2
        fields["stability"]["figures"]["luck"] = 1.0

    said = forge(block[0], unstable)
    assert "stable is False, but the raw samples give True" in said
    assert "its causes of instability are ['steal'], but the raw samples give []" in said
    assert "tpot_spread: the figure is 0.2" in said
    assert "luck does not follow from the raw samples" in said


def test_the_wording_of_a_cause_may_improve(root: Path) -> None:
    around = tuple(RoundTrace(0, i, False, i, i + 1.0, steal_share=0.1) for i in range(8))
    run = make_run(observation=replace(request_observation(), rounds=around))
    path = Store(root, "local").write(run.record, run.traces)

    def reworded(fields: Fields) -> None:
        fields["stability"]["causes"][0]["message"] = "others took 10% of the time"

    assert forge(path, reworded) == ""
    assert "its causes" in forge(path, lambda fields: fields["stability"].update(causes=[]))


@pytest.mark.parametrize(("part", "shown"), [("launches", 1), ("rounds", 8)])
def test_more_rounds_than_there_are_samples_are_found(
    block: tuple[Path, Path], part: str, shown: int
) -> None:
    said = forge(block[0], lambda fields: fields["sampling"].update({part: 64}))
    assert f"sampling says 64 {part}, but the raw samples show {shown}" in said


def test_an_invented_metric_is_found(block: tuple[Path, Path]) -> None:
    def change(fields: Fields) -> None:
        fields["measurements"]["speed"] = fields["measurements"]["tpot_s"]

    assert "speed does not follow from the raw samples" in forge(block[0], change)


def test_a_forged_speedup_is_found_from_both_arms(block: tuple[Path, Path]) -> None:
    def change(fields: Fields) -> None:
        found = [c for c in fields["comparisons"] if c["metric"] == "tpot_s"]
        found[0]["value"] /= 2

    assert "tpot_s against" in forge(block[1], change)


def test_a_missing_baseline_leaves_comparisons_unchecked_and_says_so(
    block: tuple[Path, Path],
) -> None:
    block[0].unlink()
    assert "is not in the store" in said_of(block[1])


def test_a_cell_id_that_does_not_follow_from_the_cell_is_found(block: tuple[Path, Path]) -> None:
    def change(fields: Fields) -> None:
        fields["cell"]["backend"]["version"] = 7

    assert "cell_id is" in forge(block[0], change)


def test_another_machine_is_found(block: tuple[Path, Path]) -> None:
    def change(fields: Fields) -> None:
        fields["environment"]["cpu"]["name"] = "A faster one"

    assert "machine_id is" in forge(block[0], change)


def test_times_that_run_backwards_or_lack_a_zone_are_found(block: tuple[Path, Path]) -> None:
    def backwards(fields: Fields) -> None:
        fields["times"]["finished_at"] = "2020-01-01T00:00:00Z"

    def zoneless(fields: Fields) -> None:
        fields["times"]["finished_at"] = "2026-11-20T13:00:00"

    assert "before it started" in forge(block[0], backwards)
    assert "times.finished_at: Input should have timezone" in forge(block[0], zoneless)


def test_a_status_that_does_not_fit_is_found(block: tuple[Path, Path]) -> None:
    def failed(fields: Fields) -> None:
        fields["status"] = "failed"

    said = forge(block[0], failed)
    assert "does not fit its error" in said
    assert "but it has measurements" in said


def test_ok_without_raw_samples_is_found(block: tuple[Path, Path]) -> None:
    assert "no raw samples" in forge(block[0], lambda fields: fields.update(traces=None))


def test_a_wrong_number_of_rows_is_found(block: tuple[Path, Path]) -> None:
    assert "rows, not 3" in forge(block[0], lambda fields: fields["traces"].update(rows=3))


def test_missing_changed_and_corrupt_traces_are_found(block: tuple[Path, Path]) -> None:
    traces = traces_path(block[0])
    traces.write_bytes(traces.read_bytes() + b"x")
    assert "is not the file" in said_of(block[0])
    traces.unlink()
    assert "cannot be read" in said_of(block[0])


def test_a_record_moved_elsewhere_is_found(block: tuple[Path, Path]) -> None:
    moved = block[0].rename(block[0].with_name("20260101T000000Z-00000000.json"))
    assert "does not lie where" in said_of(moved)


def test_a_changed_or_absent_file_is_one_problem(block: tuple[Path, Path]) -> None:
    block[0].write_text(block[0].read_text().replace("mains", "battery"))
    assert ["changed after" in p.message for p in verify_record(block[0]).problems] == [True]
    block[0].unlink()
    assert ["not a regular file" in p.message for p in verify_record(block[0]).problems] == [True]


def of_method(version: int) -> Callable[[Fields], None]:
    def change(fields: Fields) -> None:
        for stored in (*fields["measurements"].values(), *fields["comparisons"]):
            stored["method_version"] = version

    return change


def test_numbers_of_an_older_method_are_told(block: tuple[Path, Path]) -> None:
    for path in block:
        assert forge(path, of_method(METHOD_VERSION - 1)) == ""
    fields = json.loads(block[0].read_text())
    values = [m for m in fields["measurements"].values() if m["value"] is not None]
    assert verify_record(block[0]).older == {METHOD_VERSION - 1: len(values) + 1}  # and stability
    verified = verify_paths(block)
    assert verified.problems == ()
    assert verified.older[METHOD_VERSION - 1] > 2 * len(values)


def test_the_command_says_what_it_did_not_derive_again(block: tuple[Path, Path]) -> None:
    forge(block[0], of_method(METHOD_VERSION - 1))
    block[1].unlink()
    result = CliRunner().invoke(verify, [str(block[0])])
    assert result.exit_code == 0
    assert f"numbers of the older method {METHOD_VERSION - 1} were not derived" in result.output
    assert "1 records checked, 0 problems" in result.output


def test_an_older_method_hides_no_other_samples(block: tuple[Path, Path]) -> None:
    def forged(fields: Fields) -> None:
        of_method(METHOD_VERSION - 1)(fields)
        fields["measurements"]["tpot_s"]["n"] = 80
        fields["measurements"]["ttft_s"]["samples"][0] /= 2
        fields["measurements"]["energy_per_output_token_j"]["provenance"] = "measured"
        fields["comparisons"][0]["pairs"][0] /= 2

    said = forge(block[1], forged)
    assert "tpot_s: its n is 80" in said
    assert "ttft_s: its samples is 8 values" in said
    assert "energy_per_output_token_j: its provenance is measured" in said
    assert "its pairs is 8 values" in said


def test_a_newer_method_is_a_problem_and_no_excuse(block: tuple[Path, Path]) -> None:
    said = forge(block[0], of_method(METHOD_VERSION + 1))
    assert f"the newer method {METHOD_VERSION + 1}" in said
    assert "upgrade leanboard" in said


def test_one_number_of_another_method_is_found(block: tuple[Path, Path]) -> None:
    def one(fields: Fields) -> None:
        fields["measurements"]["tpot_s"]["method_version"] = METHOD_VERSION - 1

    said = forge(block[0], one)
    assert f"of the methods {METHOD_VERSION - 1} and {METHOD_VERSION}, but a run has one" in said


def test_whatever_is_left_out_is_found(block: tuple[Path, Path]) -> None:
    def thinned(fields: Fields) -> None:
        del fields["measurements"]["itl_p99_s"]
        fields["comparisons"] = [c for c in fields["comparisons"] if c["metric"] != "tpot_s"]
        del fields["facts"]["weight_bytes"]
        del fields["stability"]["figures"]["steal_share"]
        fields["sampling"] = None

    said = forge(block[1], thinned)
    assert "itl_p99_s is missing" in said
    assert "tpot_s against 2026" in said
    assert "the fact weight_bytes is missing" in said
    assert "steal_share is missing" in said
    assert "it does not say how many samples were taken" in said
    without = forge(block[1], lambda fields: fields.update(stability=None))
    assert "it does not say whether it was stable" in without


def test_raw_samples_from_before_a_series_was_recorded_give_no_metric_of_it(root: Path) -> None:
    seen = request_observation()
    older = replace(
        seen, series=(), facts={k: v for k, v in seen.facts.items() if k != "memory_total_bytes"}
    )
    run = make_run(observation=older)
    assert "memory_mean_bytes" not in run.record.measurements
    path = Store(root, "local").write(run.record, run.traces)
    assert verify_paths([path]) == Verified(1)


def test_a_metric_of_a_recorded_series_may_not_be_left_out(block: tuple[Path, Path]) -> None:
    said = forge(block[0], lambda fields: fields["measurements"].pop("memory_mean_bytes"))
    assert said == "memory_mean_bytes is missing, but it follows from the raw samples"


def test_facts_are_those_of_the_samples(block: tuple[Path, Path]) -> None:
    def better(fields: Fields) -> None:
        fields["facts"]["weight_bytes"]["value"] /= 2
        fields["facts"]["luck"] = {"value": 1.0, "unit": "1", "provenance": "measured"}

    said = forge(block[0], better)
    assert "the fact weight_bytes is {" in said
    assert "the fact luck does not follow from the raw samples" in said


def test_an_invented_bound_is_found(block: tuple[Path, Path]) -> None:
    said = forge(block[0], lambda fields: fields.update(bounds={"decode": "memory"}))
    assert said == "what bounds decode is memory, but the raw samples give not told"


def test_comparisons_that_were_dropped_are_found(block: tuple[Path, Path]) -> None:
    def dropped(fields: Fields) -> None:
        fields["comparisons"] = []

    def told(fields: Fields) -> None:
        fields["warnings"] = ["no comparison: the baseline failed: out of memory"]

    baseline = block[0].stem
    said = forge(block[1], dropped)
    assert said == f"it has no comparisons, but its baseline is in the store: run {baseline}"
    assert forge(block[1], told) == ""
    forge(block[1], lambda fields: fields.update(warnings=[]))
    block[0].unlink()
    assert said_of(block[1]) == ""


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda fields: fields["block"].update(block_id="0" * 16), "it is of another block"),
        (lambda fields: fields["block"].update(baseline=False), "not the baseline of its block"),
        (lambda fields: fields.update(status="failed"), "its status is failed"),
        (
            lambda fields: fields["cell"]["workload"].update(prompts=16),
            "its cell differs in more than the techniques",
        ),
        (lambda fields: fields.update(machine_id="another"), "does not lie where"),
    ],
)
def test_no_other_run_may_pose_as_the_baseline(
    block: tuple[Path, Path], change: Callable[[Fields], None], said: str
) -> None:
    forge(block[0], change)
    assert f"its baseline, run {block[0].stem}: " in said_of(block[1])
    assert said in said_of(block[1])


def test_a_baseline_is_compared_with_nothing(block: tuple[Path, Path]) -> None:
    said = forge(block[1], lambda fields: fields["block"].update(baseline=True))
    assert "it is the baseline of its block, but it has comparisons" in said
