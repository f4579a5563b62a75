"""Ranks by intervals, the best of some rows, and the groups within which rows are ranked."""

from __future__ import annotations

import random

import pytest
from boards import board_from, column, fullest_place
from demo_store import Demo
from record_factory import make_run, request_observation

from leanboard.leaderboard.board import BoardRow
from leanboard.leaderboard.columns import Column
from leanboard.leaderboard.groups import groups_of, ran, why_missing
from leanboard.leaderboard.ranks import (
    Peer,
    Rank,
    Standing,
    best_first,
    meets,
    ranks_among,
    ranks_of,
    standing_of,
    winner_of,
)
from leanboard.metrics.metric import Direction
from leanboard.metrics.trace import Provenance
from leanboard.results.schema import Record

LOWER, HIGHER, NEUTRAL = Direction.LOWER, Direction.HIGHER, Direction.NEUTRAL


def peers(lines: tuple[BoardRow, ...], by: Column) -> list[Peer]:
    return [(line, line.cell(by)) for line in lines]


def standing(ends: tuple[float, ...] | None) -> Standing | None:
    """A value with its interval; one end alone is a value without, known to a factor of two."""
    if ends is None:
        return None
    if len(ends) == 1:
        return Standing(ends[0], ends[0] / 2, ends[0] * 2, barred=True)
    low, high = ends[:2]
    return Standing((low + high) / 2, low, high, barred=len(ends) == 3)


@pytest.mark.parametrize(
    ("direction", "ends", "expected"),
    [
        (LOWER, [(3, 4), (1, 2), (5, 6)], ["2 silver", "1 gold", "3 bronze"]),
        (HIGHER, [(3, 4), (1, 2), (5, 6)], ["2 silver", "3 bronze", "1 gold"]),
        # The third meets the second: only the first is shown to be better.
        (LOWER, [(1, 3), (2, 5), (4, 6), (7, 8)], ["1-2", "1-3", "2-3", "4"]),
        # The last has the worst value but one, and nobody is shown to be better.
        (LOWER, [(1, 2), (2.5, 3.5), (1.5, 5)], ["1-2", "2-3", "1-3"]),
        (HIGHER, [(4, 5), (2.5, 3.5), (1, 4.5)], ["1-2", "2-3", "1-3"]),
        (LOWER, [(1, 2), (3, 5), (4, 6)], ["1 gold", "2-3", "2-3"]),
        # What does not compete takes nothing from those that do.
        (LOWER, [(1, 2), None, (3, 4)], ["1 gold", "", "2 silver"]),
        # What has no interval may be better than all that it is not worse than by a factor of two.
        (LOWER, [(1, 2), (0.5,), (3, 4)], ["1-2", "", "2-3"]),
        (LOWER, [(1, 2), (7,), (3, 4)], ["1 gold", "", "2-3"]),
        (LOWER, [(1, 2), (9,), (3, 4)], ["1 gold", "", "2 silver"]),
        (LOWER, [(9,), (1, 2), (3,)], ["", "1-2", ""]),
        (HIGHER, [(9,), (3, 4), (1, 2)], ["", "1-2", "2-3"]),
        (HIGHER, [(1,), (5, 6), (3, 4)], ["", "1 gold", "2 silver"]),
        (LOWER, [None, (1, 2)], ["", "1"]),
        (LOWER, [(1, 1), (1, 1)], ["1-2", "1-2"]),
        # A barred run has no rank, and keeps the medal from all that it may be better than.
        (LOWER, [(1, 2, 1), (1.5, 3), (4, 5)], ["", "1-2", "2-3"]),
        (LOWER, [(6, 7, 1), (1.5, 3), (4, 5)], ["", "1 gold", "2 silver"]),
        (NEUTRAL, [(1, 2), (3, 4)], ["", ""]),
        (LOWER, [], []),
    ],
)
def test_a_rank_is_the_places_that_a_row_can_have_by_its_interval(
    direction: Direction, ends: list[tuple[float, ...] | None], expected: list[str]
) -> None:
    ranks = ranks_among([standing(each) for each in ends], direction)
    texts = [f"{r.text} {r.medal}".strip() if r else "" for r in ranks]
    assert [text.replace("\u2013", "-") for text in texts] == expected


