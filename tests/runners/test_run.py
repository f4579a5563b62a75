"""A run from overrides to records, on the random Llama, through real worker processes."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from leanboard.metrics.trace import Provenance, RequestObservation
from leanboard.results.errors import ConfigError, LeanboardError
from leanboard.results.schema import AccuracyCell, PerformanceCell, Record, Status
from leanboard.results.store import Store, traces_path
from leanboard.results.traces import from_parquet
from leanboard.results.verify import Verified, verify_paths
from leanboard.runners.backends.base import ModelFiles
from leanboard.runners.grid import BlockSpec, blocks
from leanboard.runners.machine import memory_use
from leanboard.runners.recording import without_paths
from leanboard.runners.run import run

pytestmark = pytest.mark.process

_WORDS = "a b c d e f g h i j k l m n o p q r s t u v w x y z"


class Watch:
    """Progress that keeps what was said and can act after a step."""

    def __init__(self, after: Callable[[str], None] = lambda _: None) -> None:
        self.said: list[str] = []
        self.announced_s = 0.0
        self.done_s = 0.0
        self._after = after

    def say(self, text: str) -> None:
        self.said.append(text)

    def add(self, estimate_s: float) -> None:
        self.announced_s += estimate_s

    def advance(self, estimate_s: float, doing: str) -> None:
        assert estimate_s >= 0
        self.done_s += estimate_s
        self._after(doing)


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def command(tiny_llama: ModelFiles, tmp_path: Path, cache: Path) -> list[str]:
    passages = tmp_path / "passages.jsonl"
    rows = [
        {"title": f"title {n}", "text": f"{n} {_WORDS[n % 26 :]} {_WORDS}."} for n in range(120)
    ]
    passages.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return [
        f"model.id={tiny_llama.folder}",
        f"data.passages_path={passages}",
        f"store={tmp_path / 'records'}",
        f"cache={cache}",
        "hardware=cpu-1t",
        "workload.prompt_tokens=24",
        "workload.output_tokens=4",
        "workload.prompts=3",
        "procedure.rounds=3",
        "procedure.rounds_per_launch=null",
        "procedure.warmup_rounds=1",
        "procedure.timeout_s=120",
        "accuracy.tasks=[]",
        "accuracy.text={name: passages, bytes: 600, window_bytes: 200}",
    ]


def _by_kind(records: tuple[Record, ...]) -> tuple[list[Record], list[Record]]:
    timed = [r for r in records if isinstance(r.cell, PerformanceCell)]
    return timed, [r for r in records if isinstance(r.cell, AccuracyCell)]


def _workers() -> list[psutil.Process]:
    """Return the arms' processes: a fork server is not one, but the parent of some."""
    found = [
        child
        for child in psutil.Process().children(recursive=True)
        if "leanboard.runners.worker" in child.cmdline()
    ]
    parents = {child.ppid() for child in found}
    return [child for child in found if child.pid not in parents]


def test_records_of_an_arm_that_only_simulates_say_so_and_are_verified(
    command: list[str], tmp_path: Path
) -> None:
    outcome = run(blocks([*command, "technique=minifloat"]), Watch())
    plain, rounded = (r for r in outcome.records if isinstance(r.cell, PerformanceCell))
    assert plain.warnings == ()
    for record in outcome.records:
        told = [warning for warning in record.warnings if warning.startswith("simulated: ")]
        assert len(told) == (record.block.arm == "minifloat")
    assert "bits_per_weight, weight_bytes" in rounded.warnings[0]
    assert rounded.measurements["weight_bytes"] == plain.measurements["weight_bytes"]
    assert rounded.facts["simulated_weight_bits"]["provenance"] == Provenance.SIMULATED
    assert verify_paths([tmp_path / "records"]) == Verified(4)


