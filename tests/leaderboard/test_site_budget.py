"""What the budget page offers, and its answer without limits."""

from __future__ import annotations

import pytest
from boards import board_from, fullest_place
from demo_store import Demo
from record_factory import make_run, request_observation

from leanboard.leaderboard.board import MOST_ROWS, Board, board_of
from leanboard.leaderboard.budget import BestGroup, Limit, best_pages, budget
from leanboard.leaderboard.groups import ran
from leanboard.metrics.trace import Provenance
from leanboard.results.store import Loaded


def limits(board: Board) -> list[Limit]:
    found = budget(board)["limits"]
    assert isinstance(found, tuple)
    return list(found)


def bests(board: Board) -> list[BestGroup]:
    return list(shown(budget(board)["bests"]))


def test_a_limit_names_the_metric_that_the_records_have(demo: Demo) -> None:
    """Few requests have no p95 of their own: the gaps' p95 and the medians stand in by name."""
    assert [(limit.kind, limit.column.name, limit.side) for limit in limits(demo.board)] == [
        ("tpot", "itl_p95_s", "at most"),
        ("tpot", "tpot_s", "at most"),
        ("ttft", "ttft_s", "at most"),
        ("memory", "peak_memory_bytes", "at most"),
        ("accuracy", "accuracy", "at least"),
    ]


def test_a_hundred_requests_have_their_own_percentiles() -> None:
    run = make_run(observation=request_observation(rounds=100))
    assert [limit.column.name for limit in limits(board_from(run.record))] == [
        "tpot_p95_s",
        "itl_p95_s",
        "tpot_s",
        "ttft_p95_s",
        "ttft_s",
        "peak_memory_bytes",
    ]


@pytest.mark.parametrize(
    ("provenance", "limited"), [(Provenance.MEASURED, True), (Provenance.MODELLED, False)]
)
def test_only_measured_joules_can_be_limited(provenance: Provenance, *, limited: bool) -> None:
    run = make_run(observation=request_observation(energy_provenance=provenance))
    board = board_from(run.record)
    assert ("energy" in {limit.kind for limit in limits(board)}) is limited
    assert budget(board)["modelled"] is not limited


def test_the_finder_starts_where_most_rows_are(demo: Demo) -> None:
    found = budget(demo.board)
    line = fullest_place(demo.board)[0]
    assert found["place"] == {"hardware": line.hardware_key, "workload": line.workload_key}
    assert line.workload == "chat"
    assert "example-cpu" in line.hardware


def test_without_limits_each_headline_metric_has_its_best_in_every_place(demo: Demo) -> None:
    found = bests(demo.board)
    assert len(found) == 3
    by_name = {best.column.name: best for best in found[-1].bests}
    assert {"tpot_s", "ttft_s", "peak_memory_bytes", "accuracy"} <= set(by_name)
    assert "energy_per_output_token_j" not in by_name
    winner = by_name["tpot_s"].winner
    assert winner is not None
    assert winner.line.backend == "llamacpp"
    chat = {best.column.name: best for group in found for best in group.bests if best.outside}
    assert chat["tpot_s"].outside == (
        "1 row with a better value cannot be ranked: unstable by an unknown amount, or failed the "
        "gate"
    )
    local = next(group for group in found if "another-cpu" in group.heading)
    accuracy = next(best for best in local.bests if best.column.name == "accuracy")
    assert accuracy.winner is None


def test_many_rivals_are_counted_behind_four_names(demo: Demo) -> None:
    found = bests(demo.board)[-1]
    memory = next(best for best in found.bests if best.column.name == "peak_memory_bytes")
    assert memory.winner is not None
    assert len(memory.winner.rivals) == 7
    assert memory.rivals.split(", ")[4:] == ["3 more"]


def test_a_page_has_only_whole_places(demo: Demo) -> None:
    lines = ran(demo.board.lines)
    columns = [column for column in demo.board.columns if column.axis and column.shown][:1]
    for count, expected in ((1, [3]), (MOST_ROWS // 2, [2, 1]), (MOST_ROWS + 1, [1, 1, 1])):
        pages = list(best_pages(lines, columns * count))
        assert [len(shown(page["bests"])) for page in pages] == expected


def shown(found: object) -> tuple[BestGroup, ...]:
    assert isinstance(found, tuple)
    return found


def test_an_empty_board_offers_nothing() -> None:
    assert budget(board_of(Loaded())) == {"axes": ()}