@pytest.mark.parametrize("seed", range(20))
def test_ranks_are_those_of_comparing_every_row_with_every_other(seed: int) -> None:
    chance = random.Random(seed)
    lows = [float(chance.randrange(12)) for _ in range(chance.randrange(1, 15))]
    found = [Standing(low, low, low + chance.randrange(6), chance.random() < 0.2) for low in lows]
    competing = [each for each in found if not each.barred]
    for each, rank in zip(found, ranks_among(found, LOWER), strict=True):
        if each.barred:
            assert rank is None
            continue
        assert rank is not None
        assert rank.first == 1 + sum(other.high < each.low for other in competing)
        met = sum(meets(each, other) for other in competing) - 1
        met += sum(other.barred and other.low <= each.high for other in found)
        assert rank.last == rank.first + met
        assert bool(rank.medal) == (met == 0 and rank.first <= 3 and len(competing) > 1)


def test_a_rank_says_in_words_what_it_is() -> None:
    assert Rank(2, 3).title == "rank 2 to 3"
    assert Rank(4, 4).title == "rank 4"
    assert Rank(1, 1, medal="gold").title == "rank 1, gold"


def standings(demo: Demo, name: str) -> dict[str, Standing | None]:
    """How the rows of the fullest place stand on a metric, by arm."""
    by = column(demo.board, name)
    group = peers(fullest_place(demo.board), by)
    return {line.label: standing_of(line, cell) for line, cell in group}


def test_estimates_gaps_failed_gates_and_unranked_qualities_have_no_standing(demo: Demo) -> None:
    times = standings(demo, "tpot_s")
    assert {arm for arm, found in times.items() if found is None} == {"gguf-q4_1"}
    assert set(standings(demo, "energy_per_output_token_j").values()) == {None}
    accuracy = standings(demo, "accuracy")
    assert accuracy["int8-dynamic"] is None
    assert accuracy["bf16"] is not None


def test_one_measured_value_is_known_to_a_factor_of_two_and_a_counted_one_is_exact(
    demo: Demo,
) -> None:
    for found in standings(demo, "peak_memory_bytes").values():
        assert found is None or (found.barred and found.high == 4 * found.low == 2 * found.value)
    counted = standings(demo, "weight_bytes")["bf16"]
    assert counted is not None
    assert counted.low == counted.value == counted.high


def test_values_come_best_first_then_estimates_then_gaps() -> None:
    provenances = (Provenance.MODELLED, Provenance.MEASURED, Provenance.MEASURED)
    runs = [
        make_run(
            techniques=[arm],
            observation=request_observation(arm=arm, speed=speed, energy_provenance=provenance),
        )
        for arm, speed, provenance in zip("abc", (9.0, 1.0, 2.0), provenances, strict=True)
    ]
    unread = make_run(techniques=["d"], observation=request_observation(no_energy="no counter"))
    board = board_from(*(run.record for run in (*runs, unread)))
    by = column(board, "energy_per_output_token_j")
    order = best_first([line.cell(by) for line in board.lines], by.direction)
    assert [board.lines[place].label for place in order] == ["c", "b", "a", "d"]


def test_the_best_is_stable_and_names_those_it_cannot_be_told_from(demo: Demo) -> None:
    by = column(demo.board, "tpot_s")
    group = peers(fullest_place(demo.board), by)
    found = winner_of(group, by.direction)
    assert found is not None
    stable = {line.label: cell.value or 0.0 for line, cell in group if not line.unstable}
    assert found.line.label == "gguf-q8_0"
    assert found.cell.value == min(stable.values())
    assert found.cell.low is not None
    assert found.cell.high is not None
    meeting = {
        line.label
        for line, cell in group
        if line is not found.line
        and not line.failed_gate
        and (cell.low or 0.0) <= found.cell.high
        and found.cell.low <= (cell.high or 0.0)
    }
    assert {line.label for line in found.rivals} == meeting
    ranks = ranks_of(group, by.direction)
    labels = [line.label for line, _ in group]
    numbers = {name: rank.first for name, rank in zip(labels, ranks, strict=True) if rank}
    assert numbers["gguf-q8_0"] == 1
    assert {name for name, place in numbers.items() if place == 1} <= {"gguf-q8_0", *meeting}
    assert "gguf-q4_1" not in numbers
    assert (found.shown, found.sure, found.outside) == (True, None, 1)


