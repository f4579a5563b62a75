"""The pages of models, techniques and hardware: whose rows they have, and what they say of them."""

from __future__ import annotations

import re
from dataclasses import replace
from html import unescape
from itertools import pairwise
from pathlib import Path
from urllib.parse import parse_qsl

import pytest
from click.testing import CliRunner
from demo_store import NEVER_TIMED, Demo
from record_factory import Run, make_device, make_model, make_run

from leanboard.leaderboard.board import board_of
from leanboard.leaderboard.charts import LEFT, Plot
from leanboard.leaderboard.forest import MOST_LINES, forest
from leanboard.leaderboard.pages import Site
from leanboard.leaderboard.slugs import slug_of
from leanboard.leaderboard.subject_figures import MOST_POINTS, PEAK_MEMORY, figures_of
from leanboard.leaderboard.subject_pages import SubjectPage, subject_parts
from leanboard.leaderboard.subjects import (
    NO_GAIN,
    TPOT,
    Kind,
    Subject,
    column_named,
    listed,
    subjects_of,
    tally,
)
from leanboard.leaderboard.texts import Texts
from leanboard.leaderboard.tradeoff import tradeoff
from leanboard.results import published
from leanboard.results.store import Entry, Loaded, Store
from leanboard.results.technique_text import Knob, TechniqueText
from leanboard.runners.cli import cli
from leanboard.runners.technique_texts import technique_texts

TEXT = TechniqueText(
    name="bf16",
    family="formats",
    does=("Load the weights as bfloat16.", "Emulated on some processors."),
    source="A paper",
    library="A package.",
    knobs=(Knob("dtype", "bfloat16", "what the weights become"),),
    backends=("transformers",),
    quantises=False,
    lossless=False,
    simulates=("weight_bytes",),
    calibrated=True,
    trained=False,
    expanded_by="leanboard",
    conflicts=("fp16", "fp8"),
    exclusive="weight-format",
    limits="Not on Mondays.",
    version=1,
)


def subject(demo: Demo, kind: Kind, name: str) -> Subject:
    return next(found for found in subjects_of(demo.board)[kind] if found.name == name)


def pages(site: Site) -> dict[str, SubjectPage]:
    found = {}
    for part in subject_parts(site):
        page = part.context["subject"]
        assert isinstance(page, SubjectPage)
        found[part.path] = page
    return found


def loaded(*runs: Run) -> Loaded:
    return Loaded(tuple(Entry(run.record, "local", Path("r")) for run in runs))


@pytest.mark.parametrize(
    "name",
    ["../../etc/passwd", "Ünï çödé", "", ".", "CON", "a" * 128, "<script>", "cpu · m-1", "-"],
)
def test_any_name_gives_a_file_name_of_letters_digits_and_dashes(name: str) -> None:
    assert re.fullmatch(r"[a-z0-9_][a-z0-9_-]{0,100}", slug_of(name))


def test_a_plain_name_stands_for_itself() -> None:
    assert slug_of("static-cache") == "static-cache"
    assert slug_of("gguf-q8_0") == "gguf-q8_0"


def test_names_that_look_alike_have_slugs_that_differ() -> None:
    names = ["gguf-q8_0", "gguf-q8-0", "gguf.q8.0", "GGUF-q8-0", "a" * 90, "a" * 91]
    # A name that is another's slug already is not that other.
    names += [slug_of(name) for name in names if slug_of(name) != name]
    assert len(set(map(slug_of, names))) == len(names)


def test_every_row_is_with_its_model_its_hardware_and_its_techniques(demo: Demo) -> None:
    found = subjects_of(demo.board)
    for kind, field in ((Kind.MODEL, "model"), (Kind.HARDWARE, "hardware")):
        assert sum(len(one.lines) for one in found[kind]) == len(demo.board.lines)
        for one in found[kind]:
            assert {getattr(line, field) for line in one.lines} == {one.name}
    techniques = {one.name: one.lines for one in found[Kind.TECHNIQUE]}
    named = {line.label for line in demo.board.lines} - {"none"}
    assert {name for name, lines in techniques.items() if lines} == named
    assert set(techniques) == named | {NEVER_TIMED}


