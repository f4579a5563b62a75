"""The pages of models, techniques and hardware: what each is, its curves, and its rows."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from leanboard.leaderboard.board import BoardRow
from leanboard.leaderboard.choices import choices_of
from leanboard.leaderboard.columns import ARROWS, BETTER
from leanboard.leaderboard.describe import Section, Term, surroundings
from leanboard.leaderboard.divergence import fact
from leanboard.leaderboard.format import moment, number, plural, quantity
from leanboard.leaderboard.parts import Context, Part
from leanboard.leaderboard.quality import sameness
from leanboard.leaderboard.scored import ScoredList, first_of
from leanboard.leaderboard.stage import UNRANKED
from leanboard.leaderboard.subject_figures import Figures, figures_of
from leanboard.leaderboard.subjects import Kind, Subject, listed, subjects_of
from leanboard.leaderboard.table_pages import Listing, TablePages, table_pages
from leanboard.leaderboard.texts import Texts
from leanboard.results.schema import Record, Status
from leanboard.results.technique_text import Knob, TechniqueText, one_at_a_time

if TYPE_CHECKING:
    from leanboard.leaderboard.pages import Site

TITLES = {Kind.MODEL: "Models", Kind.TECHNIQUE: "Techniques", Kind.HARDWARE: "Hardware"}
NO_TEXT = "This technique is not on the menu of the leanboard that made these pages."
_KEYS = {Kind.MODEL: "model", Kind.TECHNIQUE: "uses", Kind.HARDWARE: "hardware"}
_MACHINE = re.compile(r"Processor|Accelerator \d+|Machine|System")
_PEAKS = (
    ("peak arithmetic", "peak_flops_per_s", "GFLOP/s"),
    ("peak memory traffic", "peak_bytes_per_s", "GB/s"),
)


@dataclass(frozen=True, slots=True)
class Link:
    """Rows of the leaderboard: the words of the link, and its address."""

    text: str
    href: str


@dataclass(frozen=True, slots=True)
class SubjectPage:
    """What the template of a subject prints.

    Args:
        kind: its kind, which is the anchor of its list.
        kind_title: the heading of that list.
        lede: what it is, in a sentence or two.
        paragraphs: more about it.
        terms: facts about it.
        knobs: parameters of a technique.
        sections: facts about a machine.
        figures: its curves.
        rows: its first rows, and where all of them are.
        scored: its first scoring runs that no row shows.
        links: the leaderboard with its rows alone, by JavaScript.
    """

    name: str
    kind: str
    kind_title: str
    lede: str
    paragraphs: tuple[str, ...]
    terms: tuple[Term, ...]
    knobs: tuple[Knob, ...]
    sections: tuple[Section, ...]
    figures: Figures
    rows: Listing
    scored: ScoredList
    links: tuple[Link, ...]


def subjects(site: Site) -> Context:
    """Return the lists of models, techniques and hardware."""
    found = listed(site.board, site.texts)
    return {"lists": [(kind.value, TITLES[kind], found[kind]) for kind in Kind]}


def subject_parts(site: Site) -> Iterator[Part]:
    """Yield the page of every model, technique and hardware."""
    common = {
        "columns": [column for column in site.board.columns if column.shown],
        "arrows": ARROWS,
        "better": BETTER,
        "unranked": UNRANKED,
    }
    pages = table_pages(site.board)
    for found in subjects_of(site.board).values():
        for subject in found:
            page = _page(subject, site, pages)
            yield Part(subject.href, subject.name, "subject.html", {**common, "subject": page})


def _page(subject: Subject, site: Site, pages: TablePages) -> SubjectPage:
    lede, paragraphs = _words(subject, site.texts)
    known = site.texts.techniques.get(subject.name) if subject.kind is Kind.TECHNIQUE else None
    environment = subject.newest.environment
    machine = surroundings(environment) if subject.kind is Kind.HARDWARE else ()
    return SubjectPage(
        name=subject.name,
        kind=subject.kind.value,
        kind_title=TITLES[subject.kind],
        lede=lede,
        paragraphs=paragraphs,
        terms=tuple(_terms(subject, site.texts)),
        knobs=() if known is None else known.knobs,
        sections=tuple(section for section in machine if _MACHINE.fullmatch(section.title)),
        figures=figures_of(subject, site.board),
        rows=pages.listing(subject.lines),
        scored=first_of(subject.scored),
        links=tuple(_links(subject)),
    )


def _words(subject: Subject, texts: Texts) -> tuple[str, tuple[str, ...]]:
    rows = plural(len(subject.lines), "row")
    if subject.kind is Kind.TECHNIQUE:
        known = texts.techniques.get(subject.name)
        if known is None or not known.does:
            return NO_TEXT, ()
        return known.does[0], known.does[1:]
    if subject.kind is Kind.MODEL:
        return f"{rows}: this model as it is and under its techniques, wherever it was run.", ()
    return f"{rows}: what was run on this machine with this device profile.", ()


def _terms(subject: Subject, texts: Texts) -> Iterator[Term]:
    """Yield what is known of a subject; of what differs between its rows, every value."""
    if subject.kind is Kind.MODEL:
        yield from _model_terms(subject.records)
    elif subject.kind is Kind.TECHNIQUE:
        yield from _technique_terms(subject, texts)
    else:
        yield from _hardware_terms(subject)
    started = subject.newest.times.started_at
    yield Term("last run", moment(started.astimezone(UTC)))


def _model_terms(records: Iterable[Record]) -> Iterator[Term]:
    models = [record.cell.model for record in records]
    yield Term("family", _each(model.family for model in models))
    yield Term("parameters", _each(f"{model.parameters:,}" for model in models))
    yield Term("licence", _each(model.licence for model in models))
    yield Term("weights were published as", _each(model.weights_origin for model in models))
    yield Term("source", _each(model.source for model in models))
    yield Term("content hash", _each(model.content_hash for model in models), code=True)


def _technique_terms(subject: Subject, texts: Texts) -> Iterator[Term]:
    known = texts.techniques.get(subject.name)
    if known is not None:
        yield from _text_terms(known)
        if known.conflicts:
            yield Term("not together with", ", ".join(known.conflicts))
        if together := one_at_a_time(known, texts.techniques):
            yield Term("one of these at a time", together)
        if known.limits:
            yield Term("limits", known.limits)
        yield Term("library", known.library or "none named")
        yield Term("source", known.source or "none named")
    ours = [
        part
        for record in subject.records
        for part in record.cell.techniques
        if part.name == subject.name
    ]
    yield Term("behaviour version of these runs", _each(str(part.version) for part in ours))
    yield Term("outputs equal to the baseline's", _sameness(subject.lines))


def _text_terms(known: TechniqueText) -> Iterator[Term]:
    """Yield what a reader must know of a technique before comparing its numbers."""
    rounds = "yes: scores may change" if known.quantises else "no"
    yield Term("family", known.family)
    yield Term("backends", ", ".join(known.backends))
    yield Term("rounds the weights", rounds)
    yield Term("lossless by construction", "yes" if known.lossless else "no")
    if known.simulates:
        yield Term("only simulates", ", ".join(known.simulates))
    if known.calibrated:
        how = "trained" if known.trained else "calibrated"
        yield Term(how, "yes: on text whose hash is part of its identity")
    if known.expanded_by:
        text = f"at every forward, by {known.expanded_by}: its times are no measure of the format"
        yield Term("expands its weights", text)


def _sameness(lines: Sequence[BoardRow]) -> str:
    """Return in how many rows greedy outputs are the baseline's, token for token."""
    answers = [
        same.answer
        for line in lines
        if line.status is Status.OK and (same := sameness(line.row.record)) is not None
    ]
    if not answers:
        return "not compared"
    counts = ", ".join(f"{answer} in {answers.count(answer)}" for answer in sorted(set(answers)))
    return f"{counts} of {plural(len(answers), 'row')}"


