"""Reading records for a board gives what reading stores gives: the same records and problems."""

from __future__ import annotations

import json
import os
import pickle
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
from record_factory import make_run

from leanboard.results import loading
from leanboard.results.document import json_text
from leanboard.results.identity import content_hash
from leanboard.results.lean import Lean
from leanboard.results.loading import _text_sealed, load_lean
from leanboard.results.store import Loaded, Origin, Store, read_stores

DAMAGE = {
    "empty": "",
    "half": '{"schema_version": 1, "run_id": "2026',
    "deep": "[" * 100_000,
    "no number": '{"schema_version": 1, "a": NaN}',
    "a list": "[1, 2]",
    "no version": "{}",
    "newer": '{"schema_version": 2}',
}

Stores = list[tuple[Path, Origin]]


@pytest.fixture
def stores(tmp_path: Path) -> Stores:
    """Two stores with good records and everything that can be wrong with a file."""
    published, local = Store(tmp_path / "p", "published"), Store(tmp_path / "l", "local")
    for number in range(3):
        run = make_run(number=number)
        published.write(run.record, run.traces)
    for number in range(3, 9):
        run = make_run(number=number)
        path = local.write(run.record, run.traces)
    for name, text in DAMAGE.items():
        (path.parent / f"{name}.json").write_text(text)
    (path.parent / "bytes.json").write_bytes(b"\xff\xfe\x00")
    (path.parent / "link.json").symlink_to(path)
    os.mkfifo(path.parent / "pipe.json")
    fields = json.loads(path.read_text())
    changed = {**fields, "facts": {"note": "better than it was"}}
    path.with_name("20260101T000000Z-00000000.json").write_text(json.dumps(changed))
    unknown = {**fields, "execute": "rm"}
    unknown["content_hash"] = content_hash(unknown)
    path.with_name("20260101T000000Z-00000001.json").write_text(json.dumps(unknown))
    fields["measurements"]["tpot_s"]["unit"] = "B"
    fields["content_hash"] = content_hash(fields)
    path.with_name("20260101T000000Z-00000003.json").write_text(json.dumps(fields))
    path.rename(path.with_name("20260101T000000Z-00000002.json"))
    return [(published.root, "published"), (local.root, "local")]


def told(loaded: Loaded) -> list[tuple[str, str]]:
    return [(str(problem.path), problem.message) for problem in loaded.problems]


@pytest.mark.parametrize("processes", [1, 2, 3])
@pytest.mark.parametrize("batch", [2, 200])
def test_the_records_and_problems_are_those_of_the_stores(
    stores: Stores, batch: int, processes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loading, "_LEAST", batch)
    monkeypatch.setattr(loading, "_PARTS", 1)
    expected, found = read_stores(stores), load_lean(stores, processes)
    assert told(found) == told(expected)
    assert len(told(found)) == len(DAMAGE) + 7
    assert [(e.path, e.origin) for e in found.entries] == [
        (e.path, e.origin) for e in expected.entries
    ]
    lean = Lean()
    for one, other in zip(found.entries, expected.entries, strict=True):
        assert one.record == lean.record(other.record)


def test_records_that_other_processes_have_read_keep_their_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(tmp_path, "local")
    for number in range(7):
        run = make_run(number=number)
        store.write(run.record, run.traces)
    tasks: list[int] = []

    @contextmanager
    def elsewhere(work: Sequence[Callable[[], object]], processes: int) -> Iterator[object]:
        tasks.append(processes)
        yield lambda: [pickle.loads(pickle.dumps(task())) for task in work]

    monkeypatch.setattr(loading, "_LEAST", 2)
    monkeypatch.setattr(loading, "started", elsewhere)
    found = load_lean([(store.root, "local")], 3)
    assert tasks == [3]
    lean = Lean()
    assert [entry.record for entry in found.entries] == [
        lean.record(entry.record) for entry in store.entries()
    ]


def test_a_changed_number_is_found_though_it_fits_the_schema(stores: Stores) -> None:
    path = next(path for path in sorted(stores[0][0].rglob("*.json")))
    fields = json.loads(path.read_text())
    fields["measurements"]["tpot_s"]["value"] *= 0.5
    path.write_text(json.dumps(fields))
    found = load_lean(stores[:1])
    assert [problem.path for problem in found.problems] == [path]
    assert "changed after it was written" in found.problems[0].message
    assert len(found.entries) == 2


def test_records_in_any_layout_of_json_are_read(stores: Stores) -> None:
    for path in stores[0][0].rglob("*.json"):
        path.write_text(json.dumps(json.loads(path.read_text()), separators=(",", ":")))
    assert len(load_lean(stores[:1]).entries) == 3


def rewrite(path: Path, facts: dict[str, str]) -> str:
    """Give a record other facts, with a hash that fits; return its text."""
    fields = json.loads(path.read_text()) | {"facts": facts}
    text = json_text(fields | {"content_hash": content_hash(fields)})
    path.write_text(text)
    return text


def test_a_record_as_it_is_written_is_known_by_its_text(stores: Stores) -> None:
    for path in stores[0][0].rglob("*.json"):
        assert _text_sealed(path.read_bytes())
        rewrite(path, {"note": 'quote":no space, \n\n lines: "', 'odd":name': "  x  "})
        assert _text_sealed(path.read_bytes())
    assert len(load_lean(stores[:1]).entries) == 3


@pytest.mark.parametrize("facts", [{"ends with \\": "x"}, {"note": 'he said": no'}])
def test_a_text_that_may_be_read_two_ways_is_read_the_long_way(
    stores: Stores, facts: dict[str, str]
) -> None:
    path = next(stores[0][0].rglob("*.json"))
    rewrite(path, facts)
    assert not _text_sealed(path.read_bytes())
    assert len(load_lean(stores[:1]).entries) == 3


@pytest.mark.parametrize(
    ("old", "new"), [('no\\": x', 'no\\":x'), ("  two", " two"), ("ok", "o k")]
)
def test_a_space_that_was_changed_in_a_text_is_found(stores: Stores, old: str, new: str) -> None:
    path = next(stores[0][0].rglob("*.json"))
    text = rewrite(path, {"note": 'no": x  two', "other": "ok"})
    assert text.count(old) >= 1
    path.write_text(text.replace(old, new))
    assert [problem.path for problem in load_lean(stores[:1]).problems] == [path]


def test_a_store_that_does_not_exist_is_empty(tmp_path: Path) -> None:
    assert load_lean([(tmp_path / "none", "local")], 2) == Loaded()
