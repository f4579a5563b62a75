"""Boards for tests of the site."""

from __future__ import annotations

from pathlib import Path

from leanboard.leaderboard.board import Board, BoardRow, board_of
from leanboard.leaderboard.columns import Column
from leanboard.leaderboard.groups import groups_of, most_rows, ran
from leanboard.results.schema import Record
from leanboard.results.store import Entry, Loaded


def board_from(*records: Record) -> Board:
    """The board of records as if they were read from a local store."""
    return board_of(Loaded(tuple(Entry(record, "local", Path("r.json")) for record in records)))


def column(board: Board, name: str) -> Column:
    return next(column for column in board.columns if column.name == name)


def fullest_place(board: Board) -> tuple[BoardRow, ...]:
    """The rows on the hardware and workload that most rows have."""
    lines = ran(board.lines)
    place = most_rows(lines)
    groups = groups_of(lines, by_model=False)
    return next(g for g in groups if (g[0].hardware, g[0].workload_choice) == place)