def test_an_arm_of_two_techniques_is_with_both() -> None:
    board = board_of(loaded(make_run(techniques=["bf16", "static-cache"]), make_run()))
    found = {one.name: len(one.lines) for one in subjects_of(board)[Kind.TECHNIQUE]}
    assert found == {"bf16": 1, "static-cache": 1}


def test_the_newest_row_of_a_subject_is_the_one_run_last(demo: Demo) -> None:
    model = subjects_of(demo.board)[Kind.MODEL][0]
    starts = [record.times.started_at for record in model.records]
    assert model.newest.times.started_at == max(starts)


def test_verdicts_are_counted_and_those_in_doubt_apart(demo: Demo) -> None:
    column = column_named(demo.board.columns, TPOT)
    assert column is not None
    lines = subject(demo, Kind.TECHNIQUE, "gguf-q4_1").lines
    assert tally(line.cell(column).gain for line in lines) == "1 better, 1 in doubt"
    assert tally([None]) == NO_GAIN


def test_lists_say_what_a_technique_does_where_that_is_known(demo: Demo) -> None:
    techniques = listed(demo.board, Texts({"bf16": TEXT}))[Kind.TECHNIQUE]
    about = {one.name: one.about for one in techniques}
    assert about["bf16"] == "Load the weights as bfloat16."
    assert about["nf4"] == ""


def test_a_technique_page_has_the_registrys_text_or_says_that_there_is_none(demo: Demo) -> None:
    texts = {
        "bf16": TEXT,
        "rtn": replace(TEXT, name="rtn"),
        "static-cache": replace(TEXT, name="static-cache", exclusive="", trained=True),
    }
    found = pages(Site(demo.board, (), Texts(texts)))
    known, unknown = found["techniques/bf16.html"], found["techniques/nf4.html"]
    assert (known.lede, known.paragraphs) == (TEXT.does[0], TEXT.does[1:])
    terms = {term.name: term.text for term in known.terms}
    assert terms["source"] == "A paper"
    assert terms["rounds the weights"] == "no"
    assert terms["lossless by construction"] == "no"
    assert terms["only simulates"] == "weight_bytes"
    assert terms["calibrated"].startswith("yes: on text")
    taught = {term.name: term.text for term in found["techniques/static-cache.html"].terms}
    assert taught["trained"].startswith("yes: on text")
    assert ("trained" in terms, "calibrated" in taught) == (False, False)
    assert terms["expands its weights"].startswith("at every forward, by leanboard")
    assert terms["limits"] == "Not on Mondays."
    assert terms["library"] == "A package."
    assert terms["not together with"] == "fp16, fp8"
    assert terms["one of these at a time"] == (
        "bf16, rtn (each decides how the weights of linear layers are stored)"
    )
    assert known.knobs == TEXT.knobs
    assert "not on the menu" in unknown.lede
    assert "source" not in {term.name for term in unknown.terms}


def test_a_technique_page_says_in_how_many_rows_outputs_are_the_baselines(demo: Demo) -> None:
    page = pages(Site(demo.board, ()))["techniques/static-cache.html"]
    terms = {term.name: term.text for term in page.terms}
    assert terms["outputs equal to the baseline's"] == "yes in 2 of 2 rows"


def test_a_hardware_page_has_the_machine_and_the_calibrated_peaks(demo: Demo) -> None:
    hardware = subjects_of(demo.board)[Kind.HARDWARE][0]
    page = pages(Site(demo.board, ()))[hardware.href]
    terms = {term.name: term.text for term in page.terms}
    assert terms["threads"] == "2"
    # The demo's runs were held against no calibration.
    assert terms["peak arithmetic"] == "not calibrated"
    assert "Processor" in [section.title for section in page.sections]


