"""The files of the runs: the page of each, its data, its record and its raw samples."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from urllib.parse import quote

from jinja2 import Environment

from leanboard.leaderboard.board import run_place
from leanboard.leaderboard.cell_pages import cell_pages
from leanboard.leaderboard.data import Json
from leanboard.leaderboard.distribution import distributions_of
from leanboard.leaderboard.one_run import told_alone
from leanboard.leaderboard.parts import Part, write_below, write_part
from leanboard.leaderboard.run_data import run_data
from leanboard.leaderboard.runs import Link, Neighbours, run_page
from leanboard.leaderboard.samples import FEW, Plots, observation_in, plots_of
from leanboard.leaderboard.shards import shard_of, write_shard
from leanboard.metrics.trace import Observation
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

        The runs of a part are those of a shard of their data, which one process then writes.
        """
        self._shards.mkdir(parents=True, exist_ok=True)
        shards: dict[str, list[Entry]] = {}
        cells: dict[str, list[Entry]] = {}
        for entry in entries:
            shards.setdefault(shard_of(run_place(entry.record)), []).append(entry)
            cells.setdefault(entry.record.cell_id[:2], []).append(entry)
        work = [partial(self.write, shard, shards[shard]) for shard in sorted(shards)]
        if not self.one_page:
            work += [partial(self.write_cells, cells[digits]) for digits in sorted(cells)]
        return work

    def write_cells(self, entries: Sequence[Entry]) -> list[Problem]:
        """Write the pages of some cells, all of whose runs are given."""
        for cell in cell_pages(entries):
            part = Part(cell.path, cell.title, "cell.html", {"cell": cell})
            write_part(self.templates, "run", part, self.draft)
        return []

    def write(self, shard: str, entries: Sequence[Entry]) -> list[Problem]:
        """Write the files of the runs of a shard; return what was wrong with their traces."""
        problems: list[Problem] = []
        runs = ((run_place(entry.record), self._write(entry, problems)) for entry in entries)
        write_shard(self._shards, shard, runs)
        return problems

    @property
    def _shards(self) -> Path:
        return self.draft / "data" / "runs"

    def _write(self, entry: Entry, problems: list[Problem]) -> Json:
        """Write the files of a run; return its data, and add what was wrong with its traces."""
        links = [self._copy(entry.path, entry, ".json", "record (JSON)")]
        seen: Observation | None = None
        try:
            traces = _checked_traces(entry)
            if traces is not None:
                seen = observation_in(traces)
                ending = ".traces.parquet"
                links.append(self._copy(traces, entry, ending, "raw samples (Parquet)"))
        except RecordError as error:
            problems.append(Problem(traces_path(entry.path), str(error)))
        latencies = () if seen is None else distributions_of(seen)
        run = run_data(entry, self.neighbours, latencies)
        if self.one_page:
            few = () if seen is None else plots_of(seen, (), FEW)
            run |= told_alone(entry, links, self.neighbours, few)
        else:
            plots = () if seen is None else plots_of(seen, latencies)
            self._write_page(entry, plots, links)
        return run

    def _write_page(self, entry: Entry, plots: Plots, links: Sequence[Link]) -> None:
        page = run_page(entry, self.neighbours, plots, tuple(links))
        path = f"runs/{run_place(entry.record)}.html"
        part = Part(path, page.title, "run.html", {"run": page})
        write_part(self.templates, "run", part, self.draft)

    def _copy(self, source: Path, entry: Entry, ending: str, text: str) -> Link:
        """Copy a file of a run to the downloads; return the link to it."""
        path = f"downloads/records/{run_place(entry.record)}{ending}"
        write_below(self.draft, path, source.read_bytes())
        return Link(text, quote(path))


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
