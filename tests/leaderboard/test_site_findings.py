"""Findings stand only while the records say what they claim."""

from __future__ import annotations

from pathlib import Path

import pytest
from demo_store import Demo

from leanboard.leaderboard.board import Board, BoardRow, board_of
from leanboard.leaderboard.finding_lines import EvidenceLine, judged
from leanboard.leaderboard.finding_standing import ABSENT, BARRED, Standing
from leanboard.leaderboard.findings import findings
from leanboard.leaderboard.findings_docs import PAGE, PICTURES, write
from leanboard.leaderboard.pages import Site
from leanboard.leaderboard.texts import Texts
from leanboard.metrics.metric import Verdict
from leanboard.results.finding import Evidence, Finding, load_findings
from leanboard.results.published import findings_root, load_all, load_for_board

DOCS = Path(__file__).resolve().parents[2] / "docs"


def row(demo: Demo, label: str, workload: str = "chat") -> BoardRow:
    return next(
        line
        for line in demo.board.lines
        if (line.label, line.workload, line.origin) == (label, workload, "published")
    )


def claim(line: BoardRow, metric: str, verdict: Verdict) -> Evidence:
    cell = line.row.record.cell_id
    return Evidence(machine=line.machine, cell=cell, metric=metric, verdict=verdict)


def finding(*evidence: Evidence) -> Finding:
    return Finding(name="one", title="A claim", text="Why.", evidence=evidence)


def only_line(demo: Demo, evidence: Evidence) -> EvidenceLine:
    ((line,),) = [one.lines for one in judged([finding(evidence)], demo.board)]
    return line


def test_a_claim_that_the_records_bear_out_holds_with_its_values(demo: Demo) -> None:
    line = only_line(demo, claim(row(demo, "prompt-lookup"), "tpot_s", Verdict.BETTER))
    assert line.standing is Standing.HOLDS
    comparison = row(demo, "prompt-lookup").row.comparison("tpot_s")
    assert comparison is not None
    assert comparison.value is not None
    assert line.compared.value == f"{comparison.value:.3f}"
    assert " \u2013 " in line.compared.interval
    assert line.baseline.value.endswith(" ms")
    assert line.candidate.value.endswith(" ms")
    assert line.verdict.endswith("better")


def test_a_claim_that_the_records_contradict_no_longer_holds(demo: Demo) -> None:
    line = only_line(demo, claim(row(demo, "prompt-lookup"), "tpot_s", Verdict.WORSE))
    assert line.standing is Standing.BROKEN
    assert line.claimed == "worse"


def test_a_claim_about_a_disturbed_run_is_in_doubt(demo: Demo) -> None:
    line = only_line(demo, claim(row(demo, "gguf-q4_1"), "tpot_s", Verdict.BETTER))
    assert line.standing is Standing.DOUBTED
    assert "disturbed" in line.note
    assert line.verdict.endswith("?")


def test_a_claim_about_the_quality_of_requantised_weights_is_never_judged(demo: Demo) -> None:
    line = only_line(demo, claim(row(demo, "int8-dynamic"), "arc_easy.acc_norm", Verdict.WORSE))
    assert (line.standing, line.note) == (Standing.UNKNOWN, BARRED)


def test_a_claim_about_a_cell_that_is_not_here_is_not_judged(demo: Demo) -> None:
    evidence = claim(row(demo, "bf16"), "tpot_s", Verdict.WORSE)
    line = only_line(demo, evidence.model_copy(update={"cell": "0" * 16}))
    assert (line.standing, line.note, line.href) == (Standing.UNKNOWN, ABSENT, "")


def test_a_claim_about_what_was_never_compared_no_longer_holds(demo: Demo) -> None:
    line = only_line(demo, claim(row(demo, "bf16"), "no_such_metric", Verdict.BETTER))
    assert line.standing is Standing.BROKEN


def test_equal_outputs_are_a_claim_like_any_other(demo: Demo) -> None:
    evidence = claim(row(demo, "static-cache"), "lossless", Verdict.NO_DIFFERENCE_SHOWN)
    line = only_line(demo, evidence)
    assert line.standing is Standing.HOLDS
    assert line.statistic == "agreement"


