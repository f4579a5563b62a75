"""Findings: what records show, in words, and the rows that each rests on.

One TOML file a finding. It holds no number of a record: whoever shows it reads them from the
records, and says so where these no longer bear it out.
"""

from __future__ import annotations

import tomllib
from pathlib import Path

from pydantic import Field, ValidationError

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
    """

    machine: Name
    cell: Identifier
    metric: str
    verdict: Verdict


class Finding(Frozen):
    """A claim in plain sentences, and what it rests on.

    Attributes:
        name: name of its file, and its anchor on the page.
        title: the claim in one sentence.
        text: paragraphs with an empty line between them.
    """

    name: Name
    title: str = Field(min_length=1)
    text: str = Field(min_length=1)
    evidence: tuple[Evidence, ...] = Field(min_length=1)

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