def test_a_run_leaves_verified_records_of_every_arm(command: list[str], tmp_path: Path) -> None:
    outcome = run(blocks([*command, "technique=bf16"]), Watch())
    timed, scored = _by_kind(outcome.records)
    assert [(r.block.arm, r.status) for r in timed] == [("none", "ok"), ("bf16", "ok")]
    assert [(r.block.arm, r.status) for r in scored] == [("none", "ok"), ("bf16", "ok")]
    assert timed[1].comparisons[0].baseline_run == timed[0].run_id
    assert timed[1].measurements["weight_bytes"].value == pytest.approx(
        timed[0].measurements["weight_bytes"].value / 2, rel=1e-6
    )
    assert scored[0].measurements["bits_per_byte"].value is not None
    assert timed[0].environment.settings["energy_covers"] == "processor and memory, by constants"
    averaged = timed[0].measurements["memory_mean_bytes"]
    assert averaged.value is None
    assert "too few readings of memory" in str(averaged.reason)
    assert verify_paths([tmp_path / "records"]) == Verified(4)
    assert not list((tmp_path / "runs").glob("*.json")), "a finished run leaves no notes"
    assert not _workers()


def test_a_baseline_that_two_blocks_share_is_scored_once_and_compared_in_both(
    command: list[str], tmp_path: Path
) -> None:
    specs = [spec for name in ("bf16", "rtn") for spec in blocks([*command, f"technique={name}"])]
    _, scored = _by_kind(run(specs, Watch()).records)
    assert [r.block.arm for r in scored] == ["none", "bf16", "rtn"]
    for record in scored[1:]:
        nearness = next(c for c in record.comparisons if c.metric == "kl_to_baseline")
        assert nearness.value is not None
        assert nearness.baseline_run == scored[0].run_id
    assert not list((tmp_path / "predictions").iterdir()), "a finished run keeps no predictions"


def test_at_the_end_no_work_is_announced_that_was_not_done(command: list[str]) -> None:
    watch = Watch()
    run(blocks([*command, "technique=gguf-q8_0"]), watch)  # which torch cannot do
    assert watch.announced_s == pytest.approx(watch.done_s)
    assert watch.done_s > 0


def test_every_round_runs_every_arm_on_the_same_prompt(command: list[str], tmp_path: Path) -> None:
    timing_only = [override for override in command if not override.startswith("accuracy")]
    run(blocks([*timing_only, "technique=static-cache", "accuracy=none"]), Watch())
    seen = {}
    for entry in Store(tmp_path / "records", "local").entries():
        observation = from_parquet(traces_path(entry.path).read_bytes())
        assert isinstance(observation, RequestObservation)
        seen[entry.record.block.arm] = [
            (r.round, r.warmup, r.prompt_id, r.output_tokens) for r in observation.requests
        ]
    assert seen["none"] == seen["static-cache"]
    assert [(r, w) for r, w, _, _ in seen["none"]] == [
        (0, True),
        (0, False),
        (1, False),
        (2, False),
    ]
    assert {tokens for *_, tokens in seen["none"]} == {4}


