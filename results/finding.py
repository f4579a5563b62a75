"""Findings: what records show, in words, the rows that each rests on, and what it is drawn from.

One TOML file a finding. It holds no number of a record: whoever shows it reads them from the
records, and says so where these no longer bear it out.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Self

from pydantic import Field, ValidationError, model_validator

from leanboard.metrics.metric import Verdict
from leanboard.results.errors import RecordError
from leanboard.results.frozen import Frozen
from leanboard.results.schema import Identifier, Name


class Evidence(Frozen):
    """A row and what its comparison with the baseline is claimed to say.

    Attributes:
        machine: where it was run.
        cell: what was run; the latest run of it counts.
        metric: the metric that is compared (``tpot_s``, ``lossless``).
        verdict: what the finding says that the comparison says.
        than: another cell of this machine with the same baseline, if it is that one which this row
            is better or worse than. Scores are paired over the items that both scored; of times the
            intervals of both comparisons with the baseline must lie apart.
    """

    machine: Name
    cell: Identifier
    metric: str
    verdict: Verdict
    than: Identifier | None = None


class Outcome(StrEnum):
    """What became of a published claim on these models and this hardware."""

    HELD = "held"
    IN_PART = "in part"
    NOT_HELD = "not held"
    NOT_SHOWN = "not shown"


class Claim(Frozen):
    """What a publication says, and what became of it here.

    Attributes:
        source: the publication (``arXiv:2512.22671``).
        says: its claim, in our words.
        outcome: whether it held here.
        because: why, where that is not plain; may be empty.
    """

    source: str = Field(min_length=1)
    says: str = Field(min_length=1)
    outcome: Outcome
    because: str = ""


class PictureAxis(Frozen):
    """What an axis of a picture shows: a measurement, or a fact.

    Attributes:
        metric: name of the measurement (``weight_bytes``, ``wikitext.perplexity``).
        fact: name of what the timed run noted (``simulated_weight_bits``), in place of a metric.
        ratio: whether it is the comparison with the baseline, candidate / baseline, that is drawn.
        log: whether the axis is logarithmic.
    """

    metric: str = ""
    fact: str = ""
    ratio: bool = False
    log: bool = False

    @model_validator(mode="after")
    def _one(self) -> Self:
        """Check that it is one of both."""
        if bool(self.metric) == bool(self.fact) or (self.fact and self.ratio):
            raise ValueError("an axis shows a metric or a fact, and of a fact no ratio")
        return self


class PictureSeries(Frozen):
    """Rows that are joined by a line.

    Attributes:
        name: how the picture calls them.
        technique: the arm's name as the board writes it, techniques joined by ``+``, or a pattern
            of it: ``*`` stands for any characters, ``?`` for one, ``[2-6]`` for one of these.
        backend: the backend of its rows.
        knobs: settings that the rows must have, by the technique's name and the knob's
            (``{"prune-width.criterion": "random"}``); texts may be patterns too.
    """

    name: str = Field(min_length=1)
    technique: str = Field(min_length=1)
    backend: Name
    knobs: Mapping[str, str | int | float | bool] = Field(default_factory=dict)


class Picture(Frozen):
    """What a finding is drawn from: rows of one machine, model and workload.

    Attributes:
        caption: what to see, in a sentence.
    """

    caption: str = Field(min_length=1)
    machine: Name
    model: Name
    workload: Name
    x: PictureAxis
    y: PictureAxis
    series: tuple[PictureSeries, ...] = Field(min_length=1)


class Finding(Frozen):
    """A claim in plain sentences, and what it rests on.

    Attributes:
        name: name of its file, and its anchor on the page.
        title: the claim in one sentence.
        text: paragraphs with an empty line between them.
        family: family of the techniques that it is about, a folder of ``runners/techniques``;
            empty where it is about several.
        evidence: the rows that it rests on.
        claims: what publications say of the same, and whether it held.
        picture: what it is drawn from, if it is.
    """

    name: Name
    title: str = Field(min_length=1)
    text: str = Field(min_length=1)
    family: str = ""
    evidence: tuple[Evidence, ...] = Field(min_length=1)
    claims: tuple[Claim, ...] = ()
    picture: Picture | None = None

    @property
    def paragraphs(self) -> tuple[str, ...]:
        """The text, paragraph by paragraph."""
        return tuple(" ".join(part.split()) for part in self.text.strip().split("\n\n"))


def load_findings(folder: Path) -> tuple[Finding, ...]:
    """Read every finding of a folder, ordered by file name; none if there is no such folder.

    Raises:
        RecordError: if a file cannot be read; the message says which and why.
    """
    return tuple(_read(path) for path in sorted(folder.glob("*.toml")))


def _read(path: Path) -> Finding:
    try:
        fields = tomllib.loads(path.read_text(encoding="utf-8"))
        return Finding.model_validate({**fields, "name": path.stem})
    except (UnicodeDecodeError, tomllib.TOMLDecodeError, ValidationError) as error:
        message = f"the finding {path.name} cannot be read: {error}. Correct the file."
        raise RecordError(message) from error
