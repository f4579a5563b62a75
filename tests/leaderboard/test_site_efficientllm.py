"""EfficientLLM's metrics: what is read for each, what is missing, and who is first."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from boards import board_from
from demo_store import Demo
from knob_store import MODELS, write_knobs
from record_factory import make_run, request_observation

from leanboard.leaderboard.board import Board, board_of
from leanboard.leaderboard.cells import NOTHING
from leanboard.leaderboard.efficientllm import READINGS, efficientllm, first_everywhere
from leanboard.leaderboard.groups import Head, PeerGroup, RankedCell
from leanboard.leaderboard.ranks import Rank
from leanboard.metrics.metric import Direction
from leanboard.metrics.registry import METRICS
from leanboard.results.derived_columns import DERIVED
from leanboard.results.store import Loaded


def groups(board: Board) -> list[PeerGroup]:
    found = efficientllm(board)["groups"]
    assert isinstance(found, list)
    return found


def column(board: Board, short: str) -> list[RankedCell]:
    place = [reading.short for reading in READINGS].index(short)
    return [peer.cells[place] for group in groups(board) for peer in group.lines]


def head(board: Board, short: str) -> Head:
    found = efficientllm(board)["heads"]
    assert isinstance(found, tuple)
    return next(head for head in found if head.short == short)


def test_every_reading_is_a_metric_that_exists_or_says_why_there_is_none() -> None:
    known = {*(metric.name for metric in METRICS), *DERIVED}
    for reading in READINGS:
        assert (reading.of in known) != bool(reading.missing)
    shorts = [reading.short for reading in READINGS]
    assert len(set(shorts)) == len(shorts)
    assert {"AMU", "AMU, share", "AL", "TT, ST", "IT", "AEC", "MCR"} <= set(shorts)


def test_what_no_record_holds_is_a_dash_with_its_reason(demo: Demo) -> None:
    found = column(demo.board, "TT, ST")
    assert len(found) == 20
    assert {cell.title for cell in found} == {"not measured: no record holds a training run"}


def test_average_memory_is_ranked_by_its_bytes_and_not_by_its_share(demo: Demo) -> None:
    assert head(demo.board, "AMU").arrow == "\u2193"
    assert head(demo.board, "AMU, share").arrow == ""
    assert sum(1 for cell in column(demo.board, "AMU") if cell.rank) == 18
    shares = column(demo.board, "AMU, share")
    assert {(cell.missing, cell.rank) for cell in shares} == {(False, None)}


def test_a_run_from_before_memory_was_averaged_has_a_dash_with_the_reason() -> None:
    seen = request_observation()
    older = make_run(observation=replace(seen, series=())).record
    newer = make_run(techniques=["bf16"], number=1).record
    for record in (older, newer):
        assert ("memory_mean_bytes" in record.measurements) == (record is newer)
    alone, beside = board_from(older), board_from(older, newer)
    for short in ("AMU", "AMU, share"):
        assert [c.title for c in column(alone, short)] == [f"not measured: {NOTHING}"]
        assert sorted(cell.missing for cell in column(beside, short)) == [False, True]
        assert [c.title for c in column(beside, short) if c.missing] == [f"not measured: {NOTHING}"]


def test_what_these_records_lack_is_a_dash_with_the_reason_that_they_give(demo: Demo) -> None:
    found = column(demo.board, "PCU, decode")
    assert {cell.title for cell in found} == {
        "not measured: this machine is not calibrated: leanboard doctor --calibrate"
    }


def test_modelled_power_is_shown_without_a_rank_and_latency_is_ranked(demo: Demo) -> None:
    power = [cell for cell in column(demo.board, "AEC") if not cell.missing]
    assert {(cell.estimate, cell.rank) for cell in power} == {("modelled", None)}
    # Of 20 rows two failed the gate; one of them is the unstable one.
    assert sum(1 for cell in column(demo.board, "AL") if cell.rank) == 18


def test_a_column_without_a_better_direction_has_no_arrow() -> None:
    board = board_from(make_run().record)
    assert head(board, "PCU, decode").arrow == ""
    assert head(board, "AL").arrow == "\u2193"
    assert head(board, "IT").arrow == "\u2191"
    assert head(board, "TT, ST").arrow == "\u2191"
    assert head(board, "AL").suffix in ("s", "ms")


def test_rows_of_two_models_are_not_ranked_beside_one_another(tmp_path: Path) -> None:
    board = board_of(write_knobs(tmp_path))
    assert len({(line.hardware, line.workload_choice) for line in board.lines}) == 1
    latency = [reading.short for reading in READINGS].index("AL")
    for group, model in zip(groups(board), MODELS, strict=True):
        assert {peer.line.model for peer in group.lines} == {model}
        assert model in group.heading
        ranks = [peer.cells[latency].rank for peer in group.lines]
        assert min(rank.first for rank in ranks if rank) == 1
        assert max(rank.last for rank in ranks if rank) == len(ranks) == 5


def test_who_is_first_everywhere_is_said_and_so_is_that_nobody_is(demo: Demo) -> None:
    lines = demo.board.lines[:2]
    first, second = (f"{line.label_text} \u00b7 {line.backend_text}" for line in lines)
    one, two = Rank(1, 3), Rank(2, 2)
    alone = first_everywhere(lines, [(one, two), (one, two)])
    assert alone == f"rank 1 or a band from 1 in every ranked column (2): {first}"
    assert first_everywhere(lines, [(one, two), (two, one)]) == (
        "no row has rank 1 or a band from 1 in every ranked column (2)"
    )
    shared = first_everywhere(lines, [(one, one), (None, None)])
    assert shared == f"rank 1 or a band from 1 in every ranked column (1): {first}, {second}"
    assert first_everywhere(lines, [(None, None)]) == "no column has ranks"
    assert first_everywhere(lines, [(one, None), (None, one)]) == (
        "no row has rank 1 or a band from 1 in every ranked column (2)"
    )


def test_the_directions_of_missing_metrics_are_efficientllms() -> None:
    missing = {r.short: r.direction for r in READINGS if not r.of}
    assert missing == {"TT, ST": Direction.HIGHER}


def test_an_empty_board_has_no_readings() -> None:
    assert groups(board_of(Loaded())) == []
