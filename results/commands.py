"""The commands that need nothing but records: export and verify."""

from __future__ import annotations

import sys
from pathlib import Path

import click

LOCAL_RECORDS = Path("build/records")


records_option = click.option(
    "--records",
    type=click.Path(path_type=Path),
    default=LOCAL_RECORDS,
    show_default=True,
    help="Local records, read beside the published ones.",
)
"""The option that says which local records are read."""


@click.command()
@records_option
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default=Path("build/export"),
    show_default=True,
    help="Folder that receives the files.",
)
def export(records: Path, out: Path) -> None:
    """Write all records as tidy long and wide tables, Parquet and CSV, with a data dictionary."""
    from leanboard.results.errors import RecordError
    from leanboard.results.export import write_exports
    from leanboard.results.published import load_all

    loaded = load_all(records)
    for problem in loaded.problems:
        click.echo(f"skipped {problem.path}: {problem.message}", err=True)
    if not loaded.entries:
        raise RecordError(
            f"there are no records in {records}, and none came with leanboard. "
            "Make some: leanboard run suite=quickstart"
        )
    for path in write_exports(loaded, out):
        click.echo(path)


@click.command()
@click.argument("paths", nargs=-1, required=True, type=click.Path(path_type=Path))
def verify(paths: tuple[Path, ...]) -> None:
    """Check records: schema, hashes, identity, and statistics derived again from the samples.

    PATHS are record files or folders of them. Ends with status 1 if anything is wrong.
    """
    from leanboard.results.verify import verify_paths

    verified = verify_paths(paths)
    for problem in verified.problems:
        click.echo(f"{problem.path}: {problem.message}", err=True)
    for version, numbers in sorted(verified.older.items()):
        click.echo(
            f"{numbers} numbers of the older method {version} were not derived again: "
            "only the samples behind them were compared"
        )
    click.echo(f"{verified.records} records checked, {len(verified.problems)} problems")
    sys.exit(1 if verified.problems or not verified.records else 0)