def test_memory_is_averaged_over_the_requests_of_every_round(
    command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The tiny model answers in a tenth of a second.
    monkeypatch.setattr(memory_use, "PERIOD_S", 0.001)
    timing_only = [override for override in command if not override.startswith("accuracy")]
    outcome = run(blocks([*timing_only, "accuracy=none", "workload.output_tokens=96"]), Watch())
    (record,) = outcome.records
    measured = record.measurements
    used, share = measured["memory_mean_bytes"], measured["memory_mean_share"]
    peak = measured["peak_memory_bytes"].value
    assert used.reason is None
    assert 0.5 * peak < used.value < 1.01 * peak  # the kernel counts pages in lots
    assert (used.unit, used.n, used.provenance) == ("B", 3, Provenance.MEASURED)
    assert share.value == pytest.approx(used.value / record.facts["memory_total_bytes"]["value"])
    assert verify_paths([tmp_path / "records"]) == Verified(1)


def test_a_technique_that_the_backend_cannot_do_is_an_unsupported_row(command: list[str]) -> None:
    outcome = run(blocks([*command, "technique=gguf-q8_0"]), Watch())
    by_arm = {(r.block.arm, r.cell.kind): r for r in outcome.records}
    refused = by_arm["gguf-q8_0", "performance"]
    assert refused.status is Status.UNSUPPORTED
    assert refused.error is not None
    assert "cannot do 'gguf-q8_0'" in refused.error.message
    assert refused.measurements == {}
    assert by_arm["none", "performance"].status is Status.OK
    assert outcome.failed == ()


def test_an_arm_that_dies_becomes_a_failed_row_and_the_others_go_on(command: list[str]) -> None:
    def kill_the_candidate(doing: str) -> None:
        if doing.endswith("bf16: chat") and len(_workers()) == 2:
            _workers()[1].kill()

    outcome = run(blocks([*command, "technique=bf16"]), Watch(kill_the_candidate))
    by_arm = {(r.block.arm, r.cell.kind): r for r in outcome.records}
    assert by_arm["none", "performance"].status is Status.OK
    failed = by_arm["bf16", "performance"]
    assert failed.status is Status.FAILED
    assert failed.error is not None
    assert failed.error.kind == "out-of-memory"
    assert failed.measurements == {}
    assert failed.comparisons == ()
    assert {r.block.arm for r in outcome.failed} == {"bf16"}


def test_an_interrupted_run_keeps_its_records_and_goes_on_with_what_is_left(
    command: list[str],
) -> None:
    specs = blocks([*command, "technique=bf16"])

    def interrupt_scoring(doing: str) -> None:
        if doing.endswith("none: passages"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(specs, Watch(interrupt_scoring))
    assert not _workers()

    watch = Watch()
    outcome = run(specs, watch)
    assert watch.said[0] == "Resuming: 2 cells of this run are done."
    assert [(r.block.arm, r.cell.kind) for r in outcome.records] == [
        ("none", "accuracy"),
        ("bf16", "accuracy"),
    ]

    again = run(specs, Watch())
    assert len(again.records) == 4, "a finished run measures anew"


def test_too_little_memory_is_a_failed_row_with_the_numbers(command: list[str]) -> None:
    outcome = run(blocks([*command, "hardware.memory_cap_bytes=1000000"]), Watch())
    timed, _ = _by_kind(outcome.records)
    assert timed[0].status is Status.FAILED
    assert timed[0].error is not None
    assert timed[0].error.kind == "out-of-memory"
    assert "GiB" in timed[0].error.message


def test_a_store_that_cannot_be_written_ends_the_run_and_its_workers(
    command: list[str], tmp_path: Path
) -> None:
    (tmp_path / "records").write_text("a file, not a folder")
    with pytest.raises(LeanboardError, match="records"):
        run(blocks(command), Watch())
    assert not _workers()


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("workload.prompts=0", "workload.prompts is 0"),
        ("procedure.rounds=0", "procedure.rounds"),
        ("technique=prompt-lookup technique.prompt-lookup.num_tokens=0", "num_tokens"),
        ("model.id=./nowhere/at/all", "no model at"),
    ],
)
def test_a_value_that_does_not_fit_is_refused_before_anything_runs(
    command: list[str], override: str, message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        run(blocks([*command, *override.split()]), Watch())


def _two_workloads(command: list[str], technique: str) -> list[BlockSpec]:
    (spec,) = blocks([*command, f"technique={technique}"])
    second = replace(spec.workloads[0], name="second", output_tokens=5)
    return [replace(spec, workloads=(spec.workloads[0], second))]


def test_what_an_arm_finished_before_it_died_is_kept_and_compared(command: list[str]) -> None:
    def kill_the_baseline(doing: str) -> None:
        if doing.endswith("none: second") and len(_workers()) == 2:
            _workers()[0].kill()

    outcome = run(_two_workloads(command, "bf16"), Watch(kill_the_baseline))
    timed, _ = _by_kind(outcome.records)
    by_key = {(r.block.arm, r.cell.workload.name): r for r in timed}  # type: ignore[union-attr]
    assert by_key["none", "chat"].status is Status.OK
    assert by_key["bf16", "chat"].comparisons
    assert by_key["none", "second"].status is Status.FAILED
    alone = by_key["bf16", "second"]
    assert alone.status is Status.OK
    assert alone.comparisons == ()
    assert any("no comparison: the baseline failed" in warning for warning in alone.warnings)


def test_work_that_a_technique_cannot_do_is_refused_and_the_rest_is_done(
    command: list[str],
) -> None:
    (spec,) = _two_workloads(command, "prompt-lookup")
    batched = replace(spec.workloads[1], name="second", batch_size=2, prompts=4)
    outcome = run([replace(spec, workloads=(spec.workloads[0], batched))], Watch())
    timed, scored = _by_kind(outcome.records)
    assert [(r.block.arm, r.cell.workload.name, str(r.status)) for r in timed] == [  # type: ignore[union-attr]
        ("none", "chat", "ok"),
        ("prompt-lookup", "chat", "ok"),
        ("none", "second", "ok"),
        ("prompt-lookup", "second", "unsupported"),
    ]
    assert {str(r.status) for r in scored} == {"ok"}


def test_a_baseline_that_failed_is_timed_again_beside_its_candidates(command: list[str]) -> None:
    specs = blocks([*command, "technique=bf16"])

    def kill_then_interrupt(doing: str) -> None:
        if doing.endswith("none: chat") and len(_workers()) == 2:
            _workers()[0].kill()
        if doing.endswith("bf16: passages"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(specs, Watch(kill_then_interrupt))
    outcome = run(specs, Watch())
    timed, _ = _by_kind(outcome.records)
    assert [(r.block.arm, r.status) for r in timed] == [("none", "ok"), ("bf16", "ok")]
    assert timed[1].comparisons[0].baseline_run == timed[0].run_id


def test_a_worker_that_does_not_answer_in_time_is_a_failed_row(command: list[str]) -> None:
    run(blocks(command), Watch())  # so that prompts are chosen and only the arm can be too slow
    outcome = run(blocks([*command, "procedure.timeout_s=0.05"]), Watch())
    timed, _ = _by_kind(outcome.records)
    assert timed[0].status is Status.FAILED
    assert timed[0].error is not None
    assert "no answer to 'import_libraries' within 0.05 s" in timed[0].error.message


def test_a_record_of_a_failure_names_no_folder() -> None:
    said = 'File "/srv/alice/app/model.py", line 3: no space on /var/tmp/x and/or more'
    assert without_paths(said) == 'File "model.py", line 3: no space on x and/or more'


def test_a_record_says_what_a_gguf_file_of_a_folder_really_holds(
    command: list[str], tmp_path: Path
) -> None:
    outcome = run(blocks([*command, "backend=llamacpp", "technique=gguf-q4_k_m"]), Watch())
    assert {record.status for record in outcome.records} == {Status.OK}
    fallen = "q4_k_m: 15 of 15 matrices fell back: 11 became q5_0 instead of q4_k (rows of 64"
    for records in _by_kind(outcome.records):
        plain, mixed = ("; ".join(record.warnings) for record in records)
        assert "fell back" not in plain
        assert fallen in mixed
    plain, mixed = (record.facts for record in _by_kind(outcome.records)[0])
    assert plain["weight_bits"]["value"] < 16.2
    assert 5.5 < mixed["weight_bits"]["value"] < 8.5
    assert mixed["tensor_type_q5_0"] == {"value": 63_488, "unit": "1", "provenance": "counted"}
    assert verify_paths([tmp_path / "records"]) == Verified(4)
