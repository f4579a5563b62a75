"""The explorer as the server draws it: families, curves, volumes, crowds, parallel axes."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
from demo_store import Demo
from hypothesis import given
from hypothesis import strategies as st
from knob_store import MODELS, lookup, write_knobs
from record_factory import make_model, make_record, make_workload

from leanboard.leaderboard import stage as stage_module
from leanboard.leaderboard.board import Board, board_of
from leanboard.leaderboard.build import build_site
from leanboard.leaderboard.cells import BoardCell
from leanboard.leaderboard.charts import HEIGHT
from leanboard.leaderboard.columns import Column
from leanboard.leaderboard.families import OTHER, family_of, menu
from leanboard.leaderboard.fronts import fronts_of, several_models, shapes_note, together
from leanboard.leaderboard.parallel import apart, default_several, several
from leanboard.leaderboard.siblings import baselines_of, curves_of, peers_of
from leanboard.leaderboard.stage import (
    MOST_BEATEN,
    MOST_NAMED,
    Point,
    Stage,
    contested,
    staged,
    undrawn,
)
from leanboard.leaderboard.subject_figures import figures_of
from leanboard.leaderboard.subjects import Kind, subjects_of
from leanboard.leaderboard.thinning import thinned
from leanboard.leaderboard.tradeoff import default_tradeoff, tradeoff
from leanboard.leaderboard.tradeoff_plot import drawing_of
from leanboard.leaderboard.volumes import volume_table
from leanboard.metrics.front_membership import MOST_DRAWN, Uncertain
from leanboard.metrics.hypervolume import MOST_RANGED, against_baseline
from leanboard.metrics.pareto import pareto_front
from leanboard.results.schema import Component, Record
from leanboard.results.store import Entry, Loaded

ROOT = Path(__file__).resolve().parents[2]


def gguf(name: str, kind: str) -> Component:
    return Component(name=name, version=1, params={"type": kind})


def of(*records: Record) -> Board:
    return board_of(Loaded(tuple(Entry(record, "local", Path("r.json")) for record in records)))


def with_techniques(*techniques: Component, **options: object) -> Record:
    return make_record(techniques=techniques, **options)


def curves(board: Board) -> dict[str, list[str]]:
    """Title of each curve to the names of its rows, in the order of the curve."""
    return {
        curve.title: [board.lines[row].label_text for row in curve.rows]
        for curve in curves_of(board.lines)
    }


@pytest.fixture(scope="module")
def knobs(tmp_path_factory: pytest.TempPathFactory) -> Board:
    return board_of(write_knobs(tmp_path_factory.mktemp("knobs") / "records"))


def columns(board: Board, *names: str) -> list[Column]:
    found = {column.name: column for column in board.columns}
    return [found[name] for name in names]


# Families


def test_every_technique_of_the_menu_has_a_family() -> None:
    names = {file.stem for file in (ROOT / "suites" / "technique").glob("*.yaml")}
    folders = {folder.name for folder in (ROOT / "runners" / "techniques").iterdir()}
    assert set(menu()) == names - {"none"}
    assert {code.family for code in menu().values()} <= folders


def test_techniques_that_work_together_are_a_family_of_their_own() -> None:
    static, quantised = Component(name="static-cache", version=1), gguf("gguf-q8_0", "q8_0")
    assert family_of([]) == ""
    assert family_of([quantised]) == "quantization"
    assert family_of([static, quantised]) == family_of([quantised, static])
    assert family_of([static, quantised]) == "cache + quantization"
    assert family_of([Component(name="my-own", version=1)]) == OTHER


# Curves


def test_names_of_the_same_code_are_joined_in_the_order_of_their_knob() -> None:
    runs = (gguf("gguf-q8_0", "q8_0"), gguf("gguf-q4_1", "q4_1"), gguf("unknown", "q5_1"))
    board = of(make_record(), *(with_techniques(run, backend="llamacpp") for run in runs))
    assert curves(board) == {"gguf, type = q4_1, q8_0": ["gguf-q4_1", "gguf-q8_0"]}


def test_a_run_with_two_knobs_is_on_a_curve_for_each() -> None:
    board = of(*(with_techniques(lookup(*knob)) for knob in ((10, 2), (9, 2), (9, 3))))
    assert {title: len(rows) for title, rows in curves(board).items()} == {
        "prompt-lookup, num_tokens = 9, 10": 2,
        "prompt-lookup, max_ngram_size = 2, 3": 2,
    }


def test_texts_are_ordered_by_the_numbers_in_them() -> None:
    values = ["q10", "q9", "q9b", 2.5, 1, "q" + "9" * 5000]
    runs = [Component(name="own", version=1, params={"k": value}) for value in values]
    (curve,) = curves_of(of(*map(with_techniques, runs)).lines)
    expected = ["1", "2.5", "q9", "q9b", "q10", "q" + "9" * 5000]
    assert curve.title == f"own, k = {', '.join(expected)}"


@pytest.mark.parametrize(
    ("knob", "values"),
    [
        ("criterion", ["activation", "magnitude", "random"]),
        ("switch", [False, True]),
        ("size", [None, 64]),
        ("layers", [[1, 2], [3, 4]]),
        ("seed", [0, 1, 2]),
    ],
)
def test_what_has_no_order_is_not_joined(knob: str, values: list[object]) -> None:
    runs = [{"k": k, knob: value} for value in values for k in (1, 2)]
    own = [Component.model_validate({"name": "own", "version": 1, "params": run}) for run in runs]
    board = of(*map(with_techniques, own))
    assert [curve.title for curve in curves_of(board.lines)] == ["own, k = 1, 2"] * len(values)


@pytest.mark.parametrize(
    "other",
    [
        {"model": make_model("another")},
        {"workload": make_workload("long-prompt")},
        {"backend": "llamacpp"},
    ],
)
def test_what_else_differs_is_not_joined(other: dict[str, object]) -> None:
    assert curves(of(with_techniques(lookup(5)), with_techniques(lookup(9), **other))) == {}
    both = (with_techniques(lookup(tokens), **other) for tokens in (5, 9))
    assert len(curves(of(*both))) == 1


def test_beside_a_second_technique_only_one_knob_may_differ() -> None:
    cache = [Component(name="own", version=1, params={"size": size}) for size in (1, 2)]
    together = (with_techniques(cache[0], lookup(5)), with_techniques(cache[0], lookup(9)))
    board = of(*together, with_techniques(cache[1], lookup(9)), with_techniques(lookup(5)))
    assert sorted(curves(board)) == ["own, size = 1, 2", "prompt-lookup, num_tokens = 5, 9"]
    assert curves(of(together[0], with_techniques(cache[1], lookup(9)))) == {}


def test_every_candidate_knows_the_row_of_its_baseline(knobs: Board) -> None:
    for line, place in zip(knobs.lines, baselines_of(knobs.lines), strict=True):
        assert (place is None) == line.baseline
        if place is not None:
            baseline = knobs.lines[place]
            assert (baseline.label, baseline.model) == ("none", line.model)
            compared = line.row.comparison("tpot_s")
            assert compared is not None
            assert compared.baseline_run == baseline.row.record.run_id


def test_all_siblings_of_a_run_are_among_its_peers() -> None:
    sizes = [make_workload(batch_size=size) for size in (1, 4)]
    runs = [with_techniques(lookup(t), workload=size) for t in (5, 9) for size in sizes]
    elsewhere = with_techniques(lookup(7), workload="long-prompt")
    board = of(make_record(workload=sizes[0]), *runs, elsewhere)
    first = next(line for line in board.lines if line.workload == "chat")
    peers = peers_of(board.lines, [first])
    assert len(peers) == 5
    assert {line.workload_text for line in peers} > {first.workload_text}
    found = [
        [[lines[row].href for row in curve.rows] for curve in curves_of(lines)]
        for lines in (peers, board.lines)
    ]
    assert found[0] == found[1]
    assert [len(hrefs) for hrefs in found[0]] == [2, 2]


def test_the_plot_joins_what_is_drawn(knobs: Board) -> None:
    drawn = default_tradeoff(knobs)
    assert drawn is not None
    lines = [line for line in drawn.plot.lines if line.css == "curve"]
    assert [line.title for line in lines] == ["prompt-lookup, num_tokens = 2, 5, 10"] * len(MODELS)
    for line in lines:
        places = [float(corner.split(",")[0]) for corner in line.points.split(" ")]
        # More tokens are faster in these records, and faster is to the left.
        assert places == sorted(places, reverse=True)


# Volumes


def test_a_family_has_the_volume_of_its_ratios_and_says_how_many_runs_it_rests_on(
    demo: Demo,
) -> None:
    drawn = default_tradeoff(demo.board)
    assert drawn is not None
    axes = (drawn.x, drawn.y)
    rows = [
        line
        for line in demo.board.lines
        if (line.hardware, line.workload) == (drawn.hardware, drawn.workload)
        and line.label in ("int8-weight-only", "int8-dynamic", "gguf-q8_0")
    ]
    ratios = {}
    for line in rows:
        found = [line.row.comparison(column.name) for column in axes]
        cells = [line.cell(column).gain for column in axes]
        compared = [c.value for c in found if c]
        assert [gain.ratio for gain in cells if gain] == pytest.approx(compared, rel=1e-5)
        ratios[line.href] = [Uncertain(g.ratio, g.low, g.high) for g in cells if g]
    expected = against_baseline(
        ratios, [column.name for column in axes], [column.direction for column in axes]
    )
    table = drawn.volumes
    assert table.families[0].family == "decoding"
    (quantised,) = [found for found in table.families if found.family == "quantization"]
    assert (quantised.volume, quantised.basis) == (expected, "3")
    assert (table.unit, table.note) == ("doublings\u00b2", "")
    assert expected.low is not None
    assert expected.low < expected.covered


def test_unstable_and_unranked_runs_have_no_part_in_a_volume(demo: Demo) -> None:
    drawn = default_tradeoff(demo.board)
    assert drawn is not None
    scored = tradeoff(
        demo.board, *columns(demo.board, "tpot_s", "accuracy"), drawn.hardware, drawn.workload
    )
    assert {f.family: f.basis for f in drawn.volumes.families} == {
        "decoding": "1",
        "quantization": "3",
        "cache": "1",
        "formats": "1",
    }
    assert {f.family: f.basis for f in scored.volumes.families} == {
        "decoding": "1",
        "cache": "1",
        "formats": "1",
    }
    lookup_row = next(f for f in scored.volumes.families if f.family == "decoding")
    line = next(
        line
        for line in demo.board.lines
        if (line.label, line.hardware, line.workload)
        == ("prompt-lookup", drawn.hardware, drawn.workload)
    )
    kept = line.row.measurements["accuracy_ratio"].value
    gain = line.cell(drawn.x).gain
    assert gain is not None
    assert kept is not None
    alone = against_baseline(
        {"x": [Uncertain(gain.ratio), Uncertain(kept)]},
        ("tpot_s", "accuracy"),
        [column.direction for column in columns(demo.board, "tpot_s", "accuracy")],
    )
    assert lookup_row.volume.covered == pytest.approx(alone.covered, rel=1e-4)


def test_counted_bytes_have_a_ratio_and_other_values_without_a_comparison_have_none(
    knobs: Board,
) -> None:
    place = (knobs.lines[0].hardware, knobs.lines[0].workload_text)
    counted = volume_table(knobs, staged(knobs, *place, columns(knobs, "tpot_s", "weight_bytes")))
    assert {f.family: f.basis for f in counted.families} == {"decoding": "6", "cache": "2"}
    single = volume_table(knobs, staged(knobs, *place, columns(knobs, "tpot_s", "itl_p95_s")))
    assert single.families == ()
    assert single.note.startswith("No competing run")


def test_a_run_without_a_ratio_is_named_in_the_note() -> None:
    board = of(make_record(), make_record(techniques=["bf16"]))
    drawn = default_tradeoff(board)
    assert drawn is not None
    assert drawn.volumes.families == ()
    assert drawn.volumes.note.startswith("No competing run")


def test_a_run_without_a_ratio_is_not_counted_and_the_note_says_so(knobs: Board) -> None:
    compared = next(e.record for e in knobs.loaded.entries if e.record.comparisons)
    alone = compared.model_copy(update={"cell_id": "f" * 16, "comparisons": ()})
    board = board_of(Loaded((*knobs.loaded.entries, Entry(alone, "local", Path("r.json")))))
    drawn = default_tradeoff(board)
    assert drawn is not None
    assert {family.family for family in drawn.volumes.families} == {"decoding", "cache"}
    assert drawn.volumes.note.endswith("on every axis: 1 run.")


def test_a_ratio_in_doubt_counts_and_says_so(knobs: Board) -> None:
    place = (knobs.lines[0].hardware, knobs.lines[0].workload_text)
    stage = staged(knobs, *place, columns(knobs, "tpot_s", "peak_memory_bytes"))
    doubted = [
        replace(
            point,
            cells=tuple(
                replace(cell, gain=cell.gain and replace(cell.gain, doubts=("it shook",)))
                for cell in point.cells
            ),
        )
        for point in stage.points
        if point.line.label == "static-cache"
    ]
    table = volume_table(knobs, replace(stage, points=(*stage.points, *doubted)))
    cache = next(found for found in table.families if found.family == "cache")
    assert cache.basis == "2, 2 in doubt"


def test_a_family_too_large_for_a_range_is_named_in_the_note(knobs: Board) -> None:
    place = (knobs.lines[0].hardware, knobs.lines[0].workload_text)
    stage = staged(knobs, *place, columns(knobs, "tpot_s", "ttft_s", "peak_memory_bytes"))
    own = next(point for point in stage.points if point.line.label == "static-cache")
    crowd = [replace(own, line=replace(own.line, href=f"runs/{n}")) for n in range(MOST_RANGED + 1)]
    lines = (*knobs.lines, *(point.line for point in crowd))
    table = volume_table(replace(knobs, lines=lines), replace(stage, points=tuple(crowd)))
    (cache,) = table.families
    assert (cache.family, cache.range, cache.runs) == ("cache", "\u2014", MOST_RANGED + 1)
    assert table.note == (
        "No range for cache: draws of more than 100 runs on three metrics or more take too long."
    )


# Crowds


@given(st.integers(0, 300), st.integers(0, 40))
def test_thinning_keeps_as_many_as_fit_in_their_order(count: int, most: int) -> None:
    kept = thinned(list(range(count)), most)
    assert len(kept) == min(count, most)
    assert kept == sorted(set(kept))


@pytest.mark.parametrize("period", [2, 3, 5, 8, 10, 13])
def test_thinning_leaves_out_no_arm_of_a_table_that_repeats(period: int) -> None:
    kept = thinned([place % period for place in range(10_000)], 2000)
    counts = [kept.count(arm) for arm in range(period)]
    assert min(counts) > 0.9 * 2000 / period


def crowd(demo: Demo, count: int) -> Stage:
    """A stage of so many points, of which the first dominates all others."""
    axes = tuple(columns(demo.board, "tpot_s", "peak_memory_bytes"))
    line = next(line for line in demo.board.lines if not line.unstable)
    points = tuple(
        Point(
            replace(line, href=f"runs/{number}.html"),
            tuple(BoardCell(column, value=1 + bool(number) + number / count) for column in axes),
        )
        for number in range(count)
    )
    return Stage(axes, points, (), ())


def test_a_crowd_is_thinned_names_its_front_only_and_says_what_is_missing(demo: Demo) -> None:
    stage = crowd(demo, MOST_BEATEN + 501)
    drawing = drawing_of(demo.board, stage, fronts_of(stage, per_model=False))
    assert len(drawing.plot.marks) == MOST_BEATEN + 1
    assert drawing.undrawn == undrawn({"dominated run": 500})
    assert "500 dominated runs" in drawing.undrawn
    named = [mark for mark in drawing.plot.marks if mark.label]
    assert [mark.css for mark in named] == ["point front"]
    assert [mark.css for mark in drawing.plot.marks if mark.stop] == ["point front"]
    assert all(mark.name for mark in drawing.plot.marks)


def test_a_few_points_are_all_drawn_and_all_reached_by_tab(demo: Demo) -> None:
    stage = crowd(demo, MOST_NAMED)
    drawing = drawing_of(demo.board, stage, fronts_of(stage, per_model=False))
    assert len(drawing.plot.marks) == MOST_NAMED
    assert all(mark.stop for mark in drawing.plot.marks)
    assert drawing.undrawn == ""


def uncertain_crowd(board: Board, count: int, *names: str) -> Stage:
    """A stage of so many points that cannot be told apart on the first axis."""
    axes = tuple(columns(board, *names))
    first, others = axes[0], axes[1:]
    line = next(line for line in board.lines if not line.unstable)
    points = tuple(
        Point(
            replace(line, href=f"runs/{number}.html"),
            (
                BoardCell(first, value=1.0, low=0.5, high=2.0),
                *(BoardCell(column, value=1 + number / count) for column in others),
            ),
        )
        for number in range(count)
    )
    return Stage(axes, points, (), ())


def test_a_crowd_on_three_axes_is_drawn_as_long_as_it_takes_no_time(knobs: Board) -> None:
    axes = ("tpot_s", "weight_bytes", "peak_memory_bytes")
    some = contested(uncertain_crowd(knobs, 40, *axes))
    assert (some.undecided, some.untold) == (0, "")
    assert len(some.chances) == 40
    assert len(some.maybe) > 0
    many = contested(uncertain_crowd(knobs, MOST_DRAWN + 1, *axes))
    assert (many.chances, many.maybe, many.undecided) == ({}, (), MOST_DRAWN + 1)
    assert "251 runs may be on it" in many.untold
    assert [found.chance for found in many.contenders(many.front)] == [""]


def test_the_page_says_why_no_chances_are_on_it(
    knobs: Board, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = default_several(knobs)
    assert known is not None
    assert known.untold == ""
    monkeypatch.setattr(stage_module, "MOST_DRAWN", 1)
    drawn = default_several(knobs)
    assert drawn is not None
    assert "draws of more than 1 runs" in drawn.untold
    assert not any(found.chance for found in drawn.front)
    build_site(knobs.loaded, tmp_path / "site")
    page = (tmp_path / "site" / "parallel.html").read_text(encoding="utf-8")
    assert f'<p id="untold" class="note">{drawn.untold}</p>' in page
    pareto = (tmp_path / "site" / "pareto.html").read_text(encoding="utf-8")
    assert '<p id="untold" class="note" hidden></p>' in pareto


# One front per model


def test_where_several_models_compete_each_has_a_front_of_its_own(knobs: Board) -> None:
    drawn = default_tradeoff(knobs)
    assert drawn is not None
    assert (drawn.apart, drawn.per) == (True, "model")
    assert [front.name for front in drawn.fronts] == list(MODELS)
    directions = (drawn.x.direction, drawn.y.direction)
    for number, front in enumerate(drawn.fronts):
        points = {
            line.href: [line.cell(column).value for column in (drawn.x, drawn.y)]
            for line in knobs.lines
            if line.model == front.name and not line.unstable
        }
        members = pareto_front(points, directions).members
        assert {point.line.href for point in front.contest.front} == set(members)
        assert front.share == f"{len(members)} of 5 runs on its front"
        assert front.number == number
    listed = [found.line.href for found in drawn.front]
    assert listed == [p.line.href for front in drawn.fronts for p in front.contest.front]
    assert set(drawn.keys) >= set(listed)
    assert {drawn.keys[found.line.href].name for found in drawn.front} == set(MODELS)


def test_the_fronts_of_models_differ_in_shape_colour_and_title(knobs: Board) -> None:
    drawn = default_tradeoff(knobs)
    assert drawn is not None
    edges = [(line.css, line.title) for line in drawn.plot.lines if "front-line" in line.css]
    assert edges == [
        (f"front-line group-{i}", f"front of {model}") for i, model in enumerate(MODELS)
    ]
    models = {line.href: line.model for line in knobs.lines}
    for mark in drawn.plot.marks:
        number = MODELS.index(models[mark.href])
        assert mark.css.endswith(f" group-{number}")
        # The first shape is a circle, which has no corners.
        assert bool(mark.shape) == bool(number)


def test_the_pictures_of_a_hardware_have_a_front_per_model_and_lead_to_the_same(
    knobs: Board,
) -> None:
    subjects = subjects_of(knobs)
    (figure,) = figures_of(subjects[Kind.HARDWARE][0], knobs).shown
    drawn = default_tradeoff(knobs)
    assert drawn is not None
    assert figure.plot.marks == drawn.plot.marks
    assert figure.plot.lines == drawn.plot.lines
    assert [front.name for front in figure.fronts] == list(MODELS)
    assert "per=model" in figure.href
    (alone,) = figures_of(subjects[Kind.MODEL][0], knobs).shown
    assert alone.fronts == ()
    assert "per=all" in alone.href


def test_one_model_has_one_front_without_a_name(demo: Demo) -> None:
    drawn = default_tradeoff(demo.board)
    assert drawn is not None
    assert (drawn.apart, drawn.per, drawn.keys) == (False, "all", {})
    assert [front.name for front in drawn.fronts] == [""]
    assert not any("group" in mark.css or mark.shape for mark in drawn.plot.marks)


def test_a_model_that_is_only_shown_makes_no_second_front_by_default(knobs: Board) -> None:
    place = (knobs.lines[0].hardware, knobs.lines[0].workload_text)
    stage = staged(knobs, *place, columns(knobs, "tpot_s", "peak_memory_bytes"))
    parts = {model: [p for p in stage.points if p.line.model == model] for model in MODELS}
    shown, competing = (tuple(parts[model]) for model in MODELS)
    stage = replace(stage, points=competing, hollow=shown)
    assert not several_models(stage)
    fronts = fronts_of(stage, per_model=True)
    assert [front.share for front in fronts] == [
        "0 of 5 runs on its front",
        f"{len(fronts[1].contest.front)} of 5 runs on its front",
    ]
    assert together(fronts) == fronts[1].contest


def test_more_fronts_than_shapes_are_told(knobs: Board) -> None:
    drawn = default_tradeoff(knobs)
    assert drawn is not None
    assert drawn.shapes_note == ""
    assert shapes_note(drawn.fronts * 5).startswith("Shapes repeat")


# Parallel axes


def test_the_front_of_three_is_that_of_the_metrics_package(knobs: Board) -> None:
    drawn = default_several(knobs)
    assert drawn is not None
    axes = [upright.column for upright in drawn.uprights]
    assert [column.name for column in axes] == ["tpot_s", "ttft_s", "peak_memory_bytes"]
    points = {
        line.href: [line.cell(column).value for column in axes]
        for line in knobs.lines
        if not line.unstable
    }
    members = pareto_front(points, [column.direction for column in axes]).members
    assert {found.line.href for found in drawn.front} == set(members)
    assert 0 < len(members) < len(points)
    states = [row.state for row in drawn.rows]
    assert states.count("on the front") == len(members)
    assert states == sorted(states, key=["on the front", "dominated", "shown only"].index)
    assert [path.number for path in drawn.paths if path.number] == [
        str(number + 1) for number in range(len(members))
    ]


def test_the_better_end_of_every_axis_is_at_the_top(knobs: Board) -> None:
    place = (knobs.lines[0].hardware, knobs.lines[0].workload_text)
    drawn = several(knobs, columns(knobs, "tpot_s", "decode_tokens_per_s", "weight_bytes"), *place)
    heights = [
        [float(corner.split(",")[1]) for corner in path.points.split(" ")] for path in drawn.paths
    ]
    values = [[cell.value or 0.0 for cell in path.point.cells] for path in drawn.paths]
    for axis, sign in enumerate((1, -1, 1)):
        by_height = sorted(range(len(values)), key=lambda i: heights[i][axis])
        ordered = [sign * values[i][axis] for i in by_height]
        assert ordered == sorted(ordered)
        assert all(drawn.top <= height[axis] <= drawn.bottom for height in heights)


def test_numbers_are_moved_apart_and_stay_in_the_picture() -> None:
    assert apart([10.0, 12.0, 100.0], gap=13, end=200) == [10.0, 23.0, 100.0]
    assert apart([101.0, 100.0], gap=13, end=105) == [105.0, 92.0]
    assert apart([]) == []
    crowded = apart([410.0] * 20)
    assert max(crowded) <= HEIGHT
    assert {round(a - b) for a, b in pairwise(sorted(crowded, reverse=True))} == {13}


def test_a_board_without_three_metrics_has_no_picture() -> None:
    assert default_several(board_of(Loaded())) is None
