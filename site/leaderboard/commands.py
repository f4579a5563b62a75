"""The commands of the board: site and serve."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import click

from leanboard.results.commands import records_option
from leanboard.results.printable import printable

if TYPE_CHECKING:
    from leanboard.results.technique_text import TechniqueText

    Describe = Callable[[], Mapping[str, TechniqueText]]

_SITE = Path("build/site")


@click.command()
@records_option
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default=_SITE,
    show_default=True,
    help="Folder that receives the pages; replaced as a whole.",
)
@click.option("--strict", is_flag=True, help="End with status 1 if a record had to be skipped.")
@click.option(
    "--processes",
    type=click.IntRange(min=1),
    help="Processes that build; by default one a core, four at most, and one for few records.",
)
@click.pass_obj
def site(
    describe: Describe | None, *, records: Path, out: Path, strict: bool, processes: int | None
) -> None:
    """Build the static pages from the published and the local records."""
    from leanboard.leaderboard.board import MOST_RUN_PAGES
    from leanboard.leaderboard.build import build_site
    from leanboard.leaderboard.format import plural
    from leanboard.leaderboard.texts import Texts
    from leanboard.results.finding import load_findings
    from leanboard.results.published import findings_root, load_for_board

    loaded = load_for_board(records, processes)
    techniques: Mapping[str, TechniqueText] = {} if describe is None else describe()
    texts = Texts(techniques, load_findings(findings_root()))
    report = build_site(loaded, out, processes=processes, texts=texts)
    for problem in report.problems:
        click.echo(printable(f"skipped {problem.path}: {problem.message}"), err=True)
    if not loaded.entries:
        click.echo("There are no records yet. Make some: leanboard run suite=quickstart", err=True)
    click.echo(f"{plural(len(report.pages), 'page')}, {plural(report.records, 'record')}")
    if report.one_page:
        more = f"there are more than {MOST_RUN_PAGES:,} records"
        click.echo(f"All runs share the page run.html: {more}, too many for a page each")
    click.echo(f"Open {(out / 'index.html').absolute().as_uri()}")
    served = f"leanboard serve --folder {shlex.quote(str(out))}"
    click.echo(f"or: make serve ({served})" if out == _SITE else f"or: {served}")
    sys.exit(1 if strict and report.problems else 0)


@click.command()
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=8000,
    show_default=True,
    help="Port on 127.0.0.1; 0 takes a free one.",
)
@click.option(
    "--folder",
    type=click.Path(path_type=Path),
    default=_SITE,
    show_default=True,
    help="The built pages.",
)
def serve(port: int, folder: Path) -> None:
    """Show the built pages to this machine only (loopback); Ctrl-C ends it."""
    from leanboard.leaderboard.serve import address, serve_until_interrupted, site_server

    with site_server(folder, port) as server:
        click.echo(f"{address(server)}  (Ctrl-C ends it)")
        serve_until_interrupted(server)
