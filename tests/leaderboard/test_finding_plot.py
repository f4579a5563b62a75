"""The picture of a finding is drawn from the rows that it names, and from no others."""

from __future__ import annotations

import math
import xml.etree.ElementTree as ET
from collections.abc import Mapping
from dataclasses import replace

import pytest
from demo_store import Demo
from pydantic import ValidationError

from leanboard.leaderboard.board import BoardRow
from leanboard.leaderboard.charts import LogAxis, Plot
from leanboard.leaderboard.finding_beside import UNPAIRED
from leanboard.leaderboard.finding_lines import Judged, judged
from leanboard.leaderboard.finding_plot import (
    _fits,
    _noted,
    _title_of_fact,
    finding_plot,
    series_without_points,
)
from leanboard.leaderboard.finding_standing import Standing
from leanboard.leaderboard.findings_docs import check_pictures, page, pictures
from leanboard.metrics.metric import Verdict
from leanboard.results.errors import RecordError
from leanboard.results.finding import (
    Claim,
    Evidence,
    Finding,
    Outcome,
    Picture,
    PictureAxis,
    PictureSeries,
)


def published(demo: Demo, label: str) -> BoardRow:
    return next(
        line
        for line in demo.board.lines
        if (line.label, line.workload, line.origin) == (label, "chat", "published")
    )


def picture(demo: Demo, **changes: object) -> Picture:
    row = published(demo, "bf16")
    fields = {
        "caption": "Time against memory",
        "machine": row.machine,
        "model": row.model,
        "workload": "chat",
        "x": PictureAxis(metric="tpot_s", ratio=True),
        "y": PictureAxis(metric="arc_easy.acc_norm"),
        "series": (
            PictureSeries(name="torch", technique="*-*", backend="transformers"),
            PictureSeries(name="bfloat16", technique="bf16", backend="transformers"),
        ),
    }
    return Picture.model_validate({**fields, **changes})


def drawn(demo: Demo, **changes: object) -> Plot:
    plot = finding_plot(picture(demo, **changes), demo.board)
    assert plot is not None
    return plot


def test_each_row_stands_in_the_series_whose_pattern_it_meets(demo: Demo) -> None:
    marks = drawn(demo).marks
    # Quality of weights that were rounded twice is in no finding, and so not drawn.
    assert sorted(mark.title.split(";")[0] for mark in marks) == [
        "bfloat16: bf16",
        "torch: prompt-lookup",
        "torch: static-cache",
    ]
    assert {mark.css for mark in marks} == {"point series-0", "point series-1"}


def test_a_point_stands_at_its_ratio_with_its_interval(demo: Demo) -> None:
    plot = drawn(demo)
    row = published(demo, "bf16")
    comparison = row.row.comparison("tpot_s")
    assert comparison is not None
    assert comparison.value is not None
    assert comparison.interval is not None
    (mark,) = [mark for mark in plot.marks if mark.title.startswith("bfloat16")]
    assert mark.x == plot.x.at(comparison.value)
    assert mark.bar_x == (plot.x.at(comparison.interval.low), plot.x.at(comparison.interval.high))
    assert mark.href == row.href


def test_a_score_is_drawn_as_its_ratio_where_that_is_asked_for(demo: Demo) -> None:
    asked = PictureAxis(metric="arc_easy.acc_norm", ratio=True)
    plot = drawn(demo, y=asked)
    assert plot.y.title.endswith("candidate / baseline")
    (mark,) = [mark for mark in plot.marks if mark.title.startswith("bfloat16")]
    assert mark.y < plot.y.at(1.0), "0.60 beside 0.58 is above the baseline"


def test_knobs_choose_among_rows_of_one_name(demo: Demo) -> None:
    series = PictureSeries(
        name="one", technique="bf16", backend="transformers", knobs={"bf16.no_such_knob": 1}
    )
    assert finding_plot(picture(demo, series=(series,)), demo.board) is None


@pytest.mark.parametrize(
    ("value", "asked", "fits"),
    [("int8", "int*", True), ("e4m3", "int*", False), (8, "*", False), (8, 8, True), (8, 4, False)],
)
def test_a_knob_that_is_a_text_may_be_asked_for_by_a_pattern(
    value: object, asked: object, *, fits: bool
) -> None:
    assert _fits(value, asked) is fits


