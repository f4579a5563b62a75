"""What was scored and stands in no row: on whose pages it is, what is said of it, and how many."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from demo_store import NEVER_TIMED, NO_ANSWER, TASKS, Demo
from page_elements import elements_of
from record_factory import EPOCH, Run, make_environment, make_run, make_task

from leanboard.leaderboard.board import MOST_ROWS, Board, board_of, run_href
from leanboard.leaderboard.build import build_site
from leanboard.leaderboard.pages import Site
from leanboard.leaderboard.score_tables import task_lines
from leanboard.leaderboard.scored import scored_runs, told_of
from leanboard.leaderboard.subject_pages import SubjectPage, subject_parts
from leanboard.leaderboard.subjects import Kind, listed, subjects_of
from leanboard.leaderboard.texts import Texts
from leanboard.results.schema import Component
from leanboard.results.store import Entry, Loaded, Origin, Store

LATER = EPOCH + timedelta(hours=1)


def board(*runs: Run, origin: Origin = "local") -> Board:
    entries = tuple(Entry(run.record, origin, Path("r.json")) for run in runs)
    return board_of(Loaded(entries))


def labels(made: Board) -> list[str]:
    return [f"{run.label} {run.task}" for run in scored_runs(made)]


def scores(*techniques: str | Component, **options: Any) -> Run:
    return make_run(kind="accuracy", techniques=techniques, **options)


def test_scores_of_an_arm_that_was_timed_stand_in_its_row_alone() -> None:
    assert labels(board(make_run(), scores(), make_run(techniques=["bf16"]), scores("bf16"))) == []


def test_scores_of_an_arm_that_was_never_timed_stand_in_no_row() -> None:
    assert labels(board(make_run(), scores(), scores("fp16"))) == ["fp16 arc_easy"]


def test_a_scoring_run_that_failed_stands_in_no_row_though_its_arm_was_timed() -> None:
    made = board(make_run(), scores(status="failed", error="too slow"))
    assert [(run.label, run.score, run.reason) for run in scored_runs(made)] == [
        ("none", None, "OutOfMemoryError: too slow")
    ]


def test_of_a_cell_that_was_scored_again_the_newest_run_counts() -> None:
    failed = scores("fp16", status="failed")
    again = scores("fp16", started_at=LATER)
    (run,) = scored_runs(board(failed, again))
    assert run.record == again.record
    assert labels(board(make_run(), scores(status="failed"), scores(started_at=LATER))) == []
    (run,) = scored_runs(board(make_run(), scores(), scores(status="failed", started_at=LATER)))
    assert run.reason != ""


def test_scores_on_other_items_or_another_machine_than_the_rows_stand_in_no_row() -> None:
    few, many = make_task("arc_easy", limit=10), make_task("arc_easy", limit=50)
    others = [scores("bf16", task=many), scores("x", task=many)]
    timed = [make_run(techniques=[name]) for name in ("bf16", "x")]
    assert labels(board(*timed, *others, scores("bf16", task=few))) == ["bf16 arc_easy"]
    elsewhere = scores("bf16", environment=make_environment(cpu="Another CPU"))
    (run,) = scored_runs(board(timed[0], others[0], elsewhere))
    assert run.record.machine_id == elsewhere.record.machine_id


def test_published_rows_show_no_local_scores() -> None:
    entries = [
        Entry(make_run(techniques=["bf16"]).record, "published", Path("r")),
        Entry(scores("bf16").record, "local", Path("r")),
    ]
    assert labels(board_of(Loaded(tuple(entries)))) == ["bf16 arc_easy"]


def test_a_run_is_named_with_every_knob() -> None:
    knobs = Component(name="maw", version=1, params={"share": 0.1, "by": "size"})
    made = board(scores(knobs), scores(knobs, "x"))
    assert {run.label for run in scored_runs(made)} == {
        "maw (by=size, share=0.1)",
        "maw+x (maw.by=size, maw.share=0.1)",
    }


@pytest.mark.parametrize(
    ("task", "name"), [("arc_easy", "acc_norm"), ("squad-passages", "bits_per_byte")]
)
def test_the_score_of_a_run_is_the_one_on_its_page(demo: Demo, task: str, name: str) -> None:
    (run,) = (one for one in scored_runs(demo.board) if one.task == task)
    runs = {(e.record.machine_id, e.record.run_id): e.record for e in demo.loaded.entries}
    (line,) = (one for one in task_lines(run.record, runs).lines if one.name == name)
    assert run.score == line
    assert line.interval != ""
    assert (line.difference.interval != "") == (task == "arc_easy")
    assert line.difference.verdict != ""


def test_a_score_that_may_not_be_ranked_says_why() -> None:
    warning = "requantised: the weights were q4_1 before"
    (run,) = scored_runs(board(scores("nf4", warnings=[warning])))
    assert run.unranked == warning
    (run,) = scored_runs(board(scores("nf4")))
    assert run.unranked == ""


def page_of(made: Board, path: str) -> SubjectPage:
    (found,) = (part for part in subject_parts(Site(made, ())) if part.path == path)
    page = found.context["subject"]
    assert isinstance(page, SubjectPage)
    return page


def test_a_technique_that_was_only_scored_has_a_page_and_is_listed(demo: Demo) -> None:
    page = page_of(demo.board, f"techniques/{NEVER_TIMED}.html")
    assert (page.rows.total, page.scored.total, page.links) == (0, len(TASKS) + 1, ())
    found = {one.name: one for one in listed(demo.board, Texts())[Kind.TECHNIQUE]}
    one = found[NEVER_TIMED]
    assert (one.rows, one.scored, one.beside) == (0, "5 scoring runs", "1 model")
    assert found["bf16"].scored == ""
    text = (demo.folder / page_path(one.href)).read_text(encoding="utf-8")
    assert "<h2>Rows</h2>" not in text
    assert text.count('<tr><th scope="row">') == len(TASKS) + 1
    assert NO_ANSWER in text


def page_path(href: str) -> str:
    return href.partition("#")[0]


def test_the_pages_of_model_and_hardware_have_the_same_runs(demo: Demo) -> None:
    for kind in Kind:
        subjects = [one for one in subjects_of(demo.board)[kind] if one.scored]
        assert [len(one.scored) for one in subjects] == [len(TASKS) + 1]
        text = (demo.folder / subjects[0].href).read_text(encoding="utf-8")
        assert text.count(f">{NEVER_TIMED}</a>") >= len(TASKS) + 1


def test_every_run_of_the_table_is_linked(demo: Demo) -> None:
    for path in ("scored.html", f"techniques/{NEVER_TIMED}.html"):
        file = demo.folder / path
        hrefs = {attributes.get("href") for tag, attributes in elements_of(file) if tag == "a"}
        up = "../" * path.count("/")
        assert {up + run.href for run in scored_runs(demo.board)} <= hrefs


def test_the_leaderboard_says_how_many_there_are_and_leads_to_them(demo: Demo) -> None:
    text = (demo.folder / "index.html").read_text(encoding="utf-8")
    assert "5 scoring runs (4 ok, 1 failed)" in text
    assert ("a", {"href": "scored.html"}) in elements_of(demo.folder / "index.html")
    assert told_of(()) == ""


def built(tmp_path: Path, runs: Sequence[Run], **options: Any) -> Path:
    store = Store(tmp_path / "records", "local")
    for run in runs:
        store.write(run.record, run.traces)
    return build_site(store.load(), tmp_path / "site", **options).folder


def test_a_board_of_scores_alone_says_that_nothing_was_timed(tmp_path: Path) -> None:
    folder = built(tmp_path, [scores(), scores("fp16", status="unsupported")])
    text = (folder / "index.html").read_text(encoding="utf-8")
    assert "Nothing is timed yet" in text
    assert "2 scoring runs (1 ok, 1 unsupported)" in text
    assert "There are no records yet" not in text
    assert (folder / "scored.html").is_file()


def test_where_every_score_has_a_row_there_is_no_such_page(tmp_path: Path) -> None:
    folder = built(tmp_path, [make_run(), scores()])
    assert not (folder / "scored.html").exists()
    assert "scored.html" not in (folder / "index.html").read_text(encoding="utf-8")


def test_many_scoring_runs_are_on_pages_of_a_few(tmp_path: Path) -> None:
    runs = [scores(f"t{n}") for n in range(MOST_ROWS + 1)]
    folder = built(tmp_path, runs, most_run_pages=3)
    pages = [elements_of(folder / name) for name in ("scored.html", "scored-2.html")]
    expected = {run_href(run.record, one_page=True) for run in runs}
    found = [{a["href"] for tag, a in page if tag == "a"} & expected for page in pages]
    assert [len(part) for part in found] == [MOST_ROWS, 1]
    assert found[0] | found[1] == expected
    model = next((folder / "models").glob("*.html")).read_text(encoding="utf-8")
    assert f"The first {MOST_ROWS} of {MOST_ROWS + 1} runs are here." in model
