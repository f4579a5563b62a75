"""How a run was sampled, and whether it was stable, in words: what its record tells of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from leanboard.leaderboard.columns import label_of
from leanboard.leaderboard.describe import UNKNOWN, Term
from leanboard.leaderboard.format import number, share
from leanboard.metrics.stability import CHECKS
from leanboard.results.reliability import Reliability, reliability_of
from leanboard.results.schema import Cause, PerformanceCell, Procedure, Record, Sampling

OLD = "The record does not tell: it is older than this, or the run did not get that far."
_STOPPED = {
    "fixed": "the procedure asks for so many",
    "width": "every watched interval was narrow enough",
    "rounds": "the most rounds that the procedure allows were made",
    "time": "the time budget was spent",
    "nothing": "no ratio could come any more: an arm that it needs had failed",
}
_WARMED = {
    "fixed": "the procedure asks for so many",
    "seen": "no drift was left",
    "cap": "the most that the procedure allows were made, and a drift was still seen",
}
_VERDICTS = {
    Reliability.STABLE: "Nothing that was looked at speaks against these numbers.",
    Reliability.UNSTABLE: "Other runs of the same cell may well give other numbers. These compete "
    "by their intervals, which what others took of the machine widens; times of "
    "an unknown error have no rank, are on no front, and put verdicts on them in doubt.",
    Reliability.UNKNOWN: "There was too little to judge by.",
}
_CHECKS = {check.name: check for check in CHECKS}


@dataclass(frozen=True, slots=True)
class Sampled:
    """How many samples were taken, and why no more; ``note`` where the record does not tell."""

    note: str
    terms: tuple[Term, ...]


@dataclass(frozen=True, slots=True)
class Steadiness:
    """Whether the run was stable.

    Args:
        verdict: ``stable``, ``unstable`` or ``unknown``.
        sentence: what that means for the reader.
        causes: what makes it unstable, each with its figure and threshold.
        figures: everything that was looked at.
    """

    verdict: Reliability
    sentence: str
    causes: tuple[Cause, ...]
    figures: tuple[Term, ...]

    @property
    def unstable(self) -> bool:
        """Whether the run is marked."""
        return self.verdict is Reliability.UNSTABLE


def sampled(record: Record) -> Sampled:
    """Return how a timed run was sampled."""
    sampling, cell = record.sampling, record.cell
    if sampling is None or not isinstance(cell, PerformanceCell):
        return Sampled(OLD, ())
    side_by_side = "side by side: all loaded, and only one running at a time"
    in_turns = "took turns: they did not fit in memory together"
    return Sampled(
        "",
        (
            Term("processes", _processes(sampling.launches)),
            Term("timed rounds", f"{sampling.rounds:,}"),
            Term("why no more", _STOPPED[sampling.stopped_by]),
            Term("warm-up rounds", _warmups(sampling.warmup_rounds)),
            Term("why no more of them", _WARMED[sampling.warmup_ended]),
            Term("looks at the intervals", _looks(sampling.looks)),
            *_widths(sampling, cell.procedure),
            Term("arms of the block", side_by_side if sampling.side_by_side else in_turns),
        ),
    )


def steadiness(record: Record) -> Steadiness:
    """Return whether a timed run was stable, with everything that was looked at."""
    found, verdict = record.stability, reliability_of(record)
    if found is None:
        return Steadiness(verdict, OLD, (), ())
    figures = tuple(
        _figure(name, found.figures[name]) for name in sorted(found.figures, key=_place)
    )
    return Steadiness(verdict, _VERDICTS[verdict], found.causes, figures)


def _processes(launches: int) -> str:
    if launches == 1:
        return "1 for all rounds: what another process would show is not in the intervals"
    return f"{launches:,} one after the other: what differs between them is in the intervals"


def _warmups(rounds: Sequence[int]) -> str:
    if not rounds:
        return "none"
    if len(set(rounds)) == 1:
        return f"{rounds[0]} in each process"
    return f"{', '.join(map(str, rounds))}, process by process"


def _looks(looks: Sequence[int]) -> str:
    if not looks:
        return "none: the number of rounds was fixed"
    return f"after {', '.join(map(str, looks))} rounds"


def _widths(sampling: Sampling, procedure: Procedure) -> tuple[Term, ...]:
    wanted = procedure.target_width
    target = "" if wanted is None else f", wanted: below {share(wanted)}"
    return tuple(
        Term(
            f"interval width, {label_of(metric)}",
            "no interval" if width is None else f"{share(width)} of the ratio{target}",
        )
        for metric, width in sorted(sampling.widths.items())
    )


def _place(name: str) -> tuple[int, str]:
    """Return where a figure stands: in the order of the checks, then by name."""
    return list(_CHECKS).index(name) if name in _CHECKS else len(_CHECKS), name


def _figure(name: str, value: float | None) -> Term:
    check = _CHECKS.get(name)
    words = name.replace("_", " ") if check is None else check.words
    if value is None:
        return Term(words, UNKNOWN)
    return Term(words, number(value) if check is None else format(value, check.spec))
