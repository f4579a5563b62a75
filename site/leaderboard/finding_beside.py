"""Whether a row is better or worse than another one that a finding names beside it.

Both were compared with the same baseline. Scores of the same items are paired: judged is the
interval of the difference between the two arms. Times, and scores without items at hand, are judged
by the two intervals against the baseline, which must lie apart.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from pathlib import Path

from leanboard.leaderboard.board import Board, BoardRow, Place, runs_of
from leanboard.leaderboard.columns import meaning_of
from leanboard.leaderboard.doubt import Unrest, doubts_about
from leanboard.leaderboard.finding_standing import (
    BARRED,
    NOT_COMPARED,
    Number,
    Standing,
    borne_out,
    compared_number,
    measured_number,
    of_quality,
    paired_number,
)
from leanboard.leaderboard.format import plural
from leanboard.metrics.metric import Direction, Verdict
from leanboard.metrics.paired_scores import ScoreEstimate
from leanboard.results.arms_paired import arm_against_arm
from leanboard.results.derive import FIDELITY
from leanboard.results.errors import RecordError
from leanboard.results.finding import Evidence
from leanboard.results.schema import Interval, Record
from leanboard.results.store import read_record
from leanboard.results.task_scores import task_of

UNPAIRED = "judged by whether the two intervals lie apart"


@dataclass(frozen=True, slots=True)
class Runs:
    """The runs behind a board.

    Args:
        known: by machine and run; those of a lean board have no samples.
        paths: their files, which have them.
    """

    known: Mapping[Place, Record]
    paths: Mapping[Place, Path]

    def whole(self, record: Record) -> Record:
        """Return a record with its samples, or as it is where its file cannot be read."""
        try:
            return read_record(self.paths[record.machine_id, record.run_id])
        except (KeyError, RecordError):
            return record


def runs_behind(board: Board) -> Runs:
    """Return the runs that a board was made of."""
    entries = board.loaded.entries
    paths = {(e.record.machine_id, e.record.run_id): e.path for e in entries}
    return Runs(runs_of(board.loaded), paths)


def standing_beside(
    evidence: Evidence, row: BoardRow, other: BoardRow, runs: Runs
) -> tuple[Standing, str]:
    """Return whether two rows differ as claimed, and how that was judged."""
    metric = evidence.metric
    if of_quality(metric) and not (row.ranked and other.ranked):
        return Standing.UNKNOWN, BARRED
    mine, theirs = _scored(row, metric), _scored(other, metric)
    if not (mine and theirs):
        return _standing_by_times(evidence, row, other)
    if _baselines(mine, metric, runs) != _baselines(theirs, metric, runs):
        return Standing.BROKEN, _another_baseline(other)
    paired = _paired(mine, theirs, metric, runs)
    ours, its = _shown(row, metric), _shown(other, metric)
    note = f"beside {other.label_text}: {its[0].text}"
    if paired is None or paired.verdict is Verdict.UNDECIDED:
        found = _apart(ours[1], its[1], metric)
        return borne_out(found, evidence), f"{note}; {UNPAIRED}"
    how = f"{paired.statistic} {paired_number(paired).text}, paired over {plural(paired.n, 'item')}"
    return borne_out(paired.verdict, evidence), f"{note}; {how}"


def _standing_by_times(evidence: Evidence, row: BoardRow, other: BoardRow) -> tuple[Standing, str]:
    """Judge what has no items by two intervals; those that touch leave open which is better."""
    mine, theirs = (each.row.comparison(evidence.metric) for each in (row, other))
    meaning = meaning_of(evidence.metric)
    if mine is None or theirs is None or meaning is None:
        return Standing.BROKEN, NOT_COMPARED
    if mine.baseline_run != theirs.baseline_run or mine.statistic != theirs.statistic:
        return Standing.BROKEN, _another_baseline(other)
    note = f"beside {other.label_text}: {compared_number(theirs).text}; {UNPAIRED}"
    found = _apart(mine.interval, theirs.interval, evidence.metric)
    if found is not evidence.verdict:
        return Standing.BROKEN, note
    moved = row.unrest.words or other.unrest.words
    # Between two candidates no reach is known: any disturbance leaves a doubt.
    unrest = Unrest(moved, math.inf if moved else 1.0)
    doubts = [d for c in (mine, theirs) for d in doubts_about(c, meaning.role, unrest)]
    return Standing.DOUBTED if doubts else Standing.HOLDS, "; ".join([note, *dict.fromkeys(doubts)])


def _another_baseline(other: BoardRow) -> str:
    return f"{other.label_text} was compared with another baseline"


def _scored(row: BoardRow, metric: str) -> tuple[Record, ...]:
    """Return the scoring runs of a row in which a score or fidelity was compared."""
    task, _, name = metric.rpartition(".")
    return tuple(
        record
        for record in row.row.accuracy_records
        if task_of(record).name == (task or task_of(record).name)
        and any(c.metric == name and c.value is not None for c in record.comparisons)
    )


def _shown(row: BoardRow, metric: str) -> tuple[Number, Interval | None]:
    """Return what stands beside a row's score, and its interval against the baseline."""
    if metric in FIDELITY:
        measured = row.row.measurements.get(metric)
        return measured_number(metric, measured), None if measured is None else measured.interval
    compared = row.row.comparison(metric)
    return compared_number(compared), None if compared is None else compared.interval


def _paired(
    mine: tuple[Record, ...], theirs: tuple[Record, ...], metric: str, runs: Runs
) -> ScoreEstimate | None:
    """Return the difference between two arms on the items of the only task that both have."""
    if len(mine) != 1 or len(theirs) != 1:
        return None
    name = metric.rpartition(".")[2]
    return arm_against_arm(runs.whole(mine[0]), runs.whole(theirs[0]), name)


def _baselines(scored: tuple[Record, ...], metric: str, runs: Runs) -> set[Hashable]:
    """Return the baselines that a row's outputs or predictions were compared with.

    Two runs of one cell that scored the very same made the same predictions.
    """
    name = metric.rpartition(".")[2]
    named = {
        (record.machine_id, comparison.baseline_run)
        for record in scored
        for comparison in record.comparisons
        if comparison.metric == name
    }
    return {_predictions(runs.known.get(place), place) for place in named}


def _predictions(baseline: Record | None, place: Place) -> Hashable:
    if baseline is None:
        return place
    found = baseline.measurements.items()
    scores = ((name, one.value) for name, one in found if of_quality(name))
    return baseline.cell_id, *sorted(scores)


def _apart(mine: Interval | None, theirs: Interval | None, metric: str) -> Verdict:
    meaning = meaning_of(metric)
    if mine is None or theirs is None or meaning is None:
        return Verdict.UNDECIDED
    if meaning.direction is Direction.NEUTRAL:
        return Verdict.UNDECIDED
    lower, higher = mine.high < theirs.low, mine.low > theirs.high
    if not (lower or higher):
        return Verdict.NO_DIFFERENCE_SHOWN
    return Verdict.BETTER if lower == (meaning.direction is Direction.LOWER) else Verdict.WORSE
