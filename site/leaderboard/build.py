"""Build the site: records in, a folder of static files out; the same bytes for the same records."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from leanboard.leaderboard.board import MOST_RUN_PAGES, Board, board_of, run_place
from leanboard.leaderboard.data import board_script, metric_script
from leanboard.leaderboard.downloads import CITATION, citation, cited_with
from leanboard.leaderboard.edition import Edition, edition_of
from leanboard.leaderboard.format import quantity
from leanboard.leaderboard.pages import PAGES, Download, Page, Site, in_order
from leanboard.leaderboard.parts import Part, write_part
from leanboard.leaderboard.rendering import Templates
from leanboard.leaderboard.run_files import RunFiles
from leanboard.leaderboard.runs import neighbours_of
from leanboard.leaderboard.texts import Texts
from leanboard.results.errors import LeanboardError
from leanboard.results.export import write_comparisons, write_joined, write_long
from leanboard.results.lean import no_collections
from leanboard.results.parallel import processes_for, started
from leanboard.results.store import Entry, Loaded, Problem

_HERE = Path(__file__).parent
_MARK = ".leanboard-site"
NO_TEXTS = Texts()
_ABOUT = {
    CITATION: "how to cite leanboard and this state of its records, in the Citation File Format",
    "comparisons.csv": "every candidate against its baseline: difference or ratio, interval, p",
    "comparisons.parquet": "the same comparisons, typed",
    "data-dictionary.csv": "what every column means: unit, direction, definition, source",
    "results-long.csv": "tidy table, one row a run and metric, with intervals and provenance",
    "results-long.parquet": "the same tidy table, typed",
    "results-wide.csv": "one row a timed cell, one column a metric",
    "results-wide.parquet": "the same wide table, typed",
    "records.json": "every record whole: configuration, environment, samples",
}


@dataclass(frozen=True, slots=True)
class BuildReport:
    """What was built.

    Args:
        folder: where the site is; open ``index.html`` in it.
        pages: pages written, relative to the folder, sorted.
        rows: rows of the leaderboard.
        records: records that are shown; the same one in two stores counts once.
        problems: records that were skipped and trace files that could not be used.
        one_page: whether all runs share the page ``run.html``, as there are too many for one each.
    """

    folder: Path
    pages: tuple[str, ...]
    rows: int
    records: int
    problems: tuple[Problem, ...]
    one_page: bool = False


def build_site(  # noqa: PLR0913
    loaded: Loaded,
    folder: Path,
    pages: Sequence[Page] = PAGES,
    *,
    processes: int | None = None,
    most_run_pages: int = MOST_RUN_PAGES,
    texts: Texts = NO_TEXTS,
) -> BuildReport:
    """Write the site of these records into a folder, in place of the site that was there.

    Nothing of the old site is touched before the new one is whole.

    Args:
        loaded: the records, which may be lean ones.
        folder: where the site goes.
        pages: the pages of its navigation.
        processes: how many build; ``None`` for as many as the number of records is worth. The
            bytes do not depend on it.
        most_run_pages: records up to which every run has a page of its own.
        texts: what people wrote about techniques and findings.

    Raises:
        LeanboardError: if the folder holds something else, or cannot be written.
    """
    _refuse_foreign(folder)
    unique = _one_a_place(loaded)
    working = processes_for(len(unique.entries), processes)
    try:
        with _swapped_in(folder) as draft:
            with started(_entry_tasks(unique.entries, draft), working) as rest, no_collections():
                board = board_of(unique, most_run_pages)
                rest()
            found = _write(board, draft, pages, texts, working)
            names = sorted(_pages_in(draft))
    except OSError as error:
        message = (
            f"the site cannot be written to {folder} ({error.strerror}): check the disk's space "
            "and the folder's permissions, then build again"
        )
        raise LeanboardError(message) from error
    return BuildReport(
        folder=folder,
        pages=tuple(names),
        rows=len(board.lines),
        records=len(unique.entries),
        problems=(*unique.problems, *found),
        one_page=board.one_page,
    )


def _write(
    board: Board, draft: Path, pages: Sequence[Page], texts: Texts, processes: int
) -> list[Problem]:
    """Write all files; return what was wrong with traces.

    Runs, cells and the data of metrics are written by all processes, the pages by this one.
    """
    shutil.copytree(_HERE / "static", draft / "static")
    (draft / _MARK).write_text("made by leanboard; replaced whole by the next build\n")
    ordered, entries = in_order(pages), board.loaded.entries
    edition = edition_of(entries)
    with no_collections():
        templates = _templates(ordered, edition)
        runs = RunFiles(draft, templates, neighbours_of(board), board.one_page)
        tasks = [*runs.tasks(entries), *_data_tasks(board, draft / "data")]
    with started(tasks, processes) as rest:
        site = Site(board, _downloads(board, edition, draft / "downloads"), texts)
        for page in ordered:
            for part in page.parts(site):
                write_part(templates, page.slug, part, draft)
        if board.one_page:
            write_part(templates, "run", Part("run.html", "Run", "one_run.html", {}), draft)
        found = [problem for part in rest() for problem in part]
    return sorted(found, key=lambda problem: problem.path)


def _pages_in(draft: Path) -> Iterator[str]:
    """Yield the pages below a folder, relative to it."""
    start = len(f"{draft}/")
    for folder, _, names in os.walk(draft):
        yield from (f"{folder}/{name}"[start:] for name in names if name.endswith(".html"))


def _templates(pages: Sequence[Page], edition: Edition) -> Templates:
    templates = Templates(_HERE / "templates")
    templates.globals.update(
        pages=pages,
        edition=edition,
        # The same markup for the same parts, which the pages of many runs have in common.
        known_terms=templates.remembered("terms.html", "terms"),
        known_environment=templates.remembered("terms.html", "environment"),
        known_gaps=templates.remembered("terms.html", "gaps"),
        known_scores=templates.remembered("quality.html", "scores"),
    )
    return templates


def _data_tasks(board: Board, folder: Path) -> list[partial[list[Problem]]]:
    """Write the rows for the browser; return the tasks that write the values of each metric."""
    (folder / "metrics").mkdir(parents=True)
    (folder / "board.js").write_text(board_script(board), encoding="ascii")
    return [partial(_write_metric, board, place, folder) for place in range(len(board.columns))]


def _write_metric(board: Board, place: int, folder: Path) -> list[Problem]:
    script = metric_script(board, place)
    (folder / "metrics" / f"{place}.js").write_text(script, encoding="ascii")
    return []


def _entry_tasks(entries: Sequence[Entry], draft: Path) -> list[Callable[[], object]]:
    """Return the work that needs the records only, and no board of them."""
    folder = draft / "downloads"
    return [
        partial(write_long, entries, folder),
        partial(write_comparisons, entries, folder),
        partial(_write_records, entries, folder / "records.json"),
    ]


def _write_records(entries: Sequence[Entry], path: Path) -> None:
    """Write all records as one JSON list, with no more than one in memory."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        file.write(b"[")
        for place, entry in enumerate(entries):
            file.write(b",\n" if place else b"")
            file.write(entry.path.read_bytes().rstrip())
        file.write(b"]\n")


def _downloads(board: Board, edition: Edition, folder: Path) -> tuple[Download, ...]:
    """Write the downloads that need the board; return all of them."""
    write_joined(board.rows, folder)
    (folder / CITATION).write_text(cited_with(citation(), edition), encoding="utf-8")
    return tuple(
        Download(
            name=path.name,
            href=f"downloads/{path.name}",
            size=quantity(float(path.stat().st_size), "B"),
            about=_ABOUT.get(path.name, ""),
        )
        for path in sorted(folder.iterdir())
        if path.is_file()
    )


def _one_a_place(loaded: Loaded) -> Loaded:
    """Keep one record a page: of the same run in two stores, the published one."""
    kept: dict[str, Entry] = {}
    problems: list[Problem] = []
    for entry in sorted(loaded.entries, key=lambda e: e.origin != "published"):
        place = run_place(entry.record)
        if place not in kept:
            kept[place] = entry
        elif kept[place].record.content_hash != entry.record.content_hash:
            message = f"another record of run {place} is published; this one is left out"
            problems.append(Problem(entry.path, message))
    entries = tuple(kept[place] for place in sorted(kept))
    return Loaded(entries, (*loaded.problems, *problems))


def _refuse_foreign(folder: Path) -> None:
    if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
        message = f"{folder} is not a folder: choose another place for the site"
        raise LeanboardError(message)
    if folder.is_dir() and any(folder.iterdir()) and not (folder / _MARK).is_file():
        message = (
            f"{folder} holds files that are not a site of leanboard: it would be replaced whole, "
            "so choose an empty or a new folder"
        )
        raise LeanboardError(message)


@contextmanager
def _swapped_in(folder: Path) -> Iterator[Path]:
    """Give a new folder that takes the place of ``folder`` at the end, or vanishes on an error."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    draft, old = work / "new", work / "old"
    draft.mkdir()
    try:
        yield draft
        if folder.exists():
            folder.replace(old)
        draft.replace(folder)
    finally:
        if old.exists() and not folder.exists():
            old.replace(folder)
        shutil.rmtree(work, ignore_errors=True)