def test_calibrated_peaks_are_those_of_each_backends_baseline() -> None:
    runs = [make_run(backend=backend) for backend in ("transformers", "llamacpp")]
    facts = {
        "peak_flops_per_s": {"value": 154e9, "unit": "FLOP/s", "provenance": "measured"},
        "peak_bytes_per_s": {"value": 53e9, "unit": "B/s", "provenance": "measured"},
    }
    entries = [
        Entry(run.record.model_copy(update={"facts": facts}), "local", Path("r")) for run in runs
    ]
    board = board_of(Loaded(tuple(entries)))
    (page,) = [p for p in pages(Site(board, ())).values() if p.kind == "hardware"]
    terms = {term.name: term.text for term in page.terms}
    assert terms["peak arithmetic"] == "154 GFLOP/s (llamacpp), 154 GFLOP/s (transformers)"
    assert terms["peak memory traffic"] == "53.0 GB/s (llamacpp), 53.0 GB/s (transformers)"


def test_of_models_under_one_name_every_value_is_said() -> None:
    other = make_model().model_copy(update={"licence": "MIT", "content_hash": "f" * 64})
    board = board_of(loaded(make_run(), make_run(model=other)))
    (page,) = [p for p in pages(Site(board, ())).values() if p.kind == "models"]
    terms = {term.name: term.text for term in page.terms}
    assert terms["licence"] == "Apache-2.0, MIT"


def test_a_forest_places_each_ratio_and_its_interval_and_leaves_doubted_ones_hollow(
    demo: Demo,
) -> None:
    column = column_named(demo.board.columns, TPOT)
    assert column is not None
    lines = subject(demo, Kind.TECHNIQUE, "gguf-q4_1").lines
    plot = forest(lines, column)
    assert isinstance(plot, Plot)
    assert len(plot.marks) == 2
    for line, mark in zip(lines, plot.marks, strict=True):
        gain = line.cell(column).gain
        assert gain is not None
        assert gain.low is not None
        assert gain.high is not None
        assert mark.x == plot.x.at(gain.ratio)
        assert mark.bar_x == (plot.x.at(gain.low), plot.x.at(gain.high))
        assert mark.css.endswith("hollow") == bool(gain.doubts)
        assert mark.href == line.href
    assert {mark.css for mark in plot.marks} == {"point hollow", "point front"}
    even = plot.x.at(1.0)
    assert LEFT < even < plot.right
    assert plot.lines[0].points.split()[0].startswith(f"{even:g},")
    assert plot.y.ticks == ()


def test_a_forest_of_many_rows_shows_the_first_and_says_so(demo: Demo) -> None:
    column = column_named(demo.board.columns, TPOT)
    assert column is not None
    lines = subject(demo, Kind.TECHNIQUE, "bf16").lines[:1] * (MOST_LINES + 5)
    plot = forest(lines, column)
    assert plot is not None
    assert len(plot.marks) == MOST_LINES
    assert f"the first {MOST_LINES} of {MOST_LINES + 5}" in plot.description
    assert all(after.y - before.y > 30 for before, after in pairwise(plot.marks))


def test_a_technique_that_was_never_compared_has_no_forest(demo: Demo) -> None:
    assert figures_of(subject(demo, Kind.TECHNIQUE, "nf4"), demo.board).shown == ()


def test_a_models_pictures_hold_its_rows_of_one_hardware_and_workload(demo: Demo) -> None:
    model = subjects_of(demo.board)[Kind.MODEL][0]
    found = figures_of(model, demo.board)
    places = {(line.hardware, line.workload_text) for line in model.lines if line.status == "ok"}
    assert len(found.shown) == len(places) == 3
    for figure in found.shown:
        hrefs = {mark.href for mark in figure.plot.marks}
        lines = [line for line in model.lines if line.href in hrefs]
        assert len({(line.hardware, line.workload_text) for line in lines}) == 1
        assert "model=smollm2-135m-instruct" in figure.href


def test_a_choice_with_more_rows_than_a_picture_holds_is_left_to_the_pareto_page() -> None:
    run = make_run()
    entries = tuple(
        Entry(run.record.model_copy(update={"cell_id": f"{n:016x}"}), "local", Path("r"))
        for n in range(MOST_POINTS + 1)
    )
    board = board_of(Loaded(entries))
    found = figures_of(subjects_of(board)[Kind.MODEL][0], board)
    assert found.shown == ()
    assert found.note.startswith("Not drawn here: 1 choice")


