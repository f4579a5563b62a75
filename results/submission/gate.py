"""The checks that a submitted record must pass, one after the other.

Files first: where one may not be there, nothing is read. Then each record by itself, with the
baseline that it was compared with.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from leanboard.metrics.trace import Observation, RequestObservation
from leanboard.results.document import json_object, json_text
from leanboard.results.errors import RecordError
from leanboard.results.schema import PerformanceCell, Record
from leanboard.results.store import read_record, traces_path
from leanboard.results.submission.clocks import clock_findings
from leanboard.results.submission.files import submitted_files
from leanboard.results.submission.finding import Finding
from leanboard.results.submission.origin import (
    Circumstances,
    licence_findings,
    licence_note,
    origin_findings,
)
from leanboard.results.submission.personal import personal_data, texts_of
from leanboard.results.submission.plausible import (
    NOT_CALIBRATED,
    energy_findings,
    is_calibrated,
    record_findings,
)
from leanboard.results.submission.raw_samples import raw_findings, raw_texts
from leanboard.results.verify import identity_messages, statistics_messages
from leanboard.results.verify_numbers import older_numbers
from leanboard.results.verify_samples import read_observation

MOST_TOLD = 20
"""Most findings of one check that are told one by one."""

_AS_WRITTEN = "submit the record and its raw samples as leanboard wrote them, or measure again"
_OLDER = "measure again with the present leanboard: numbers of older methods are not derived again"
_REMOVE = "see where the text comes from, change that, then measure again: records are not edited"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one check of one file showed.

    Args:
        path: the file.
        check: name of the check.
        findings: what is wrong; empty if it passed.
        note: what a reader must know of a check that passed.
    """

    path: Path
    check: str
    findings: tuple[Finding, ...] = ()
    note: str = ""

    @property
    def passed(self) -> bool:
        """Whether nothing is wrong."""
        return not self.findings


def check_submission(paths: Iterable[Path], around: Circumstances) -> tuple[Outcome, ...]:
    """Check records before they are published; pass every outcome to whoever decides.

    Args:
        paths: files of records or of raw samples, and whole folders.
        around: where and when this is.
    """
    files = submitted_files(paths)
    if files.problems:
        return tuple(Outcome(path, "files", (finding,)) for path, finding in files.problems)
    return tuple(chain.from_iterable(_outcomes(path, around) for path in files.records))


def _outcomes(path: Path, around: Circumstances) -> Iterator[Outcome]:
    yield Outcome(path, "files")
    try:
        record = read_record(path)
    except RecordError as error:
        yield Outcome(path, "document", (Finding(str(error), _AS_WRITTEN),))
        return
    yield _outcome(path, "document", _document_findings(path))
    yield _outcome(path, "identity", _told(identity_messages(path, record)))
    data, raw = _raw_samples(path, record)
    yield _outcome(path, "raw samples", raw, "" if data else "there are none")
    if not raw:
        yield _outcome(path, "statistics", _statistics_findings(path, record))
        yield _outcome(path, "plausibility", _plausibility_findings(path, record), _limits(record))
    yield _outcome(path, "licence", licence_findings(record), licence_note(record))
    yield _outcome(path, "origin", origin_findings(record, around))
    readable = b"" if raw else data
    yield _outcome(path, "personal data", _personal_findings(record, readable, around.own_names))


def _outcome(path: Path, check: str, findings: Iterable[Finding], note: str = "") -> Outcome:
    """Return the outcome of a check; of very many findings only the first, and their number."""
    found = tuple(findings)
    more = len(found) - MOST_TOLD
    if more > 0:
        left_out = Finding(f"and {more} more of the kind", found[MOST_TOLD].fix)
        found = (*found[:MOST_TOLD], left_out)
    return Outcome(path, check, found, note)


def _told(messages: Iterable[str]) -> Iterator[Finding]:
    return (Finding(message, _AS_WRITTEN) for message in messages)


def _document_findings(path: Path) -> Iterator[Finding]:
    """Yield where a file is not the one text of its record: a name twice, or more beside it."""
    text = path.read_text(encoding="utf-8")
    if json_text(json_object(text)) != text:
        yield Finding(
            "the file is not the text that leanboard writes for this record (a name may be there "
            "twice, or spaces where there are none)",
            _AS_WRITTEN,
        )


def _raw_samples(path: Path, record: Record) -> tuple[bytes, tuple[Finding, ...]]:
    """Return the trace file, and what is wrong before it is unpacked; no bytes if there is none."""
    file = traces_path(path)
    if record.traces is None:
        stray = Finding(f"{file.name} is there, but the record names no raw samples", "remove it")
        return b"", (stray,) if os.path.lexists(file) else ()
    try:
        data = file.read_bytes()
    except OSError as error:
        missing = Finding(f"{file.name} cannot be read ({error.strerror})", "submit it as well")
        return b"", (missing,)
    return data, tuple(raw_findings(data))


def _statistics_findings(path: Path, record: Record) -> Iterator[Finding]:
    yield from _told(statistics_messages(path, record))
    for version, numbers in sorted(older_numbers(record).items()):
        message = f"{numbers} numbers are of the older method {version} (method_version)"
        yield Finding(message, _OLDER)


def _plausibility_findings(path: Path, record: Record) -> Iterator[Finding]:
    yield from record_findings(record)
    observation = _observed(path, record)
    if observation is not None:
        yield from energy_findings(observation, record)
    if isinstance(observation, RequestObservation):
        yield from clock_findings(observation, record)


def _observed(path: Path, record: Record) -> Observation | None:
    """Return the raw samples; ``None`` if there are none, or statistics say why they are no use."""
    if record.traces is None:
        return None
    try:
        return read_observation(path, record.traces)
    except RecordError:
        return None


def _limits(record: Record) -> str:
    timed = isinstance(record.cell, PerformanceCell) and bool(record.measurements)
    return NOT_CALIBRATED if timed and not is_calibrated(record) else ""


def _personal_findings(record: Record, data: bytes, own_names: Sequence[str]) -> Iterator[Finding]:
    texts = chain(texts_of(record.model_dump(mode="json")), raw_texts(data) if data else ())
    for field, what, words in personal_data(texts, own_names):
        yield Finding(f"{field} seems to hold {what}: '{words}'", _REMOVE)
