"""What the browser is told of every run, and the pages of cells."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import numpy as np
import pytest
from demo_store import Demo
from hardware_examples import CEILINGS, MODEL, request
from record_factory import EPOCH, make_record, make_run, request_observation

from leanboard.leaderboard.board import BoardRow, board_of, cell_href, run_place
from leanboard.leaderboard.build import build_site
from leanboard.leaderboard.cell_pages import cell_pages
from leanboard.leaderboard.charts import LogAxis
from leanboard.leaderboard.compare import MOST_RUNS, compare_href
from leanboard.leaderboard.distribution import (
    MOST_POINTS,
    PERCENTILES,
    distribution_plot,
    distributions_of,
)
from leanboard.leaderboard.format import DASH, number
from leanboard.leaderboard.roofline_plot import positions, roofline_plot
from leanboard.leaderboard.run_data import run_data
from leanboard.leaderboard.runs import neighbours_of
from leanboard.metrics.trace import AnswerObservation, RequestObservation
from leanboard.metrics.unpaired import unpaired_interval
from leanboard.results.identity import sealed
from leanboard.results.schema import Interval, Record, Status
from leanboard.results.store import Entry, Loaded, Store
from leanboard.results.stored import estimate_of


def shards(folder: Path) -> dict[str, tuple[str, dict[str, Any]]]:
    """Place of every run in the shards of a site to its shard and its data."""
    found = {}
    for path in sorted((folder / "data" / "runs").glob("*.js")):
        for line in path.read_text(encoding="ascii").splitlines():
            place, _, data = line.removeprefix("LEANBOARD_RUNS[").partition("] = ")
            found[json.loads(place)] = (path.stem, json.loads(data.removesuffix(";")))
    return found


@pytest.fixture(scope="module")
def told(demo: Demo) -> dict[str, dict[str, Any]]:
    return {place: data for place, (_, data) in shards(demo.folder).items()}


def line(demo: Demo, label: str, workload: str = "chat", backend: str = "transformers") -> BoardRow:
    return next(
        row
        for row in demo.board.lines
        if (row.label, row.workload, row.backend, row.origin)
        == (label, workload, backend, "published")
    )


def named(data: dict[str, Any], name: str) -> dict[str, Any]:
    return next(m for m in data["measurements"] if m["name"] == name)


def named_value(record: Record, name: str) -> float | None:
    measured = record.measurements.get(name)
    return None if measured is None else measured.value


# Shards


def test_every_run_is_in_the_shard_that_its_hash_names(demo: Demo) -> None:
    found = shards(demo.folder)
    assert set(found) == {run_place(entry.record) for entry in demo.loaded.entries}
    for place, (shard, _) in found.items():
        assert shard == hashlib.sha256(place.encode()).hexdigest()[:2]


def test_shards_are_inert_text(demo: Demo) -> None:
    for path in (demo.folder / "data" / "runs").iterdir():
        text = path.read_text(encoding="utf-8")
        assert text.isascii()
        assert not set("<>&") & set(text)


def test_a_run_of_the_board_has_the_values_of_its_row(
    demo: Demo, told: dict[str, dict[str, Any]]
) -> None:
    compared = 0
    for row in demo.board.lines:
        if row.status is not Status.OK:
            continue
        data = told[run_place(row.row.record)]
        for column in demo.board.columns:
            cell = row.cell(column)
            if cell.value is not None:
                found = named(data, column.name)
                assert (found["value"], found.get("low"), found["n"]) == (
                    cell.value,
                    cell.low,
                    cell.n,
                )
                compared += 1
    assert compared > 500


def test_what_was_not_measured_has_a_reason_and_no_value(
    told: dict[str, dict[str, Any]], demo: Demo
) -> None:
    data = told[run_place(line(demo, "static-cache").row.record)]
    assert named(data, "energy_per_output_token_j") == {
        "name": "energy_per_output_token_j",
        "unit": "J",
        "reason": "the counter went backwards",
    }


def test_estimates_and_scores_are_barred_from_ratios_and_times_are_not(
    told: dict[str, dict[str, Any]], demo: Demo
) -> None:
    data = told[run_place(line(demo, "bf16").row.record)]
    assert named(data, "energy_per_output_token_j")["barred"].startswith("modelled values")
    assert named(data, "accuracy")["barred"].startswith("scores are compared item by item")
    assert "barred" not in named(data, "tpot_s")


def test_a_candidate_carries_its_records_own_comparison_with_its_baseline(
    told: dict[str, dict[str, Any]], demo: Demo
) -> None:
    candidate, baseline = line(demo, "prompt-lookup"), line(demo, "none")
    own = named(told[run_place(candidate.row.record)], "tpot_s")["against"]
    stored = candidate.row.comparison("tpot_s")
    assert stored is not None
    assert own["value"] == pytest.approx(stored.value, rel=1e-5)
    assert (own["statistic"], own["verdict"]) == ("ratio", "better")
    data = told[run_place(baseline.row.record)]
    assert own["baseline"] == data["runs"][0] == baseline.row.record.run_id
    score = named(told[run_place(candidate.row.record)], "arc_easy.acc")["against"]
    assert score["statistic"] == "difference"
    assert score["baseline"] in data["runs"][1:]


@pytest.mark.parametrize(
    ("low", "high", "kept"),
    [(0.4, 0.6, True), (0.0, 0.6, True), (-0.1, 0.6, False), (0.0, 0.0, False)],
)
def test_what_cannot_be_the_interval_of_a_ratio_is_not_told(
    tmp_path: Path, low: float, high: float, *, kept: bool
) -> None:
    baseline = make_run()
    candidate = make_run(techniques=["bf16"], baseline=baseline)
    fields = candidate.record.model_dump(mode="json")
    compared = next(c for c in fields["comparisons"] if c["metric"] == "tpot_s")
    compared |= {"value": 0.5, "interval": {"low": low, "high": high, "method": "t"}}
    entries = [Entry(r, "local", tmp_path) for r in (baseline.record, sealed(fields))]
    data = run_data(entries[1], neighbours_of(board_of(Loaded(tuple(entries)))), ())
    measured = data["measurements"]
    assert isinstance(measured, list)
    assert ("against" in next(m for m in measured if m["name"] == "tpot_s")) is kept


def test_a_run_that_failed_has_its_configuration_and_no_measurements(
    told: dict[str, dict[str, Any]], demo: Demo
) -> None:
    failed = next(row for row in demo.board.lines if row.status is Status.FAILED)
    data = told[run_place(failed.row.record)]
    assert (data["status"], data["measurements"], data["samples"]) == ("failed", [], {})
    assert ["name", "smollm2-135m-instruct"] in dict(data["configuration"])["Model"]


def test_a_scoring_run_has_its_scores_and_no_latencies(
    told: dict[str, dict[str, Any]], demo: Demo
) -> None:
    scored = next(
        e.record
        for e in demo.loaded.entries
        if e.record.comparisons and named_value(e.record, "acc") is not None
    )
    data = told[run_place(scored)]
    own = named(data, "acc")
    assert data["samples"] == {}
    assert data["baselinePlace"] in told
    assert own["barred"].startswith("scores are compared")
    assert own["against"]["statistic"] == "difference"


def test_where_all_runs_share_a_page_links_lead_there(demo: Demo, tmp_path: Path) -> None:
    built = build_site(demo.loaded, tmp_path / "site", most_run_pages=1)
    hrefs = {data["href"] for _, data in shards(built.folder).values()}
    assert len(hrefs) == len(demo.loaded.entries)
    assert {href.partition("=")[0] for href in hrefs} == {"run.html#run"}
    text = (built.folder / "compare.html").read_text(encoding="utf-8")
    assert "#against" not in text
    assert "hold every run" in text


# Distributions


def with_gaps(gaps: list[float], requests: int = 1) -> RequestObservation:
    """Requests that share the gaps between their tokens, one after another."""
    each = len(gaps) // requests
    made = []
    for number_ in range(requests):
        times = [2.0]
        for gap in gaps[number_ * each : (number_ + 1) * each]:
            times.append(times[-1] + gap)
        made.append(request(number_, 10, times))
    return RequestObservation(requests=tuple(made))


def test_few_samples_stand_for_themselves() -> None:
    itl, tpot, ttft = distributions_of(with_gaps([0.5, 0.25, 1.0, 0.125, 2.0]))
    assert (itl.name, itl.n) == ("itl", 5)
    assert itl.points == (0.125, 0.25, 0.5, 1.0, 2.0)
    assert itl.percentiles[PERCENTILES.index(50)] == 0.5
    assert itl.reasons[PERCENTILES.index(95)] == "p95 needs 100 samples, there are 5"
    assert itl.reasons[PERCENTILES.index(5)] == "p5 needs 100 samples, there are 5"
    assert (tpot.name, tpot.n, ttft.name, ttft.points) == ("tpot", 1, "ttft", (2.0,))
    assert set(ttft.percentiles) == {None}


def test_many_samples_are_told_by_evenly_spaced_quantiles() -> None:
    gaps = [0.001 * (1 + (7 * i) % 601) for i in range(601)]
    itl = distributions_of(with_gaps(gaps))[0]
    assert (itl.n, len(itl.points)) == (601, MOST_POINTS)
    shares = [k / (MOST_POINTS - 1) for k in range(MOST_POINTS)]
    assert itl.points == pytest.approx(np.quantile(gaps, shares), rel=1e-4)
    assert itl.percentiles == pytest.approx(np.percentile(gaps, PERCENTILES), rel=1e-4)
    assert set(itl.reasons) == {""}


def test_a_static_batch_is_one_sample_of_tpot_and_ttft() -> None:
    batch = [request(0, 10, [2.0, 3.0]), request(0, 10, [4.0, 7.0])]
    found = {d.name: d for d in distributions_of(RequestObservation(requests=tuple(batch)))}
    assert (found["ttft"].n, found["ttft"].points) == (1, (3.0,))
    assert (found["tpot"].n, found["tpot"].points) == (1, (2.0,))


def test_what_is_no_request_has_no_latencies() -> None:
    assert distributions_of(AnswerObservation()) == ()


def test_the_drawn_line_goes_from_the_smallest_sample_to_the_largest() -> None:
    itl = distributions_of(with_gaps([0.5, 0.25, 1.0, 0.125, 2.0]))[0]
    plot = distribution_plot(itl)
    pixels = [tuple(map(float, pair.split(","))) for pair in plot.lines[0].points.split()]
    assert [x for x, _ in pixels] == [plot.x.at(v * 1e3) for v in itl.points]
    assert [y for _, y in pixels] == [plot.y.at(share) for share in (0, 0.25, 0.5, 0.75, 1)]
    assert plot.description == ("5 samples: from 125 to 2,000, half of them at most 500 ms")


# Rooflines


def calibrated(flops: object = 1000e9, moved: object = 100e9) -> Record:
    """A record whose prefill uses half of the FLOP/s, and its decode half of the bandwidth."""
    record = make_record()
    plain = record.measurements["mfu_decode"].model_copy(update={"reason": None})
    used = {"mfu_prefill": 0.5, "mbu_prefill": 0.1, "mfu_decode": 0.01, "mbu_decode": 0.5}
    peaks = {"peak_flops_per_s": flops, "peak_bytes_per_s": moved}
    return record.model_copy(
        update={
            "measurements": {n: plain.model_copy(update={"value": v}) for n, v in used.items()},
            "facts": {name: {"value": value, "unit": "1"} for name, value in peaks.items()},
        }
    )


def test_phases_stand_at_their_intensity_and_the_rate_that_they_reached() -> None:
    prefill, decode = positions(calibrated().measurements, 1000e9, 100e9)
    # 0.5 x 1000 GFLOP/s over 0.1 x 100 GB/s, and 0.01 x 1000 GFLOP/s over 0.5 x 100 GB/s
    assert (prefill.intensity, prefill.rate) == pytest.approx((50.0, 500e9))
    assert (decode.intensity, decode.rate) == pytest.approx((0.2, 10e9))


def test_a_phase_stands_below_the_roof_by_what_it_leaves_unused() -> None:
    plot = roofline_plot(calibrated())
    assert plot is not None
    prefill, decode = plot.marks
    half = plot.y.at(1.0) - plot.y.at(2.0)
    # Pixels run down: both phases use half of what limits them there.
    assert prefill.y - plot.y.at(1000.0) == pytest.approx(half, abs=0.05)
    assert decode.y - plot.y.at(0.2 * 100.0) == pytest.approx(half, abs=0.05)
    corners = [tuple(map(float, pair.split(","))) for pair in plot.lines[0].points.split()]
    assert corners[1] == pytest.approx((plot.x.at(10.0), plot.y.at(1000.0)), abs=0.01)
    assert corners[2][1] == corners[1][1]
    assert "they meet at 10.0 FLOP per byte" in plot.description


def test_a_bar_below_the_roof_that_reaches_0_goes_to_the_edge_of_the_plot() -> None:
    record = calibrated()
    used = record.measurements["mfu_prefill"]
    wide = Interval(low=-0.1, high=0.6, method="t")
    unsure = {"mfu_prefill": used.model_copy(update={"interval": wide})}
    plot = roofline_plot(record.model_copy(update={"measurements": record.measurements | unsure}))
    assert plot is not None
    assert plot.marks[0].bar_y == (plot.bottom, plot.y.at(600.0))


@pytest.mark.parametrize(
    ("flops", "moved"), [(None, 1e9), (1e12, 0.0), ("fast", 1e9), (1e300, 1e9), (True, 1e9)]
)
def test_without_the_machines_peaks_there_is_no_roof(flops: object, moved: object) -> None:
    assert roofline_plot(calibrated(flops, moved)) is None
    assert roofline_plot(make_record()) is None


def test_a_phase_that_was_not_measured_is_left_out() -> None:
    record = calibrated()
    gap = record.measurements["mfu_prefill"].model_copy(update={"value": None})
    found = positions({**record.measurements, "mfu_prefill": gap}, 1000e9, 100e9)
    assert [position.phase for position in found] == ["decode"]


def test_a_logarithmic_axis_has_powers_of_ten_at_equal_distances() -> None:
    axis = LogAxis("x", 0.05, 5000.0, 0.0, 500.0)
    assert [tick.text for tick in axis.ticks] == ["0.1", "1", "10", "100", "1,000"]
    steps = [tick.at for tick in axis.ticks]
    assert [b - a for a, b in pairwise(steps)] == pytest.approx([100.0] * 4)
    few = LogAxis("x", 0.9, 11.0, 0.0, 500.0)
    assert [tick.text for tick in few.ticks] == ["1", "2", "5", "10"]


def test_a_run_with_peaks_shows_its_roofline(tmp_path: Path) -> None:
    seen = request_observation()
    facts = {**seen.facts, **MODEL, **CEILINGS}
    store = Store(tmp_path / "records", "local")
    for run in (make_run(observation=replace(seen, facts=facts)), make_run(number=1)):
        store.write(run.record, run.traces)
    built = build_site(store.load(), tmp_path / "site")
    texts = [path.read_text(encoding="utf-8") for path in built.folder.rglob("runs/*/*/2*.html")]
    assert sorted(text.count('class="roof-line"') for text in texts) == [0, 1]
    assert sum("Reached: prefill at " in text for text in texts) == 1


# Cells


def repeated(speeds: tuple[float, ...] = (1.0, 1.25)) -> tuple[Entry, ...]:
    """Runs of the same cell, a day apart, the oldest first."""
    runs = [
        make_run(speed=speed, number=day, started_at=EPOCH + timedelta(days=day))
        for day, speed in enumerate(speeds)
    ]
    return tuple(Entry(run.record, "local", Path("r.json")) for run in runs)


def test_the_page_of_a_cell_lists_its_runs_the_newest_first() -> None:
    old, new = repeated()
    assert old.record.cell_id == new.record.cell_id
    (page,) = cell_pages([old, new])
    assert page.path == cell_href(new.record)
    assert [run.run_id for run in page.runs] == [new.record.run_id, old.record.run_id]
    assert page.compare_href == compare_href([new.record, old.record])


def test_the_newest_run_is_held_against_each_earlier_one() -> None:
    old, new = repeated()
    (page,) = cell_pages([old, new])
    latest, earlier = page.runs
    assert (latest.again.text, latest.again.span) == (DASH, "")
    times = [estimate_of(entry.record.measurements["tpot_s"]) for entry in (new, old)]
    (after, its), (before, theirs) = ((t.value, t.interval) for t in times)
    assert after is not None
    assert before is not None
    assert its is not None
    assert theirs is not None
    ends = unpaired_interval(after, its, before, theirs)
    assert ends is not None
    assert after / before == pytest.approx(0.8, rel=0.02)
    assert earlier.again.text == number(after / before, 3)
    assert earlier.again.span == f"{number(ends.low, 3)} \u2013 {number(ends.high, 3)}"


def test_a_failed_run_of_a_cell_is_listed_without_values() -> None:
    good = make_run()
    bad = make_run(status="failed", number=1, started_at=EPOCH + timedelta(days=1))
    entries = [Entry(run.record, "local", Path("r.json")) for run in (good, bad)]
    (page,) = cell_pages(entries)
    assert [run.status for run in page.runs] == ["failed", "ok"]
    assert {shown.text for shown in page.runs[0].values} == {DASH}
    assert page.runs[1].again.text == DASH


def test_the_cell_of_a_task_shows_scores() -> None:
    entry = Entry(make_run(kind="accuracy").record, "local", Path("r.json"))
    (page,) = cell_pages([entry])
    assert not page.timed
    assert "acc" in " ".join(page.metrics).lower()
    assert page.runs[0].values[0].text != DASH


# Links


def places_in(href: str) -> list[str]:
    return parse_qs(href.partition("#")[2])["runs"][0].split(",")


def test_an_address_names_the_runs_in_their_order_and_not_too_many() -> None:
    records = [make_record(number=number_) for number_ in range(MOST_RUNS + 2)]
    expected = [run_place(record) for record in records[:MOST_RUNS]]
    assert places_in(compare_href(records)) == expected


def test_a_candidates_page_leads_to_the_comparison_with_its_baseline(demo: Demo) -> None:
    candidate, baseline = line(demo, "int8-dynamic"), line(demo, "none")
    text = (demo.folder / candidate.href).read_text(encoding="utf-8")
    both = compare_href([baseline.row.record, candidate.row.record])
    assert f'href="../../../{both}">Compare with its baseline</a>' in text
    plain = (demo.folder / baseline.href).read_text(encoding="utf-8")
    assert "Compare with its baseline" not in plain
    assert f'href="../../../{compare_href([baseline.row.record])}">Compare this run</a>' in plain


def test_without_javascript_every_candidate_leads_to_its_own_comparison(demo: Demo) -> None:
    text = (demo.folder / "compare.html").read_text(encoding="utf-8")
    candidates = [r for r in demo.board.lines if r.status is Status.OK and not r.baseline]
    assert len(candidates) == 15
    for row in candidates:
        assert f'href="{row.href}#against"' in text
        assert '<section id="against">' in (demo.folder / row.href).read_text(encoding="utf-8")
