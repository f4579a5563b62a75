from pathlib import Path

import pytest
from record_factory import make_record
from scripts import running

from leanboard.results.errors import LeanboardError
from leanboard.runners.journal import Journal


def _always(_: str) -> bool:
    return True


def test_an_interrupted_run_finds_what_it_finished(tmp_path: Path) -> None:
    record = make_record()
    Journal.open(tmp_path, "key").note(record, "there.json")
    assert Journal.open(tmp_path, "key").done(record.cell_id, _always)


def test_another_run_finds_nothing(tmp_path: Path) -> None:
    record = make_record()
    Journal.open(tmp_path, "key").note(record, "there.json")
    assert not Journal.open(tmp_path, "other").done(record.cell_id, _always)


def test_a_finished_run_measures_anew(tmp_path: Path) -> None:
    record = make_record()
    journal = Journal.open(tmp_path, "key")
    journal.note(record, "there.json")
    journal.close()
    assert not Journal.open(tmp_path, "key").done(record.cell_id, _always)


def test_failed_cells_are_tried_again_and_unsupported_ones_are_not(tmp_path: Path) -> None:
    failed, unsupported = make_record(status="failed"), make_record(status="unsupported")
    journal = Journal.open(tmp_path, "key")
    journal.note(failed, "a.json")
    assert not journal.done(failed.cell_id, _always)
    journal.note(unsupported, "b.json")
    assert journal.done(unsupported.cell_id, _always)


def test_a_cell_whose_record_is_gone_is_not_done(tmp_path: Path) -> None:
    record = make_record()
    journal = Journal.open(tmp_path, "key")
    journal.note(record, "there.json")
    assert not journal.done(record.cell_id, lambda location: location != "there.json")


def test_notes_that_cannot_be_read_count_as_none(tmp_path: Path) -> None:
    (tmp_path / "key.json").write_text('{"half')
    assert Journal.open(tmp_path, "key").finished == {}


def test_a_second_equal_command_waits_for_the_first(tmp_path: Path) -> None:
    hold = (
        "import sys; from pathlib import Path; from leanboard.runners.journal import Journal\n"
        "with Journal.opened(Path(sys.argv[1]), 'key', print): print('open', flush=True); "
        "sys.stdin.read()"
    )
    with running(hold, tmp_path) as (first, line):
        assert line == "open\n"
        said: list[str] = []

        def say(text: str) -> None:
            said.append(text)
            first.kill()

        with Journal.opened(tmp_path, "key", say):
            first.wait()
    assert said == ["the same command is running already; waiting for it to end"]


def test_notes_that_cannot_be_kept_are_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("a file")
    with pytest.raises(LeanboardError, match="cannot write to"):
        Journal.open(tmp_path / "runs", "key").note(make_record(), "there.json")