def once(arm: str, speed: float) -> Record:
    """A run of five rounds, which have a median without an interval."""
    seen = request_observation(arm=arm, speed=speed, rounds=5)
    return make_run(techniques=[arm], observation=seen).record


def often(arm: str, speed: float) -> Record:
    seen = request_observation(arm=arm, speed=speed, rounds=16)
    return make_run(techniques=[arm], observation=seen).record


@pytest.mark.parametrize(
    ("speed", "best", "rivals", "fast"),
    [
        (5.0, "once", [], Rank(1, 2)),
        (3.0, "once", ["fast"], Rank(1, 2)),
        (1.5, "fast", ["once"], Rank(1, 2)),
        (0.5, "fast", [], Rank(1, 1, "gold")),
    ],
)
def test_a_value_without_an_interval_keeps_a_medal_where_it_is_not_clearly_worse(
    speed: float, best: str, rivals: list[str], fast: Rank
) -> None:
    board = board_from(often("fast", 2.0), often("slow", 1.0), once("once", speed))
    by = column(board, "tpot_s")
    group = peers(board.lines, by)
    ranks = {row[0].label: rank for row, rank in zip(group, ranks_of(group, LOWER), strict=True)}
    assert ranks == {"fast": fast, "slow": Rank(2, 3), "once": None}
    found = winner_of(group, by.direction)
    assert found is not None
    assert (found.line.label, [row.label for row in found.rivals]) == (best, rivals)
    assert found.shown is (best == "fast" or not rivals)
    sure = None if found.sure is None else found.sure[0].label
    assert sure == (None if found.shown else "fast")


def test_a_row_that_has_nobody_beside_it_is_the_best_without_an_interval() -> None:
    board = board_from(once("once", 1.0))
    by = column(board, "tpot_s")
    found = winner_of(peers(board.lines, by), by.direction)
    assert found is not None
    assert (found.shown, found.rivals, found.sure) == (True, (), None)


def test_without_intervals_nobody_can_be_told_from_the_best(demo: Demo) -> None:
    by = column(demo.board, "peak_memory_bytes")
    group = peers(fullest_place(demo.board), by)
    found = winner_of(group, by.direction)
    assert found is not None
    assert found.cell.span == ""
    competing = [line for line, _ in group if not line.failed_gate]
    assert len(found.rivals) == len(competing) - 1 == len(group) - 2
    assert (found.shown, found.sure) == (False, None)


def test_there_is_no_best_of_estimates(demo: Demo) -> None:
    by = column(demo.board, "mean_power_w")
    assert winner_of(peers(fullest_place(demo.board), by), by.direction) is None


def test_groups_hold_one_hardware_and_workload_and_every_row_that_ran(demo: Demo) -> None:
    lines = ran(demo.board.lines)
    groups = groups_of(lines, by_model=False)
    grouped = [line.href for group in groups for line in group]
    assert sorted(grouped) == sorted(line.href for line in lines)
    places = [{(line.hardware, line.workload_choice) for line in group} for group in groups]
    assert all(len(place) == 1 for place in places)
    assert len(groups) == 3
    assert [min(place) for place in places] == sorted(min(place) for place in places)


def test_the_reason_of_a_missing_metric_is_what_most_rows_give(demo: Demo) -> None:
    lines = ran(demo.board.lines)
    assert "calibrate" in why_missing(lines, "mfu_decode")
    assert why_missing(lines, "no_such_metric") == "the run did not measure it"
    assert why_missing([], "mfu_decode") == "the run did not measure it"
