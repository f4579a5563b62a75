"""What a run's page tells of its sampling and its stability, and of a record that does not tell."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import get_args

import pytest
from demo_store import NO_JOULES, ODD, Demo
from record_factory import (
    make_procedure,
    make_record,
    make_workload,
    request_observation,
)

from leanboard.leaderboard.board import board_of
from leanboard.leaderboard.data import literal
from leanboard.leaderboard.describe import configuration, surroundings
from leanboard.leaderboard.distribution import distributions_of
from leanboard.leaderboard.no_interval import APART, ONE_VALUE, TOO_FEW, why_no_interval
from leanboard.leaderboard.plot_data import plot_data
from leanboard.leaderboard.roofline import phase_lines
from leanboard.leaderboard.run_tables import measured_groups
from leanboard.leaderboard.samples import FEW, FULL, plots_of
from leanboard.leaderboard.sampling import _STOPPED, _WARMED, OLD, sampled, steadiness
from leanboard.metrics.percentile import clustered_interval, clustered_ranks
from leanboard.metrics.registry import METRICS
from leanboard.metrics.roofline import LEAST_SHARE
from leanboard.results.identity import sealed
from leanboard.results.reliability import Reliability
from leanboard.results.schema import PerformanceCell, Procedure, Record, Sampling, Stability
from leanboard.results.store import Entry, Loaded


def told(record: Record) -> dict[str, str]:
    return {term.name: term.text for term in sampled(record).terms}


def with_sampling(procedure: Procedure, **fields: object) -> Record:
    """A record of that procedure, as a runner would have sampled it."""
    record = make_record()
    assert isinstance(record.cell, PerformanceCell)
    cell = record.cell.model_copy(update={"procedure": procedure})
    sampling = Sampling.model_validate({"launches": 4, "rounds": 32, **fields})
    return record.model_copy(update={"cell": cell, "sampling": sampling})


def page_of(demo: Demo, label: str, workload: str, backend: str = "transformers") -> str:
    row = next(
        line
        for line in demo.board.lines
        if (line.label, line.workload, line.backend, line.origin)
        == (label, workload, backend, "published")
    )
    return (demo.folder / row.href).read_text(encoding="utf-8")


def test_a_fixed_procedure_is_told_in_words() -> None:
    assert told(make_record()) == {
        "processes": "1 for all rounds: what another process would show is not in the intervals",
        "timed rounds": "8",
        "why no more": "the procedure asks for so many",
        "warm-up rounds": "1 in each process",
        "why no more of them": "the procedure asks for so many",
        "looks at the intervals": "none: the number of rounds was fixed",
        "arms of the block": "side by side: all loaded, and only one running at a time",
    }


@pytest.mark.parametrize(("field", "words"), [("stopped_by", _STOPPED), ("warmup_ended", _WARMED)])
def test_every_end_that_a_record_may_name_has_its_words(
    field: str, words: Mapping[str, str]
) -> None:
    assert set(words) == set(get_args(Sampling.model_fields[field].annotation))
    for end in words:
        record = with_sampling(make_procedure(), **{field: end})
        assert words[end] in told(record).values()


def test_an_adaptive_procedure_tells_its_looks_widths_and_end() -> None:
    procedure = make_procedure(rounds=16).model_copy(
        update={"max_rounds": 64, "target_width": 0.05}
    )
    words = told(
        with_sampling(
            procedure,
            warmup_rounds=(1, 3, 1, 1),
            warmup_ended="cap",
            stopped_by="time",
            looks=(16, 32),
            widths={"tpot_s": 0.0412, "ttft_s": None},
            side_by_side=False,
        )
    )
    assert words["processes"].startswith("4 one after the other")
    assert words["why no more"] == "the time budget was spent"
    assert words["warm-up rounds"] == "1, 3, 1, 1, process by process"
    assert words["why no more of them"].endswith("a drift was still seen")
    assert words["looks at the intervals"] == "after 16, 32 rounds"
    width = "4.1 % of the ratio, wanted: below 5.0 %"
    assert words["interval width, Time per output token"] == width
    assert words["interval width, Time to first token"] == "no interval"
    assert words["arms of the block"].startswith("took turns")


@pytest.mark.parametrize(
    ("stopped_by", "words"),
    [("width", "narrow enough"), ("rounds", "most rounds"), ("fixed", "asks for")],
)
def test_every_reason_to_stop_has_its_words(stopped_by: str, words: str) -> None:
    assert words in told(with_sampling(make_procedure(), stopped_by=stopped_by))["why no more"]


def test_an_old_record_does_not_tell_and_the_page_says_so() -> None:
    old = sealed(make_record().model_dump() | {"sampling": None, "stability": None})
    assert (sampled(old).note, sampled(old).terms) == (OLD, ())
    found = steadiness(old)
    assert (found.verdict, found.sentence, found.unstable) == (Reliability.UNKNOWN, OLD, False)


def test_too_little_to_judge_by_is_not_stable() -> None:
    short = make_record().model_copy(update={"stability": Stability(stable=None)})
    found = steadiness(short)
    assert found.verdict is Reliability.UNKNOWN
    assert found.sentence == "There was too little to judge by."


def test_figures_say_what_the_system_does_not() -> None:
    figures = {term.name: term.text for term in steadiness(make_record()).figures}
    assert figures["CPU time stolen by the hypervisor"] == "0.0%"
    assert figures["range of the processor's clock over rounds"] == "not known"
    assert next(iter(figures)) == "spread of the time per token over rounds"


def test_a_figure_that_this_version_does_not_know_keeps_its_name() -> None:
    record = make_record()
    assert record.stability is not None
    seen = record.stability.model_copy(update={"figures": {"new_figure": 0.5, "steal_share": 0.0}})
    names = [t.name for t in steadiness(record.model_copy(update={"stability": seen})).figures]
    assert names == ["CPU time stolen by the hypervisor", "new figure"]


def test_the_page_of_an_unstable_run_says_so_at_its_head_with_causes_and_figures(
    demo: Demo,
) -> None:
    arm, workload = ODD
    text = page_of(demo, arm, workload, "llamacpp")
    head = text[: text.index("<h2>Run it again</h2>")]
    assert '<a class="badge bad" href="#stability">unstable</a>' in head
    assert "<h2>This run is unstable</h2>" in head
    section = text[text.index('<section id="stability">') :]
    assert "<h2>Stability: unstable</h2>" in section
    assert "compete by their intervals" in section
    assert "ranked" not in head + section
    assert "<strong>launches</strong>: gap between" in section
    assert "<dt>gap between the times per token of slower and faster launches</dt>" in section
    assert "in doubt: this run was disturbed" in text
    assert '<span class="gain doubted">' in text


def test_the_page_of_a_stable_run_says_so_and_has_no_mark(demo: Demo) -> None:
    text = page_of(demo, "none", "chat")
    assert "<h2>Stability: stable</h2>" in text
    assert "unstable" not in text
    assert "<h2>How it was sampled</h2>" in text


def test_the_roofline_says_what_bounds_a_phase_or_why_that_is_not_known() -> None:
    record = make_record()
    reason = "this machine is not calibrated"
    gap = record.measurements["mfu_decode"].model_copy(update={"value": None, "reason": reason})
    known = gap.model_copy(update={"value": 0.1, "reason": None})
    measurements = {
        **record.measurements,
        "mfu_prefill": known,
        "mbu_prefill": known.model_copy(update={"value": 0.62}),
        "prefill_floor_s": known.model_copy(update={"value": 0.08, "unit": "s"}),
        "mfu_decode": gap,
        "mbu_decode": gap,
    }
    first, second = phase_lines(record.model_copy(update={"measurements": measurements}))
    assert (first.mfu, first.mbu, first.floor) == ("10.0 %", "62.0 %", "80.0 ms")
    assert first.bound == (
        "memory: at the machine's peak, moving the bytes takes 1/3 of the measured time or more"
    )
    assert (second.mfu, second.bound) == ("\u2014", f"not known: {reason}")
    assert phase_lines(record.model_copy(update={"measurements": {}})) == ()


@pytest.mark.parametrize(
    ("mfu", "mbu", "words"),
    [
        (LEAST_SHARE, 0.1, "compute: at the machine's peak, the arithmetic takes 1/3 of the "),
        (0.1, LEAST_SHARE, "memory: at the machine's peak, moving the bytes takes 1/3 of the "),
        (0.33, 0.33, "neither the arithmetic nor moving the bytes takes as much as 1/3 of the "),
    ],
)
def test_what_bounds_a_phase_is_told_by_the_share_that_decides_it(
    mfu: float, mbu: float, words: str
) -> None:
    record = make_record()
    known = record.measurements["mfu_decode"].model_copy(update={"reason": None})
    used = {"mfu_decode": mfu, "mbu_decode": mbu}
    found = {name: known.model_copy(update={"value": value}) for name, value in used.items()}
    (line,) = phase_lines(record.model_copy(update={"measurements": found}))
    assert words in line.bound
    assert "half" not in line.bound


def test_a_scoring_run_has_neither_section(demo: Demo) -> None:
    scoring = next(
        e.record for e in demo.loaded.entries if not isinstance(e.record.cell, PerformanceCell)
    )
    place = f"runs/{scoring.machine_id}/{scoring.cell_id}/{scoring.run_id}.html"
    text = (demo.folder / place).read_text(encoding="utf-8")
    assert "How it was sampled" not in text
    assert "Stability" not in text


def test_joules_that_could_not_be_read_are_not_measured_with_their_reason(demo: Demo) -> None:
    text = page_of(demo, "static-cache", "chat")
    missed = text[text.index("Not measured, and why") :]
    assert f"<code>energy_per_output_token_j</code></dt><dd>{NO_JOULES}</dd>" in missed


def test_only_published_runs_have_the_short_command(demo: Demo) -> None:
    assert "leanboard reproduce results/records/" in page_of(demo, "none", "chat")
    local = next(line for line in demo.board.lines if line.origin == "local")
    text = (demo.folder / local.href).read_text(encoding="utf-8")
    assert "leanboard reproduce" not in text
    assert "leanboard run model=" in text


def test_measurements_are_grouped_by_what_they_are_about() -> None:
    record = make_record()
    groups = measured_groups(record)
    roles = {metric.name: metric.role.value for metric in METRICS}
    for group in groups:
        assert {roles[line.name] for line in group.lines} == {group.title}
    shown = [line.name for group in groups for line in group.lines]
    assert sorted(shown) == sorted(n for n, m in record.measurements.items() if m.value is not None)


def test_a_missing_interval_is_one_value_only_where_there_is_one() -> None:
    record = make_record()
    single = record.measurements["peak_memory_bytes"]
    assert (single.interval, single.n) == (None, 1)
    few = record.measurements["tpot_s"].model_copy(update={"interval": None, "n": 4})
    found = {"peak_memory_bytes": single, "tpot_s": few}
    groups = measured_groups(record.model_copy(update={"measurements": found}))
    methods = {line.name: line.method for group in groups for line in group.lines}
    assert methods == {"peak_memory_bytes": ONE_VALUE, "tpot_s": TOO_FEW}


@pytest.mark.parametrize(
    ("n", "summary", "processes", "reason"),
    [
        (18, "median", 1, TOO_FEW),
        (16, "median", 4, TOO_FEW),
        (18, "median", 6, APART),
        (10, "median", 5, TOO_FEW),
        (558, "p99", 6, TOO_FEW),
        (558, "p95", 6, APART),
        (18, "mean", 6, TOO_FEW),
    ],
)
def test_processes_differ_too_much_only_where_alike_ones_would_have_an_interval(
    n: int, summary: str, processes: int, reason: str
) -> None:
    changes = {"interval": None, "n": n, "summary": summary}
    tpot = make_record().measurements["tpot_s"].model_copy(update=changes)
    assert why_no_interval(tpot, processes) == reason


@pytest.mark.parametrize(("n", "p"), [(18, 50), (10, 50), (558, 99), (558, 95)])
def test_processes_that_are_alike_have_an_interval_where_it_is_said_so(n: int, p: int) -> None:
    # Of every process the same share at or below the percentile, as nearly as whole samples allow.
    groups = [place % 6 for place in range(n)]
    alike = clustered_interval([float(place) for place in range(n)], groups, p)
    assert (alike is not None) == (clustered_ranks(n, 6, p) is not None)


def test_the_methodology_says_whose_limits_it_prints(demo: Demo) -> None:
    text = (demo.folder / "methodology.html").read_text(encoding="utf-8")
    before, _, after = text.partition("The limits below are those of this version; ")
    assert "<h2>Stable and unstable runs</h2>" in before
    assert 'aria-label="Stability limits of this version"' in after


@pytest.mark.parametrize(
    ("rounds_per_launch", "borders", "words"),
    [
        (None, 0, "One process made all rounds."),
        (2, 3, "4 processes, one after the other; a vertical line between them."),
        (1, 0, "Every round was made by a new process."),
    ],
)
def test_plots_by_round_show_where_a_new_process_begins(
    rounds_per_launch: int | None, borders: int, words: str
) -> None:
    seen = request_observation(workload=make_workload(), rounds_per_launch=rounds_per_launch)
    plots = dict(plots_of(seen, distributions_of(seen)))
    for heading in (
        "Time per output token of every request",
        "Time to first token of every request",
    ):
        plot = plots[heading]
        assert len(plot.marks) == 8
        assert len(plot.lines) == borders
        assert plot.description.endswith(words)
    if borders:
        left, right = plot.marks[1].x, plot.marks[2].x
        assert left < float(plot.lines[0].points.split(",")[0]) < right
        assert plot.marks[2].title.startswith("process 1, round 2, ")


@pytest.mark.parametrize("rounds", [8, 64, 65, 400])
def test_inter_token_latencies_are_drawn_of_the_whole_run(rounds: int) -> None:
    seen = request_observation(workload=make_workload(), rounds=rounds)
    plot = dict(plots_of(seen, distributions_of(seen)))["Inter-token latency of every request"]
    drawn = [int(line.title.split("round ")[1].split(",")[0]) for line in plot.lines]
    assert len(drawn) == min(rounds, FULL.requests)
    assert drawn == sorted(set(drawn))
    assert (drawn[0], drawn[-1]) == (0, rounds - 1)
    widest = max(later - earlier for earlier, later in pairwise(drawn))
    assert widest <= 3 * rounds / len(drawn)
    told = f"{len(drawn)} of {rounds} requests spread over the run, with the first and the last,"
    assert plot.description.startswith(told) == (rounds > FULL.requests)


def test_pictures_of_few_points_are_of_the_whole_run_and_say_what_they_leave_out() -> None:
    work = make_workload().model_copy(update={"output_tokens": 200})
    seen = request_observation(workload=work, rounds=400)
    plots = dict(plots_of(seen, (), FEW))
    gaps, tpot, ttft = plots.values()
    lines = [[float(point.split(",")[0]) for point in line.points.split()] for line in gaps.lines]
    assert {len(line) for line in lines} == {FEW.gaps}
    assert len(lines) == FEW.requests
    assert {(line[0], line[-1]) for line in lines} == {(gaps.x.at(2), gaps.x.at(200))}
    assert "6 of 400 requests spread over the run" in gaps.description
    assert gaps.description.endswith(f"; at most {FEW.gaps} gaps of a request are drawn")
    for plot in (tpot, ttft):
        rounds = [mark.x for mark in plot.marks]
        assert len(rounds) == FEW.dots
        assert (rounds[0], rounds[-1]) == (plot.x.at(0), plot.x.at(399))
        assert plot.description.startswith("120 of 400 requests, spread over all, one dot each")
    told = [plot_data(heading, plot) for heading, plot in plots.items()]
    assert len(literal(told)) < 12_000


def test_limits_that_a_procedure_does_not_set_are_none_and_not_unknown() -> None:
    section = next(s for s in configuration(make_record()) if s.title == "Procedure")
    terms = {term.name: term.text for term in section.terms}
    assert terms["max rounds"] == "none"
    assert terms["rounds per launch"] == "none"
    assert "not known" not in terms.values()


def test_what_the_system_does_not_show_of_a_machine_stands_on_one_line() -> None:
    sections = {s.title: s.terms for s in surroundings(make_record().environment)}
    *known, last = sections["Processor"]
    assert last.name == "not known"
    assert {"governor", "microcode", "smt"} <= set(last.text.split(", "))
    assert known[0].text == "Example CPU @ 2.0 GHz"
    assert "Packages" in sections


def test_rows_tell_apart_one_process_and_several() -> None:
    plain = make_record()
    assert isinstance(plain.cell, PerformanceCell)
    procedure = plain.cell.procedure.model_copy(update={"rounds_per_launch": 1})
    cell = plain.cell.model_copy(update={"procedure": procedure})
    other = plain.model_copy(update={"cell": cell, "cell_id": "0" * 16})
    entries = tuple(Entry(record, "local", Path("r.json")) for record in (plain, other))
    texts = {line.workload_text for line in board_of(Loaded(entries)).lines}
    assert texts == {"chat (one process)", "chat (1 round a process)"}
