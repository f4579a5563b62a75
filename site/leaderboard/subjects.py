"""The subjects of the board: its models, techniques and hardware, and who has which rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from leanboard.leaderboard.board import Board, BoardRow, hardware_name, techniques_of
from leanboard.leaderboard.cells import Gain
from leanboard.leaderboard.columns import Column
from leanboard.leaderboard.format import plural
from leanboard.leaderboard.slugs import slug_of
from leanboard.leaderboard.texts import Texts
from leanboard.metrics.metric import Verdict

TPOT = "tpot_s"
NO_GAIN = "not compared"


class Kind(StrEnum):
    """What a subject is; its folder on the site."""

    MODEL = "models"
    TECHNIQUE = "techniques"
    HARDWARE = "hardware"


@dataclass(frozen=True, slots=True)
class Subject:
    """A model, a technique or a hardware, and its rows in the order of the board."""

    kind: Kind
    name: str
    lines: tuple[BoardRow, ...]

    @property
    def href(self) -> str:
        """Address of its page relative to the site's root."""
        return f"{self.kind.value}/{slug_of(self.name)}.html"

    @property
    def newest(self) -> BoardRow:
        """Its row that was run last."""
        return max(self.lines, key=_started)


@dataclass(frozen=True, slots=True)
class Listed:
    """A subject in the list of its kind.

    Args:
        name: its name.
        href: its page.
        about: what it is, in a few words.
        rows: rows of the board.
        beside: how many there are of what it is combined with.
        verdicts: of its times per token, how many are better, worse and so on.
    """

    name: str
    href: str
    about: str
    rows: int
    beside: str
    verdicts: str


def subjects_of(board: Board) -> Mapping[Kind, tuple[Subject, ...]]:
    """Return every subject of the board by kind, sorted by name.

    A row with two techniques belongs to both; one without belongs to none. A hardware is a device
    of a machine at any number of threads and any memory cap: its address stays when others come.
    """
    names: Mapping[Kind, Callable[[BoardRow], Iterable[str]]] = {
        Kind.MODEL: lambda line: (line.model,),
        Kind.TECHNIQUE: lambda line: line.techniques,
        Kind.HARDWARE: lambda line: (hardware_name(line.row),),
    }
    return {kind: tuple(_grouped(kind, board.lines, of)) for kind, of in names.items()}


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
    kind: Kind, lines: Sequence[BoardRow], names: Callable[[BoardRow], Iterable[str]]
) -> Iterator[Subject]:
    found: dict[str, list[BoardRow]] = {}
    for line in lines:
        for name in names(line):
            found.setdefault(name, []).append(line)
    for name in sorted(found):
        yield Subject(kind, name, tuple(found[name]))


def _started(line: BoardRow) -> tuple[float, str]:
    record = line.row.record
    return record.times.started_at.timestamp(), record.run_id


def _listed(subject: Subject, column: Column | None, texts: Texts) -> Listed:
    lines = subject.lines
    gains = [] if column is None else [line.cell(column).gain for line in lines]
    return Listed(
        name=subject.name,
        href=subject.href,
        about=_about(subject, texts),
        rows=len(lines),
        beside=_beside(subject),
        verdicts=tally(gains),
    )


def _about(subject: Subject, texts: Texts) -> str:
    if subject.kind is Kind.TECHNIQUE:
        known = texts.techniques.get(subject.name)
        return "" if known is None else " ".join(known.does[:1])
    if subject.kind is Kind.MODEL:
        model = subject.newest.row.cell.model
        return f"{model.family}, {model.parameters:,} parameters, {model.licence}"
    environment = subject.newest.row.record.environment
    gpus = [gpu.name for gpu in environment.gpus]
    return ", ".join([*gpus, environment.cpu.name, subject.newest.device])


def _beside(subject: Subject) -> str:
    if subject.kind is Kind.MODEL:
        return plural(len(techniques_of(subject.lines)), "technique")
    return plural(len({line.model for line in subject.lines}), "model")