def test_an_empty_board_has_no_subjects() -> None:
    board = board_of(Loaded())
    assert all(found == () for found in subjects_of(board).values())
    assert list(subject_parts(Site(board, ()))) == []


def test_a_picture_marks_the_front_of_the_pareto_page(demo: Demo) -> None:
    model = subjects_of(demo.board)[Kind.MODEL][0]
    x, y = (column_named(demo.board.columns, name) for name in (TPOT, PEAK_MEMORY))
    assert x is not None
    assert y is not None
    for figure in figures_of(model, demo.board).shown:
        asked = dict(parse_qsl(figure.href.partition("#")[2]))
        texts = {
            (line.hardware_key, line.workload_key): (line.hardware, line.workload_choice)
            for line in demo.board.lines
        }
        place = texts[asked["hardware"], asked["workload"]]
        expected = tradeoff(demo.board, x, y, *place)
        front = {mark.href for mark in figure.plot.marks if mark.css.endswith("front")}
        assert front == {contender.line.href for contender in expected.front}
        assert {mark.css for mark in figure.plot.marks} == {m.css for m in expected.plot.marks}


def test_the_command_line_tells_the_site_what_techniques_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(published, "published_root", lambda: tmp_path / "none")
    run = make_run(techniques=["bf16"])
    Store(tmp_path / "records", "local").write(run.record, run.traces)
    out = tmp_path / "site"
    arguments = ["site", "--records", str(tmp_path / "records"), "--out", str(out)]
    result = CliRunner().invoke(cli, arguments)
    assert result.exit_code == 0, result.output
    page = (out / "techniques" / "bf16.html").read_text(encoding="utf-8")
    assert technique_texts()["bf16"].source in unescape(page)
    assert "cannot be judged here" in (out / "findings.html").read_text(encoding="utf-8")


def test_a_hardware_page_keeps_its_address_and_links_to_the_rows_of_each_setting() -> None:
    one = make_run(device=make_device(threads=1))
    (plain,) = subjects_of(board_of(loaded(make_run())))[Kind.HARDWARE]
    board = board_of(loaded(make_run(), one))
    (hardware,) = subjects_of(board)[Kind.HARDWARE]
    assert (hardware.name, hardware.href) == (plain.name, plain.href)
    assert len(hardware.lines) == 2
    page = pages(Site(board, ()))[hardware.href]
    asked = {dict(parse_qsl(link.href.partition("#")[2]))["hardware"]: link for link in page.links}
    texts = {line.hardware_key: line.hardware for line in board.lines}
    assert {key: link.text for key, link in asked.items()} == {
        key: f"{name} on the leaderboard" for key, name in texts.items()
    }
    assert len(asked) == 2


def test_the_pictures_of_a_hardware_say_which_setting_they_are_of() -> None:
    runs = [
        make_run(device=make_device(threads=n), techniques=t) for n in (1, 2) for t in ([], ["x"])
    ]
    board = board_of(loaded(*runs))
    (hardware,) = subjects_of(board)[Kind.HARDWARE]
    headings = {figure.heading for figure in figures_of(hardware, board).shown}
    assert headings == {f"chat on {line.hardware}" for line in board.lines}
    assert len(headings) == 2


def test_a_technique_links_to_the_rows_that_use_it_by_its_exact_name() -> None:
    board = board_of(loaded(make_run(techniques=["svd"]), make_run(techniques=["whitened-svd"])))
    (link,) = pages(Site(board, ()))["techniques/svd.html"].links
    state = dict(parse_qsl(link.href.partition("#")[2]))
    assert state == {"uses": "svd", "status": "all", "gate": "all"}


def test_a_model_counts_the_techniques_of_a_combination_once() -> None:
    runs = [make_run(techniques=arm) for arm in ([], ["bf16"], ["x"], ["bf16", "x"])]
    (model,) = listed(board_of(loaded(*runs)), Texts())[Kind.MODEL]
    assert model.beside == "2 techniques"
