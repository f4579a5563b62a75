"""The files of the runs: the page of each, and beside it its record and its raw samples."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from urllib.parse import quote

from jinja2 import Environment

from leanboard.leaderboard.board import run_place
from leanboard.leaderboard.charts import Plot
from leanboard.leaderboard.runs import Link, Neighbours, run_page
from leanboard.leaderboard.samples import sample_plots
from leanboard.results.errors import RecordError
from leanboard.results.store import Entry, Problem, traces_path


@dataclass(frozen=True, slots=True)
class RunFiles:
    """Writes the files of runs.

    Args:
        draft: root of the site that is being built.
        templates: where ``run.html`` is.
        neighbours: where a run's page finds other runs.
        one_page: whether all runs share a page, and none gets its own.
    """

    draft: Path
    templates: Environment
    neighbours: Neighbours
    one_page: bool

    def tasks(self, entries: Sequence[Entry]) -> list[partial[list[Problem]]]:
        """Return the work for these runs in parts that may be done in any order.

        The runs of a part have the first two hex digits of the SHA-256 of their place in common.
        """
        parts: dict[str, list[Entry]] = {}
        for entry in entries:
            digits = hashlib.sha256(run_place(entry.record).encode()).hexdigest()[:2]
            parts.setdefault(digits, []).append(entry)
        return [partial(self.write, parts[digits]) for digits in sorted(parts)]

    def write(self, entries: Sequence[Entry]) -> list[Problem]:
        """Write the files of some runs; return what was wrong with their traces."""
        return [problem for entry in entries for problem in self._write(entry)]

    def _write(self, entry: Entry) -> list[Problem]:
        links = [self._copy(entry.path, entry, ".json", "record (JSON)")]
        plots: tuple[tuple[str, Plot], ...] = ()
        problems = []
        try:
            traces = _checked_traces(entry)
            if traces is not None:
                plots = () if self.one_page else sample_plots(traces)
                ending = ".traces.parquet"
                links.append(self._copy(traces, entry, ending, "raw samples (Parquet)"))
        except RecordError as error:
            problems.append(Problem(traces_path(entry.path), str(error)))
        if not self.one_page:
            self._write_page(entry, plots, links)
        return problems

    def _write_page(
        self, entry: Entry, plots: tuple[tuple[str, Plot], ...], links: Sequence[Link]
    ) -> None:
        page = run_page(entry, self.neighbours, plots, tuple(links))
        text = self.templates.get_template("run.html").render(
            run=page, root="../../../", slug="run"
        )
        target = self.draft / "runs" / f"{run_place(entry.record)}.html"
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")

    def _copy(self, source: Path, entry: Entry, ending: str, text: str) -> Link:
        """Copy a file of a run to the downloads; return the link to it."""
        target = self.draft / f"downloads/records/{run_place(entry.record)}{ending}"
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(source.read_bytes())
        return Link(text, quote(str(target.relative_to(self.draft))))


def _checked_traces(entry: Entry) -> Path | None:
    """Return the trace file that the record names; ``None`` if it names none."""
    named, path = entry.record.traces, traces_path(entry.path)
    if named is None:
        return None
    if not path.is_file() or path.is_symlink():
        message = "the record names a trace file that is not there; its page has no plot"
        raise RecordError(message)
    if hashlib.sha256(path.read_bytes()).hexdigest() != named.sha256:
        message = "the traces are not the ones that the record names; its page has no plot"
        raise RecordError(message)
    return path