@pytest.mark.parametrize(
    ("label", "verdict", "expected"),
    [
        ("prompt-lookup", Verdict.BETTER, Standing.HOLDS),
        ("gguf-q4_1", Verdict.BETTER, Standing.DOUBTED),
        ("bf16", Verdict.BETTER, Standing.BROKEN),
    ],
)
def test_a_finding_stands_as_its_weakest_row(
    demo: Demo, label: str, verdict: Verdict, expected: Standing
) -> None:
    strong = claim(row(demo, "prompt-lookup", "long-prompt"), "tpot_s", Verdict.BETTER)
    weak = claim(row(demo, label), "tpot_s", verdict)
    (found,) = judged([finding(strong, weak)], demo.board)
    assert found.standing is expected


def test_the_page_counts_how_findings_stand(demo: Demo) -> None:
    holds = finding(claim(row(demo, "prompt-lookup"), "tpot_s", Verdict.BETTER))
    broken = finding(claim(row(demo, "bf16"), "tpot_s", Verdict.BETTER))
    context = findings(Site(demo.board, (), Texts(findings=(holds, broken))))
    assert context["summary"] == "2 findings (holds: 1, no longer holds: 1)"


def test_the_published_findings_are_borne_out_by_the_published_records(tmp_path: Path) -> None:
    board = board_of(load_all(tmp_path / "none"))
    found = judged(load_findings(findings_root()), board)
    bad = {one.finding.name: one.standing for one in found if one.standing is not Standing.HOLDS}
    assert bad == {}, "mend the text, or name rows that bear it out: results/findings/"


def test_the_page_of_docs_is_what_the_findings_and_records_say(tmp_path: Path) -> None:
    write(tmp_path, board_of(load_for_board(tmp_path / "none")))
    command = "write it again: python -m leanboard.leaderboard.findings_docs"
    for made in (PAGE, *(f"{PICTURES}/{path.name}" for path in (tmp_path / PICTURES).iterdir())):
        assert (DOCS / made).read_text() == (tmp_path / made).read_text(), command
    kept = {path.name for path in (DOCS / PICTURES).glob("*")}
    assert kept == {path.name for path in (tmp_path / PICTURES).iterdir()}, command


@pytest.mark.parametrize(
    ("nearer", "than", "standing"),
    [
        ("52a430aaddc4c948", "16990a0313e57d7a", Standing.HOLDS),
        ("16990a0313e57d7a", "52a430aaddc4c948", Standing.BROKEN),
        # Scored in a block of its own.
        ("52a430aaddc4c948", "48dfb39645a2a387", Standing.BROKEN),
        ("52a430aaddc4c948", "0000000000000000", Standing.UNKNOWN),
    ],
    ids=["nearer", "farther", "another baseline", "absent"],
)
def test_of_two_rows_of_one_baseline_one_is_nearer_to_it(
    published: Board, nearer: str, than: str, standing: Standing
) -> None:
    evidence = Evidence(
        machine="amd-epyc-2c-24gib-d488b457",
        cell=nearer,
        metric="kl_to_baseline",
        verdict=Verdict.BETTER,
        than=than,
    )
    ((line,),) = [one.lines for one in judged([finding(evidence)], published)]
    assert line.standing is standing


@pytest.mark.parametrize("metric", ["kl_to_baseline", "squad-passages.bits_per_byte"])
def test_two_arms_on_the_same_items_are_paired_where_their_intervals_overlap(
    published: Board, metric: str
) -> None:
    # Whitened SVD with a soft prompt, beside whitened SVD alone.
    evidence = Evidence(
        machine="amd-epyc-2c-24gib-d488b457",
        cell="12728b95046e73c0",
        metric=metric,
        verdict=Verdict.BETTER,
        than="775723229df7b1dc",
    )
    ((line,),) = [one.lines for one in judged([finding(evidence)], published)]
    assert line.standing is Standing.HOLDS
    assert line.note.endswith("paired over 11 items")


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Board:
    return board_of(load_for_board(tmp_path_factory.mktemp("none")))
