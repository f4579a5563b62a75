"""The commands of the board: site and serve."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

import click

from leanboard.results.commands import records_option
from leanboard.results.printable import printable

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
def site(*, records: Path, out: Path, strict: bool) -> None:
    """Build the static pages from the published and the local records."""
    from leanboard.leaderboard.build import build_site
    from leanboard.leaderboard.format import plural
    from leanboard.results.published import load_all

    loaded = load_all(records)
    report = build_site(loaded, out)
    for problem in report.problems:
        click.echo(printable(f"skipped {problem.path}: {problem.message}"), err=True)
    if not loaded.entries:
        click.echo("There are no records yet. Make some: leanboard run suite=quickstart", err=True)
    click.echo(f"{plural(len(report.pages), 'page')}, {plural(report.records, 'record')}")
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
