"""The subjects of the board: its models, techniques and hardware, and who has which rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from leanboard.leaderboard.board import Board, BoardRow, hardware_name
from leanboard.leaderboard.cells import Gain
from leanboard.leaderboard.columns import Column
from leanboard.leaderboard.format import plural
from leanboard.leaderboard.scored import ScoredRun, scored_runs
from leanboard.leaderboard.slugs import slug_of
from leanboard.leaderboard.texts import Texts
from leanboard.metrics.metric import Verdict
from leanboard.results.schema import Record
from leanboard.results.table import technique_names

TPOT = "tpot_s"
NO_GAIN = "not compared"


class Kind(StrEnum):
    """What a subject is; its folder on the site."""

    MODEL = "models"
    TECHNIQUE = "techniques"
    HARDWARE = "hardware"


@dataclass(frozen=True, slots=True)
class Subject:
    """A model, a technique or a hardware.

    Args:
        kind: which of them.
        name: its name.
        lines: its rows, in the order of the board.
        scored: its scoring runs that no row shows.
    """

    kind: Kind
    name: str
    lines: tuple[BoardRow, ...]
    scored: tuple[ScoredRun, ...] = ()

    @property
    def href(self) -> str:
        """Address of its page relative to the site's root."""
        return f"{self.kind.value}/{slug_of(self.name)}.html"

    @property
    def records(self) -> tuple[Record, ...]:
        """The runs behind all of them."""
        return (*(line.row.record for line in self.lines), *(run.record for run in self.scored))

    @property
    def newest(self) -> Record:
        """Its run that was made last."""
        return max(self.records, key=_started)


@dataclass(frozen=True, slots=True)
class Listed:
    """A subject in the list of its kind.

    Args:
        name: its name.
        href: its page.
        about: what it is, in a few words.
        rows: rows of the board.
        scored: how many scoring runs it has that no row shows, in words; empty for none.
        beside: how many there are of what it is combined with.
        verdicts: of its times per token, how many are better, worse and so on.
    """

    name: str
    href: str
    about: str
    rows: int
    scored: str
    beside: str
    verdicts: str


def subjects_of(board: Board) -> Mapping[Kind, tuple[Subject, ...]]:
    """Return every subject of the board by kind, sorted by name.

    A run with two techniques belongs to both; one without belongs to none. A hardware is a device
    of a machine at any number of threads and any memory cap: its address stays when others come.
    """
    names: Mapping[Kind, Callable[[Record], Iterable[str]]] = {
        Kind.MODEL: lambda record: (record.cell.model.name,),
        Kind.TECHNIQUE: lambda record: technique_names(record.cell),
        Kind.HARDWARE: lambda record: (hardware_name(record),),
    }
    scored = scored_runs(board)
    return {kind: tuple(_grouped(kind, board.lines, scored, of)) for kind, of in names.items()}


def listed(board: Board, texts: Texts) -> Mapping[Kind, tuple[Listed, ...]]:
    """Return the lists of subjects as their page prints them."""
    column = column_named(board.columns, TPOT)
    return {
        kind: tuple(_listed(subject, column, texts) for subject in subjects)
        for kind, subjects in subjects_of(board).items()
    }


def column_named(columns: Sequence[Column], name: str) -> Column | None:
    """Return the column of a metric; ``None`` where no row has a value of it."""
    return next((column for column in columns if column.name == name), None)


def tally(gains: Iterable[Gain | None]) -> str:
    """Return how many verdicts there are of each kind; those in doubt are counted apart."""
    known = [gain for gain in gains if gain is not None]
    counts = Counter("in doubt" if gain.doubts else gain.verdict.value for gain in known)
    order = (*(verdict.value for verdict in Verdict), "in doubt")
    return ", ".join(f"{counts[word]} {word}" for word in order if counts[word]) or NO_GAIN


def _grouped(
    kind: Kind,
    lines: Iterable[BoardRow],
    scored: Iterable[ScoredRun],
    names: Callable[[Record], Iterable[str]],
) -> Iterator[Subject]:
    rows: dict[str, list[BoardRow]] = {}
    for line in lines:
        for name in names(line.row.record):
            rows.setdefault(name, []).append(line)
    runs: dict[str, list[ScoredRun]] = {}
    for run in scored:
        for name in names(run.record):
            runs.setdefault(name, []).append(run)
    for name in sorted(rows | runs):
        yield Subject(kind, name, tuple(rows.get(name, ())), tuple(runs.get(name, ())))


def _started(record: Record) -> tuple[float, str]:
    return record.times.started_at.timestamp(), record.run_id


def _listed(subject: Subject, column: Column | None, texts: Texts) -> Listed:
    lines = subject.lines
    gains = [] if column is None else [line.cell(column).gain for line in lines]
    return Listed(
        name=subject.name,
        href=subject.href,
        about=_about(subject, texts),
        rows=len(lines),
        scored=plural(len(subject.scored), "scoring run") if subject.scored else "",
        beside=_beside(subject),
        verdicts=tally(gains),
    )


def _about(subject: Subject, texts: Texts) -> str:
    if subject.kind is Kind.TECHNIQUE:
        known = texts.techniques.get(subject.name)
        return "" if known is None else " ".join(known.does[:1])
    if subject.kind is Kind.MODEL:
        model = subject.newest.cell.model
        return f"{model.family}, {model.parameters:,} parameters, {model.licence}"
    environment, device = subject.newest.environment, subject.newest.cell.device
    gpus = [gpu.name for gpu in environment.gpus]
    threads = plural(device.threads, "thread")
    return ", ".join([*gpus, environment.cpu.name, device.name, threads])


def _beside(subject: Subject) -> str:
    if subject.kind is Kind.MODEL:
        names = {name for record in subject.records for name in technique_names(record.cell)}
        return plural(len(names), "technique")
    return plural(len({record.cell.model.name for record in subject.records}), "model")
