"""A store never loses, overwrites or half-writes a record, and no bad file stops a reader."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest
from record_factory import EPOCH, make_record, make_run

from leanboard.results.document import record_to_text
from leanboard.results.errors import LeanboardError, RecordError
from leanboard.results.identity import content_hash, sealed
from leanboard.results.store import Store, read_stores, traces_path


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "records", "local")


def files(root: Path) -> list[str]:
    return sorted(p.name for p in root.rglob("*") if p.is_file())


def write(store: Store, number: int = 0) -> Path:
    run = make_run(number=number)
    return store.write(run.record, run.traces)


def only_problem(store: Store) -> str:
    loaded = store.load()
    assert [entry.record.run_id for entry in loaded.entries] == [make_record().run_id]
    assert len(loaded.problems) == 1
    return loaded.problems[0].message


def test_a_record_comes_back_as_it_was_written(store: Store) -> None:
    run = make_run()
    path = store.write(run.record, run.traces)
    record = run.record
    assert path == store.root / record.machine_id / record.cell_id / f"{record.run_id}.json"
    assert [entry.record for entry in store.entries()] == [record]
    assert traces_path(path).read_bytes() == run.traces
    assert files(store.root) == sorted([path.name, traces_path(path).name])


def test_a_failed_run_is_kept_without_traces(store: Store) -> None:
    record = make_record(status="failed", error="needs 9 GiB, 4 are free")
    path = store.write(record, None)
    assert files(store.root) == [path.name]
    assert next(store.entries()).record == record


def test_the_text_is_sorted_indented_and_ends_with_a_newline(store: Store) -> None:
    text = write(store).read_text()
    assert text == json.dumps(json.loads(text), sort_keys=True, indent=1, ensure_ascii=False) + "\n"


def test_entries_are_ordered_by_path_whatever_was_written_first(store: Store) -> None:
    paths = [write(store, number) for number in (3, 1, 2, 0)]
    assert [entry.path for entry in store.entries()] == sorted(paths)


def test_a_record_is_never_overwritten(store: Store) -> None:
    path = write(store)
    before = path.read_bytes()
    with pytest.raises(RecordError, match="never overwritten"):
        write(store)
    assert path.read_bytes() == before


def test_traces_of_another_run_are_refused(store: Store) -> None:
    with pytest.raises(RecordError, match="not the ones"):
        store.write(make_record(), make_run(number=1).traces)
    with pytest.raises(RecordError, match="not the ones"):
        store.write(make_record(), None)
    assert not store.root.exists()


@pytest.mark.parametrize("failing_call", [1, 2, 3, 4])
def test_a_full_disk_says_what_to_do_and_leaves_nothing_partial(
    store: Store, monkeypatch: pytest.MonkeyPatch, failing_call: int
) -> None:
    write(store, number=9)
    kept, calls, fsync = files(store.root), [], os.fsync

    def full(handle: int) -> None:
        calls.append(handle)
        if len(calls) == failing_call:
            raise OSError(errno.ENOSPC, "No space left on device")
        fsync(handle)

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(LeanboardError, match=r"no space left.*run the same command again"):
        write(store)
    assert files(store.root) == kept


def test_a_folder_that_cannot_be_made_says_so(tmp_path: Path) -> None:
    (tmp_path / "records").write_text("a file stands here")
    with pytest.raises(LeanboardError, match="cannot write to"):
        write(Store(tmp_path / "records", "local"))


def test_a_store_that_does_not_exist_is_empty(store: Store) -> None:
    loaded = store.load()
    assert loaded.entries == ()
    assert loaded.problems == ()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "not valid JSON"),
        ('{"schema_version": 1, "run_id": "2026', "not valid JSON"),
        ("[" * 100_000, "not valid JSON"),
        ('{"schema_version": 1, "a": NaN}', "NaN"),
        ('{"schema_version": 1, "a": 1e999}', "cannot be hashed"),
        ("[1, 2]", "not a record"),
        ("{}", "names no schema version"),
        ('{"schema_version": 2}', "upgrade leanboard"),
        ('{"schema_version": 0}', "not known"),
        ('{"schema_version": true}', "names no schema version"),
    ],
)
def test_a_corrupt_file_is_a_problem_beside_good_records(
    store: Store, text: str, expected: str
) -> None:
    path = write(store)
    (path.parent / "20260101T000000Z-00000000.json").write_text(text)
    assert expected in only_problem(store)


def test_bytes_that_are_not_text_are_a_problem(store: Store) -> None:
    (write(store).parent / "20260101T000000Z-00000000.json").write_bytes(b"\xff\xfe\x00")
    assert "cannot be read" in only_problem(store)


def test_a_truncated_record_is_a_problem(store: Store) -> None:
    write(store)
    path = write(store, number=1)
    path.write_text(path.read_text()[:-100])
    assert "truncated" in only_problem(store)


def test_a_changed_number_is_found_by_the_content_hash(store: Store) -> None:
    write(store)
    path = write(store, number=1)
    fields = json.loads(path.read_text())
    fields["facts"]["note"] = "better than it was"
    path.write_text(json.dumps(fields))
    assert "changed after it was written" in only_problem(store)


def test_a_resealed_record_with_an_unknown_field_does_not_fit_the_schema(store: Store) -> None:
    write(store)
    path = write(store, number=1)
    fields = json.loads(path.read_text()) | {"execute": "rm"}
    fields["content_hash"] = content_hash(fields)
    path.write_text(json.dumps(fields))
    message = only_problem(store)
    assert "does not fit its schema: execute" in message


@pytest.mark.parametrize("name", ["tpot_s", "chat.tpot_s", "accuracy", "arc_easy.acc"])
def test_a_number_in_another_unit_than_its_metric_does_not_fit_the_schema(
    store: Store, name: str
) -> None:
    write(store)
    path = write(store, number=1)
    fields = json.loads(path.read_text())
    fields["measurements"][name] = {**fields["measurements"]["tpot_s"], "unit": "B"}
    fields["content_hash"] = content_hash(fields)
    path.write_text(json.dumps(fields))
    assert f"measurements: Value error, {name} is in 'B', but its unit is" in only_problem(store)


def test_a_metric_that_is_not_known_may_be_in_any_unit() -> None:
    fields = make_record().model_dump(mode="json")
    fields["measurements"]["hops"] = {**fields["measurements"]["tpot_s"], "unit": "hop"}
    assert sealed(fields).measurements["hops"].unit == "hop"


def test_a_record_in_another_place_is_a_problem(store: Store) -> None:
    write(store)
    path = write(store, number=1)
    target = store.root / "elsewhere" / path.parent.name
    target.mkdir(parents=True)
    path.rename(target / path.name)
    assert "does not lie where its record belongs" in only_problem(store)


def test_a_record_deeper_than_its_place_is_a_problem(store: Store) -> None:
    path = write(store)
    copy = store.root / "copy" / path.relative_to(store.root)
    copy.parent.mkdir(parents=True)
    copy.write_bytes(path.read_bytes())
    assert "does not lie where its record belongs" in only_problem(store)


def test_a_link_out_of_the_store_is_not_followed(store: Store, tmp_path: Path) -> None:
    path = write(store)
    secret = tmp_path / "secret.json"
    secret.write_text('{"password": 1}')
    (path.parent / "20260101T000000Z-00000000.json").symlink_to(secret)
    assert "leads out of the store" in only_problem(store)


def test_a_linked_folder_is_not_entered(store: Store, tmp_path: Path) -> None:
    write(store)
    other = Store(tmp_path / "other", "local")
    write(other, number=1)
    (store.root / "machine").symlink_to(other.root)
    assert "leads out of the store" in only_problem(store)


def test_a_folder_named_like_a_record_and_leftovers_are_no_records(store: Store) -> None:
    path = write(store)
    (path.parent / "20260101T000000Z-00000000.json").mkdir()
    (path.parent / ".20260101T000000Z-00000001.json.0f.tmp").write_text("half")
    loaded = store.load()
    assert len(loaded.entries) == 1
    assert loaded.problems == ()


def test_a_folder_that_cannot_be_listed_is_a_problem(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(store)
    locked, scandir = store.root / "locked", os.scandir
    locked.mkdir()

    def refuse(folder: str) -> object:
        if Path(folder) == locked:
            raise PermissionError(errno.EACCES, "Permission denied", str(folder))
        return scandir(folder)

    monkeypatch.setattr(os, "scandir", refuse)
    loaded = store.load()
    assert [entry.path for entry in loaded.entries] == [path]
    assert [(p.path, "cannot be listed" in p.message) for p in loaded.problems] == [(locked, True)]


def test_several_stores_are_read_in_order_and_labelled(tmp_path: Path) -> None:
    published, local = Store(tmp_path / "p", "published"), Store(tmp_path / "l", "local")
    write(published, number=1)
    write(local, number=2)
    (tmp_path / "l" / "bad.json").write_text("{")
    loaded = read_stores([(published.root, "published"), (local.root, "local")])
    assert [entry.origin for entry in loaded.entries] == ["published", "local"]
    assert [problem.path.name for problem in loaded.problems] == ["bad.json"]


WRITER = """
import sys
from pathlib import Path
from record_factory import make_run
from leanboard.results.store import Store
for number in range(int(sys.argv[2]), int(sys.argv[2]) + 8):
    run = make_run(number=number)
    Store(Path(sys.argv[1]), "local").write(run.record, run.traces)
"""


def test_two_processes_write_runs_of_one_cell_at_once(store: Store) -> None:
    support = Path(__file__).parents[1] / "support"
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", WRITER, str(store.root), str(start)],
            env={**os.environ, "PYTHONPATH": str(support)},
        )
        for start in (0, 100)
    ]
    assert [writer.wait(timeout=60) for writer in writers] == [0, 0]
    loaded = store.load()
    assert loaded.problems == ()
    assert len(loaded.entries) == 16
    assert len({entry.record.cell_id for entry in loaded.entries}) == 1
    assert not list(store.root.rglob("*.tmp"))


def test_the_same_record_has_the_same_text_and_another_time_is_another_record() -> None:
    early, late = make_record(), make_record(started_at=EPOCH + timedelta(days=1))
    assert record_to_text(early) == record_to_text(make_record())
    assert record_to_text(early) != record_to_text(late)
