"""The changelog of results: what came on a day, and what a repeated run says anew."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from record_factory import EPOCH, Run, make_environment, make_run

from leanboard.leaderboard.board import board_of, run_href
from leanboard.leaderboard.change_lines import APART, MEET, Change, change_between
from leanboard.leaderboard.changes import MOST_ENTRIES, Day, change_parts, changes, days_of
from leanboard.leaderboard.pages import Site
from leanboard.leaderboard.paging import Leaf
from leanboard.results.schema import Cause, Component
from leanboard.results.store import Entry, Loaded, Origin

DAY = timedelta(days=1)


def entries(*runs: Run, origin: Origin = "local") -> list[Entry]:
    return [Entry(run.record, origin, Path("r")) for run in runs]


def only_change(before: Run, after: Run) -> Change:
    return change_between(*entries(before, after))


def values(change: Change, label: str) -> tuple[str, str]:
    line = next(line for line in change.lines if line.label == label)
    return line.ratio, line.overlap


def test_the_first_run_of_a_cell_is_new_and_changes_nothing() -> None:
    (day,) = days_of(entries(make_run()))
    assert day.date == f"{EPOCH:%Y-%m-%d}"
    assert day.changes == ()
    machine = make_run().record.machine_id
    assert day.sentence == f"1 run of 1 cell; 1 cell for the first time; new: {machine}"
    (new,) = day.first
    assert (new.name, new.origin, new.note) == ("none \u00b7 chat", "local", "")
    assert new.where == f"smollm2-135m-instruct on transformers, cpu, 2 threads, {machine}"
    assert new.href == run_href(make_run().record)


def test_first_cells_are_named_by_technique_with_knobs_and_by_workload_or_task() -> None:
    half = Component(name="hqq", version=1, params={"bits": 4, "axis": "out"})
    scored = make_run(kind="accuracy", techniques=[half, "bf16"], task="arc_easy")
    failed = make_run(techniques=["nf4"], status="unsupported")
    (day,) = days_of(entries(failed, scored))
    assert [(new.name, new.note) for new in day.first] == [
        ("hqq (axis=out, bits=4)+bf16 \u00b7 arc_easy", ""),
        ("nf4 \u00b7 chat", "unsupported"),
    ]


def test_a_local_and_a_published_run_of_one_cell_are_kept_apart() -> None:
    published = entries(make_run(), origin="published")
    mine = entries(make_run(started_at=EPOCH + DAY, number=1))
    later = entries(make_run(started_at=EPOCH + 2 * DAY, number=2), origin="published")
    last, second, first = days_of([*published, *mine, *later])
    assert [len(day.changes) for day in (first, second, last)] == [0, 0, 1]
    assert [[new.origin for new in day.first] for day in (first, second)] == [
        ["published"],
        ["local"],
    ]
    (change,) = last.changes
    assert change.before_href == run_href(published[0].record)
    assert (change.run.origin, last.first) == ("published", ())


def test_a_cell_measured_again_on_another_day_is_held_against_its_run_before() -> None:
    before = make_run()
    after = make_run(started_at=EPOCH + DAY, number=1, speed=2.0)
    newest, oldest = days_of(entries(after, before))
    assert (newest.date > oldest.date, oldest.changes) == (True, ())
    assert newest.sentence == "1 run of 1 cell"
    (change,) = newest.changes
    assert (change.run.href.count("/"), change.run.href != change.before_href) == (3, True)
    ratio, overlap = values(change, "Time per output token")
    assert 0.45 < float(ratio) < 0.55
    assert overlap == APART


def test_the_same_values_again_have_a_ratio_of_one_and_intervals_that_meet() -> None:
    before = make_run()
    after = make_run(started_at=EPOCH + DAY, observation=before.observation)
    assert values(only_change(before, after), "Time per output token") == ("1.000", MEET)


def test_of_several_runs_on_a_day_the_last_is_held_against_the_one_before_it() -> None:
    runs = [
        make_run(started_at=EPOCH + timedelta(minutes=number), number=number, speed=speed)
        for number, speed in enumerate((1.0, 4.0, 2.0))
    ]
    (day,) = days_of(entries(*runs))
    (change,) = day.changes
    assert 1.8 < float(values(change, "Time per output token")[0]) < 2.2


def test_the_same_cell_on_two_machines_is_no_repetition() -> None:
    other = make_run(environment=make_environment(cpu="Another CPU", cores=8))
    (day,) = days_of(entries(make_run(), other))
    assert day.changes == ()
    assert day.sentence.startswith("2 runs of 2 cells; 2 cells for the first time; new: ")


def test_estimates_are_not_told() -> None:
    change = only_change(make_run(), make_run(started_at=EPOCH + DAY))
    labels = [line.label for line in change.lines]
    assert "Time to first token" in labels
    assert not [label for label in labels if "nergy" in label]


def test_an_unstable_or_failed_run_is_named() -> None:
    steady = make_run()
    shaken = make_run(started_at=EPOCH + DAY, causes=[Cause(kind="spread", message="it shook")])
    assert only_change(steady, shaken).notes == ("this run: unstable",)
    failed = make_run(status="failed")
    change = only_change(failed, steady)
    assert change.notes == ("the run before: failed",)
    assert change.lines == ()


def test_the_versions_of_both_runs_are_said() -> None:
    before = make_run(environment=versioned("0.1.0", "a" * 40))
    after = make_run(environment=versioned("0.2.0", "b" * 40), started_at=EPOCH + DAY)
    same = only_change(before, before)
    assert same.versions == "both leanboard 0.1.0 (aaaaaaaa)"
    assert (
        only_change(before, after).versions
        == "leanboard 0.1.0 (aaaaaaaa), now leanboard 0.2.0 (bbbbbbbb)"
    )


def test_a_long_changelog_goes_on_on_further_pages() -> None:
    before = make_run().record
    after = make_run(started_at=EPOCH + DAY, number=1).record
    cells = MOST_ENTRIES + 5
    records = [
        record.model_copy(update={"cell_id": f"{number:016x}"})
        for number in range(cells)
        for record in (before, after)
    ]
    loaded = Loaded(tuple(Entry(record, "local", Path("r")) for record in records))
    site = Site(board_of(loaded), ())
    further = list(change_parts(site))
    shown = [days(page["days"]) for page in (changes(site), *(part.context for part in further))]
    assert [sum(len(day.changes) for day in page) for page in shown] == [MOST_ENTRIES - 1, 6, 0]
    assert [sum(len(day.first) for day in page) for page in shown] == [0, MOST_ENTRIES - 7, 12]
    assert [day.whole for page in shown for day in page] == [True, False, True, False]
    assert [day.many for page in shown for day in page] == [False, False, True, True]
    assert [part.path for part in further] == ["changes-2.html", "changes-3.html"]
    leaves = [leaf(page["leaf"]) for page in (changes(site), *(part.context for part in further))]
    assert [one.before for one in leaves] == ["", "changes.html", "changes-2.html"]
    assert [one.after for one in leaves] == ["changes-2.html", "changes-3.html", ""]


def days(found: object) -> list[Day]:
    assert isinstance(found, list)
    return found


def leaf(found: object) -> Leaf:
    assert isinstance(found, Leaf)
    return found


def versioned(version: str, commit: str):
    environment = make_environment()
    packages = {**environment.packages, "leanboard": version}
    return environment.model_copy(update={"packages": packages, "git_sha": commit})


def test_where_runs_share_a_page_changes_lead_there() -> None:
    after = make_run(started_at=EPOCH + DAY, number=1)
    newest, _ = days_of(entries(make_run(), after), one_page=True)
    record = after.record
    place = f"{record.machine_id}/{record.cell_id}/{record.run_id}"
    assert newest.changes[0].run.href == f"run.html#run={place}"
