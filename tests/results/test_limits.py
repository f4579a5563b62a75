"""Numbers and times that no run can have are refused where a record is read, and say where."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from record_factory import make_run

from leanboard.leaderboard.build import build_site
from leanboard.results.frozen import LARGEST
from leanboard.results.identity import content_hash
from leanboard.results.loading import load_lean
from leanboard.results.schema import Record
from leanboard.results.store import Store, read_record

RECORDS = Path(__file__).resolve().parents[2] / "results" / "records"
INT64 = 2**63 - 1
FORGED: list[tuple[str, Any]] = [
    ("times.started_at", "2026-11-20T12:00:00"),
    ("times.started_at", "9999-12-31T23:59:59-01:00"),
    ("times.finished_at", "0001-01-01T00:00:00+01:00"),
    ("times.load_s", 1e101),
    ("measurements.tpot_s.n", 2**63),
    ("measurements.tpot_s.n", -1),
    ("measurements.tpot_s.value", -1e101),
    ("measurements.tpot_s.samples.0", 1e308),
    ("measurements.tpot_s.interval.high", 1e101),
    ("sampling.rounds", 2**63),
    ("sampling.warmup_rounds.0", -1),
    ("stability.figures.tpot_spread", 1e101),
    ("environment.memory_bytes", 10**400),
    ("environment.memory_bytes", -1),
    ("environment.cpu.logical_cores", 2**63),
    ("environment.cpu.clock_hz", 10**400),
    ("environment.threads.torch", 2**63),
    ("environment.settings.deep", [{"er": 10**400}]),
    ("facts.load_s", {"value": 10**400}),
    ("facts.load_s", {"value": 1e101}),
    ("facts.load_s", {"value": -(10**101)}),
    ("cell.backend.params.knob", [1, [10**400]]),
    ("cell.backend.version", 2**63),
    ("cell.procedure.seed", 2**63),
    ("cell.model.parameters", 10**400),
    ("traces.rows", 2**63),
]


def forge(path: Path, where: str, value: object) -> None:
    """Put a value in a record, whose content hash fits again."""
    fields = json.loads(path.read_text())
    *parents, last = where.split(".")
    place = fields
    for part in parents:
        place = place[int(part) if isinstance(place, list) else part]
    place[int(last) if isinstance(place, list) else last] = value
    path.write_text(json.dumps(fields | {"content_hash": content_hash(fields)}))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    run = make_run()
    return Store(tmp_path / "records", "local").write(run.record, run.traces)


@pytest.mark.parametrize(("where", "value"), FORGED)
def test_a_forged_record_is_skipped_with_a_line_that_says_where(
    path: Path, where: str, value: object
) -> None:
    forge(path, where, value)
    loaded = load_lean([(path.parents[2], "local")], 1)
    assert loaded.entries == ()
    (problem,) = loaded.problems
    assert f"does not fit its schema: {where.split('.', maxsplit=1)[0]}." in problem.message


def test_the_site_is_built_of_what_is_left(path: Path, tmp_path: Path) -> None:
    fair = make_run(number=1)
    store = Store(path.parents[2], "local")
    store.write(fair.record, fair.traces)
    forge(path, "times.started_at", "2026-11-20T12:00:00")
    report = build_site(load_lean([(store.root, "local")], 1), tmp_path / "site", processes=1)
    assert report.records == 1
    assert [problem.path for problem in report.problems] == [path]


@pytest.mark.parametrize(
    ("where", "value"),
    [
        ("environment.memory_limit_bytes", INT64),
        ("environment.settings.shmmax", 2**64 - 1),
        ("facts.note", [True, None, 1, 1.5, "text", {"deep": [LARGEST, -LARGEST]}]),
        ("cell.procedure.seed", -INT64),
        ("times.started_at", "1970-01-01T00:00:00Z"),
        ("times.started_at", "2026-11-20T12:00:00.500000+05:30"),
    ],
)
def test_what_a_machine_may_say_is_kept_as_it_is(path: Path, where: str, value: object) -> None:
    forge(path, where, value)
    expected = json.loads(path.read_text())
    assert json.loads(read_record(path).model_dump_json()) == expected


def test_every_published_record_is_read_as_it_was_written() -> None:
    for published in sorted(RECORDS.rglob("*.json"))[::25]:
        text = published.read_bytes()
        record = Record.model_validate_json(text)
        assert record.model_dump(mode="json", exclude_unset=True) == json.loads(text)


def test_numbers_at_the_limits_are_shown(tmp_path: Path) -> None:
    """A score of guessing that none can be, sizes below 0, and intervals of any width."""
    base = make_run(arms=("none", "bf16"))
    candidate = make_run(techniques=("bf16",), baseline=base, arms=("none", "bf16"))
    scored = make_run(kind="accuracy")
    store = Store(tmp_path / "records", "local")
    timed, other, answers = (store.write(r.record, r.traces) for r in (base, candidate, scored))
    forge(timed, "measurements.weight_bytes.value", -LARGEST)
    forge(other, "measurements.tpot_s.value", 5e-324)
    forge(other, "measurements.tpot_s.interval", {"low": 5e-324, "high": LARGEST, "method": "t"})
    forge(answers, "measurements.chance.value", LARGEST)
    forge(answers, "measurements.acc.value", LARGEST)
    loaded = load_lean([(store.root, "local")], 1)
    assert len(loaded.entries) == 3
    assert build_site(loaded, tmp_path / "site", processes=1).problems == ()