def _hardware_terms(subject: Subject) -> Iterator[Term]:
    cells = [record.cell for record in subject.records]
    caps = {cell.device.memory_cap_bytes for cell in cells}
    yield Term("machine", subject.newest.machine_id)
    yield Term("device profile", _each(cell.device.name for cell in cells))
    yield Term("device", _each(cell.device.device for cell in cells))
    yield Term("threads", _each(str(cell.device.threads) for cell in cells))
    yield Term(
        "reference dtype", _each(f"{c.device.reference_dtype} ({c.backend.name})" for c in cells)
    )
    if caps != {None}:
        yield Term("memory cap", _each("none" if c is None else quantity(c, "B") for c in caps))
    yield from _peak_terms(subject.lines)


def _peak_terms(lines: Sequence[BoardRow]) -> Iterator[Term]:
    """Yield the calibrated peaks that the newest baseline of each backend was held against."""
    baselines = [line for line in lines if line.baseline and line.status is Status.OK]
    ordered = sorted(baselines, key=lambda line: line.row.record.times.started_at)
    newest = {line.backend: line for line in ordered}
    for title, name, unit in _PEAKS:
        found = {backend: fact(line.row.record.facts, name) for backend, line in newest.items()}
        texts = [
            f"{number(value / 1e9)} {unit} ({backend})"
            for backend, value in sorted(found.items())
            if value is not None
        ]
        yield Term(title, ", ".join(texts) or "not calibrated")


def _each(texts: Iterable[str]) -> str:
    return ", ".join(sorted(set(texts)))


def _links(subject: Subject) -> Iterator[Link]:
    """Yield the leaderboard with the rows of a subject; of hardware one link for each setting."""
    if not subject.lines:
        return
    key = _KEYS[subject.kind]
    plain = {subject.name: subject.name}
    chosen = choices_of(subject.lines)["hardware"] if subject.kind is Kind.HARDWARE else plain
    for value, name in chosen.items():
        state = {key: value, "status": "all", "gate": "all"}
        text = f"{name} on the leaderboard" if len(chosen) > 1 else "On the leaderboard"
        yield Link(text, f"index.html#{urlencode(state)}")
