"""Build the site: records in, a folder of static files out; the same bytes for the same records."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape

from leanboard.leaderboard.board import Board, board_of, run_href, run_place
from leanboard.leaderboard.charts import Plot
from leanboard.leaderboard.data import board_script, metric_script
from leanboard.leaderboard.format import quantity
from leanboard.leaderboard.pages import PAGES, Download, Page, Part, Site, in_order
from leanboard.leaderboard.runs import Link, RunPage, neighbours_of, run_page
from leanboard.leaderboard.samples import sample_plots
from leanboard.results.errors import LeanboardError, RecordError
from leanboard.results.export import write_exports
from leanboard.results.printable import visible
from leanboard.results.store import Entry, Loaded, Problem, traces_path

_HERE = Path(__file__).parent
_MARK = ".leanboard-site"
_ABOUT = {
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
    """

    folder: Path
    pages: tuple[str, ...]
    rows: int
    records: int
    problems: tuple[Problem, ...]


def build_site(loaded: Loaded, folder: Path, pages: Sequence[Page] = PAGES) -> BuildReport:
    """Write the site of these records into a folder, in place of the site that was there.

    Nothing of the old site is touched before the new one is whole.

    Raises:
        LeanboardError: if the folder holds something else, or cannot be written.
    """
    _refuse_foreign(folder)
    unique, problems = _one_a_place(loaded)
    try:
        with _swapped_in(folder) as draft:
            return _write(unique, problems, draft, folder, pages)
    except OSError as error:
        message = (
            f"the site cannot be written to {folder} ({error.strerror}): check the disk's space "
            "and the folder's permissions, then build again"
        )
        raise LeanboardError(message) from error


def _write(
    loaded: Loaded,
    problems: Sequence[Problem],
    draft: Path,
    folder: Path,
    pages: Sequence[Page],
) -> BuildReport:
    board = board_of(loaded)
    shutil.copytree(_HERE / "static", draft / "static")
    _write_data(board, draft / "data")
    (draft / _MARK).write_text("made by leanboard; replaced whole by the next build\n")
    exports = _exports(loaded, draft / "downloads")
    templates = _templates(in_order(pages), board)
    site = Site(board, exports)
    for page in in_order(pages):
        for part in page.parts(site):
            target = draft / part.path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(_render(templates, page, part), encoding="utf-8")
    found = [*loaded.problems, *problems]
    for entry, run in zip(loaded.entries, _runs(board, draft, found), strict=True):
        target = draft / "runs" / f"{run_place(entry.record)}.html"
        target.parent.mkdir(parents=True, exist_ok=True)
        text = templates.get_template("run.html").render(run=run, root="../../../", slug="run")
        target.write_text(text, encoding="utf-8")
    names = sorted(str(path.relative_to(draft)) for path in draft.rglob("*.html"))
    shown = len(loaded.entries)
    return BuildReport(folder, tuple(names), len(board.lines), shown, tuple(found))


def _runs(board: Board, draft: Path, problems: list[Problem]) -> Iterator[RunPage]:
    neighbours = neighbours_of(board)
    for entry in board.loaded.entries:
        links = [_copy_record(entry, draft)]
        plots: tuple[tuple[str, Plot], ...] = ()
        try:
            traces = _checked_traces(entry)
            if traces is not None:
                plots = sample_plots(traces)
                links.append(_copy_traces(entry, traces, draft))
        except RecordError as error:
            problems.append(Problem(traces_path(entry.path), str(error)))
        yield run_page(entry, neighbours, plots, tuple(links))


def _templates(pages: Sequence[Page], board: Board) -> Environment:
    environment = Environment(
        loader=FileSystemLoader(_HERE / "templates"),
        autoescape=select_autoescape(default=True, default_for_string=True),
        undefined=StrictUndefined,
        finalize=visible,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    origins = [entry.origin for entry in board.loaded.entries]
    environment.globals.update(
        pages=pages,
        published=origins.count("published"),
        local=origins.count("local"),
    )
    return environment


def _write_data(board: Board, folder: Path) -> None:
    metrics = folder / "metrics"
    metrics.mkdir(parents=True)
    (folder / "board.js").write_text(board_script(board), encoding="ascii")
    for place in range(len(board.columns)):
        (metrics / f"{place}.js").write_text(metric_script(board, place), encoding="ascii")


def _render(templates: Environment, page: Page, part: Part) -> str:
    root = "../" * part.path.count("/")
    context = {**part.context, "title": part.title, "slug": page.slug, "root": root}
    return templates.get_template(part.template).render(context)


def _exports(loaded: Loaded, folder: Path) -> tuple[Download, ...]:
    paths = write_exports(loaded, folder)
    everything = folder / "records.json"
    texts = (entry.path.read_text(encoding="utf-8").rstrip() for entry in loaded.entries)
    everything.write_text("[" + ",\n".join(texts) + "]\n", encoding="utf-8")
    return tuple(
        Download(
            name=path.name,
            href=f"downloads/{path.name}",
            size=quantity(float(path.stat().st_size), "B"),
            about=_ABOUT.get(path.name, ""),
        )
        for path in sorted([*paths, everything])
    )


def _copy_record(entry: Entry, draft: Path) -> Link:
    href = f"downloads/records/{run_place(entry.record)}.json"
    target = draft / href
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(entry.path.read_bytes())
    return Link("record (JSON)", _address(entry, ".json"))


def _copy_traces(entry: Entry, traces: Path, draft: Path) -> Link:
    target = draft / f"downloads/records/{run_place(entry.record)}.traces.parquet"
    target.write_bytes(traces.read_bytes())
    return Link("raw samples (Parquet)", _address(entry, ".traces.parquet"))


def _address(entry: Entry, ending: str) -> str:
    page = run_href(entry.record).removeprefix("runs/").removesuffix(".html")
    return f"downloads/records/{page}{ending}"


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


def _one_a_place(loaded: Loaded) -> tuple[Loaded, list[Problem]]:
    """Keep one record a page: of the same run in two stores, the published one."""
    kept: dict[str, Entry] = {}
    problems: list[Problem] = []
    for entry in sorted(loaded.entries, key=lambda e: e.origin != "published"):
        place = run_place(entry.record)
        if place not in kept:
            kept[place] = entry
        elif kept[place].record != entry.record:
            message = f"another record of run {place} is published; this one is left out"
            problems.append(Problem(entry.path, message))
    entries = tuple(kept[place] for place in sorted(kept))
    return Loaded(entries, loaded.problems), problems


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
