"""Cost and carbon: stored numbers times factors, with what is kept of each number."""

from __future__ import annotations

import pytest
from boards import board_from
from demo_store import NO_JOULES, REQUANTISED, Demo
from record_factory import make_run, request_observation

from leanboard.leaderboard.board import Board, board_of
from leanboard.leaderboard.costs import COSTS, FACTORS, Cost, costs
from leanboard.leaderboard.format import number
from leanboard.leaderboard.groups import PeerGroup, RankedCell
from leanboard.metrics.trace import Provenance
from leanboard.results.store import Loaded

COST = {cost.name: cost for cost in COSTS}


def groups(board: Board) -> list[PeerGroup]:
    found = costs(board)["groups"]
    assert isinstance(found, list)
    return found


def cells(group: PeerGroup, cost: Cost) -> dict[str, RankedCell]:
    """The cells of a cost by arm and backend."""
    place = COSTS.index(cost)
    return {f"{p.line.label} {p.line.backend}": p.cells[place] for p in group.lines}


@pytest.mark.parametrize(
    ("name", "factor", "value", "expected"),
    [
        # 1,000,000 / 20 = 50,000 s = 13.89 h at 0.1 an hour
        ("time", 0.1, 20.0, 1.388_888_9),
        # 1.44 MJ = 0.4 kWh at 0.25
        ("energy", 0.25, 1.44, 0.1),
        ("carbon", 400.0, 1.44, 160.0),
        # 1,000 right answers of 0.9 s each = 0.25 h
        ("right-time", 0.1, 0.9, 0.025),
        # 1,000 of 7.2 J = 0.002 kWh
        ("right-energy", 0.25, 7.2, 0.0005),
        ("energy", 0.0, 1.44, 0.0),
    ],
)
def test_costs_worked_by_hand(name: str, factor: float, value: float, expected: float) -> None:
    assert COST[name].of_value(factor, value) == pytest.approx(expected, rel=1e-7)


def test_an_interval_moves_with_its_value_and_turns_round_where_it_divides() -> None:
    assert COST["time"].of_interval(0.36, 16.0, 25.0) == pytest.approx((4.0, 6.25))
    assert COST["energy"].of_interval(0.36, 1.0, 2.0) == pytest.approx((0.1, 0.2))


def test_a_throughput_that_may_be_zero_leaves_a_cost_without_an_end() -> None:
    assert COST["time"].of_interval(0.1, 0.0, 25.0) is None
    assert COST["time"].of_interval(0.1, None, None) is None
    assert COST["time"].of_value(0.1, 0.0) is None


def test_rows_on_other_hardware_are_other_groups_with_ranks_of_their_own(demo: Demo) -> None:
    shown = groups(demo.board)
    assert len({group.heading for group in shown}) == len(shown) == 3
    assert sum(len(group.lines) for group in shown) == 20
    for group in shown:
        ranks = [cell.rank for cell in cells(group, COST["time"]).values() if cell.rank]
        assert ranks[0].first == 1


def test_the_cheapest_comes_first_and_is_what_its_definition_says(demo: Demo) -> None:
    group = groups(demo.board)[-1]
    speeds = [p.line.row.measurements["output_tokens_per_s"].value or 0.0 for p in group.lines]
    assert speeds == sorted(speeds, reverse=True)
    price = next(factor.default for factor in FACTORS if factor.name == "hour")
    expected = [number(price * 1e6 / 3600 / float(f"{speed:.6g}")) for speed in speeds]
    assert [cell.text for cell in cells(group, COST["time"]).values()] == expected


def test_costs_of_modelled_joules_are_labelled_and_never_ranked(demo: Demo) -> None:
    assert costs(demo.board)["modelled"] is True
    for group in groups(demo.board):
        for name in ("energy", "carbon"):
            known = [cell for cell in cells(group, COST[name]).values() if not cell.missing]
            assert {cell.estimate for cell in known} == {"modelled"}
            assert {cell.rank for cell in known} == {None}


def test_what_was_not_measured_has_no_cost_and_says_why(demo: Demo) -> None:
    found = [
        cell
        for group in groups(demo.board)
        for arm, cell in cells(group, COST["energy"]).items()
        if arm == "static-cache transformers"
    ]
    assert len(found) == 2
    assert {cell.title for cell in found} == {f"not measured: {NO_JOULES}"}
    assert all(cell.missing and cell.text == "\u2014" for cell in found)


def test_a_cost_of_right_answers_keeps_the_mark_of_an_unranked_quality(demo: Demo) -> None:
    seen = 0
    for group in groups(demo.board):
        for arm, cell in cells(group, COST["right-time"]).items():
            if cell.missing:
                continue
            seen += 1
            assert cell.unranked == (arm.split()[0] in REQUANTISED)
            assert not (cell.unranked and cell.rank)
    assert seen > 10


def test_a_cost_that_no_row_has_is_a_column_of_dashes_with_the_reason(demo: Demo) -> None:
    place = COSTS.index(COST["right-energy"])
    found = {p.cells[place].title for group in groups(demo.board) for p in group.lines}
    assert found == {"not measured: joules that were not measured are shown, never compared"}


def test_measured_joules_are_ranked_before_the_modelled_ones_beside_them() -> None:
    runs = [
        make_run(
            techniques=[arm],
            observation=request_observation(arm=arm, speed=speed, energy_provenance=provenance),
        )
        for arm, speed, provenance in (
            ("a", 3.0, Provenance.MODELLED),
            ("b", 1.0, Provenance.MEASURED),
            ("c", 2.0, Provenance.MEASURED),
        )
    ]
    (group,) = groups(board_from(*(run.record for run in runs)))
    found = cells(group, COST["carbon"])
    ranks = {arm[0]: cell.rank.first if cell.rank else None for arm, cell in found.items()}
    assert ranks == {"a": None, "b": 2, "c": 1}
    estimates = {arm[0]: cell.estimate for arm, cell in found.items()}
    assert estimates == {"a": "modelled", "b": "", "c": ""}


def test_an_empty_board_has_no_costs() -> None:
    assert groups(board_of(Loaded())) == []
