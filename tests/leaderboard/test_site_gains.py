"""What a ratio says of a run, on the board and on the run's page, and when that is in doubt."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from demo_store import Demo
from record_factory import make_procedure, make_run

from leanboard.leaderboard.board import Board, BoardRow, board_of
from leanboard.leaderboard.build import build_site
from leanboard.leaderboard.cells import Gain, gain_of
from leanboard.leaderboard.doubt import ONE_PROCESS, Unrest, unrest_of
from leanboard.leaderboard.format import DASH
from leanboard.leaderboard.pages import Site, leaderboard
from leanboard.leaderboard.run_tables import compared
from leanboard.metrics.metric import Direction, Role, Verdict
from leanboard.results.identity import sealed
from leanboard.results.schema import Cause, Comparison, Interval, Record
from leanboard.results.store import Entry, Loaded, Store

FRESH = make_procedure(rounds_per_launch=1)
CAUSE = Cause(kind="faults", message="page faults a second: 30,000, the limit is 10,000")


HALF = Interval(low=0.4, high=0.6, method="t")
NARROW = Interval(low=1.0004410779, high=1.0009826941, method="t")
"""Of a peak of memory that a technique raised by less than a thousandth."""


def ratio(
    value: float | None,
    verdict: Verdict = Verdict.BETTER,
    *,
    launches: int = 8,
    interval: Interval | None = None,
) -> Comparison:
    return Comparison(
        metric="tpot_s",
        statistic="ratio",
        baseline_run="20261120T120000Z-00000000",
        value=value,
        interval=interval or (None if value is None else HALF),
        n=8,
        launches=launches,
        verdict=verdict,
        provenance=None,
        method_version=1,
    )


def of(*records: Record) -> Board:
    return board_of(Loaded(tuple(Entry(record, "local", Path("r.json")) for record in records)))


def tpot_gain(board: Board, row: BoardRow) -> Gain:
    gain = row.cell(next(column for column in board.columns if column.name == "tpot_s")).gain
    assert gain is not None
    return gain


def test_a_smaller_time_is_a_gain_above_one_and_a_smaller_rate_is_not() -> None:
    lower, higher = (
        gain_of(ratio(0.5), direction, Role.LATENCY, Unrest())
        for direction in (Direction.LOWER, Direction.HIGHER)
    )
    assert lower is not None
    assert higher is not None
    assert (lower.factor, higher.factor) == (2.0, 0.5)
    assert lower.text == "\u25b2 2.00\u00d7"
    assert lower.title == (
        "better than the baseline: candidate / baseline = 0.500 [0.400, 0.600], \u221250.0 %, "
        "n = 8 in 8 launches, 95 % interval (t)"
    )


def test_a_verdict_stands_beside_a_ratio_that_differs_from_one() -> None:
    worse = ratio(1.0008334713, Verdict.WORSE, interval=NARROW)
    gain = gain_of(worse, Direction.LOWER, Role.MEMORY, Unrest())
    assert gain is not None
    assert gain.text == "\u25bc 0.999\u00d7"
    assert "candidate / baseline = 1.0008 [1.0004, 1.0010], +0.08 %, n = 8" in gain.title
    nearest = ratio(1.00009, Verdict.WORSE, interval=Interval(low=1.000002, high=1.0002, method=""))
    gain = gain_of(nearest, Direction.HIGHER, Role.MEMORY, Unrest())
    assert gain is not None
    assert "1.000090 [1.000002, 1.000200], +0.0090 %" in gain.title


def test_a_ratio_whose_interval_holds_one_has_no_more_decimals_than_it_needs() -> None:
    held = Interval(low=0.9998, high=1.0012, method="t")
    alike = ratio(1.0004, Verdict.NO_DIFFERENCE_SHOWN, interval=held)
    gain = gain_of(alike, Direction.LOWER, Role.MEMORY, Unrest())
    assert gain is not None
    assert gain.text == "\u2248 1.00\u00d7"
    assert "1.000 [1.000, 1.001], +0.0 %" in gain.title


def test_the_page_of_a_run_tells_a_ratio_with_a_verdict_from_one() -> None:
    worse = ratio(1.0008334713, Verdict.WORSE, interval=NARROW)
    record = make_run().record.model_copy(update={"comparisons": (worse,)})
    (line,) = compared(record, Unrest())
    assert (line.value, line.interval) == ("1.0008", "1.0004 \u2013 1.0010")
    assert line.verdict == "\u25bc worse"


@pytest.mark.parametrize("comparison", [None, ratio(None), ratio(0.0)])
def test_there_is_no_gain_where_nothing_was_compared(comparison: Comparison | None) -> None:
    assert gain_of(comparison, Direction.LOWER, Role.LATENCY, Unrest()) is None


def test_the_gain_of_an_unstable_run_is_in_doubt_and_its_scores_are_not(demo: Demo) -> None:
    rows = {row.label: row for row in demo.board.lines if row.workload == "chat"}
    gain = tpot_gain(demo.board, rows["gguf-q4_1"])
    assert gain.text.endswith("\u00d7 ?")
    assert gain.css == "doubted"
    assert gain.title.startswith("in doubt (this run was disturbed): better than the baseline: ")
    scores = [
        gain_of(ratio(0.5), Direction.LOWER, Role.QUALITY, why)
        for why in (Unrest("x", math.inf), Unrest())
    ]
    assert scores[0] == scores[1]
    assert tpot_gain(demo.board, rows["gguf-q8_0"]).css == "better"


def test_what_a_run_shows_by_its_own_samples_puts_no_ratio_in_doubt() -> None:
    spread = Cause(kind="spread", message="spread of the time per token over rounds: 23.0%")
    baseline = make_run(causes=[spread], procedure=FRESH)
    candidate = make_run(
        techniques=["bf16"], speed=2.0, baseline=baseline, causes=[spread], procedure=FRESH
    )
    board = of(baseline.record, candidate.record)
    row = next(row for row in board.lines if row.label == "bf16")
    assert row.unstable != ""
    assert tpot_gain(board, row).css == "better"


def test_a_gain_over_a_disturbed_baseline_is_in_doubt_too() -> None:
    baseline = make_run(causes=[CAUSE], procedure=FRESH)
    candidate = make_run(techniques=["bf16"], speed=2.0, baseline=baseline, procedure=FRESH)
    board = of(baseline.record, candidate.record)
    row = next(row for row in board.lines if row.label == "bf16")
    gain = tpot_gain(board, row)
    assert row.unstable == ""
    assert gain.css == "doubted"
    assert gain.title.startswith("in doubt (the run of its baseline was disturbed): ")


@pytest.mark.parametrize(
    ("load", "stolen", "reach"),
    [(0.2, 0.0, 1.25), (0.1, 0.05, 1.25), (1.5, 0.0, math.inf), (None, 0.1, math.inf)],
)
def test_load_and_stolen_time_reach_as_far_as_what_they_took_of_one_core(
    load: float | None, stolen: float, reach: float
) -> None:
    record = make_run(causes=[Cause(kind="load", message="too much")]).record
    assert record.stability is not None
    cpu = record.environment.cpu.model_copy(update={"logical_cores": 2})
    seen = record.stability.model_copy(
        update={"figures": {"other_cores": load, "steal_share": stolen}}
    )
    disturbed = record.model_copy(
        update={
            "stability": seen,
            "environment": record.environment.model_copy(update={"cpu": cpu}),
        }
    )
    assert unrest_of(disturbed, None).reach == pytest.approx(reach)
    assert unrest_of(disturbed, disturbed).reach == pytest.approx(reach * reach)


@pytest.mark.parametrize(("reach", "doubted"), [(1.0, False), (1.6, False), (1.7, True)])
def test_a_disturbance_that_cannot_turn_a_verdict_leaves_no_doubt(
    reach: float, *, doubted: bool
) -> None:
    # The interval ends at 0.6: with a factor of 1.67 it reaches 1.
    gain = gain_of(ratio(0.5), Direction.LOWER, Role.LATENCY, Unrest("it shook", reach))
    assert gain is not None
    assert (gain.css == "doubted") == doubted


@pytest.mark.parametrize("launches", [0, 1])
def test_a_verdict_from_one_process_an_arm_is_in_doubt_as_those_of_older_records_are(
    launches: int,
) -> None:
    gain = gain_of(ratio(0.5, launches=launches), Direction.LOWER, Role.LATENCY, Unrest())
    assert gain is not None
    assert (gain.text, gain.css) == ("\u25b2 2.00\u00d7 ?", "doubted")
    assert gain.title.startswith(f"in doubt ({ONE_PROCESS}): better than the baseline: ")
    assert gain.title.endswith("n = 8 in 1 launch, 95 % interval (t)")
    both = gain_of(
        ratio(0.5, launches=launches), Direction.LOWER, Role.LATENCY, Unrest("it shook", 3)
    )
    assert both is not None
    assert both.title.startswith(f"in doubt (it shook; {ONE_PROCESS}): ")


def test_a_ratio_without_an_interval_has_no_verdict_to_doubt() -> None:
    bare = ratio(0.5, Verdict.UNDECIDED, launches=0).model_copy(update={"interval": None})
    gain = gain_of(bare, Direction.LOWER, Role.MEMORY, Unrest("this run was disturbed", math.inf))
    assert gain is not None
    assert (gain.css, gain.doubts) == ("undecided", ())
    assert gain.title.endswith(": candidate / baseline = 0.500, \u221250.0 %, n = 8")


def test_the_legend_counts_the_rows_that_are_compared_within_one_process() -> None:
    runs = []
    for workload, procedure in (("chat", make_procedure()), ("long-prompt", FRESH)):
        baseline = make_run(workload=workload, procedure=procedure)
        common = {"workload": workload, "procedure": procedure, "baseline": baseline}
        runs += [baseline, make_run(techniques=["bf16"], speed=2.0, **common)]
    board = of(*(run.record for run in runs))
    marked = {row.workload: row.one_process for row in board.lines if row.label == "bf16"}
    assert marked == {"chat": True, "long-prompt": False}
    context = leaderboard(Site(board, ()))
    assert context["one_process"] == "1 row"
    assert context["stabilities"] == "Judged stable: 4 rows."


def test_a_doubt_touches_times_and_leaves_the_agreement_of_outputs_alone() -> None:
    baseline = make_run(procedure=FRESH)
    record = make_run(techniques=["bf16"], speed=2.0, baseline=baseline, procedure=FRESH).record
    lines = {line.name: line for line in compared(record, Unrest("it shook", math.inf))}
    assert lines["tpot_s"].verdict == "\u25b2 better ?"
    assert lines["tpot_s"].css == "doubted"
    assert "?" not in lines["lossless"].verdict
    assert {line.css for line in compared(record, Unrest())} <= {
        "better",
        "worse",
        "same",
        "undecided",
    }


def test_a_comparison_tells_its_launches_and_how_its_interval_was_made() -> None:
    baseline = make_run(procedure=FRESH)
    fresh = make_run(techniques=["bf16"], speed=2.0, baseline=baseline, procedure=FRESH).record
    lines = {line.name: line for line in compared(fresh, Unrest())}
    assert (lines["tpot_s"].launches, lines["tpot_s"].doubts) == ("8", ())
    assert lines["tpot_s"].method == "signed ranks of log ratios, 8 launches"
    assert (lines["lossless"].launches, lines["lossless"].method) == (DASH, "")


@pytest.mark.parametrize("told", [True, False], ids=["launches told", "older record"])
def test_verdicts_within_one_process_an_arm_are_in_doubt_on_the_page_too(*, told: bool) -> None:
    record = make_run(techniques=["bf16"], speed=2.0, baseline=make_run()).record
    if not told:
        older = [c.model_copy(update={"launches": 0}) for c in record.comparisons]
        record = record.model_copy(update={"comparisons": tuple(older)})
    lines = {line.name: line for line in compared(record, Unrest())}
    tpot = lines["tpot_s"]
    assert (tpot.verdict, tpot.css) == ("\u25b2 better ?", "doubted")
    assert (tpot.launches, tpot.doubts) == ("1", (ONE_PROCESS,))
    assert lines["lossless"].doubts == ()
    both = {line.name: line for line in compared(record, Unrest("it shook", math.inf))}["tpot_s"]
    assert both.doubts == ("it shook", ONE_PROCESS)


def test_the_page_says_why_its_verdicts_are_in_doubt_and_what_is_not_known_of_the_baseline(
    tmp_path: Path,
) -> None:
    baseline = make_run()
    candidate = make_run(techniques=["bf16"], speed=2.0, baseline=baseline)
    run = candidate.record
    unjudged = sealed(baseline.record.model_dump() | {"stability": None})
    for name, records, note in (
        ("judged", [baseline.record], ""),
        ("old", [unjudged], " (its stability was not judged)"),
        ("alone", [], " (its record is not here, nor is its stability known)"),
    ):
        store = Store(tmp_path / name, "local")
        for record in records:
            store.write(record, baseline.traces)
        store.write(run, candidate.traces)
        built = build_site(store.load(), tmp_path / f"{name}-site")
        page = built.folder / "runs" / run.machine_id / run.cell_id / f"{run.run_id}.html"
        text = page.read_text(encoding="utf-8")
        link = baseline.record.run_id + ("</a>" if records else "")
        assert f"{link}{note}. Ratios are candidate / baseline." in text
        assert f"</span> are in doubt: {ONE_PROCESS}.</p>" in text
        assert '<td class="muted">t on log ratios, one process' in text


def test_the_legend_explains_the_mark_of_a_doubt(demo: Demo) -> None:
    text = (demo.folder / "index.html").read_text(encoding="utf-8")
    legend = text[text.index('<section id="reading"') :]
    assert "each arm had one process" in legend
    assert "Rows compared with one process an arm: 0 rows." in legend