def test_an_axis_may_show_a_fact(demo: Demo) -> None:
    row = published(demo, "bf16")
    name, fact = next((n, f) for n, f in row.row.record.facts.items() if isinstance(f, dict))
    plot = drawn(demo, x=PictureAxis(fact=name))
    assert plot.x.title.startswith(name.replace("_", " "))
    (mark,) = [mark for mark in plot.marks if mark.title.startswith("bfloat16")]
    value = fact["value"]
    assert isinstance(value, int | float)
    assert mark.x == plot.x.at(value)


@pytest.mark.parametrize(
    ("fact", "title"),
    [
        ({"value": 4.1, "unit": "bit", "provenance": "simulated"}, "weight bits (bit, simulated)"),
        ({"value": 4.1, "unit": "bit", "provenance": "counted"}, "weight bits (bit)"),
        ({"value": 4.1, "unit": "1", "provenance": "modelled"}, "weight bits (modelled)"),
        ({"value": 4.1}, "weight bits"),
    ],
)
def test_the_title_of_a_fact_says_its_unit_and_what_was_not_measured(
    fact: Mapping[str, object], title: str
) -> None:
    assert _title_of_fact("weight_bits", {"weight_bits": fact}) == title


@pytest.mark.parametrize("fact", [None, "1", {"value": "1"}, {"value": True}, {"value": 1e999}, []])
def test_a_fact_that_is_no_number_is_not_drawn(fact: object) -> None:
    assert _noted(fact, PictureAxis(fact="any")) is None


@pytest.mark.parametrize(
    "axis", [{}, {"metric": "a", "fact": "b"}, {"fact": "b", "ratio": True}], ids=str
)
def test_an_axis_shows_one_thing(axis: Mapping[str, object]) -> None:
    with pytest.raises(ValidationError, match="an axis shows a metric or a fact"):
        PictureAxis.model_validate(axis)


def test_a_metric_that_no_record_has_is_no_picture(demo: Demo) -> None:
    asked = PictureAxis(metric="no_such_metric")
    assert finding_plot(picture(demo, x=asked), demo.board) is None


def test_a_series_that_no_row_stands_in_is_named(demo: Demo) -> None:
    series = tuple(
        PictureSeries(name=name, technique=name, backend="transformers")
        for name in ("bf16", "no-such-arm")
    )
    asked = picture(demo, series=series)
    assert series_without_points(asked, demo.board) == ("no-such-arm",)
    nowhere = picture(demo, series=series, x=PictureAxis(metric="no_such_metric"))
    assert series_without_points(nowhere, demo.board) == ("bf16", "no-such-arm")


@pytest.mark.parametrize(
    "axis",
    [
        PictureAxis(metric="weight_bytes", ratio=True),
        PictureAxis(metric="no_such_metric"),
    ],
    ids=["a ratio that no row has", "a metric that no row has"],
)
def test_a_picture_that_is_declared_and_lacks_points_is_an_error(
    demo: Demo, axis: PictureAxis
) -> None:
    record = published(demo, "bf16").row.record
    evidence = Evidence(
        machine=record.machine_id, cell=record.cell_id, metric="tpot_s", verdict=Verdict.WORSE
    )

    def drawn_by(axis: PictureAxis) -> Finding:
        return Finding(
            name="torch",
            title="A claim",
            text="Why.",
            evidence=(evidence,),
            picture=picture(demo, x=axis),
        )

    check_pictures([drawn_by(PictureAxis(metric="weight_bytes"))], demo.board)
    with pytest.raises(RecordError, match=r"finding torch has no point for torch, bfloat16"):
        check_pictures([drawn_by(axis)], demo.board)


def test_a_bar_that_a_logarithmic_axis_has_no_room_for_goes_to_the_edge_of_the_plot(
    demo: Demo,
) -> None:
    name = "arc_easy.acc_norm"
    row = published(demo, "bf16")
    measured = row.row.measurements[name]
    assert measured.interval is not None
    wide = measured.model_copy(
        update={"interval": measured.interval.model_copy(update={"low": -0.1})}
    )
    lines = [
        replace(line, row=replace(line.row, measurements={**line.row.measurements, name: wide}))
        if line.href == row.href
        else line
        for line in demo.board.lines
    ]
    board = replace(demo.board, lines=tuple(lines))
    plot = finding_plot(picture(demo, y=PictureAxis(metric=name, log=True)), board)
    assert plot is not None
    (mark,) = [mark for mark in plot.marks if mark.href == row.href]
    assert mark.bar_y == (plot.bottom, plot.y.at(measured.interval.high))
    assert "[\u22120.1" in mark.title


