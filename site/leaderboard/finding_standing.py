"""Whether the records say of one row what a finding says of it, and what a reader must know."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from leanboard.leaderboard.board import BoardRow
from leanboard.leaderboard.columns import meaning_of
from leanboard.leaderboard.doubt import doubts_about
from leanboard.leaderboard.format import DASH, number
from leanboard.leaderboard.run_tables import decimals_of, ends_of, measured_line
from leanboard.metrics.metric import Role, Verdict
from leanboard.metrics.paired_scores import ScoreEstimate
from leanboard.results.derived_columns import DerivedColumn
from leanboard.results.finding import Evidence
from leanboard.results.schema import Comparison, Measurement
from leanboard.results.stored import stored_interval

ABSENT = "no run of this cell is among these records"
NOT_COMPARED = "the newest run of this cell does not compare it"
BARRED = "the quality of these weights is not ranked, and enters no finding"


class Standing(StrEnum):
    """What the records say of a finding, or of one row that it names."""

    HOLDS = "holds"
    DOUBTED = "in doubt"
    BROKEN = "no longer holds"
    UNKNOWN = "cannot be judged here"


@dataclass(frozen=True, slots=True)
class Number:
    """A value with its interval, ready to print; dashes where there is none."""

    value: str = DASH
    interval: str = ""

    @property
    def text(self) -> str:
        """Both in one line."""
        return f"{self.value} {self.interval}".rstrip()


def standing_of(
    evidence: Evidence, row: BoardRow, comparison: Comparison | None
) -> tuple[Standing, str]:
    """Return how a row stands that is compared with its baseline, and what must be known of it."""
    if not row.ranked and of_quality(evidence.metric):
        return Standing.UNKNOWN, BARRED
    if comparison is None or comparison.value is None:
        reason = None if comparison is None else comparison.reason
        return Standing.BROKEN, reason or NOT_COMPARED
    note = comparison.reason or ""
    if comparison.verdict is not evidence.verdict:
        return Standing.BROKEN, note
    meaning = meaning_of(evidence.metric)
    doubts = doubts_about(comparison, None if meaning is None else meaning.role, row.unrest)
    return (Standing.DOUBTED, "; ".join(doubts)) if doubts else (Standing.HOLDS, note)


def borne_out(found: Verdict, evidence: Evidence) -> Standing:
    """Return whether a verdict is the one that a finding claims."""
    return Standing.HOLDS if found is evidence.verdict else Standing.BROKEN


def of_quality(metric: str) -> bool:
    """Return whether scores are in a metric, which not every row may rank."""
    meaning = meaning_of(metric)
    if meaning is None:
        return False
    used = isinstance(meaning, DerivedColumn) and meaning.uses_quality
    return used or meaning.role is Role.QUALITY


def measured_number(name: str, measurement: Measurement | None) -> Number:
    """Return what was measured, ready to print."""
    if measurement is None or measurement.value is None:
        return Number()
    line = measured_line(name, measurement)
    return Number(line.value, line.interval if measurement.interval is not None else "")


def compared_number(comparison: Comparison | None) -> Number:
    """Return the value of a comparison with the baseline, ready to print."""
    if comparison is None or comparison.value is None:
        return Number()
    places = decimals_of(comparison.statistic, comparison.value, comparison.interval)
    return Number(number(comparison.value, places), ends_of(comparison.interval, places))


def paired_number(found: ScoreEstimate) -> Number:
    """Return how one arm differs from another, ready to print."""
    if found.value is None:
        return Number()
    interval = stored_interval(found.interval)
    places = decimals_of(found.statistic, found.value, interval)
    return Number(number(found.value, places), ends_of(interval, places))
