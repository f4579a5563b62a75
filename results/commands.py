"""The commands that need nothing but records: export and verify."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from leanboard.results.printable import printable

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
        click.echo(printable(f"skipped {problem.path}: {problem.message}"), err=True)
    if not loaded.entries:
        raise RecordError(
            f"there are no records in {records}, and none came with leanboard. "
            "Make some: leanboard run suite=quickstart"
        )
    for path in write_exports(loaded, out):
        click.echo(path)


@click.command()
@click.argument("paths", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--submission",
    is_flag=True,
    help="The gate before publication: files, plausibility, licence, origin, personal data too.",
)
def verify(paths: tuple[Path, ...], *, submission: bool) -> None:
    """Check records: schema, hashes, identity, and statistics derived again from the samples.

    PATHS are record files or folders of them. Ends with status 1 if anything is wrong.
    """
    sys.exit(0 if (_submitted(paths) if submission else _verified(paths)) else 1)


def _verified(paths: tuple[Path, ...]) -> bool:
    from leanboard.results.verify import verify_paths

    verified = verify_paths(paths)
    for problem in verified.problems:
        click.echo(printable(f"{problem.path}: {problem.message}"), err=True)
    for version, numbers in sorted(verified.older.items()):
        click.echo(
            f"{numbers} numbers of the older method {version} were not derived again: "
            "only the samples behind them were compared"
        )
    click.echo(f"{verified.records} records checked, {len(verified.problems)} problems")
    return bool(verified.records) and not verified.problems


def _submitted(paths: tuple[Path, ...]) -> bool:
    from leanboard.results.submission.gate import check_submission
    from leanboard.results.submission.origin import Circumstances

    outcomes = check_submission(paths, Circumstances.here())
    for outcome in outcomes:
        where = f"{outcome.path}  {outcome.check}"
        if outcome.passed:
            click.echo(printable(f"pass  {where}" + (f": {outcome.note}" if outcome.note else "")))
        for finding in outcome.findings:
            click.echo(printable(f"FAIL  {where}: {finding.message}. Mend: {finding.fix}"))
    if any(outcome.check == "files" and not outcome.passed for outcome in outcomes):
        click.echo("Nothing was read: first only records and their raw samples may be there.")
    files = len({outcome.path for outcome in outcomes})
    failed = len({outcome.path for outcome in outcomes if not outcome.passed})
    click.echo(f"{files} files checked, {failed} may not be published" if files else "no records")
    return bool(outcomes) and not failed