def test_the_last_point_of_a_series_carries_its_name(demo: Demo) -> None:
    labels = [mark.label for mark in drawn(demo).marks]
    assert [label for label in labels if label] == ["torch", "bfloat16"]


@pytest.mark.parametrize(
    ("low", "high", "texts"),
    [
        (0.9, 30.0, ["1", "2", "5", "10", "20"]),
        (0.5, 90_000.0, ["1", "10", "100", "1,000", "10,000"]),
        (0.98, 1.13, ["1.00", "1.05", "1.10"]),
        (1e-6, 0.02, ["1e\u22125", "1e\u22124", "0.001", "0.01"]),
    ],
)
def test_a_logarithmic_axis_has_round_marks(low: float, high: float, texts: list[str]) -> None:
    axis = LogAxis("", low, high, 0.0, 100.0)
    marked = [tick.text for tick in axis.ticks]
    assert set(texts) <= set(marked)
    assert len(marked) <= 10
    assert axis.at(math.sqrt(low * high)) == pytest.approx(50.0, abs=0.01)


def beside(demo: Demo, label: str, other: str, verdict: Verdict, metric: str = "tpot_s") -> Judged:
    row, than = published(demo, label).row.record, published(demo, other).row.record
    evidence = Evidence(
        machine=row.machine_id,
        cell=row.cell_id,
        metric=metric,
        verdict=verdict,
        than=than.cell_id,
    )
    finding = Finding(name="one", title="A claim", text="Why.", evidence=(evidence,))
    (found,) = judged([finding], demo.board)
    return found


def test_a_row_is_better_than_another_where_their_intervals_are_apart(demo: Demo) -> None:
    found = beside(demo, "prompt-lookup", "bf16", Verdict.BETTER)
    assert found.standing is Standing.HOLDS
    assert found.lines[0].note.startswith("beside bf16: ")
    assert found.lines[0].note.endswith(UNPAIRED), "rounds are not paired here"
    assert beside(demo, "bf16", "prompt-lookup", Verdict.WORSE).standing is Standing.HOLDS
    assert beside(demo, "bf16", "prompt-lookup", Verdict.BETTER).standing is Standing.BROKEN


def test_a_row_does_not_differ_from_itself(demo: Demo) -> None:
    found = beside(demo, "bf16", "bf16", Verdict.NO_DIFFERENCE_SHOWN)
    assert found.standing is Standing.HOLDS


def test_rows_with_other_baselines_are_not_judged_against_each_other(demo: Demo) -> None:
    found = beside(demo, "bf16", "gguf-q8_0", Verdict.WORSE)
    assert found.standing is Standing.BROKEN
    assert "another baseline" in found.lines[0].note


def test_a_score_of_rounded_weights_is_not_judged_against_another(demo: Demo) -> None:
    found = beside(demo, "bf16", "int8-dynamic", Verdict.BETTER, "arc_easy.acc_norm")
    assert found.standing is Standing.UNKNOWN


def test_the_page_of_docs_says_what_was_claimed_and_shows_the_picture(demo: Demo) -> None:
    record = published(demo, "prompt-lookup").row.record
    evidence = Evidence(
        machine=record.machine_id,
        cell=record.cell_id,
        metric="tpot_s",
        verdict=Verdict.BETTER,
    )
    claim = Claim(
        source="arXiv:0000.00000", says="It is | faster", outcome=Outcome.HELD, because="it is"
    )
    finding = Finding(
        name="lookup",
        title="Lookup is faster",
        text="One.\n\nTwo.",
        family="decoding",
        evidence=(evidence,),
        claims=(claim,),
        picture=picture(demo),
    )
    found = judged([finding], demo.board)
    text = page(found)
    assert "## Decoding\n" in text
    assert "| arXiv:0000.00000 | It is / faster | **held**: it is | [finding](#lookup) |" in text
    assert "![Time against memory](images/findings/lookup.svg)" in text
    assert "One.\n\nTwo.\n" in text
    svg = pictures(found)["lookup.svg"]
    root = ET.fromstring(svg)
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert len(root.findall(".//{*}circle")) == 3
    assert not root.findall(".//{*}a"), "an image cannot be followed"
